//! The DHT as a torrent uses it: searches, and our own announce, on a real node.

use std::net::SocketAddr;
use std::time::Instant;

use magnes::torrent::DhtState;
use magnes_dht::{
    AnnouncePort, Event, InfoHash, Node, NodeConfig, OperationId, Output, PeerRole, Request, SocketIndex,
};

use crate::host::Datagram;

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

/// A node, and what one torrent asked of it.
#[derive(Debug)]
pub(super) struct Discovery {
    node: Node,
    socket: SocketIndex,
    info_hash: InfoHash,
    search: Option<OperationId>,
    announce: Option<OperationId>,
    /// Whether a search was asked for that the node did not begin.
    is_refused: bool,
    /// What the torrent was told last of how the node is.
    told: Option<DhtState>,
    has_left: bool,
}

impl Discovery {
    /// A node at `own` that bootstraps from some others.
    pub(super) fn new(
        now: Instant,
        own: SocketAddr,
        config: NodeConfig,
        bootstrap: &[SocketAddr],
        info_hash: InfoHash,
        seed: [u8; 32],
    ) -> Self {
        let mut node = Node::new(config, seed, now);
        let socket = node.add_socket(now, own);
        node.add_bootstrap(now, bootstrap);
        Self { node, socket, info_hash, search: None, announce: None, is_refused: false, told: None, has_left: false }
    }

    pub(super) fn search(&mut self, now: Instant) {
        self.cancel(now, self.search);
        self.search = self.node.start(now, Request::GetPeers(self.info_hash)).ok();
        self.is_refused = self.search.is_none();
    }

    pub(super) fn announce(&mut self, now: Instant, seed: bool) {
        self.cancel(now, self.announce);
        let role = if seed { PeerRole::Seed } else { PeerRole::Downloader };
        let (info_hash, port) = (self.info_hash, AnnouncePort::Implied);
        self.announce = self.node.start(now, Request::KeepAnnounced { info_hash, port, role }).ok();
    }

    pub(super) fn add_node(&mut self, now: Instant, addr: SocketAddr) {
        self.node.add_node(now, addr);
    }

    /// The torrent leaves; the node stays.
    pub(super) fn leave(&mut self, now: Instant) {
        self.cancel(now, self.search);
        self.cancel(now, self.announce);
        (self.search, self.announce, self.has_left) = (None, None, true);
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.node.handle_datagram(now, self.socket, from, datagram);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.node.next_timeout().is_some_and(|due| now >= due) {
            self.node.handle_timeout(now);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.node.next_timeout()
    }

    /// What the DHT has to say next. What it sends is appended to `out`.
    pub(super) fn next(&mut self, out: &mut Vec<Datagram>) -> Option<Found> {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Transmit { to, payload, .. } => out.push(Datagram { to, payload: payload.to_vec() }),
                Output::Event(event) if self.search.is_none() || event.operation() != self.search => {}
                Output::Event(Event::Peers { peers, .. }) => return Some(Found::Peers(peers)),
                Output::Event(event) if event.is_final() => {
                    self.search = None;
                    return Some(Found::End);
                }
                Output::Event(_) => {}
            }
        }
        if std::mem::take(&mut self.is_refused) {
            return Some(Found::End);
        }
        let (readiness, contacts) = (self.node.readiness(), self.node.contacts());
        let state = DhtState { readiness, is_offline: false, contacts };
        let is_news = !self.has_left && self.told.replace(state) != Some(state);
        is_news.then_some(Found::State(state))
    }

    pub(super) fn check_invariants(&self) {
        self.node.check_invariants();
    }

    fn cancel(&mut self, now: Instant, operation: Option<OperationId>) {
        if let Some(operation) = operation {
            self.node.cancel(now, operation);
        }
    }
}
