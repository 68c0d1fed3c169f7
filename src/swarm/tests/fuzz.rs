//! Conversations that nobody would have, into a fresh machine: seeded, on the stable toolchain.
//!
//! `MAGNES_FUZZ_RUNS` sets how many are tried, `MAGNES_FUZZ_SEED` where they begin:
//! `MAGNES_FUZZ_RUNS=1000000 cargo test --profile fuzz --lib swarm::tests::fuzz`
//!
//! After every step the machine's invariants hold, and with them the bounds on what a peer can make it keep. In one of
//! [`COMPLETED_ONE_IN`] conversations an honest seed comes, the others continue, and the download completes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::disk::Disk;
use super::payload::Payload;
use crate::disk::{DiskError, Done};
use crate::model::{BLOCK_LEN, Bitfield, Block, PeerId, PieceIndex};
use crate::swarm::event::{BanReason, CloseCause, Event, Output, PeerKey, PeerSource};
use crate::swarm::{Swarm, SwarmConfig};
use crate::wire::{ExtendedHandshake, Features, METADATA_PIECE_LEN, Message, MetadataMessage, PeerHello};

const RUNS: u64 = 1000;
const STEPS_MAX: u32 = 40;
const PEERS_MAX: u32 = 50;
/// One in so many conversations continues until an honest seed has given everything.
const COMPLETED_ONE_IN: u64 = 16;
/// How long that may take, whatever the others do.
const COMPLETED_WITHIN: Duration = Duration::from_secs(30 * 60);
/// Messages to one peer, and requests of it, that wait to be looked at; a real one's inbox is bounded too.
const KEPT_MAX: usize = 64;
/// Effects of one step at most.
const OUTPUTS_MAX: usize = 20_000;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn whatever_peers_say_the_machine_stays_sound_and_an_honest_seed_completes_the_download() {
    let (seed, runs) = (number("MAGNES_FUZZ_SEED", 0), number("MAGNES_FUZZ_RUNS", RUNS));
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(16) as u64;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for first in seed..(seed + threads).min(seed + runs) {
            scope.spawn(move || {
                for run in (first..seed + runs).step_by(threads as usize) {
                    let outcome = catch_unwind(AssertUnwindSafe(|| converse(run, start)));
                    assert!(
                        outcome.is_ok(),
                        "repeat with: MAGNES_FUZZ_SEED={run} MAGNES_FUZZ_RUNS=1 cargo test --lib swarm::tests::fuzz"
                    );
                }
            });
        }
    });
}

fn converse(run: u64, start: Instant) {
    let mut world = World::new(run, start);
    for _ in 0..1 + world.below(STEPS_MAX) {
        world.step();
        world.drain();
    }
    if run.is_multiple_of(COMPLETED_ONE_IN) {
        world.complete();
    }
}

/// A peer, as far as the other end of its connection knows.
#[derive(Debug)]
struct Remote {
    addr: SocketAddr,
    is_connected: bool,
    is_honest: bool,
    /// What it was asked for, the latest last.
    asked: VecDeque<Block>,
    metadata_asked: VecDeque<u32>,
    /// Blocks on the way to it.
    queued: VecDeque<Block>,
}

/// One machine, its disk, and peers that are nobody's machine.
struct World {
    chance: ChaCha8Rng,
    now: Instant,
    payload: &'static Payload,
    torrent: Swarm,
    disk: Disk,
    /// What the disk has not told yet.
    events: VecDeque<Done>,
    peers: BTreeMap<PeerKey, Remote>,
    addrs: u16,
    banned: BTreeSet<SocketAddr>,
}

impl World {
    fn new(run: u64, start: Instant) -> Self {
        static PAYLOAD: OnceLock<Payload> = OnceLock::new();
        let payload = PAYLOAD.get_or_init(|| Payload::new(6, 32));
        let mut chance = ChaCha8Rng::seed_from_u64(run);
        let mut seed = [0; 32];
        chance.fill_bytes(&mut seed);
        let has_metadata = chance.next_u32().is_multiple_of(2);
        let config = SwarmConfig {
            info_raw: has_metadata.then(|| payload.info_raw.clone()),
            dht_port: Some(1),
            ..SwarmConfig::new(payload.info_hash, PeerId::new([2; 20]))
        };
        let mut world = Self {
            torrent: Swarm::new(config, seed, start),
            disk: Disk::new(payload.clone()),
            chance,
            now: start,
            payload,
            events: VecDeque::new(),
            peers: BTreeMap::new(),
            addrs: 0,
            banned: BTreeSet::new(),
        };
        if has_metadata {
            world.open();
        }
        for _ in 0..1 + world.below(PEERS_MAX) / (1 + world.below(PEERS_MAX)) {
            world.connect(false);
        }
        world.drain();
        world
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.chance.next_u32() % limit.max(1)
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.below(count) == 0
    }

    /// The storage is open, with some of the pieces.
    fn open(&mut self) {
        let geometry = self.payload.geometry;
        let mut have = Bitfield::empty(geometry.piece_count());
        let likely = self.below(4);
        for piece in geometry.pieces() {
            if self.below(4) < likely {
                have.insert(piece);
            }
        }
        self.torrent.handle_opened(self.now, geometry, have, None);
    }

    fn addr(&mut self, is_honest: bool) -> SocketAddr {
        self.addrs += 1;
        let [high, low] = self.addrs.to_be_bytes();
        if is_honest {
            return ([11, 0, high, low], 6881).into();
        }
        // Some share an address.
        if self.one_in(4) { ([10, 1, 1, 1], self.addrs).into() } else { ([10, 2, high, low], 6881).into() }
    }

    /// A peer connects to us.
    fn connect(&mut self, is_honest: bool) -> Option<PeerKey> {
        let addr = self.addr(is_honest);
        let key = self.torrent.handle_incoming(self.now, addr)?;
        self.meet(key, addr, is_honest);
        self.greet(key);
        Some(key)
    }

    fn meet(&mut self, key: PeerKey, addr: SocketAddr, is_honest: bool) {
        let remote = Remote {
            addr,
            is_connected: false,
            is_honest,
            asked: VecDeque::new(),
            metadata_asked: VecDeque::new(),
            queued: VecDeque::new(),
        };
        self.peers.insert(key, remote);
    }

    /// The handshakes are done.
    fn greet(&mut self, key: PeerKey) {
        let [kind, id, ..] = self.chance.next_u32().to_le_bytes();
        let Some(remote) = self.peers.get_mut(&key) else { return };
        remote.is_connected = true;
        let mut peer_id = [4; 20];
        peer_id[..8].copy_from_slice(&key.get().to_be_bytes());
        if !remote.is_honest && kind < 10 {
            // Somebody else's, or ours.
            peer_id = [id % 4; 20];
        }
        let fast = remote.is_honest || kind & 1 == 0;
        let hello = PeerHello {
            peer_id: PeerId::new(peer_id),
            features: Features { fast, extension: remote.is_honest || kind & 2 == 0, dht: kind & 4 == 0 },
        };
        self.torrent.handle_connected(self.now, key, hello);
    }

    /// One of those that are not honest.
    fn any_peer(&mut self) -> Option<PeerKey> {
        let at = self.below(self.peers.len() as u32) as usize;
        self.peers.iter().filter(|(_, remote)| !remote.is_honest).nth(at).map(|(key, _)| *key)
    }

    fn step(&mut self) {
        match self.below(20) {
            0 => {
                self.connect(false);
            }
            1 => self.hang_up(),
            2..=3 => self.pass_time(),
            4 => self.name_addrs(),
            5 => {
                if self.one_in(2) {
                    self.torrent.pause(self.now);
                    self.drain();
                }
                self.torrent.resume(self.now);
            }
            6 => self.lose_piece(),
            7..=9 => self.finish_disk(),
            10 => self.send_out(),
            _ => self.talk(),
        }
    }

    fn hang_up(&mut self) {
        let Some(key) = self.any_peer() else { return };
        self.peers.remove(&key);
        let cause = match self.below(4) {
            0 => CloseCause::Eof,
            1 => CloseCause::DialFailed(std::io::ErrorKind::ConnectionRefused),
            2 => CloseCause::TooSlow,
            _ => CloseCause::Io(std::io::ErrorKind::ConnectionReset),
        };
        self.torrent.handle_closed(self.now, key, cause);
    }

    fn pass_time(&mut self) {
        let ms = match self.below(4) {
            0 => self.below(100),
            1 => self.below(120_000),
            _ => self.below(3000),
        };
        self.now += Duration::from_millis(ms.into());
        self.torrent.handle_timeout(self.now);
    }

    fn name_addrs(&mut self) {
        let source = [PeerSource::Dht, PeerSource::User, PeerSource::Resume][self.below(3) as usize];
        let addrs: Vec<SocketAddr> = (0..self.below(5)).map(|_| self.addr(false)).collect();
        self.torrent.handle_candidates(self.now, source, &addrs);
    }

    /// A verified piece is not on the disk after all.
    fn lose_piece(&mut self) {
        let piece = self.any_piece();
        if self.torrent.have().is_some_and(|have| have.contains(piece)) {
            self.torrent.handle_lost(self.now, piece);
        }
    }

    fn any_piece(&mut self) -> PieceIndex {
        PieceIndex::new(self.below(self.payload.geometry.piece_count()))
    }

    /// The disk says what it did, some of it.
    fn finish_disk(&mut self) {
        for _ in 0..self.below(4) {
            // Each thread keeps its order: what belongs to one piece stays in turn.
            let Some(event) = self.events.pop_front() else { return };
            self.torrent.handle_disk(self.now, event);
        }
    }

    /// A socket takes some of what waits for it.
    fn send_out(&mut self) {
        let Some(key) = self.any_peer() else { return };
        let Some(block) = self.peers.get_mut(&key).and_then(|remote| remote.queued.pop_front()) else { return };
        self.torrent.handle_sent(self.now, key, block.len);
    }

    fn talk(&mut self) {
        let Some(key) = self.any_peer() else { return };
        if !self.peers[&key].is_connected {
            return if self.one_in(2) { self.greet(key) } else { self.hang_up() };
        }
        let mut messages: Vec<Message> = (0..1 + self.below(6)).map(|_| self.message(key)).collect();
        if self.one_in(50) {
            let again = messages[0].clone();
            messages.extend(std::iter::repeat_n(again, 300));
        }
        self.torrent.handle_messages(self.now, key, messages);
    }

    /// A number that is in range, at its edge or absurd.
    fn edge(&mut self, limit: u32) -> u32 {
        match self.below(8) {
            0 => limit,
            1 => u32::MAX - self.below(2),
            _ => self.below(limit),
        }
    }

    fn block(&mut self) -> Block {
        let piece = PieceIndex::new(self.edge(self.payload.geometry.piece_count()));
        let begin = if self.one_in(4) { self.edge(40_000) } else { self.below(2) * BLOCK_LEN };
        let len = match self.below(6) {
            0 => 1 + self.below(10),
            1 => 1 + self.edge(200_000).min(200_000),
            _ => BLOCK_LEN,
        };
        Block { piece, begin, len }
    }

    fn message(&mut self, key: PeerKey) -> Message {
        let pieces = self.payload.geometry.piece_count();
        match self.below(26) {
            0 => Message::KeepAlive,
            1 => Message::Choke,
            2..=3 => Message::Unchoke,
            4 => Message::Interested,
            5 => Message::NotInterested,
            6 => Message::Have(PieceIndex::new(self.edge(pieces))),
            7 => {
                let mut bits = self.chance.next_u32().to_le_bytes();
                if !self.one_in(8) {
                    // The spare bits are zero.
                    bits[0] &= !(0xff >> pieces);
                }
                let len = if self.one_in(8) { self.below(5) as usize } else { 1 };
                Message::Bitfield(Bytes::copy_from_slice(&bits[..len]))
            }
            8..=9 => Message::Request(self.block()),
            10 => Message::Cancel(self.block()),
            11 => Message::Port(self.edge(65_536).min(65_535) as u16),
            12 => Message::Suggest(PieceIndex::new(self.edge(pieces))),
            13..=14 => Message::HaveAll,
            15 => Message::HaveNone,
            16 => Message::Reject(self.block()),
            17 => Message::AllowedFast(PieceIndex::new(self.edge(pieces))),
            18 => Message::ExtendedHandshake(self.extended()),
            19 => self.metadata(key),
            20 => {
                let block = self.block();
                Message::Piece { piece: block.piece, begin: block.begin, data: vec![0; block.len as usize].into() }
            }
            21 => match self.peers.get_mut(&key).and_then(|remote| remote.asked.pop_front()) {
                Some(block) => Message::Reject(block),
                None => Message::KeepAlive,
            },
            _ => self.answer(key),
        }
    }

    fn extended(&mut self) -> ExtendedHandshake {
        let len = self.payload.info_raw.len() as u32;
        let metadata_size = match self.below(6) {
            0 => None,
            1 => Some(self.edge(20 << 20)),
            _ => Some(len),
        };
        let ut_metadata = !self.one_in(6);
        let reqq = self.one_in(2).then(|| self.edge(300));
        let port = self.one_in(2).then(|| self.edge(65_536).min(65_535) as u16);
        ExtendedHandshake { ut_metadata, metadata_size, reqq, port, upload_only: self.one_in(8), ..Default::default() }
    }

    fn metadata(&mut self, key: PeerKey) -> Message {
        let asked = self.peers.get_mut(&key).and_then(|remote| remote.metadata_asked.pop_front());
        let piece = match asked {
            Some(piece) => piece,
            None => self.edge(4),
        };
        Message::Metadata(match self.below(4) {
            0 => MetadataMessage::Request { piece },
            1 => MetadataMessage::Reject { piece },
            _ => {
                let mut data = metadata_piece(self.payload, piece).to_vec();
                if self.one_in(2) {
                    data.truncate(self.below(20_000) as usize);
                }
                if let (Some(first), true) = (data.first_mut(), self.one_in(2)) {
                    *first ^= 1;
                }
                MetadataMessage::Data { piece, total_size: self.edge(50_000), data: data.into() }
            }
        })
    }

    /// A block that the peer was asked for, right or wrong.
    fn answer(&mut self, key: PeerKey) -> Message {
        let is_wrong = self.one_in(3);
        match self.peers.get_mut(&key).and_then(|remote| remote.asked.pop_front()) {
            Some(block) => self.piece(&block, is_wrong),
            None => Message::Unchoke,
        }
    }

    fn piece(&self, block: &Block, is_wrong: bool) -> Message {
        let right = self.payload.read(block);
        let data = if is_wrong { right.iter().map(|byte| byte ^ 0x55).collect() } else { right };
        Message::Piece { piece: block.piece, begin: block.begin, data }
    }

    /// Does what the machine says, and looks whether it is sound.
    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.torrent.poll_output() {
            outputs += 1;
            assert!(outputs < OUTPUTS_MAX, "a step has effects without end");
            self.carry_out(output);
        }
        self.torrent.check_invariants();
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Dial { peer, addr } => self.meet(peer, addr, false),
            Output::Close { peer, .. } => {
                self.peers.remove(&peer);
            }
            Output::Send { peer, message } => {
                let Some(remote) = self.peers.get_mut(&peer) else { return };
                remote.take(message);
            }
            Output::TakeBack { peer, blocks } => {
                let Some(remote) = self.peers.get_mut(&peer) else { return };
                let (taken, kept): (Vec<Block>, Vec<Block>) =
                    remote.queued.drain(..).partition(|block| blocks.contains(block));
                remote.queued = kept.into();
                self.torrent.handle_taken_back(peer, &taken);
            }
            Output::Metadata(raw) => {
                assert_eq!(raw, self.payload.info_raw, "metadata with another hash");
                self.open();
            }
            Output::Write { piece, begin, blocks } => self.events.extend(self.disk.write(piece, begin, blocks)),
            Output::Read { peer, run } => {
                assert!(self.torrent.have().is_some_and(|have| have.contains(run.piece)), "nothing to be read");
                let (tag, block) = (peer.get(), run);
                let done = match self.one_in(8) {
                    true => Done::Unread { tag, block, error: DiskError::Full { path: "x".into(), needed: None } },
                    false => Done::Read { tag, block, data: self.disk.read(&block) },
                };
                self.events.push_back(done);
            }
            Output::Event(Event::PeerBanned { addr, reason }) => {
                assert!(matches!(reason, BanReason::CorruptBlocks | BanReason::CorruptMetadata | BanReason::Faults));
                self.banned.insert(addr);
            }
            Output::DhtNode(_) | Output::Event(_) => {}
        }
    }

    /// An honest seed comes, and comes again when it is closed. The others continue as before.
    fn complete(&mut self) {
        let end = self.now + COMPLETED_WITHIN;
        let mut honest = None;
        let mut honest_addrs = BTreeSet::new();
        while !self.torrent.is_complete() || self.torrent.have().is_none() {
            assert!(self.now < end, "not complete: {:?}", self.torrent.status());
            if !honest.is_some_and(|key| self.peers.contains_key(&key)) {
                honest = self.connect(true);
                self.introduce(honest);
                honest_addrs.extend(honest.and_then(|key| self.peers.get(&key)).map(|remote| remote.addr));
            }
            if self.one_in(3) {
                self.talk();
                self.drain();
            }
            self.serve(honest);
            while let Some(event) = self.events.pop_front() {
                self.torrent.handle_disk(self.now, event);
                self.drain();
            }
            self.now += Duration::from_millis(100);
            if self.torrent.next_timeout().is_some_and(|due| due <= self.now) {
                self.torrent.handle_timeout(self.now);
                self.drain();
            }
        }
        assert!(self.banned.is_disjoint(&honest_addrs), "an honest peer is banned");
    }

    fn introduce(&mut self, honest: Option<PeerKey>) {
        let Some(key) = honest else { return };
        let metadata_size = Some(self.payload.info_raw.len() as u32);
        let handshake = ExtendedHandshake { ut_metadata: true, metadata_size, ..Default::default() };
        let messages = vec![Message::ExtendedHandshake(handshake), Message::HaveAll, Message::Unchoke];
        self.drain();
        self.torrent.handle_messages(self.now, key, messages);
        self.drain();
    }

    /// The honest seed answers everything.
    fn serve(&mut self, honest: Option<PeerKey>) {
        let Some((key, remote)) = honest.and_then(|key| Some((key, self.peers.get_mut(&key)?))) else { return };
        let blocks = std::mem::take(&mut remote.asked);
        let metadata = std::mem::take(&mut remote.metadata_asked);
        let total_size = self.payload.info_raw.len() as u32;
        let data = |piece| MetadataMessage::Data { piece, total_size, data: metadata_piece(self.payload, piece) };
        let mut messages: Vec<Message> = metadata.into_iter().map(|piece| Message::Metadata(data(piece))).collect();
        messages.extend(blocks.iter().map(|block| self.piece(block, false)));
        self.torrent.handle_messages(self.now, key, messages);
        self.drain();
    }
}

impl Remote {
    /// What it makes of a message of ours.
    fn take(&mut self, message: Message) {
        match message {
            Message::Request(block) => {
                self.asked.push_back(block);
                // The honest one forgets nothing.
                if !self.is_honest && self.asked.len() > KEPT_MAX {
                    self.asked.pop_front();
                }
            }
            Message::Cancel(block) => self.asked.retain(|asked| *asked != block),
            Message::Metadata(MetadataMessage::Request { piece }) => {
                self.metadata_asked.push_back(piece);
                if !self.is_honest && self.metadata_asked.len() > KEPT_MAX {
                    self.metadata_asked.pop_front();
                }
            }
            Message::Piece { piece, begin, data } => {
                self.queued.push_back(Block { piece, begin, len: data.len() as u32 });
            }
            _ => {}
        }
    }
}

/// A piece of the info dictionary; nothing beyond its end.
fn metadata_piece(payload: &Payload, piece: u32) -> Bytes {
    let raw = &payload.info_raw;
    let start = (piece as usize).saturating_mul(METADATA_PIECE_LEN as usize).min(raw.len());
    raw.slice(start..raw.len().min(start + METADATA_PIECE_LEN as usize))
}
