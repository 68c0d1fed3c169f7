//! The machine of one torrent. What happens is told with `handle_*`; what is to be done is drained with `poll_output`.

mod choice;
mod config;
mod connections;
mod download;
mod fetch;
mod messages;
mod room;
mod timers;
mod upload;

#[cfg(test)]
mod opened;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::blame::Blame;
use super::candidates::Candidates;
use super::choker::Choker;
use super::credit::Credit;
use super::event::{Event, Output, PeerKey};
use super::flood::Allowance;
use super::limits::{Amounts, Shortage};
use super::metadata::MetadataFetch;
use super::peer::Peer;
use super::peer_status::PeerStatus;
use super::pieces::Pieces;
use super::rate::Rate;
use super::status::{Reason, Status};
use crate::model::Bitfield;
use crate::wire::{ExtendedHandshake, Message};

pub use config::SwarmConfig;

/// Rates for people look back about this far.
const STATUS_WINDOW: Duration = Duration::from_secs(5);

/// One torrent: whom to dial, what to ask for, whom to serve.
#[derive(Debug)]
pub struct Swarm {
    config: SwarmConfig,
    chance: ChaCha8Rng,
    peers: BTreeMap<PeerKey, Peer>,
    keys: u64,
    candidates: Candidates,
    /// The info dictionary, once it is known.
    info_raw: Option<bytes::Bytes>,
    metadata: MetadataFetch,
    /// `None` until the storage is open.
    pieces: Option<Pieces>,
    blame: Blame,
    /// Addresses of the newest connections, ended ones included: a block may be found wrong after its sender left.
    senders: BTreeMap<PeerKey, SocketAddr>,
    choker: Choker,
    credit: Credit,
    /// What the torrent may use.
    granted: Amounts,
    shortage: Shortage,
    /// What the reads for all peers cost.
    reading: u64,
    /// Blocks that choked peers may have yet.
    courtesy: Allowance,
    /// Metadata pieces that peers may have yet.
    metadata_budget: Allowance,
    /// When a block, or part of one, reached the socket of any peer last.
    sent_at: Instant,
    down: Rate,
    up: Rate,
    /// From when on pieces are fetched to which others have a better claim, even the last ones.
    help_at: Option<Instant>,
    paused: bool,
    next_tick: Instant,
    next_choke: Instant,
    outputs: VecDeque<Output>,
}

impl Swarm {
    /// A torrent without storage: it fetches the metadata if `config` has none, and continues with
    /// [`Swarm::handle_opened`].
    pub fn new(config: SwarmConfig, seed: [u8; 32], now: Instant) -> Self {
        Self {
            chance: ChaCha8Rng::from_seed(seed),
            peers: BTreeMap::new(),
            keys: 0,
            candidates: Candidates::default(),
            info_raw: config.info_raw.clone(),
            metadata: MetadataFetch::new(config.info_hash),
            pieces: None,
            blame: Blame::default(),
            senders: BTreeMap::new(),
            choker: Choker::new(config.upload_slots),
            credit: Credit::default(),
            granted: config.limits(),
            shortage: Shortage::default(),
            reading: 0,
            courtesy: Allowance::for_courtesy(now),
            metadata_budget: Allowance::for_metadata(now),
            sent_at: now,
            down: Rate::new(now, STATUS_WINDOW),
            up: Rate::new(now, STATUS_WINDOW),
            help_at: None,
            paused: false,
            next_tick: now,
            next_choke: now,
            outputs: VecDeque::new(),
            config,
        }
    }

    /// What to do next. Drain it after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether more addresses would be of use.
    pub fn wants_peers(&self) -> bool {
        let wants_data = self.pieces.as_ref().is_none_or(|pieces| !pieces.is_complete());
        !self.paused && wants_data && self.candidates.hopeful() < self.config.peers_max
    }

    /// The pieces that are verified; `None` until the storage is open.
    pub fn have(&self) -> Option<&Bitfield> {
        self.pieces.as_ref().map(Pieces::have)
    }

    /// Whether every wanted piece is verified.
    pub fn is_complete(&self) -> bool {
        self.pieces.as_ref().is_some_and(Pieces::is_complete)
    }

    /// Whether the info dictionary is known.
    pub fn has_metadata(&self) -> bool {
        self.info_raw.is_some()
    }

    /// Addresses that worked, for the next session.
    pub fn good_addrs(&self) -> Vec<SocketAddr> {
        self.peers.values().filter(|peer| peer.is_connected()).filter_map(|peer| peer.listen).collect()
    }

    /// How far the torrent is.
    pub fn status(&self) -> Status {
        let connected = self.peers.values().filter(|peer| peer.is_connected()).count();
        Status {
            has_metadata: self.has_metadata(),
            is_complete: self.is_complete(),
            bytes_done: self.pieces.as_ref().map_or(0, Pieces::bytes_have),
            bytes_total: self.pieces.as_ref().map_or(0, Pieces::bytes_wanted),
            down_bps: self.down.shown_bps(),
            up_bps: self.up.shown_bps(),
            downloaded: self.down.total(),
            uploaded: self.up.total(),
            peers_connected: connected,
            peers_known: self.candidates.len().max(self.peers.len()),
            reason: self.reason(connected),
        }
    }

    /// The connected peers.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let piece_count = self.pieces.as_ref().map(|pieces| pieces.have().piece_count());
        self.peers.values().filter_map(|peer| peer.status(piece_count)).collect()
    }

    fn reason(&self, connected: usize) -> Option<Reason> {
        if self.paused {
            return Some(Reason::Paused);
        }
        if self.is_complete() || self.down.shown_bps() > 0 {
            return None;
        }
        if self.has_metadata() && self.pieces.is_none() {
            return Some(Reason::OpeningStorage);
        }
        let has_source = self.peers.values().any(|peer| peer.useful > 0) || self.metadata.peer_count() > 0;
        if let (false, Some((peers, reason))) = (has_source, self.candidates.banned_sources()) {
            return Some(Reason::SourcesBanned { peers, reason });
        }
        if connected == 0 {
            let contacts = self.candidates.contacts();
            let dialing = self.peers.len();
            return Some(match contacts.known {
                0 => Reason::NoPeersFound,
                _ => Reason::NoPeerReached { contacts, dialing },
            });
        }
        if self.pieces.is_none() {
            return Some(match self.metadata.peer_count() {
                0 => Reason::NobodyHasMetadata { connected },
                peers => Reason::FetchingMetadata { peers },
            });
        }
        let useful = self.peers.values().filter(|peer| peer.useful > 0);
        let serving = useful.clone().filter(|peer| !peer.they_choke);
        let open = serving.clone().count();
        match useful.count() {
            0 => Some(Reason::NobodyHasMissingPieces { connected }),
            useful if open == 0 => Some(Reason::AllChoke { connected: useful }),
            _ if self.credit.unwritten() >= self.granted.credit_bytes / 2 => Some(Reason::WaitingForDisk),
            _ if serving.clone().all(|peer| peer.asks.is_rejecting()) => Some(Reason::AllReject { peers: open }),
            _ => Some(Reason::WaitingForBlocks { peers: open }),
        }
    }

    /// Pieces that a peer is served while it is choked. For the simulator.
    #[doc(hidden)]
    pub fn served_while_choked(&self, key: PeerKey) -> Vec<crate::model::PieceIndex> {
        self.peers.get(&key).into_iter().flat_map(|peer| &peer.allowed_by_us).map(|(piece, _)| *piece).collect()
    }

    /// Peers that owe us blocks and have been silent for a minute. For the simulator.
    #[doc(hidden)]
    pub fn snubbed_count(&self) -> usize {
        self.peers.values().filter(|peer| peer.asks.snubbed).count()
    }

    /// The info dictionary is known and valid: as [`Output::Metadata`] handed it out, or from an earlier session. It goes to
    /// other peers as it is (BEP 9). When the torrent is private, no further peer is told of our DHT node, and no node is
    /// taken from a peer (BEP 27).
    pub fn handle_info(&mut self, info_raw: bytes::Bytes, private: bool) {
        self.info_raw = Some(info_raw);
        if private {
            self.config.dht_port = None;
        }
    }

    /// What the torrent may use from now on. What it uses beyond that is given back as it becomes free; connections are
    /// closed one by one.
    pub fn set_granted(&mut self, now: Instant, granted: Amounts) {
        let before = std::mem::replace(&mut self.granted, granted.zip(self.config.limits(), u64::min));
        if self.granted.credit_bytes > before.credit_bytes {
            self.ask_all(now);
        }
        if self.granted.read_bytes > before.read_bytes {
            self.pump_all();
        }
        if self.granted.dials > before.dials || self.granted.connections > before.connections {
            self.dial(now);
        }
    }

    /// What the torrent uses.
    pub fn used(&self) -> Amounts {
        Amounts {
            credit_bytes: self.credit.used(),
            read_bytes: self.reading,
            dials: self.half_open(),
            connections: self.peers.len() as u64,
            searches: 0,
        }
    }

    /// What could have been used beyond what is granted since this was asked last: as much again, of each kind.
    pub fn take_wish(&mut self) -> Amounts {
        let Shortage { credit, reads, dials, connections } = std::mem::take(&mut self.shortage);
        let twice = |is_short: bool, granted: u64| if is_short { granted.max(1) * 2 } else { 0 };
        Amounts {
            credit_bytes: twice(credit, self.granted.credit_bytes),
            read_bytes: twice(reads, self.granted.read_bytes),
            dials: twice(dials, self.granted.dials),
            connections: twice(connections, self.granted.connections),
            searches: 0,
        }
        .zip(self.config.limits(), u64::min)
    }

    /// Whether nobody is connected or dialled.
    pub fn is_alone(&self) -> bool {
        self.peers.is_empty()
    }

    /// Our extension handshake as it is now (BEP 10).
    pub fn extended_handshake(&self) -> ExtendedHandshake {
        ExtendedHandshake {
            ut_metadata: true,
            metadata_size: self.info_raw.as_ref().and_then(|raw| u32::try_from(raw.len()).ok()),
            reqq: u32::try_from(self.config.request_queue_max).ok(),
            port: self.config.listen_port,
            client: Some(self.config.client.to_owned()),
            your_ip: None,
            upload_only: self.is_complete(),
        }
    }

    /// Stops dialling, asking and serving; closes every connection.
    pub fn pause(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.paused, true) {
            let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
            for key in keys {
                self.close(now, key, super::event::CloseReason::Paused);
            }
        }
    }

    /// Continues after [`Swarm::pause`].
    pub fn resume(&mut self, now: Instant) {
        if std::mem::replace(&mut self.paused, false) {
            self.next_tick = now;
            self.dial(now);
        }
    }

    fn send(&mut self, peer: PeerKey, message: Message) {
        self.outputs.push_back(Output::Send { peer, message });
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Panics when the parts of the machine disagree. For tests and the simulator, after every step.
    pub fn check_invariants(&self) {
        let asked: u64 =
            self.peers.values().flat_map(|peer| peer.asks.blocks()).map(|block| u64::from(block.len)).sum();
        assert_eq!(
            self.credit.used(),
            asked + self.credit.unwritten(),
            "credit covers what was asked for or is unwritten"
        );
        assert!(asked == 0 || self.credit.used() <= self.config.credit_bytes_max + u64::from(crate::model::BLOCK_LEN));
        let reading: u64 = self.peers.values().map(|peer| u64::from(peer.serves.reading_cost())).sum();
        assert_eq!(self.reading, reading, "what is being read");
        self.peers.values().for_each(|peer| peer.serves.check_invariants());
        self.metadata.check_invariants();
        self.candidates.check_invariants();
        assert!(self.peers.len() <= self.config.peers_max, "more connections than there is room for");
        for peer in self.peers.values() {
            assert!(peer.serves.waiting.len() <= self.config.request_queue_max, "a peer has too many requests queued");
        }
        if let Some(pieces) = &self.pieces {
            pieces.check_invariants();
            for (key, peer) in &self.peers {
                let all = pieces.geometry().pieces();
                let useful = all.filter(|piece| pieces.wants(*piece) && peer.has(*piece)).count();
                assert_eq!(peer.useful as usize, useful, "useful pieces of {key:?}");
                assert!(!peer.is_connected() || peer.we_interested == (useful > 0), "interest in {key:?}");
            }
        }
    }
}
