//! Transactions: which response belongs to which query, and what silence means.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use crate::event::{OperationId, SocketIndex};
use crate::{Contact, NodeId};

/// Until round-trip times are known, a query counts as stalled after this.
const STALL_START: Duration = Duration::from_millis(350);
/// The stall time stays within these, whatever was measured.
const STALL_MIN: Duration = Duration::from_millis(50);
const STALL_MAX: Duration = Duration::from_secs(1);
/// After this a query has failed.
const FAIL: Duration = Duration::from_secs(3);
/// Round-trip times that the estimate looks back on.
const RTTS_MAX: usize = 64;
/// Queries under way at most: beyond this the oldest answers would be lost in the noise anyway.
const TRANSACTIONS_MAX: usize = 4096;

/// Our transaction ids: random, so that nobody can answer a query that he has not seen.
pub(crate) type TransactionId = [u8; 4];

/// What a query was sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A step of a lookup.
    Lookup(OperationId),
    /// Telling a node what it is to store: an announce or an item.
    Store(OperationId),
    /// A ping that somebody asked for.
    Ping(OperationId),
    /// The samples of one node.
    Sample(OperationId),
    /// To see whether a contact is alive.
    Check,
}

/// A query under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transaction {
    pub(crate) socket: SocketIndex,
    pub(crate) to: SocketAddr,
    /// The id that was asked, where it is known.
    pub(crate) id: Option<NodeId>,
    pub(crate) purpose: Purpose,
    pub(crate) sent_at: Instant,
}

impl Transaction {
    /// The contact that was asked, where its id is known.
    pub(crate) fn contact(&self) -> Option<Contact> {
        self.id.map(|id| Contact { id, addr: self.to })
    }
}

/// How long a query has been silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Silence {
    /// As long as nearly every answer takes: its slot is free for another.
    Stalled,
    /// Twice as long: nobody waits for it any more, though a late answer still counts.
    GivenUp,
    /// So long that the node counts as not answering.
    Failed,
}

/// The queries under way.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    by_id: BTreeMap<TransactionId, Transaction>,
    timers: BTreeSet<(Instant, Silence, TransactionId)>,
    /// Newest round-trip times, as a ring.
    rtts: Vec<Duration>,
    rtt_next: usize,
}

impl Transactions {
    /// Notes a query that is sent now; `None` when too many are under way.
    pub(crate) fn begin(&mut self, transaction: Transaction, chance: &mut ChaCha8Rng) -> Option<TransactionId> {
        if self.by_id.len() >= TRANSACTIONS_MAX {
            return None;
        }
        let mut id = chance.next_u32().to_be_bytes();
        while self.by_id.contains_key(&id) {
            id = chance.next_u32().to_be_bytes();
        }
        let (now, stall) = (transaction.sent_at, self.stall_time());
        self.timers.insert((now + stall, Silence::Stalled, id));
        self.timers.insert((now + 2 * stall, Silence::GivenUp, id));
        self.timers.insert((now + FAIL, Silence::Failed, id));
        self.by_id.insert(id, transaction);
        Some(id)
    }

    /// The query that a response belongs to: transaction id, socket, address and, where it is known, node id have to fit.
    pub(crate) fn finish(
        &mut self,
        now: Instant,
        socket: SocketIndex,
        from: SocketAddr,
        transaction: &[u8],
    ) -> Option<Transaction> {
        let id: TransactionId = transaction.try_into().ok()?;
        let found = self.by_id.get(&id).filter(|found| found.to == from && found.socket == socket).copied()?;
        self.by_id.remove(&id);
        let rtt = now.saturating_duration_since(found.sent_at);
        if self.rtts.len() < RTTS_MAX {
            self.rtts.push(rtt);
        } else {
            self.rtts[self.rtt_next] = rtt;
            self.rtt_next = (self.rtt_next + 1) % RTTS_MAX;
        }
        Some(found)
    }

    /// The next query that has been silent for too long, if one is due. `Failed` ends it.
    pub(crate) fn poll_silent(&mut self, now: Instant) -> Option<(Silence, Transaction)> {
        while let Some((due, silence, id)) = self.timers.first().copied() {
            if due > now {
                return None;
            }
            self.timers.pop_first();
            if let Some(transaction) = self.by_id.get(&id).copied() {
                if silence == Silence::Failed {
                    self.by_id.remove(&id);
                }
                return Some((silence, transaction));
            }
        }
        None
    }

    /// Ends every query to an address that cannot be reached.
    pub(crate) fn take_unreachable(&mut self, socket: SocketIndex, to: SocketAddr) -> Vec<Transaction> {
        let ids: Vec<TransactionId> = self
            .by_id
            .iter()
            .filter(|(_, transaction)| transaction.to == to && transaction.socket == socket)
            .map(|(id, _)| *id)
            .collect();
        ids.iter().filter_map(|id| self.by_id.remove(id)).collect()
    }

    /// Queries under way.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// When [`Transactions::poll_silent`] may have something.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(due, ..)| *due)
    }

    /// The time that nine of ten answers take, and half as much again.
    fn stall_time(&self) -> Duration {
        if self.rtts.len() < 8 {
            return STALL_START;
        }
        let mut sorted = self.rtts.clone();
        sorted.sort_unstable();
        (sorted[sorted.len() * 9 / 10] * 3 / 2).clamp(STALL_MIN, STALL_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    const SOCKET: SocketIndex = SocketIndex(0);

    fn transaction(now: Instant, port: u16) -> Transaction {
        let to = ([10, 0, 0, 1], port).into();
        Transaction { socket: SOCKET, to, id: None, purpose: Purpose::Check, sent_at: now }
    }

    #[test]
    fn only_the_address_that_was_asked_can_answer() {
        let now = Instant::now();
        let mut chance = ChaCha8Rng::seed_from_u64(1);
        let mut transactions = Transactions::default();
        let id = transactions.begin(transaction(now, 1), &mut chance).unwrap();
        let stranger = ([10, 0, 0, 1], 2).into();
        assert!(transactions.finish(now, SOCKET, stranger, &id).is_none());
        assert!(transactions.finish(now, SocketIndex(1), ([10, 0, 0, 1], 1).into(), &id).is_none());
        assert!(transactions.finish(now, SOCKET, ([10, 0, 0, 1], 1).into(), &id[..3]).is_none());
        assert!(transactions.finish(now, SOCKET, ([10, 0, 0, 1], 1).into(), &id).is_some());
        assert!(transactions.finish(now, SOCKET, ([10, 0, 0, 1], 1).into(), &id).is_none(), "once");
    }

    #[test]
    fn silence_is_told_in_three_steps() {
        let now = Instant::now();
        let mut chance = ChaCha8Rng::seed_from_u64(1);
        let mut transactions = Transactions::default();
        transactions.begin(transaction(now, 1), &mut chance).unwrap();
        let mut steps = Vec::new();
        while let Some(due) = transactions.next_timeout() {
            while let Some((silence, _)) = transactions.poll_silent(due) {
                steps.push((silence, due - now));
            }
        }
        let expected = [(Silence::Stalled, STALL_START), (Silence::GivenUp, 2 * STALL_START), (Silence::Failed, FAIL)];
        assert_eq!(steps, expected);
    }

    #[test]
    fn the_stall_time_follows_the_round_trips() {
        let now = Instant::now();
        let mut chance = ChaCha8Rng::seed_from_u64(1);
        let mut transactions = Transactions::default();
        for port in 1..=100 {
            let id = transactions.begin(transaction(now, port), &mut chance).unwrap();
            let later = now + Duration::from_millis(100);
            transactions.finish(later, SOCKET, ([10, 0, 0, 1], port).into(), &id).unwrap();
        }
        assert_eq!(transactions.stall_time(), Duration::from_millis(150));
    }
}
