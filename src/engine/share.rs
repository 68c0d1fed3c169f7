//! Carries between the torrents of a session and its budget: what they ask, and what they are granted. Only the newest of
//! each counts, so that nothing queues.

use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::{Notify, watch};

use crate::disk::StoreId;
use crate::fleet::{Ask, Budget, Grant};

/// The session's end.
#[derive(Debug)]
pub(crate) struct Shares {
    budget: Budget,
    torrents: BTreeMap<StoreId, (watch::Receiver<Ask>, watch::Sender<Grant>)>,
    changed: Rc<Notify>,
}

/// A torrent's end.
#[derive(Debug)]
pub(crate) struct Share {
    asks: watch::Sender<Ask>,
    grants: watch::Receiver<Grant>,
    changed: Rc<Notify>,
}

impl Shares {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { budget, torrents: BTreeMap::new(), changed: Rc::new(Notify::new()) }
    }

    /// A torrent is there; it begins with this grant.
    pub(crate) fn add(&mut self, torrent: StoreId) -> (Share, Grant) {
        let grant = self.budget.add(torrent);
        let (asks, asked) = watch::channel(Ask::default());
        let (granted, grants) = watch::channel(grant);
        self.torrents.insert(torrent, (asked, granted));
        self.settle();
        (Share { asks, grants, changed: self.changed.clone() }, grant)
    }

    /// A torrent is gone with all that it used.
    pub(crate) fn remove(&mut self, torrent: StoreId) {
        self.torrents.remove(&torrent);
        self.budget.remove(torrent);
        self.settle();
    }

    /// Waits until a torrent asks for something else; [`Shares::settle`] is then due.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + use<> {
        let changed = self.changed.clone();
        async move { changed.notified().await }
    }

    /// Takes what is asked to the budget, and what it grants to the torrents.
    pub(crate) fn settle(&mut self) {
        for (torrent, (asks, _)) in &mut self.torrents {
            // A torrent that is gone asks for nothing; it is taken out when its task has ended.
            if asks.has_changed().unwrap_or(false) {
                self.budget.handle_ask(*torrent, *asks.borrow_and_update());
            }
        }
        while let Some((torrent, grant)) = self.budget.poll_grant() {
            if let Some((_, grants)) = self.torrents.get(&torrent) {
                grants.send_replace(grant);
            }
        }
    }
}

impl Share {
    /// What the torrent could use.
    pub(super) fn ask(&self, ask: Ask) {
        self.asks.send_replace(ask);
        self.changed.notify_one();
    }

    /// The next grant. Waits forever once the session is gone.
    pub(super) async fn next(&mut self) -> Grant {
        match self.grants.changed().await {
            Ok(()) => *self.grants.borrow_and_update(),
            Err(_) => std::future::pending().await,
        }
    }
}
