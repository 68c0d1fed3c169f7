//! The DHT as a torrent uses it: searches, and our own announce.

use std::net::SocketAddr;

use magnes_dht::{AnnounceGuard, AnnouncePort, Dht, DhtStatus, PeerRole, PeerStream};
use tokio::sync::watch;

use crate::model::InfoHash;
use crate::torrent::DhtState;

/// What the DHT has to say.
#[derive(Debug)]
pub(super) enum Found {
    /// Addresses of peers.
    Peers(Vec<SocketAddr>),
    /// The search is over.
    End,
    /// How it is.
    State(DhtState),
}

/// The DHT as one torrent uses it.
#[derive(Debug)]
pub(super) struct Discovery {
    dht: Dht,
    info_hash: InfoHash,
    search: Option<PeerStream>,
    status: watch::Receiver<DhtStatus>,
    /// Keeps us announced.
    announce: Option<AnnounceGuard>,
}

impl Discovery {
    pub(super) fn new(dht: Dht, info_hash: InfoHash) -> Self {
        let mut status = dht.status();
        // As it is from the start, too.
        status.mark_changed();
        Self { dht, info_hash, search: None, status, announce: None }
    }

    /// Keeps us announced from now on. TCP and UDP share a port number, so the port that is announced is the one our
    /// datagrams come from: that holds behind address translation too.
    pub(super) fn announce(&mut self, seed: bool) {
        let role = if seed { PeerRole::Seed } else { PeerRole::Downloader };
        self.announce = Some(self.dht.keep_announced(self.info_hash, AnnouncePort::Implied, role));
    }

    /// Pings a node, and remembers it if it answers.
    pub(super) fn add_node(&mut self, addr: SocketAddr) {
        self.dht.add_node(addr);
    }

    /// Begins a search.
    pub(super) fn search(&mut self) {
        self.search = Some(self.dht.get_peers(self.info_hash));
    }

    /// What the DHT has to say next.
    pub(super) async fn next(&mut self) -> Found {
        tokio::select! {
            peers = next_peers(&mut self.search) => match peers {
                Some(peers) => Found::Peers(peers),
                None => {
                    self.search = None;
                    Found::End
                }
            },
            state = next_state(&mut self.status) => Found::State(state),
        }
    }
}

/// Waits forever while no search is under way.
async fn next_peers(search: &mut Option<PeerStream>) -> Option<Vec<SocketAddr>> {
    match search {
        Some(search) => search.next().await,
        None => std::future::pending().await,
    }
}

/// Waits forever once the node is shut down: there is nothing more to say.
async fn next_state(status: &mut watch::Receiver<DhtStatus>) -> DhtState {
    if status.changed().await.is_err() {
        std::future::pending().await
    }
    let DhtStatus { readiness, is_offline, contacts, .. } = *status.borrow_and_update();
    DhtState { readiness, is_offline, contacts }
}
