//! Where a torrent's peers come from: searches of the DHT, and our own announce to it.
#![allow(clippy::disallowed_methods, reason = "a driver reads the clock")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use magnes_dht::{AnnounceGuard, AnnouncePort, Closed, Dht, PeerStream, Readiness, Stats, is_unresolved};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::model::InfoHash;
use crate::swarm::SearchSchedule;

/// How often the DHT is asked how it is.
const STATE_INTERVAL: Duration = Duration::from_millis(500);

/// Nodes of one torrent that are remembered: its maker chose how many there are.
const NODES_MAX: usize = 64;

/// What the DHT has to say.
#[derive(Debug)]
pub(super) enum Found {
    /// Addresses of peers.
    Peers(Vec<SocketAddr>),
    /// How it is.
    State(Box<DhtState>),
}

/// How the DHT is.
#[derive(Debug)]
pub(super) struct DhtState {
    /// Whether it can find any peers.
    pub(super) readiness: Readiness,
    /// Whether the machine seems to have no network.
    pub(super) is_offline: bool,
    pub(super) stats: Stats,
}

/// The DHT as one torrent uses it.
#[derive(Debug)]
pub(super) struct Discovery {
    dht: Dht,
    info_hash: InfoHash,
    schedule: SearchSchedule,
    search: Option<PeerStream>,
    ticks: Interval,
    /// The question under way of how the DHT is. Something else may happen meanwhile without it being lost.
    states: JoinSet<Result<DhtState, Closed>>,
    /// Nodes that the torrent names, for as long as the DHT has not answered.
    nodes: Vec<SocketAddr>,
    ready: bool,
    /// Whether we are announced as a seed, which others count apart (BEP 33).
    seed: bool,
    /// Keeps us announced for as long as the torrent lives.
    announce: AnnounceGuard,
}

impl Discovery {
    /// Begins to announce; the first search is due at once. TCP and UDP share a port number, so the port that is announced is
    /// the one our datagrams come from: that holds behind address translation too.
    pub(super) fn new(dht: Dht, info_hash: InfoHash) -> Self {
        let announce = dht.keep_announced(info_hash, AnnouncePort::Implied, false);
        let schedule = SearchSchedule::new(Instant::now());
        let mut ticks = interval(STATE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (search, nodes, states) = (None, Vec::new(), JoinSet::new());
        Self { dht, info_hash, schedule, search, ticks, states, nodes, ready: false, seed: false, announce }
    }

    /// We have all of the torrent, or no longer so: it is announced anew if that is news.
    pub(super) fn set_seed(&mut self, seed: bool) {
        if self.seed != seed {
            self.seed = seed;
            self.announce = self.dht.keep_announced(self.info_hash, AnnouncePort::Implied, seed);
        }
    }

    /// When a search is due, given that the torrent wants peers.
    pub(super) fn next_search(&self) -> Option<Instant> {
        self.schedule.next_search()
    }

    /// Nodes that may know the torrent's peers. They are asked again with each search until some node answers.
    pub(super) fn add_nodes(&mut self, addrs: &[SocketAddr]) {
        let room = NODES_MAX.saturating_sub(self.nodes.len());
        self.nodes.extend(addrs.iter().take(room));
        self.meet_nodes();
    }

    fn meet_nodes(&self) {
        self.nodes.iter().for_each(|addr| self.dht.add_node(*addr));
    }

    /// Begins a search.
    pub(super) fn search(&mut self) {
        if !self.ready {
            self.meet_nodes();
        }
        self.schedule.handle_started();
        self.search = Some(self.dht.get_peers(self.info_hash));
    }

    /// What the DHT has to say next: addresses of the search under way, or how it is.
    pub(super) async fn next(&mut self) -> Found {
        tokio::select! {
            peers = next_peers(&mut self.search) => Found::Peers(self.handle_peers(peers)),
            state = next_state(&mut self.ticks, &mut self.states, &self.dht) => {
                if let Found::State(state) = &state {
                    self.ready = matches!(state.readiness, Readiness::Ready);
                }
                state
            }
        }
    }

    fn handle_peers(&mut self, peers: Option<Vec<SocketAddr>>) -> Vec<SocketAddr> {
        if let Some(peers) = peers {
            return peers;
        }
        self.search = None;
        self.schedule.handle_finished(Instant::now());
        Vec::new()
    }

    pub(super) fn dht(&self) -> &Dht {
        &self.dht
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
        Some(Ok(Ok(state))) => Found::State(Box::new(state)),
        // The node is shut down: there is nothing more to say.
        _ => std::future::pending().await,
    }
}

async fn state_of(dht: Dht) -> Result<DhtState, Closed> {
    let (readiness, stats) = (dht.readiness().await?, dht.stats().await?);
    let is_offline = !matches!(readiness, Readiness::Ready) && is_unresolved(&dht.bootstrap_hosts().await?);
    Ok(DhtState { readiness, is_offline, stats })
}
