//! Transactions: which response belongs to which query, and what silence means.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::rtt::Rtts;
use crate::event::{OperationId, SocketIndex};
use crate::{Contact, NodeId};

/// After this a query has failed.
const FAIL: Duration = Duration::from_secs(3);
/// A timer that is so late is the first after the process stood still (a suspended laptop): what was answered meanwhile
/// waits to be read, and is read before anybody's silence counts.
const STANDSTILL: Duration = Duration::from_secs(2);
/// How long that may take.
const READ_FIRST: Duration = Duration::from_secs(1);
/// Queries under way at most: beyond this the oldest answers would be lost in the noise anyway.
const TRANSACTIONS_MAX: usize = 4096;

/// Our transaction ids: random, so that nobody can answer a query that he has not seen.
pub(crate) type TransactionId = [u8; 4];

/// What a query was sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A step of a lookup.
    Lookup(OperationId),
    /// Who the neighbours of a node are that a lookup asked.
    Neighbours(OperationId),
    /// Telling a node what it is to store: an announce or an item.
    Store(OperationId),
    /// What a node has, that was told to store something twice and refused: the first time may have worked.
    Stored(OperationId),
    /// A ping that someone asked for.
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

impl Purpose {
    fn operation(self) -> Option<OperationId> {
        match self {
            Self::Lookup(operation)
            | Self::Neighbours(operation)
            | Self::Store(operation)
            | Self::Stored(operation)
            | Self::Ping(operation)
            | Self::Sample(operation) => Some(operation),
            Self::Check => None,
        }
    }
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
    /// Longer than most answers take: its slot is free for another.
    Stalled,
    /// So long that few answers are still to come: nobody waits for it any more, though a late answer still counts.
    GivenUp,
    /// So long that the node counts as not answering.
    Failed,
}

/// The queries under way.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    by_id: BTreeMap<TransactionId, Waiting>,
    /// Exactly one for each query: when its silence reaches the next step.
    timers: BTreeSet<(Instant, TransactionId)>,
    rtts: Rtts,
}

/// A query under way and what its silence will mean next.
#[derive(Debug)]
struct Waiting {
    transaction: Transaction,
    /// The stall time and the patience at the moment it was sent.
    stall: Duration,
    patience: Duration,
    next: Silence,
}

impl Waiting {
    fn due(&self) -> Instant {
        let silent = match self.next {
            Silence::Stalled => self.stall,
            Silence::GivenUp => self.patience,
            Silence::Failed => FAIL,
        };
        self.transaction.sent_at + silent
    }
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
        let (stall, patience) = (self.rtts.stall_time(), self.rtts.patience());
        let waiting = Waiting { transaction, stall, patience, next: Silence::Stalled };
        self.timers.insert((waiting.due(), id));
        self.by_id.insert(id, waiting);
        Some(id)
    }

    /// The query that a response belongs to: transaction id, socket and address have to fit.
    pub(crate) fn finish(
        &mut self,
        now: Instant,
        socket: SocketIndex,
        from: SocketAddr,
        transaction: &[u8],
    ) -> Option<Transaction> {
        let id: TransactionId = transaction.try_into().ok()?;
        let found = self.by_id.get(&id).map(|waiting| waiting.transaction);
        let found = found.filter(|found| found.to == from && found.socket == socket)?;
        self.remove(&id);
        self.rtts.add(now.saturating_duration_since(found.sent_at));
        Some(found)
    }

    /// The next query that has been silent for too long, if one is due. `Failed` ends it.
    pub(crate) fn poll_silent(&mut self, now: Instant) -> Option<(Silence, Transaction)> {
        let (due, id) = self.timers.first().copied().filter(|(due, _)| *due <= now)?;
        let late = now - due;
        if late >= STANDSTILL {
            self.postpone(late + READ_FIRST);
            return None;
        }
        self.timers.pop_first();
        let waiting = self.by_id.get_mut(&id)?;
        let (silence, transaction) = (waiting.next, waiting.transaction);
        waiting.next = match silence {
            Silence::Stalled => Silence::GivenUp,
            Silence::GivenUp => Silence::Failed,
            Silence::Failed => {
                self.by_id.remove(&id);
                return Some((silence, transaction));
            }
        };
        let due = waiting.due();
        self.timers.insert((due, id));
        Some((silence, transaction))
    }

    /// Counts the silence of every query later by so much.
    fn postpone(&mut self, by: Duration) {
        self.by_id.values_mut().for_each(|waiting| waiting.transaction.sent_at += by);
        self.timers = self.by_id.iter().map(|(id, waiting)| (waiting.due(), *id)).collect();
    }

    /// Ends every query to an address that cannot be reached.
    pub(crate) fn take_unreachable(&mut self, socket: SocketIndex, to: SocketAddr) -> Vec<Transaction> {
        self.take_where(|transaction| transaction.to == to && transaction.socket == socket)
    }

    /// Ends every query that was sent for an operation that is over. Their answers would count for nothing but a
    /// contact's standing, which others look after.
    pub(crate) fn forget(&mut self, operation: OperationId) {
        self.take_where(|transaction| transaction.purpose.operation() == Some(operation));
    }

    fn take_where(&mut self, matches: impl Fn(&Transaction) -> bool) -> Vec<Transaction> {
        let matching = self.by_id.iter().filter(|(_, waiting)| matches(&waiting.transaction));
        let ids: Vec<TransactionId> = matching.map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| self.remove(id)).collect()
    }

    fn remove(&mut self, id: &TransactionId) -> Option<Transaction> {
        let waiting = self.by_id.remove(id)?;
        self.timers.remove(&(waiting.due(), *id));
        Some(waiting.transaction)
    }

    /// How many queries of a lookup may be under way, in percent of the usual number, for what answers take.
    pub(crate) fn width(&self) -> usize {
        self.rtts.width()
    }

    /// Queries under way.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// When [`Transactions::poll_silent`] may have something.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(due, ..)| *due)
    }

    /// Panics when the parts disagree.
    pub(crate) fn check_invariants(&self) {
        assert!(self.by_id.len() <= TRANSACTIONS_MAX, "too many queries under way");
        assert_eq!(self.timers.len(), self.by_id.len(), "one timer for each query");
        for (id, waiting) in &self.by_id {
            assert!(self.timers.contains(&(waiting.due(), *id)), "a query without its timer");
        }
        self.rtts.check_invariants();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    use crate::rpc::rtt::{PATIENCE_START, STALL_MAX};

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
                transactions.check_invariants();
                steps.push((silence, due - now));
            }
        }
        let expected = [(Silence::Stalled, STALL_MAX), (Silence::GivenUp, PATIENCE_START), (Silence::Failed, FAIL)];
        assert_eq!(steps, expected);
    }

    #[test]
    fn after_a_standstill_answers_are_read_before_silence_counts() {
        let start = Instant::now();
        let mut chance = ChaCha8Rng::seed_from_u64(1);
        let mut transactions = Transactions::default();
        let ids = [1, 2].map(|port| transactions.begin(transaction(start, port), &mut chance).unwrap());
        let now = start + Duration::from_secs(300);
        assert!(transactions.poll_silent(now).is_none());
        transactions.check_invariants();
        assert!(transactions.finish(now, SOCKET, ([10, 0, 0, 1], 1).into(), &ids[0]).is_some());
        let due = transactions.next_timeout().unwrap();
        assert_eq!(due, now + READ_FIRST);
        assert_eq!(transactions.poll_silent(due).map(|(silence, _)| silence), Some(Silence::Stalled));
        transactions.check_invariants();
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
            transactions.check_invariants();
        }
        assert_eq!(transactions.rtts.stall_time(), Duration::from_millis(100));
        transactions.check_invariants();
    }
}
