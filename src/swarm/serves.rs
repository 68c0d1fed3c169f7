//! What one peer asked us for, and how far we are with it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::model::{BLOCK_LEN, Block};

/// Bytes read from the disk in one run at most.
const READ_RUN_MAX: u32 = 256 * 1024;
/// Requests that one run serves at most: a run of whole blocks never has more.
const RUN_REQUESTS_MAX: usize = (READ_RUN_MAX / BLOCK_LEN) as usize;
/// What one peer has being read, or on its way to the socket, at most: bytes, each read counted as a block at least.
const PEER_BYTES_MAX: u32 = 1024 * 1024;
/// Blocks of one peer on their way to the socket, besides those of the runs being read, at most. Blocks of the usual size
/// reach [`PEER_BYTES_MAX`] long before; tiny ones cost memory by their number.
const QUEUED_MAX: usize = 256;

/// The blocks a peer asked us for.
#[derive(Debug, Default)]
pub(super) struct Serves {
    /// Not yet read from the disk.
    pub(super) waiting: VecDeque<Block>,
    /// Being read.
    pub(super) reading: Vec<ReadRun>,
    /// What the runs being read cost, by [`ReadRun::cost`].
    reading_cost: u32,
    /// Lengths of the blocks on their way to the socket, in their order.
    queued: VecDeque<u32>,
    /// Bytes of `queued` that are not sent.
    queued_bytes: u32,
    /// Bytes of the first block of `queued` that are sent.
    front_sent: u32,
    /// When the socket took something last, or the first block of `queued` came there.
    taken_at: Option<Instant>,
}

/// Consecutive requests that one read serves.
#[derive(Debug)]
pub(super) struct ReadRun {
    pub(super) run: Block,
    pub(super) requests: Vec<Block>,
}

impl ReadRun {
    /// What the read counts as in the budgets: a job for the disk is never cheaper than a block, however little it reads.
    pub(super) fn cost(&self) -> u32 {
        self.run.len.max(BLOCK_LEN)
    }
}

impl Serves {
    /// Whether everything that the peer asked for is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.reading.is_empty() && self.queued.is_empty()
    }

    /// Whether blocks are on their way to the socket.
    pub(super) fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// How long the socket has taken nothing of what waits for it.
    pub(super) fn blocked_for(&self, now: Instant) -> Duration {
        let since = self.taken_at.filter(|_| self.has_queued());
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// The process stood still: that the socket took nothing counts from here on.
    pub(super) fn handle_standstill(&mut self, now: Instant) {
        self.taken_at = self.taken_at.map(|_| now);
    }

    /// What the runs being read cost.
    pub(super) fn reading_cost(&self) -> u32 {
        self.reading_cost
    }

    /// The next run to read; `None` when nothing waits, or enough is under way.
    pub(super) fn next_run(&mut self) -> Option<Block> {
        if self.reading_cost + self.queued_bytes >= PEER_BYTES_MAX || self.queued.len() >= QUEUED_MAX {
            return None;
        }
        let first = self.waiting.pop_front()?;
        let mut run = first;
        let mut requests = vec![first];
        while let Some(next) = self.waiting.front() {
            let follows = next.piece == run.piece && next.begin == run.begin + run.len;
            if !follows || run.len + next.len > READ_RUN_MAX || requests.len() >= RUN_REQUESTS_MAX {
                break;
            }
            run.len += next.len;
            requests.push(*next);
            self.waiting.pop_front();
        }
        let read = ReadRun { run, requests };
        self.reading_cost += read.cost();
        self.reading.push(read);
        Some(run)
    }

    /// The run that was read.
    pub(super) fn take_run(&mut self, run: &Block) -> Option<ReadRun> {
        let at = self.reading.iter().position(|reading| reading.run == *run)?;
        let read = self.reading.swap_remove(at);
        self.reading_cost -= read.cost();
        Some(read)
    }

    /// Takes requests out whose blocks are not read yet.
    pub(super) fn drop_unread(&mut self, is_dropped: impl Fn(&Block) -> bool) -> Vec<Block> {
        let mut dropped: Vec<Block> = Vec::new();
        let mut keep = |block: &Block| {
            let is_dropped = is_dropped(block);
            dropped.extend(is_dropped.then_some(*block));
            !is_dropped
        };
        self.waiting.retain(&mut keep);
        for run in &mut self.reading {
            run.requests.retain(&mut keep);
        }
        dropped
    }

    /// A block is on its way to the socket.
    pub(super) fn push_queued(&mut self, now: Instant, len: u32) {
        if self.queued.is_empty() {
            self.taken_at = Some(now);
        }
        self.queued.push_back(len);
        self.queued_bytes += len;
    }

    /// So many bytes of blocks reached the socket.
    pub(super) fn handle_sent(&mut self, now: Instant, payload_bytes: u32) {
        self.taken_at = Some(now);
        let sent = payload_bytes.min(self.queued_bytes);
        self.queued_bytes -= sent;
        self.front_sent += sent;
        while let Some(front) = self.queued.front().filter(|front| self.front_sent >= **front) {
            self.front_sent -= front;
            self.queued.pop_front();
        }
    }

    /// A block will not reach the socket after all; nothing of it was sent.
    pub(super) fn take_queued(&mut self, len: u32) {
        // Which of several equally long ones makes no difference, but for the first: part of it may be sent.
        let started = usize::from(self.front_sent > 0);
        let at = self.queued.iter().skip(started).position(|queued| *queued == len);
        if let Some(at) = at {
            self.queued.remove(at + started);
            self.queued_bytes -= len;
        }
    }

    /// Panics when the counts disagree or a bound is exceeded.
    pub(super) fn check_invariants(&self) {
        let cost: u32 = self.reading.iter().map(ReadRun::cost).sum();
        assert_eq!(cost, self.reading_cost, "the cost of what is read");
        assert!(cost < PEER_BYTES_MAX + READ_RUN_MAX, "a peer has too much read");
        let queued: u32 = self.queued.iter().sum();
        assert_eq!(queued - self.front_sent, self.queued_bytes, "bytes on their way to the socket");
        let in_runs = RUN_REQUESTS_MAX * (PEER_BYTES_MAX / BLOCK_LEN) as usize;
        assert!(self.queued.len() <= QUEUED_MAX + in_runs, "too many blocks on their way");
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;
    use crate::model::PieceIndex;

    fn block(begin: u32, len: u32) -> Block {
        Block { piece: PieceIndex::new(0), begin, len }
    }

    #[test]
    fn tiny_requests_cost_a_block_each_read_and_are_bounded_by_their_number() {
        let now = Instant::now();
        let mut serves = Serves::default();
        // Every other byte: no two make a run.
        serves.waiting.extend((0..2000).map(|number| block(2 * number, 1)));
        let runs: Vec<Block> = std::iter::from_fn(|| serves.next_run()).collect();
        assert_eq!(runs.len(), (PEER_BYTES_MAX / BLOCK_LEN) as usize);
        serves.check_invariants();

        let mut serves = Serves::default();
        serves.waiting.extend((0..2000).map(|begin| block(begin, 1)));
        while let Some(run) = serves.next_run() {
            let read = serves.take_run(&run).unwrap();
            assert!(read.requests.len() <= RUN_REQUESTS_MAX);
            read.requests.iter().for_each(|request| serves.push_queued(now, request.len));
            serves.check_invariants();
        }
        assert_eq!(serves.queued.len(), QUEUED_MAX, "the socket takes nothing");
        serves.handle_sent(now, RUN_REQUESTS_MAX as u32);
        assert!(serves.next_run().is_some());
    }

    #[test]
    fn sent_and_taken_back_blocks_free_exactly_their_room() {
        let now = Instant::now();
        let mut serves = Serves::default();
        [10, 20, 10, 30].into_iter().for_each(|len| serves.push_queued(now, len));
        serves.handle_sent(now, 5);
        serves.check_invariants();
        // The first is under way: the other of that length goes.
        serves.take_queued(10);
        serves.check_invariants();
        assert_eq!(serves.queued, [10, 20, 30]);
        serves.handle_sent(now, 5 + 20 + 29);
        serves.check_invariants();
        assert_eq!((serves.queued_bytes, serves.front_sent), (1, 29));
        serves.handle_sent(now, 100);
        serves.check_invariants();
        assert!(serves.is_idle());
    }

    #[test]
    fn who_reads_nothing_is_blocked_until_it_reads() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut serves = Serves::default();
        assert_eq!(serves.blocked_for(start + second), Duration::ZERO, "nothing waits for it");
        serves.push_queued(start, 10);
        serves.push_queued(start + second, 10);
        assert_eq!(serves.blocked_for(start + 3 * second), 3 * second);
        serves.handle_sent(start + 3 * second, 1);
        assert_eq!(serves.blocked_for(start + 4 * second), second);
    }
}
