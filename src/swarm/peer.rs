use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::event::Hello;
use super::rate::Rate;
use crate::model::{Bitfield, Block, PieceIndex};

/// The choker's rates look back about this far (Cohen 2003).
const RATE_WINDOW: Duration = Duration::from_secs(20);
/// Requests to a peer of which nothing is known yet.
const DEPTH_START: usize = 16;
/// Haves of a peer that are kept before the metadata are known.
const EARLY_HAVES_MAX: usize = 10_000;

/// What is known of one connected, or nearly connected, peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    /// Whether we dialled; only then does `addr` tell where it listens.
    pub(super) outgoing: bool,
    /// `None` until both handshakes are done.
    pub(super) hello: Option<Hello>,
    pub(super) connected_at: Instant,
    pub(super) pieces: PeerPieces,
    /// Pieces it has and we lack.
    pub(super) useful: u32,
    pub(super) we_choke: bool,
    pub(super) they_choke: bool,
    pub(super) we_interested: bool,
    pub(super) they_interested: bool,
    pub(super) unchoked_at: Option<Instant>,
    pub(super) choked_at: Option<Instant>,
    /// It will not download, as its extension handshake says (BEP 21).
    pub(super) upload_only: bool,
    pub(super) takes_metadata: bool,
    /// Metadata requests that it may make yet: a flood of them is cut off.
    pub(super) metadata_budget: u32,
    pub(super) down: Rate,
    pub(super) up: Rate,
    pub(super) asks: Asks,
    pub(super) serves: Serves,
    /// Pieces that it serves while it chokes us (BEP 6).
    pub(super) allowed_by_them: Vec<PieceIndex>,
    /// Pieces that we serve while we choke it (BEP 6).
    pub(super) allowed_by_us: Vec<PieceIndex>,
}

impl Peer {
    pub(super) fn new(now: Instant, addr: SocketAddr, outgoing: bool, metadata_budget: u32) -> Self {
        Self {
            addr,
            outgoing,
            hello: None,
            connected_at: now,
            pieces: PeerPieces::Early(EarlyPieces::default()),
            useful: 0,
            we_choke: true,
            they_choke: true,
            we_interested: false,
            they_interested: false,
            unchoked_at: None,
            choked_at: None,
            upload_only: false,
            takes_metadata: false,
            metadata_budget,
            down: Rate::new(now, RATE_WINDOW),
            up: Rate::new(now, RATE_WINDOW),
            asks: Asks::default(),
            serves: Serves::default(),
            allowed_by_them: Vec::new(),
            allowed_by_us: Vec::new(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.hello.is_some()
    }

    pub(super) fn has_fast(&self) -> bool {
        self.hello.is_some_and(|hello| hello.fast)
    }

    pub(super) fn has(&self, piece: PieceIndex) -> bool {
        match &self.pieces {
            PeerPieces::Early(_) => false,
            PeerPieces::All => true,
            PeerPieces::Some(field) => field.contains(piece),
        }
    }

    /// Whether it has every piece, as far as that is known.
    pub(super) fn is_seed(&self) -> bool {
        match &self.pieces {
            PeerPieces::Early(early) => early.all,
            PeerPieces::All => true,
            PeerPieces::Some(field) => field.is_full() && field.piece_count() > 0,
        }
    }
}

/// The pieces of a peer.
#[derive(Debug)]
pub(super) enum PeerPieces {
    /// As it told before the metadata were known.
    Early(EarlyPieces),
    /// Every piece.
    All,
    /// These.
    Some(Bitfield),
}

/// What a peer told of its pieces before they could be understood.
#[derive(Debug, Default)]
pub(super) struct EarlyPieces {
    pub(super) bitfield: Option<Bytes>,
    pub(super) all: bool,
    haves: Vec<PieceIndex>,
}

impl EarlyPieces {
    /// Remembers a `have`, up to a bound: what is lost is only knowledge of a piece.
    pub(super) fn push_have(&mut self, piece: PieceIndex) {
        if self.haves.len() < EARLY_HAVES_MAX {
            self.haves.push(piece);
        }
    }

    /// What it comes to with so many pieces. `None` when the bitfield does not fit.
    pub(super) fn resolve(self, piece_count: u32) -> Option<PeerPieces> {
        if self.all {
            return Some(PeerPieces::All);
        }
        let mut field = match self.bitfield {
            Some(bytes) => Bitfield::from_bytes(&bytes, piece_count)?,
            None => Bitfield::empty(piece_count),
        };
        for piece in self.haves {
            if piece.get() >= piece_count {
                return None;
            }
            field.insert(piece);
        }
        Some(PeerPieces::Some(field))
    }
}

/// The blocks we asked a peer for.
#[derive(Debug)]
pub(super) struct Asks {
    requests: VecDeque<Request>,
    /// How many requests may be under way.
    pub(super) depth: usize,
    /// Whether the depth still doubles every round trip.
    slow_start: bool,
    /// Rate at the last tick, in bytes per second.
    rate_before_bps: u64,
    /// Shortest time from a request to its block.
    rtt_min: Option<Duration>,
    /// When the peer last sent a block, or was asked while nothing was under way.
    last_block_at: Option<Instant>,
    /// Since when the peer is silent and its requests are given to others.
    stalled_since: Option<Instant>,
    pub(super) snubbed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    block: Block,
    at: Instant,
}

impl Default for Asks {
    fn default() -> Self {
        Self {
            requests: VecDeque::new(),
            depth: DEPTH_START,
            slow_start: true,
            rate_before_bps: 0,
            rtt_min: None,
            last_block_at: None,
            stalled_since: None,
            snubbed: false,
        }
    }
}

impl Asks {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.requests.iter().map(|request| &request.block)
    }

    pub(super) fn push(&mut self, now: Instant, block: Block) {
        if self.requests.is_empty() {
            self.last_block_at = Some(now);
        }
        self.requests.push_back(Request { block, at: now });
    }

    /// Takes a request out. Blocks come in the order in which they were asked for, so it is mostly the first.
    pub(super) fn remove(&mut self, block: &Block) -> bool {
        self.take(block).is_some()
    }

    /// A block arrived; returns whether it was asked for. The depth grows while that makes the peer faster.
    pub(super) fn handle_block(&mut self, now: Instant, block: &Block, depth_max: usize) -> bool {
        let Some(request) = self.take(block) else { return false };
        let rtt = now.saturating_duration_since(request.at);
        self.rtt_min = Some(self.rtt_min.map_or(rtt, |min| min.min(rtt)));
        self.last_block_at = Some(now);
        self.stalled_since = None;
        if self.slow_start {
            self.depth = (self.depth + 1).min(depth_max);
        }
        true
    }

    /// The peer is silent: it is asked for one block at a time until it sends one.
    pub(super) fn handle_stall(&mut self) {
        self.stalled_since = self.stalled_since.or(self.last_block_at);
        self.slow_start = true;
        self.depth = 1;
    }

    /// Since when the peer is silent, while its requests are given to others.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Takes all requests out.
    pub(super) fn drain(&mut self) -> Vec<Block> {
        self.requests.drain(..).map(|request| request.block).collect()
    }

    /// Since when the peer owes us a block.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.last_block_at.filter(|_| !self.requests.is_empty())
    }

    /// Once a second: leaves the slow start when the peer does not get faster, then keeps as many requests under way as
    /// cover the round trip and `ahead` at the measured rate.
    pub(super) fn adapt(&mut self, rate_bps: u64, ahead: Duration, depth_max: usize) {
        let grows = rate_bps > self.rate_before_bps + self.rate_before_bps / 10;
        self.rate_before_bps = rate_bps;
        if self.slow_start && (grows || rate_bps == 0) {
            return;
        }
        self.slow_start = false;
        let covered_s = (self.rtt_min.unwrap_or_default() + ahead).as_secs_f64();
        let blocks = rate_bps as f64 * covered_s / f64::from(crate::model::BLOCK_LEN);
        self.depth = (blocks as usize).clamp(DEPTH_START.min(depth_max), depth_max);
    }

    fn take(&mut self, block: &Block) -> Option<Request> {
        if self.requests.front().is_some_and(|request| request.block == *block) {
            return self.requests.pop_front();
        }
        let at = self.requests.iter().position(|request| request.block == *block)?;
        self.requests.remove(at)
    }
}

/// The blocks a peer asked us for.
#[derive(Debug, Default)]
pub(super) struct Serves {
    /// Not yet read from the disk.
    pub(super) waiting: VecDeque<Block>,
    /// Being read.
    pub(super) reading: Vec<ReadRun>,
    /// Bytes being read.
    pub(super) reading_bytes: u32,
    /// Bytes on their way to the socket.
    pub(super) queued_bytes: u32,
}

/// Consecutive requests that one read serves.
#[derive(Debug)]
pub(super) struct ReadRun {
    pub(super) run: Block,
    pub(super) requests: Vec<Block>,
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;

    fn block(index: u32) -> Block {
        Block { piece: PieceIndex::new(0), begin: index * 16384, len: 16384 }
    }

    #[test]
    fn the_depth_doubles_each_round_trip_and_settles_at_rate_by_time() {
        let start = Instant::now();
        let mut asks = Asks::default();
        for round in 0..3u32 {
            let now = start + Duration::from_millis(10) * round;
            let depth = asks.depth;
            (0..depth as u32).for_each(|index| asks.push(now, block(index)));
            for index in 0..depth as u32 {
                assert!(asks.handle_block(now + Duration::from_millis(10), &block(index), 500));
            }
            assert_eq!(asks.depth, (depth * 2).min(500));
        }
        let second = Duration::from_secs(1);
        asks.adapt(1_638_400, second, 500);
        assert_eq!(asks.depth, 128, "the first tick still grows");
        asks.adapt(1_638_400, second, 500);
        assert_eq!(asks.depth, 101, "1.01 s at 100 blocks/s");
    }

    #[test]
    fn blocks_that_were_not_asked_for_are_known_as_such() {
        let now = Instant::now();
        let mut asks = Asks::default();
        asks.push(now, block(0));
        asks.push(now, block(1));
        assert!(!asks.handle_block(now, &block(2), 500));
        assert!(asks.handle_block(now, &block(1), 500), "any order");
        assert!(asks.remove(&block(0)) && asks.silent_since().is_none());
    }

    #[test]
    fn early_claims_are_judged_once_the_number_of_pieces_is_known() {
        let mut early = EarlyPieces { bitfield: Some(Bytes::from_static(&[0x80])), ..EarlyPieces::default() };
        early.push_have(PieceIndex::new(3));
        match early.resolve(4) {
            Some(PeerPieces::Some(field)) => assert_eq!(field.as_bytes(), [0x90]),
            other => panic!("{other:?}"),
        }
        let spare = EarlyPieces { bitfield: Some(Bytes::from_static(&[0x81])), ..EarlyPieces::default() };
        assert!(spare.resolve(4).is_none());
        let mut beyond = EarlyPieces::default();
        beyond.push_have(PieceIndex::new(4));
        assert!(beyond.resolve(4).is_none());
    }
}
