//! What we asked one peer for: how much it may be asked for, and what becomes of the requests.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::rate::Rate;
use crate::model::{Block, PieceIndex};

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
/// A peer that rejects what it might serve is left alone for this long; twice as long each further time.
const REST_MIN: Duration = Duration::from_millis(500);
/// Doublings of that rest at most: about a minute.
const REST_DOUBLINGS_MAX: u32 = 7;
/// A piece of which a peer refused a block is asked of others for this long; twice as long each further time, up to
/// [`REST_DOUBLINGS_MAX`] times.
const REFUSAL_MIN: Duration = Duration::from_millis(500);
/// Pieces that a peer refused and is not asked for at the moment, at most; the oldest is forgiven.
const REFUSED_MAX: usize = 64;
/// A request is lost when later ones were answered and then so long, at least, passed without its answer. Peers that read
/// from several disks answer out of order, but not by as much.
const OVERTAKEN_MIN: Duration = Duration::from_secs(2);
/// A peer that owes blocks and sends none for this long is worked around: others are asked for them.
pub(super) const STALL: Duration = Duration::from_secs(20);
/// One that answered before is so sooner: when it is silent for this long, twice as long each further time, and for this many
/// times as long as it should take for all that it was asked.
const STALL_MIN: Duration = Duration::from_secs(5);
const STALL_TIMES: u32 = 8;
/// A peer that choked us and kept what it was asked for says within this time that it will not send it (BEP 6).
const REJECTS_WITHIN: Duration = Duration::from_secs(2);
/// Blocks after which a peer that keeps few requests is tried with more; twice as many each time that it did not keep them.
const TRIAL_BLOCKS: (u32, u32) = (16, 4096);
/// A sample of the pace counts for one in so many.
const PACE_WEIGHT: u32 = 8;

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
    /// How often in a row it was so.
    stalls: u32,
    pub(super) snubbed: bool,
    /// Until when the peer is not asked, because it rejected what it was asked for.
    rest_until: Option<Instant>,
    rests: u32,
    refused: VecDeque<Refusal>,
    /// How many requests the peer keeps, as its rejects and its silence show.
    kept: usize,
    trial: Trial,
    /// Number of the next request.
    next_number: u32,
    /// Since when the peer may have forgotten what it was asked for, as it choked us, and the number of the first request after
    /// that.
    choked: Option<(Instant, u32)>,
}

/// When a peer that keeps few requests is tried with more.
#[derive(Debug, Clone, Copy)]
struct Trial {
    /// Blocks that came since the number was last changed.
    blocks: u32,
    /// After how many it is raised.
    after: u32,
    /// Whether it was raised since it was last lowered.
    raised: bool,
}

/// A piece that the peer did not give although it might.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    piece: PieceIndex,
    until: Instant,
    times: u32,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    block: Block,
    at: Instant,
    /// How many were under way when it was made, itself included.
    place: u32,
    number: u32,
    /// When a later one was answered first.
    overtaken_at: Option<Instant>,
}

impl Asks {
    pub(super) fn new(now: Instant) -> Self {
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
            stalls: 0,
            snubbed: false,
            rest_until: None,
            rests: 0,
            refused: VecDeque::new(),
            kept: usize::MAX,
            trial: Trial { blocks: 0, after: TRIAL_BLOCKS.0, raised: false },
            next_number: 0,
            choked: None,
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
        self.most().saturating_sub(self.requests.len())
    }

    /// How many requests may be under way at once.
    pub(super) fn most(&self) -> usize {
        self.depth.min(self.queue_max).min(self.kept)
    }

    pub(super) fn push(&mut self, now: Instant, block: Block) {
        if self.requests.is_empty() {
            self.last_block_at = Some(now);
        }
        let place = self.requests.len() as u32 + 1;
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        self.requests.push_back(Request { block, at: now, place, number, overtaken_at: None });
    }

    /// Takes a request out. Blocks come in the order in which they were asked for, so it is mostly the first.
    pub(super) fn remove(&mut self, block: &Block) -> bool {
        let at = self.requests.iter().position(|request| request.block == *block);
        at.and_then(|at| self.requests.remove(at)).is_some()
    }

    /// A block arrived; returns whether it was asked for. The depth doubles every round trip until blocks begin to wait in
    /// the peer's queue; from there on [`Asks::adapt`] keeps it.
    pub(super) fn handle_block(&mut self, now: Instant, block: &Block, depth_max: usize) -> bool {
        let Some(at) = self.requests.iter().position(|request| request.block == *block) else { return false };
        // Mostly it is the first.
        for earlier in self.requests.iter_mut().take(at) {
            earlier.overtaken_at.get_or_insert(now);
        }
        let Some(request) = self.requests.remove(at) else { return false };
        let took = now.saturating_duration_since(request.at);
        let rtt_min = self.rtt_min.map_or(took, |min| min.min(took));
        self.rtt_min = Some(rtt_min);
        let sample = took / request.place.max(1);
        self.pace = Some(self.pace.map_or(sample, |pace| (pace * (PACE_WEIGHT - 1) + sample) / PACE_WEIGHT));
        self.rate.add(now, u64::from(block.len));
        self.last_block_at = Some(now);
        (self.stalled_since, self.stalls) = (None, 0);
        (self.rest_until, self.rests) = (None, 0);
        if !self.refused.is_empty() {
            self.refused.retain(|refusal| refusal.piece != block.piece);
        }
        self.try_more(depth_max);
        if self.slow_start && took > rtt_min + ASK_AHEAD {
            // Some peers send in bursts: how fast they are shows over a second, not by one block.
            self.slow_start = false;
        } else if self.slow_start {
            self.depth = (self.depth + 1).min(depth_max);
        }
        true
    }

    /// The peer rejected a request although it might serve it: it is asked for that piece again after a while, and keeps no
    /// more requests than those that it did not reject. Until it sends a block it is asked for nothing for a while: one that
    /// rejects everything would otherwise be asked as fast as it answers.
    pub(super) fn handle_reject(&mut self, now: Instant, piece: PieceIndex) {
        self.refuse(now, piece);
        match self.requests.len() {
            // It rejected all: that was not for want of room.
            0 => self.kept = self.kept.max(DEPTH_START),
            held => self.keeps(held),
        }
        if self.rest_until.is_none_or(|until| now >= until) {
            self.rest_until = Some(now + REST_MIN * 2u32.pow(self.rests.min(REST_DOUBLINGS_MAX)));
            self.rests += 1;
        }
    }

    /// The peer does not give a block of this piece: it is not asked for the piece for a while.
    pub(super) fn refuse(&mut self, now: Instant, piece: PieceIndex) {
        let before = self.refused.iter().position(|refusal| refusal.piece == piece);
        let mut refusal =
            before.and_then(|at| self.refused.remove(at)).unwrap_or(Refusal { piece, until: now, times: 0 });
        // Several blocks of one piece are refused together.
        if now >= refusal.until {
            refusal.until = now + REFUSAL_MIN * 2u32.pow(refusal.times.min(REST_DOUBLINGS_MAX));
            refusal.times += 1;
        }
        if self.refused.len() >= REFUSED_MAX {
            self.refused.pop_front();
        }
        self.refused.push_back(refusal);
    }

    /// Whether the peer refused a block of this piece a short while ago.
    pub(super) fn has_refused(&self, now: Instant, piece: PieceIndex) -> bool {
        self.refused.iter().any(|refusal| refusal.piece == piece && now < refusal.until)
    }

    /// The peer keeps this many requests and no more.
    fn keeps(&mut self, requests: usize) {
        if requests < self.kept {
            self.kept = requests.max(1);
            let after = self.trial.after * if self.trial.raised { 2 } else { 1 };
            self.trial = Trial { blocks: 0, after: after.min(TRIAL_BLOCKS.1), raised: false };
        }
    }

    /// A block came: after some, a peer that keeps few requests may keep more by now.
    fn try_more(&mut self, depth_max: usize) {
        if self.kept >= depth_max {
            return;
        }
        self.trial.blocks += 1;
        if self.trial.blocks >= self.trial.after {
            self.kept += self.kept.div_ceil(4);
            (self.trial.blocks, self.trial.raised) = (0, true);
        }
    }

    /// The peer chokes us: with the Fast extension it says of each request that it will not serve it, and until then it may
    /// be served.
    pub(super) fn handle_choke(&mut self, now: Instant) {
        let since = self.choked.map_or(now, |(since, _)| since);
        self.choked = Some((since, self.next_number));
    }

    /// The peer serves us again.
    pub(super) fn handle_unchoke(&mut self) {
        self.refused.clear();
    }

    /// Takes out what the peer will not serve any more: requests that others overtook long ago, and those that it forgot when
    /// it choked us, whether it serves us again or not. `is_allowed` says which pieces are served all the same.
    pub(super) fn take_lost(&mut self, now: Instant, is_allowed: impl Fn(PieceIndex) -> bool) -> Vec<Block> {
        let patience = OVERTAKEN_MIN.max(self.pace.unwrap_or_default() * 2 * self.requests.len() as u32);
        let is_late = |request: &Request| request.overtaken_at.is_some_and(|at| now >= at + patience);
        self.learn_from(is_late);
        let mut lost = self.take_if(is_late);
        lost.iter().for_each(|block| self.refuse(now, block.piece));
        if let Some((_, first)) = self.choked.take_if(|(since, _)| now >= *since + REJECTS_WITHIN) {
            lost.extend(self.take_if(|request| is_before(request.number, first) && !is_allowed(request.block.piece)));
        }
        lost
    }

    /// These requests were dropped: the peer keeps no more than were under way before the first of them. One that was under
    /// way alone was not dropped for want of room.
    fn learn_from(&mut self, is_dropped: impl Fn(&Request) -> bool) {
        let places = self.requests.iter().filter(|request| is_dropped(request)).map(|request| request.place);
        if let Some(place @ 2..) = places.min() {
            self.keeps(place as usize - 1);
        }
    }

    fn take_if(&mut self, is_taken: impl Fn(&Request) -> bool) -> Vec<Block> {
        let taken: Vec<Block> =
            self.requests.iter().filter(|request| is_taken(request)).map(|request| request.block).collect();
        if !taken.is_empty() {
            self.requests.retain(|request| !is_taken(request));
        }
        taken
    }

    /// The peer is silent: it is asked for one block at a time until it sends one.
    pub(super) fn handle_stall(&mut self) {
        self.learn_from(|_| true);
        self.stalled_since = self.stalled_since.or(self.last_block_at);
        self.stalls = self.stalls.saturating_add(1);
        self.slow_start = true;
        self.depth = 1;
    }

    /// Whether so few requests may be made that it is not worth doing so yet: one at a time would need a system call for each.
    pub(super) fn is_too_few(&self, count: usize) -> bool {
        count < self.most() / 8 && !self.requests.is_empty()
    }

    /// The process stood still: silence counts from now on, as what the peer sent meanwhile waits to be read.
    pub(super) fn handle_standstill(&mut self, now: Instant) {
        self.last_block_at = self.last_block_at.map(|_| now);
        self.stalled_since = self.stalled_since.map(|_| now);
        self.choked = self.choked.map(|(_, first)| (now, first));
        for request in &mut self.requests {
            request.overtaken_at = request.overtaken_at.map(|_| now);
        }
    }

    /// Whether all that came from the peer recently is rejects.
    pub(super) fn is_rejecting(&self) -> bool {
        self.rests > 0 && self.requests.is_empty()
    }

    /// Since when the peer is silent, while its requests are given to others.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Takes all requests out.
    pub(super) fn drain(&mut self) -> Vec<Block> {
        self.requests.drain(..).map(|request| request.block).collect()
    }

    /// Whether the peer owes blocks and has been silent for too long.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        let patience = self.pace.map_or(STALL, |pace| {
            let expected = self.rtt_min.unwrap_or_default() + pace * self.requests.len() as u32;
            let stall_min = STALL_MIN * 2u32.pow(self.stalls.min(2));
            stall_min.max(expected * STALL_TIMES).min(STALL)
        });
        self.silent_since().is_some_and(|since| now.saturating_duration_since(since) >= patience)
    }

    /// Since when the peer owes us a block.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.last_block_at.filter(|_| !self.requests.is_empty())
    }

    /// Whether it is known how fast the peer sends.
    pub(super) fn has_pace(&self) -> bool {
        self.pace.is_some()
    }

    /// About how long this many bytes take at the rate of the last seconds; nothing while that is not known.
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
}

/// Whether the first of two numbers was given before the second; they wrap around.
fn is_before(number: u32, other: u32) -> bool {
    number.wrapping_sub(other) > u32::MAX / 2
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
        asks.handle_reject(now, PieceIndex::new(0));
        assert!(asks.has_refused(now, PieceIndex::new(0)));
        asks.push(now, block(2));
        assert!(asks.handle_block(now, &block(2), 500) && asks.room(now) > 0);
        assert!(!asks.has_refused(now, PieceIndex::new(0)), "it serves the piece");
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
    fn a_rejected_piece_is_asked_for_again_after_a_growing_pause() {
        let mut now = Instant::now();
        let mut asks = Asks::new(now);
        let piece = PieceIndex::new(7);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            // Its blocks are rejected together.
            (0..4).for_each(|_| asks.refuse(now, piece));
            let pause =
                (0..).map(|step| REFUSAL_MIN * step).find(|pause| !asks.has_refused(now + *pause, piece)).unwrap();
            pauses.push(pause.as_millis() / REFUSAL_MIN.as_millis());
            now += pause;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 128, 128]);
        asks.refuse(now, piece);
        asks.handle_unchoke();
        assert!(!asks.has_refused(now, piece), "an unchoke is a fresh start");
    }

    #[test]
    fn how_many_requests_a_peer_keeps_is_learned_from_its_rejects_and_tried_anew_ever_less_often() {
        let now = Instant::now();
        let mut asks = Asks::new(now);
        (0..16).for_each(|index| asks.push(now, block(index)));
        for index in 8..16 {
            assert!(asks.remove(&block(index)));
            asks.handle_reject(now, block(index).piece);
        }
        assert_eq!((asks.most(), asks.room(now)), (8, 0));
        let mut trials = Vec::new();
        for _ in 0..3 {
            let mut blocks = 0;
            while asks.most() == 8 {
                assert!(asks.handle_block(now, &block(0), 500));
                asks.push(now, block(0));
                blocks += 1;
            }
            trials.push(blocks);
            assert_eq!(asks.most(), 10);
            asks.keeps(8);
        }
        assert_eq!(trials, [TRIAL_BLOCKS.0, TRIAL_BLOCKS.0 * 2, TRIAL_BLOCKS.0 * 4]);
    }

    #[test]
    fn what_a_peer_drops_without_a_word_is_lost_when_later_requests_were_answered() {
        let start = Instant::now();
        let mut asks = Asks::new(start);
        (0..16).for_each(|index| asks.push(start, block(index)));
        let now = start + Duration::from_millis(50);
        (0..8).for_each(|index| assert!(asks.handle_block(now, &block(index), 500)));
        (16..20).for_each(|index| asks.push(now, block(index)));
        assert_eq!(asks.take_lost(now + Duration::from_secs(60), |_| false), [], "nobody was overtaken");
        (16..20).for_each(|index| assert!(asks.handle_block(now, &block(index), 500)));
        assert_eq!(asks.take_lost(now + OVERTAKEN_MIN / 2, |_| false), []);
        let lost = asks.take_lost(now + OVERTAKEN_MIN, |_| false);
        assert_eq!(lost, (8..16).map(block).collect::<Vec<_>>());
        assert_eq!((asks.len(), asks.most()), (0, 8));
    }

    #[test]
    fn what_a_peer_forgets_at_a_choke_is_taken_back() {
        let start = Instant::now();
        let mut asks = Asks::new(start);
        (0..3).for_each(|index| asks.push(start, block(index)));
        asks.handle_choke(start);
        asks.handle_unchoke();
        asks.push(start, block(3));
        assert!(asks.remove(&block(1)), "it says so");
        assert_eq!(asks.take_lost(start + REJECTS_WITHIN / 2, |_| false), []);
        assert_eq!(asks.take_lost(start + REJECTS_WITHIN, |_| false), [block(0), block(2)]);
        assert_eq!(asks.len(), 1, "asked for after the choke");
        asks.handle_choke(start);
        assert_eq!(asks.take_lost(start + REJECTS_WITHIN, |_| true), [], "served though we are choked");
    }

    #[test]
    fn who_answered_and_falls_silent_is_worked_around_sooner_than_who_never_did() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut asks = Asks::new(start);
        asks.push(start, block(0));
        assert!(!asks.is_stalled(at(19)) && asks.is_stalled(at(20)));
        assert!(asks.handle_block(start + Duration::from_millis(50), &block(0), 500));
        assert!(!asks.is_stalled(at(60)), "it owes nothing");
        for patience in [5, 10, 20, 20] {
            asks.push(at(100), block(1));
            assert!(!asks.is_stalled(at(99 + patience)) && asks.is_stalled(at(100 + patience)));
            asks.handle_stall();
            asks.drain();
        }
        let mut slow = Asks::new(start);
        round(&mut slow, start, Duration::from_secs(16));
        (0..16).for_each(|index| slow.push(at(16), block(index)));
        assert!(!slow.is_stalled(at(35)), "a slow one has its time");
    }
}
