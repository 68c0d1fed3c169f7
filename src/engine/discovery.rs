//! The DHT as a torrent uses it: searches, and our own announce.

use std::net::SocketAddr;
use std::time::Duration;

use magnes_dht::{AnnounceGuard, AnnouncePort, Closed, Dht, PeerRole, PeerStream, Readiness, is_unresolved};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::model::InfoHash;
use crate::torrent::DhtState;

/// How often the DHT is asked how it is.
const STATE_INTERVAL: Duration = Duration::from_millis(500);

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
    ticks: Interval,
    /// The question under way of how the DHT is. Something else may happen meanwhile without it being lost.
    states: JoinSet<Result<DhtState, Closed>>,
    /// Keeps us announced.
    announce: Option<AnnounceGuard>,
}

impl Discovery {
    pub(super) fn new(dht: Dht, info_hash: InfoHash) -> Self {
        let mut ticks = interval(STATE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { dht, info_hash, search: None, ticks, states: JoinSet::new(), announce: None }
    }

    /// Keeps us announced from here on. TCP and UDP share a port number, so the port that is announced is the one our
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
            state = next_state(&mut self.ticks, &mut self.states, &self.dht) => state,
        }
    }
}

/// Waits for ever while no search is under way.
async fn next_peers(search: &mut Option<PeerStream>) -> Option<Vec<SocketAddr>> {
    match search {
        Some(search) => search.next().await,
        None => std::future::pending().await,
    }
}

async fn next_state(ticks: &mut Interval, states: &mut JoinSet<Result<DhtState, Closed>>, dht: &Dht) -> Found {
    if states.is_empty() {
        ticks.tick().await;
        states.spawn_local(state_of(dht.clone()));
    }
    match states.join_next().await {
        Some(Ok(Ok(state))) => Found::State(state),
        // The node is shut down: there is nothing more to say.
        _ => std::future::pending().await,
    }
}

async fn state_of(dht: Dht) -> Result<DhtState, Closed> {
    let (readiness, stats) = (dht.readiness().await?, dht.stats().await?);
    let is_offline = !matches!(readiness, Readiness::Ready) && is_unresolved(&dht.bootstrap_hosts().await?);
    Ok(DhtState { readiness, is_offline, contacts: stats.contacts })
}
