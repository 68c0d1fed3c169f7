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

/// A torrent's end. What it was granted is given back when this is dropped, however its task ends.
#[derive(Debug)]
pub(crate) struct Share {
    asks: watch::Sender<Ask>,
    grants: watch::Receiver<Grant>,
    /// Dropped last: the session finds the asks closed.
    changed: Bell,
}

/// Wakes the session, also when it is dropped.
#[derive(Debug)]
struct Bell(Rc<Notify>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
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
        (Share { asks, grants, changed: Bell(self.changed.clone()) }, grant)
    }

    /// Waits until a torrent asks for something else, or is gone; [`Shares::settle`] is then due.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + use<> {
        let changed = self.changed.clone();
        async move { changed.notified().await }
    }

    /// Takes what is asked to the budget, and what it grants to the torrents.
    pub(crate) fn settle(&mut self) {
        let budget = &mut self.budget;
        self.torrents.retain(|torrent, (asks, _)| {
            let is_here = asks.has_changed();
            match is_here {
                Ok(true) => budget.handle_ask(*torrent, *asks.borrow_and_update()),
                Ok(false) => {}
                // It is gone with all that it used.
                Err(_) => budget.remove(*torrent),
            }
            is_here.is_ok()
        });
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
        self.changed.0.notify_one();
    }

    /// The next grant. Waits forever once the session is gone.
    pub(super) async fn next(&mut self) -> Grant {
        match self.grants.changed().await {
            Ok(()) => *self.grants.borrow_and_update(),
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::Amounts;

    fn searches(searches: u64) -> Amounts {
        Amounts { searches, ..Amounts::default() }
    }

    #[tokio::test]
    async fn what_is_asked_is_granted_and_given_back_when_a_torrent_is_gone() {
        let mut shares = Shares::new(Budget::new(searches(1), Amounts::default()));
        let ((one, _), (mut other, _)) = (shares.add(1), shares.add(2));
        let ask = Ask { wanted: searches(1), ..Ask::default() };
        one.ask(ask);
        shares.changed().await;
        shares.settle();
        assert_eq!(one.grants.borrow().amounts, searches(1));
        other.ask(ask);
        shares.changed().await;
        shares.settle();
        assert!(!other.grants.has_changed().unwrap(), "there is but one");
        drop(one);
        shares.changed().await;
        shares.settle();
        assert_eq!(other.next().await.amounts, searches(1));
    }
}
