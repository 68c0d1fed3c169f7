//! What peers and the DHT say: handed to the swarm, as far as it is the swarm's.

use std::net::SocketAddr;
use std::time::Instant;

use super::{DhtState, Output, Role, Sharing, Sources, Stage, Torrent};
use crate::model::{Bitfield, Block, PeerId};
use crate::swarm::{CloseCause, PeerKey, PeerSource, PeerStatus};
use crate::wire::{Features, LinkConfig, Message, PeerHello};

/// Bytes that may wait for one peer to read: the blocks that the torrent allows it, and room for all else.
const SEND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What every link of ours has in common.
pub fn link_config(peer_id: PeerId, has_dht: bool) -> LinkConfig {
    LinkConfig {
        features: Features { dht: has_dht, ..Features::ALL },
        send_budget_bytes: SEND_BYTES_MAX,
        ..LinkConfig::new(peer_id)
    }
}

/// Peers.
impl Torrent {
    /// What a connection that begins now says of us.
    pub fn link_config(&self) -> LinkConfig {
        let extended = self.swarm.extended_handshake();
        LinkConfig { extended, ..link_config(self.config.peer_id, self.sources.is_some()) }
    }

    /// A peer connected to us. `None`: the connection is to be closed.
    pub fn handle_incoming(&mut self, now: Instant, addr: SocketAddr) -> Option<PeerKey> {
        self.begin(now);
        self.swarm.handle_incoming(now, addr)
    }

    /// Both handshakes of a connection are done.
    pub fn handle_connected(&mut self, now: Instant, peer: PeerKey, hello: PeerHello) {
        self.begin(now);
        self.swarm.handle_connected(now, peer, hello);
    }

    /// A run of messages of one peer, in order.
    pub fn handle_messages(&mut self, now: Instant, peer: PeerKey, messages: Vec<Message>) {
        self.begin(now);
        self.swarm.handle_messages(now, peer, messages);
    }

    /// Payload reached the socket of a peer.
    pub fn handle_sent(&mut self, now: Instant, peer: PeerKey, payload_bytes: u32) {
        self.begin(now);
        self.swarm.handle_sent(now, peer, payload_bytes);
    }

    /// Blocks will not be sent, as [`Output::TakeBack`] asked for.
    pub fn handle_taken_back(&mut self, now: Instant, peer: PeerKey, blocks: &[Block]) {
        self.begin(now);
        self.swarm.handle_taken_back(peer, blocks);
    }

    /// A connection is gone.
    pub fn handle_closed(&mut self, now: Instant, peer: PeerKey, cause: CloseCause) {
        self.begin(now);
        self.swarm.handle_closed(now, peer, cause);
    }
}

/// What is known of them.
impl Torrent {
    /// The connected peers.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.swarm.peers()
    }
}

/// Where peers come from.
impl Torrent {
    /// Addresses that the user or the source gives are known.
    pub fn handle_resolved(&mut self, now: Instant, role: Role, addrs: &[SocketAddr]) {
        self.begin(now);
        match role {
            Role::Peer => self.swarm.handle_candidates(now, PeerSource::User, addrs),
            Role::Node => {
                let nodes = self.sources.as_mut().map(|sources| sources.add_nodes(addrs)).unwrap_or_default();
                nodes.into_iter().for_each(|addr| self.emit(Output::DhtNode(addr)));
            }
        }
    }

    /// The search found peers.
    pub fn handle_found(&mut self, now: Instant, addrs: &[SocketAddr]) {
        self.begin(now);
        if self.sources.is_some() {
            self.swarm.handle_candidates(now, PeerSource::Dht, addrs);
        }
    }

    /// The search is over.
    pub fn handle_search_ended(&mut self, now: Instant) {
        self.begin(now);
        if let Some(sources) = &mut self.sources {
            sources.handle_search_ended(now);
        }
    }

    /// The DHT's state changed.
    pub fn handle_dht(&mut self, now: Instant, state: DhtState) {
        self.begin(now);
        if let Some(sources) = &mut self.sources {
            sources.handle_readiness(state.readiness);
        }
        self.dht_state = Some(state);
    }

    pub(super) fn search_if_due(&mut self) {
        if !self.is_search_due() || !self.may_search() {
            return;
        }
        if let Some(sources) = &mut self.sources {
            let nodes = sources.handle_search_started();
            nodes.into_iter().for_each(|addr| self.emit(Output::DhtNode(addr)));
            self.emit(Output::Search);
        }
    }

    fn is_search_due(&self) -> bool {
        let sources = self.sources.as_ref().filter(|_| self.swarm.wants_peers());
        sources.and_then(Sources::next_search).is_some_and(|due| self.now >= due)
    }

    /// Whether a search is due or under way.
    pub(super) fn wants_search(&self) -> bool {
        self.is_search_due() || self.sources.as_ref().is_some_and(Sources::is_searching)
    }

    pub(super) fn may_search(&self) -> bool {
        self.sharing.as_ref().is_none_or(Sharing::may_search)
    }

    /// Keeps what the DHT is told of us true.
    pub(super) fn announce(&mut self) {
        let seed = self.swarm.have().is_some_and(Bitfield::is_full);
        if let Some(sources) = &mut self.sources
            && sources.set_announced(seed)
        {
            self.outputs.push_back(Output::Announce { seed });
        }
    }

    pub(super) fn leave_dht(&mut self) {
        if self.sources.take().is_some() {
            self.outputs.push_back(Output::LeaveDht);
        }
    }
}

/// The user's wishes.
impl Torrent {
    /// Stops asking, serving and dialling until [`Torrent::resume`].
    pub fn pause(&mut self, now: Instant) {
        self.begin(now);
        self.swarm.pause(now);
        self.report.hurry();
    }

    /// Continues after [`Torrent::pause`].
    pub fn resume(&mut self, now: Instant) {
        self.begin(now);
        if !matches!(self.stage, Stage::Failed(_)) && self.stopping.is_none() {
            self.swarm.resume(now);
        }
        self.report.hurry();
    }
}
