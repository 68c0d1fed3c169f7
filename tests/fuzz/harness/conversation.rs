use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use magnes::disk::Done;
use magnes::model::{BLOCK_LEN, Bitfield, Block, Geometry, InfoHash, PeerId, PieceIndex};
use magnes::swarm::{CloseCause, Output, PeerKey, PeerSource, Swarm, SwarmConfig};
use magnes::wire::{
    ExtendedHandshake, Features, Link, LinkEvent, METADATA_PIECE_LEN, Message, MetadataMessage, PeerHello, SendError,
};
use sha1::{Digest, Sha1};

use super::wire::{config, greeting, transmitted};

const PIECE_COUNT: u32 = 8;
const PIECE_LEN: u64 = 2 * BLOCK_LEN as u64;
/// Peers at most; a few more connect in vain.
const PEERS_MAX: usize = 50;
/// What is read for all peers at once at most: 8 MiB, and the run that was begun below that.
const READING_MAX: u64 = 8 * 1024 * 1024 + 256 * 1024;
/// Requests of the torrent that are remembered, for each peer.
const ASKED_MAX: usize = 16;

static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];
/// A made-up info dictionary of two metadata pieces, and its hash.
static INFO: LazyLock<(Bytes, InfoHash)> = LazyLock::new(|| {
    let raw = Bytes::from(vec![b'i'; 20_000]);
    let hash = InfoHash::new(Sha1::digest(&raw).into());
    (raw, hash)
});

/// A fresh torrent, and peers that are nothing but bytes.
struct Conversation {
    torrent: Swarm,
    now: Instant,
    peers: BTreeMap<PeerKey, Remote>,
    /// Addresses that are dialled.
    dialled: VecDeque<PeerKey>,
    reads: VecDeque<(PeerKey, Block)>,
    disk: VecDeque<Done>,
    /// Blocks of each piece that were written.
    written: BTreeMap<PieceIndex, u32>,
}

struct Remote {
    link: Link,
    asked: VecDeque<Message>,
}

/// Lets peers say whatever the bytes are, through links, to a fresh torrent with metadata or without. It stays sound, and so
/// do the links.
///
/// The first byte says what the torrent has. A step is a kind, a parameter, a length in two bytes and as many bytes.
pub(crate) fn conversation(now: Instant, bytes: &[u8]) {
    let Some((setup, mut rest)) = bytes.split_first() else { return };
    let (raw, info_hash) = &*INFO;
    let known = setup & 1 == 1;
    let config = SwarmConfig {
        info_raw: known.then(|| raw.clone()),
        dht_port: Some(1),
        peers_max: PEERS_MAX,
        ..SwarmConfig::new(*info_hash, PeerId::new([1; 20]))
    };
    let mut talk = Conversation {
        torrent: Swarm::new(config, [5; 32], now),
        now,
        peers: BTreeMap::new(),
        dialled: VecDeque::new(),
        reads: VecDeque::new(),
        disk: VecDeque::new(),
        written: BTreeMap::new(),
    };
    if known {
        let have = (0..PIECE_COUNT).filter(|piece| setup >> (1 + piece % 7) & 1 == 1).map(PieceIndex::new);
        talk.open(have);
    }
    while let [kind, parameter, high, low, after @ ..] = rest {
        let (content, after) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])).min(after.len()));
        talk.step(*kind, *parameter, content);
        talk.drain();
        talk.check();
        rest = after;
    }
}

impl Conversation {
    fn open(&mut self, have: impl Iterator<Item = PieceIndex>) {
        let geometry = Geometry::new(u64::from(PIECE_COUNT) * PIECE_LEN - 1, PIECE_LEN).expect("a geometry");
        let mut field = Bitfield::empty(PIECE_COUNT);
        for piece in have {
            field.insert(piece);
        }
        self.torrent.handle_opened(self.now, geometry, field, None);
    }

    fn step(&mut self, kind: u8, parameter: u8, content: &[u8]) {
        let now = self.now;
        match kind % 24 {
            0 | 1 => self.connect(parameter),
            2..=11 => self.receive(parameter, content),
            12..=15 => self.answer(parameter),
            16 => {
                let cause =
                    if parameter & 1 == 1 { CloseCause::Eof } else { CloseCause::Io(std::io::ErrorKind::Other) };
                if let Some(key) = self.key(parameter) {
                    self.close(key, cause);
                }
            }
            17 | 18 => self.write_out(parameter),
            19 | 20 => self.finish_job(parameter),
            21 => {
                self.now += Duration::from_millis(1 << (parameter % 20));
                self.torrent.handle_timeout(self.now);
                let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
                for key in keys {
                    let Some(remote) = self.peers.get_mut(&key) else { continue };
                    if let Err(fault) = remote.link.handle_timeout(self.now) {
                        self.close(key, CloseCause::Fault(fault));
                    }
                }
            }
            22 => {
                let source = [PeerSource::Dht, PeerSource::User, PeerSource::Resume][usize::from(parameter % 3)];
                self.torrent.handle_candidates(now, source, &[addr(parameter), addr(parameter.wrapping_mul(3))]);
            }
            _ if parameter.is_multiple_of(8) => {
                self.torrent.pause(now);
                self.drain();
                self.torrent.resume(now);
            }
            _ => {
                if let Some(key) = self.dialled.pop_front() {
                    self.handle_dialled(key, parameter);
                }
            }
        }
    }

    fn key(&self, parameter: u8) -> Option<PeerKey> {
        self.peers.keys().nth(usize::from(parameter) % self.peers.len().max(1)).copied()
    }

    fn connect(&mut self, parameter: u8) {
        let Some(key) = self.torrent.handle_incoming(self.now, addr(parameter)) else { return };
        let link = Link::incoming(self.now, config(1, 0xff));
        self.peers.insert(key, Remote { link, asked: VecDeque::new() });
        self.receive_from(key, &greeting(self.now, 2 + parameter % 16, features(parameter), INFO.1));
    }

    fn handle_dialled(&mut self, key: PeerKey, parameter: u8) {
        if parameter & 1 == 1 {
            let cause = CloseCause::DialFailed(std::io::ErrorKind::TimedOut);
            return self.torrent.handle_closed(self.now, key, cause);
        }
        let link = Link::outgoing(self.now, config(1, 0xff), INFO.1);
        self.peers.insert(key, Remote { link, asked: VecDeque::new() });
        self.receive_from(key, &greeting(self.now, 2 + parameter % 16, features(parameter), INFO.1));
    }

    fn receive(&mut self, parameter: u8, content: &[u8]) {
        if let Some(key) = self.key(parameter) {
            self.receive_from(key, content);
        }
    }

    /// Bytes of a peer arrive.
    fn receive_from(&mut self, key: PeerKey, content: &[u8]) {
        let now = self.now;
        let Some(remote) = self.peers.get_mut(&key) else { return };
        remote.link.recv_buf().extend_from_slice(content);
        let mut outcome = remote.link.handle_received(now);
        loop {
            let mut messages = Vec::new();
            let Some(remote) = self.peers.get_mut(&key) else { return };
            while let Some(event) = remote.link.poll_event() {
                match event {
                    LinkEvent::Greeting { .. } => {
                        outcome = outcome.and(remote.link.accept(now, ExtendedHandshake::default()));
                    }
                    LinkEvent::Established(hello) => {
                        let (peer_id, features) = (*hello.peer_id.as_bytes(), hello.features);
                        let hello = PeerHello {
                            peer_id: PeerId::new(peer_id),
                            features: Features {
                                fast: features.fast,
                                extension: features.extension,
                                dht: features.dht,
                            },
                        };
                        self.torrent.handle_connected(now, key, hello);
                    }
                    LinkEvent::Message(message) => messages.push(message),
                }
            }
            self.torrent.handle_messages(now, key, messages);
            self.drain();
            let Some(remote) = self.peers.get_mut(&key) else { return };
            match outcome {
                Err(fault) => return self.close(key, CloseCause::Fault(fault)),
                Ok(()) if !remote.link.has_backlog() => return,
                Ok(()) => outcome = remote.link.handle_backlog(),
            }
        }
    }

    /// A peer answers what it was asked for: rightly, wrongly, or not.
    fn answer(&mut self, parameter: u8) {
        let Some(key) = self.key(parameter) else { return };
        let Some(message) = self.peers.get_mut(&key).and_then(|remote| remote.asked.pop_front()) else { return };
        let answer = match message {
            Message::Request(block) if parameter.is_multiple_of(8) => Message::Reject(block),
            Message::Request(block) => {
                let data = Bytes::from_static(&ZEROS[..block.len as usize]);
                Message::Piece { piece: block.piece, begin: block.begin, data }
            }
            Message::Metadata(MetadataMessage::Request { piece }) if parameter.is_multiple_of(4) => {
                Message::Metadata(MetadataMessage::Reject { piece })
            }
            Message::Metadata(MetadataMessage::Request { piece }) => {
                let raw = &INFO.0;
                let start = (piece.saturating_mul(METADATA_PIECE_LEN) as usize).min(raw.len());
                let end = raw.len().min(start + METADATA_PIECE_LEN as usize);
                let data =
                    if parameter % 4 == 1 { Bytes::from_static(&ZEROS[..end - start]) } else { raw.slice(start..end) };
                Message::Metadata(MetadataMessage::Data { piece, total_size: raw.len() as u32, data })
            }
            _ => return,
        };
        self.torrent.handle_messages(self.now, key, vec![answer]);
    }

    /// A peer reads some of what waits for it.
    fn write_out(&mut self, parameter: u8) {
        let Some(key) = self.key(parameter) else { return };
        let Some(remote) = self.peers.get_mut(&key) else { return };
        let mut sent = 0;
        for _ in 0..1 + parameter % 4 {
            let len = transmitted(&remote.link).len();
            let len = if parameter & 64 == 0 { len } else { len / 2 };
            sent += remote.link.handle_transmitted(self.now, len).payload_bytes as u32;
        }
        if sent > 0 {
            self.torrent.handle_sent(self.now, key, sent);
        }
    }

    /// The disk is done with something, in no certain order; or a piece is gone from it.
    fn finish_job(&mut self, parameter: u8) {
        let now = self.now;
        let index = |len: usize| usize::from(parameter >> 2) % len.max(1);
        match parameter % 4 {
            0 if parameter >= 200 => {
                let piece = PieceIndex::new(u32::from(parameter) % PIECE_COUNT);
                self.written.remove(&piece);
                self.torrent.handle_lost(now, piece);
            }
            0 | 1 => {
                let Some((peer, run)) = self.reads.remove(index(self.reads.len())) else { return };
                let whole = Bytes::from_static(&ZEROS[..(run.len as usize).min(ZEROS.len())]);
                let data = [Some(whole.clone()), Some(whole), Some(Bytes::new()), None]
                    [usize::from(parameter >> 3 & 3)]
                .clone();
                self.torrent.handle_read(now, peer, &run, data);
            }
            _ => {
                let Some(event) = self.disk.remove(index(self.disk.len())) else { return };
                self.torrent.handle_disk(now, event);
            }
        }
    }

    fn write(&mut self, piece: PieceIndex, blocks: &[Bytes]) {
        let bytes = blocks.iter().map(|block| block.len() as u32).sum();
        self.disk.push_back(Done::Written { piece, bytes });
        let written = self.written.entry(piece).or_default();
        *written += blocks.len() as u32;
        if u64::from(*written) * u64::from(BLOCK_LEN) >= PIECE_LEN {
            self.written.remove(&piece);
            let verified = !self.disk.len().is_multiple_of(3);
            self.disk.push_back(Done::Hashed { piece, verified, digests: (!verified).then(|| [1, 2].into()) });
        }
    }

    fn close(&mut self, key: PeerKey, cause: CloseCause) {
        self.peers.remove(&key);
        self.torrent.handle_closed(self.now, key, cause);
    }

    fn drain(&mut self) {
        while let Some(output) = self.torrent.poll_output() {
            match output {
                Output::Send { peer, message } => self.send(peer, message),
                Output::TakeBack { peer, blocks } => {
                    let Some(remote) = self.peers.get_mut(&peer) else { continue };
                    let taken = remote.link.take_back(|block| blocks.contains(block));
                    self.torrent.handle_taken_back(peer, &taken);
                }
                Output::Close { peer, .. } => {
                    self.peers.remove(&peer);
                    self.dialled.retain(|key| *key != peer);
                }
                Output::Dial { peer, .. } => self.dialled.push_back(peer),
                Output::Metadata(raw) => {
                    assert_eq!(raw, INFO.0, "the metadata that were fetched");
                    self.open(std::iter::empty());
                }
                Output::Read { peer, run } => self.reads.push_back((peer, run)),
                Output::Write { piece, blocks, .. } => self.write(piece, &blocks),
                Output::DhtNode(addr) => assert_ne!(addr.port(), 0),
                Output::Event(_) => {}
            }
        }
    }

    fn send(&mut self, peer: PeerKey, message: Message) {
        let Some(remote) = self.peers.get_mut(&peer) else { return };
        if matches!(message, Message::Request(_) | Message::Metadata(MetadataMessage::Request { .. })) {
            remote.asked.push_back(message.clone());
            remote.asked.truncate(ASKED_MAX);
        }
        if remote.link.send(self.now, message) == Err(SendError::QueueFull) {
            self.close(peer, CloseCause::TooSlow);
        }
    }

    fn check(&self) {
        self.torrent.check_invariants();
        self.peers.values().for_each(|remote| remote.link.check_invariants());
        assert!(self.peers.len() + self.dialled.len() <= PEERS_MAX, "more peers than there is room for");
        let cost = |(_, run): &(PeerKey, Block)| u64::from(run.len.max(BLOCK_LEN));
        // The runs of those that left are read for nothing, but not kept.
        let reading: u64 = self.reads.iter().filter(|(peer, _)| self.peers.contains_key(peer)).map(cost).sum();
        assert!(reading <= READING_MAX, "{reading} bytes are read at once");
    }
}

/// Most peers can do everything.
fn features(parameter: u8) -> u8 {
    if parameter.is_multiple_of(4) { parameter } else { 0xff }
}

/// Addresses of every kind, several of them shared.
fn addr(parameter: u8) -> SocketAddr {
    match parameter % 8 {
        0 => ([127, 0, 0, 1], u16::from(parameter)).into(),
        1 => ([0x2a01, 0, 0, 0, 0, 0, 0, parameter.into()], 6881).into(),
        2 => ([9, 9, 9, 9], 1000 + u16::from(parameter)).into(),
        3 => ([0, 0, 0, 0], parameter.into()).into(),
        _ => ([81, 2, parameter, 4], 6881).into(),
    }
}
