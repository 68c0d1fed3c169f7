use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::event::Hello;
use super::flood::Allowance;
use super::rate::Rate;
use super::serves::Serves;
use crate::model::{BLOCK_LEN, Bitfield, Block, PieceIndex};

/// The choker's rates look back about this far (Cohen 2003).
const RATE_WINDOW: Duration = Duration::from_secs(20);
/// Requests to a peer of which nothing is known yet.
const DEPTH_START: usize = 16;
/// Requests to the slowest of peers: one that is on its way and one behind it.
const DEPTH_MIN: usize = 2;
/// Requests that a peer keeps queued when it does not say how many: what the commonest clients keep at least.
const REQUEST_QUEUE_UNTOLD: u32 = 250;
/// Requests under way cover the round trip and this much. Less would let a peer run dry while we are busy; more only waits
/// in its queue, while others might have had the blocks sooner and a piece takes longer until it can be passed on.
const ASK_AHEAD: Duration = Duration::from_millis(100);
/// The rate that the depth follows looks back about this far.
const DEPTH_RATE_WINDOW: Duration = Duration::from_secs(2);
/// A peer that rejects what it might serve is left alone for so long; twice as long each further time.
const REST_MIN: Duration = Duration::from_millis(500);
/// Doublings of that rest at most: about a minute.
const REST_DOUBLINGS_MAX: u32 = 7;
/// Pieces that a peer rejected and is not asked for again, at most; the oldest is forgiven.
const REFUSED_MAX: usize = 64;
/// A sample of the pace counts for one in so many.
const PACE_WEIGHT: u32 = 8;
/// Haves of a peer that are kept before the metadata are known.
const EARLY_HAVES_MAX: usize = 10_000;

/// A peer whose socket takes nothing for so long does not read what it asked for. Sockets of slow lines take much at once,
/// and then nothing for a while.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// Ports of DHT nodes that are taken from one peer: it has one node, which may move.
const PORTS_MAX: u8 = 2;

/// What is known of one connected, or nearly connected, peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    /// Whether we dialled.
    pub(super) outgoing: bool,
    /// Whether the user named it.
    pub(super) is_named: bool,
    /// Where it listens: the address we dialled, or the port it told of (BEP 10).
    pub(super) listen: Option<SocketAddr>,
    /// `None` until both handshakes are done.
    pub(super) hello: Option<Hello>,
    pub(super) connected_at: Instant,
    /// When a block came from it or went to it, or it connected.
    pub(super) active_at: Instant,
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
    /// What it was told of us in that respect.
    pub(super) told_upload_only: bool,
    pub(super) takes_metadata: bool,
    /// Metadata requests that it may make yet: a flood of them is cut off.
    pub(super) metadata_budget: u32,
    pub(super) down: Rate,
    pub(super) up: Rate,
    pub(super) asks: Asks,
    pub(super) serves: Serves,
    /// Pieces that it serves while it chokes us (BEP 6).
    pub(super) allowed_by_them: Vec<PieceIndex>,
    /// Pieces that we serve while we choke it (BEP 6), and how many bytes of each.
    pub(super) allowed_by_us: Vec<(PieceIndex, u64)>,
    /// What it may send that is of no use.
    pub(super) flood: Allowance,
    /// Whether it said which pieces it has.
    pub(super) told_pieces: bool,
    /// Ports of DHT nodes that are still taken from it: it has one node.
    pub(super) ports_left: u8,
}

impl Peer {
    pub(super) fn new(now: Instant, addr: SocketAddr, outgoing: bool, metadata_budget: u32) -> Self {
        Self {
            addr,
            outgoing,
            is_named: false,
            listen: outgoing.then_some(addr),
            hello: None,
            connected_at: now,
            active_at: now,
            pieces: PeerPieces::Early(EarlyPieces::default()),
            useful: 0,
            we_choke: true,
            they_choke: true,
            we_interested: false,
            they_interested: false,
            unchoked_at: None,
            choked_at: None,
            upload_only: false,
            told_upload_only: false,
            takes_metadata: false,
            metadata_budget,
            down: Rate::new(now, RATE_WINDOW),
            up: Rate::new(now, RATE_WINDOW),
            asks: Asks::new(now),
            serves: Serves::default(),
            allowed_by_them: Vec::new(),
            allowed_by_us: Vec::new(),
            flood: Allowance::for_useless(now),
            told_pieces: false,
            ports_left: PORTS_MAX,
        }
    }

    /// Whether the block is one that a choked peer may have; it counts as given to it.
    pub(super) fn take_allowed(&mut self, block: &Block) -> bool {
        let cost = u64::from(block.len.max(BLOCK_LEN));
        let Some((_, left)) = self.allowed_by_us.iter_mut().find(|(piece, _)| *piece == block.piece) else {
            return false;
        };
        let is_left = *left >= cost;
        *left -= if is_left { cost } else { 0 };
        is_left
    }

    /// Whether it does not read what it asked for, however slow its line is.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        self.serves.blocked_for(now) >= STUCK_AFTER
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
    /// Remembers a `have`, up to a bound: what is lost is only knowledge of a piece. Returns whether it was remembered.
    pub(super) fn push_have(&mut self, piece: PieceIndex) -> bool {
        let has_room = self.haves.len() < EARLY_HAVES_MAX;
        self.haves.extend(has_room.then_some(piece));
        has_room
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
    /// How many the peer keeps queued, as it says.
    queue_max: usize,
    /// Whether the depth still doubles every round trip.
    slow_start: bool,
    rate: Rate,
    /// Shortest time from a request to its block.
    rtt_min: Option<Duration>,
    /// Time a block takes while others are under way too, on average.
    pace: Option<Duration>,
    /// When the peer last sent a block, or was asked while nothing was under way.
    last_block_at: Option<Instant>,
    /// Since when the peer is silent and its requests are given to others.
    stalled_since: Option<Instant>,
    pub(super) snubbed: bool,
    /// Until when the peer is not asked, because it rejected what it was asked for.
    rest_until: Option<Instant>,
    rests: u32,
    refused: VecDeque<PieceIndex>,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    block: Block,
    at: Instant,
    /// How many were under way when it was made, itself included.
    place: u32,
}

impl Asks {
    fn new(now: Instant) -> Self {
        Self {
            requests: VecDeque::new(),
            depth: DEPTH_START,
            queue_max: REQUEST_QUEUE_UNTOLD as usize,
            slow_start: true,
            rate: Rate::new(now, DEPTH_RATE_WINDOW),
            rtt_min: None,
            pace: None,
            last_block_at: None,
            stalled_since: None,
            snubbed: false,
            rest_until: None,
            rests: 0,
            refused: VecDeque::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.requests.iter().map(|request| &request.block)
    }

    /// The peer says how many requests it keeps queued (BEP 10, `reqq`).
    pub(super) fn set_queue_max(&mut self, requests: u32) {
        self.queue_max = requests.max(1) as usize;
    }

    /// How many more requests may be made. None while the peer rests from its rejects.
    pub(super) fn room(&self, now: Instant) -> usize {
        if self.rest_until.is_some_and(|until| now < until) {
            return 0;
        }
        self.depth.min(self.queue_max).saturating_sub(self.requests.len())
    }

    pub(super) fn push(&mut self, now: Instant, block: Block) {
        if self.requests.is_empty() {
            self.last_block_at = Some(now);
        }
        let place = self.requests.len() as u32 + 1;
        self.requests.push_back(Request { block, at: now, place });
    }

    /// Takes a request out. Blocks come in the order in which they were asked for, so it is mostly the first.
    pub(super) fn remove(&mut self, block: &Block) -> bool {
        self.take(block).is_some()
    }

    /// A block arrived; returns whether it was asked for. The depth doubles every round trip until blocks begin to wait in
    /// the peer's queue; from there on [`Asks::adapt`] keeps it.
    pub(super) fn handle_block(&mut self, now: Instant, block: &Block, depth_max: usize) -> bool {
        let Some(request) = self.take(block) else { return false };
        let took = now.saturating_duration_since(request.at);
        let rtt_min = self.rtt_min.map_or(took, |min| min.min(took));
        self.rtt_min = Some(rtt_min);
        let sample = took / request.place.max(1);
        self.pace = Some(self.pace.map_or(sample, |pace| (pace * (PACE_WEIGHT - 1) + sample) / PACE_WEIGHT));
        self.rate.add(now, u64::from(block.len));
        self.last_block_at = Some(now);
        self.stalled_since = None;
        (self.rest_until, self.rests) = (None, 0);
        if self.slow_start && took > rtt_min + ASK_AHEAD {
            // Some peers send in bursts: how fast they are shows over a second, not by one block.
            self.slow_start = false;
        } else if self.slow_start {
            self.depth = (self.depth + 1).min(depth_max);
        }
        true
    }

    /// The peer rejected a request although it does not choke us: it is left alone for a while, and not asked for that
    /// piece again before it unchokes us anew. One that rejects everything would otherwise be asked as fast as it answers.
    pub(super) fn handle_reject(&mut self, now: Instant, piece: PieceIndex) {
        if !self.refused.contains(&piece) {
            if self.refused.len() >= REFUSED_MAX {
                self.refused.pop_front();
            }
            self.refused.push_back(piece);
        }
        if self.rest_until.is_none_or(|until| now >= until) {
            self.rest_until = Some(now + REST_MIN * 2u32.pow(self.rests.min(REST_DOUBLINGS_MAX)));
            self.rests += 1;
        }
    }

    /// The peer serves us anew.
    pub(super) fn handle_unchoke(&mut self) {
        self.refused.clear();
    }

    /// The peer tells of a piece: it may have what it rejected before.
    pub(super) fn handle_have(&mut self, piece: PieceIndex) {
        self.refused.retain(|refused| *refused != piece);
    }

    /// Whether the peer rejected a request for this piece.
    pub(super) fn has_refused(&self, piece: PieceIndex) -> bool {
        self.refused.contains(&piece)
    }

    /// The peer is silent: it is asked for one block at a time until it sends one.
    pub(super) fn handle_stall(&mut self) {
        self.stalled_since = self.stalled_since.or(self.last_block_at);
        self.slow_start = true;
        self.depth = 1;
    }

    /// The process stood still: silence counts from here on, as what the peer sent meanwhile waits to be read.
    pub(super) fn handle_standstill(&mut self, now: Instant) {
        self.last_block_at = self.last_block_at.map(|_| now);
        self.stalled_since = self.stalled_since.map(|_| now);
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

    /// Whether it is known how fast the peer sends.
    pub(super) fn has_pace(&self) -> bool {
        self.pace.is_some()
    }

    /// About how long so many bytes take at the rate of the last seconds; nothing while that is not known.
    pub(super) fn time_for(&self, bytes: u32) -> Duration {
        let bps = self.rate.bps();
        if bps == 0 { Duration::ZERO } else { Duration::from_secs_f64(f64::from(bytes) / bps as f64) }
    }

    /// About when each block under way will be here, counted from `now`. Who was silent for a while is expected to be so
    /// for as long again.
    pub(super) fn expected(&self, now: Instant) -> impl Iterator<Item = (&Block, Duration)> {
        let silence = self.silent_since().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let pace = self.pace.unwrap_or_default();
        (1..).zip(&self.requests).map(move |(place, request)| (&request.block, silence.max(pace * place)))
    }

    /// About how long the block after so many further ones would take, if it were asked for.
    pub(super) fn expected_next(&self, further: usize) -> Duration {
        let place = (self.requests.len() + further) as u32 + 1;
        self.rtt_min.unwrap_or_default() + self.pace.unwrap_or_default() * place
    }

    /// Once a second: keeps as many requests under way as cover the round trip and [`ASK_AHEAD`] at the measured rate.
    pub(super) fn adapt(&mut self, now: Instant, depth_max: usize) {
        self.rate.update(now);
        if self.slow_start {
            return;
        }
        let covered_s = (self.rtt_min.unwrap_or_default() + ASK_AHEAD).as_secs_f64();
        let blocks = self.rate.bps() as f64 * covered_s / f64::from(crate::model::BLOCK_LEN);
        self.depth = (blocks as usize + 1).clamp(DEPTH_MIN.min(depth_max), depth_max);
    }

    fn take(&mut self, block: &Block) -> Option<Request> {
        if self.requests.front().is_some_and(|request| request.block == *block) {
            return self.requests.pop_front();
        }
        let at = self.requests.iter().position(|request| request.block == *block)?;
        self.requests.remove(at)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;

    fn block(index: u32) -> Block {
        Block { piece: PieceIndex::new(0), begin: index * 16384, len: 16384 }
    }

    /// Asks for as many blocks as the depth allows and gets each after `took`, all at once.
    fn round(asks: &mut Asks, now: Instant, took: Duration) {
        let depth = asks.depth as u32;
        (0..depth).for_each(|index| asks.push(now, block(index)));
        (0..depth).for_each(|index| assert!(asks.handle_block(now + took, &block(index), 500)));
    }

    #[test]
    fn the_depth_doubles_each_round_trip_until_blocks_wait_in_the_queue_of_the_peer() {
        let start = Instant::now();
        let mut asks = Asks::new(start);
        let quick = Duration::from_millis(10);
        for number in 0..3u32 {
            let depth = asks.depth;
            round(&mut asks, start + quick * number, quick);
            assert_eq!(asks.depth, depth * 2);
        }
        round(&mut asks, start + quick * 4, Duration::from_millis(420));
        assert_eq!(asks.depth, 128, "they waited");
        asks.adapt(start + Duration::from_secs(1), 500);
        assert_eq!(asks.depth, 27, "0.11 s at the 240 blocks/s of this second");
    }

    #[test]
    fn a_slow_peer_is_asked_for_little() {
        let start = Instant::now();
        let mut asks = Asks::new(start);
        round(&mut asks, start, Duration::from_secs(8));
        round(&mut asks, start + Duration::from_secs(8), Duration::from_secs(16));
        asks.adapt(start + Duration::from_secs(24), 500);
        assert!(asks.depth <= 16, "{}", asks.depth);
        asks.adapt(start + Duration::from_secs(600), 500);
        assert_eq!(asks.depth, DEPTH_MIN);
    }

    #[test]
    fn the_queue_of_the_peer_is_never_overfilled() {
        let now = Instant::now();
        let mut asks = Asks::new(now);
        asks.set_queue_max(5);
        assert_eq!(asks.room(now), 5);
        asks.push(now, block(0));
        assert_eq!(asks.room(now), 4);
        asks.set_queue_max(0);
        assert_eq!(asks.room(now), 0, "one is under way");
    }

    #[test]
    fn who_rejects_is_asked_ever_less_often_until_it_sends_a_block() {
        let mut now = Instant::now();
        let mut asks = Asks::new(now);
        let mut rests = Vec::new();
        for _ in 0..10 {
            asks.push(now, block(0));
            asks.push(now, block(1));
            for index in 0..2 {
                assert!(asks.remove(&block(index)));
                asks.handle_reject(now, block(index).piece);
            }
            let rest = (0..).map(|step| REST_MIN * step).find(|rest| asks.room(now + *rest) > 0).unwrap();
            rests.push(rest.as_millis() / REST_MIN.as_millis());
            now += rest;
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 64, 128, 128, 128]);
        assert!(asks.has_refused(PieceIndex::new(0)));
        asks.handle_have(PieceIndex::new(0));
        assert!(!asks.has_refused(PieceIndex::new(0)));
        asks.handle_reject(now, PieceIndex::new(0));
        asks.push(now, block(2));
        assert!(asks.handle_block(now, &block(2), 500) && asks.room(now) > 0);
        asks.handle_unchoke();
        assert!(!asks.has_refused(PieceIndex::new(0)));
    }

    #[test]
    fn blocks_that_were_not_asked_for_are_known_as_such() {
        let now = Instant::now();
        let mut asks = Asks::new(now);
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
