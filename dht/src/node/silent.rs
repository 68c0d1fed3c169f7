//! Nodes that left a query unanswered recently.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Addresses, each for a certain time. When there are too many, the oldest go.
#[derive(Debug)]
pub(crate) struct SilentNodes {
    lifetime: Duration,
    len_max: usize,
    since: BTreeMap<SocketAddr, Instant>,
    /// Oldest first. An address that came again, or was taken out, stands here more than once or for nothing.
    order: VecDeque<(Instant, SocketAddr)>,
}

impl SilentNodes {
    pub(crate) fn new(lifetime: Duration, len_max: usize) -> Self {
        Self { lifetime, len_max, since: BTreeMap::new(), order: VecDeque::new() }
    }

    /// This address left a query unanswered.
    pub(crate) fn insert(&mut self, now: Instant, addr: SocketAddr) {
        self.since.insert(addr, now);
        self.order.push_back((now, addr));
        self.expire(now);
    }

    /// Forgets what is too long ago, and gives memory back that a busy time took.
    pub(crate) fn expire(&mut self, now: Instant) {
        let is_old = |at: Instant, lifetime| now.saturating_duration_since(at) >= lifetime;
        while let Some(&(at, oldest)) = self.order.front()
            && (self.order.len() > self.len_max || is_old(at, self.lifetime))
        {
            self.order.pop_front();
            if self.since.get(&oldest) == Some(&at) {
                self.since.remove(&oldest);
            }
        }
        if self.order.capacity() > 64 && self.order.len() < self.order.capacity() / 8 {
            self.order.shrink_to(self.order.len() * 2);
        }
    }

    /// It answered.
    pub(crate) fn remove(&mut self, addr: SocketAddr) {
        self.since.remove(&addr);
    }

    /// Whether this address left a query unanswered within the lifetime.
    pub(crate) fn contains(&self, now: Instant, addr: SocketAddr) -> bool {
        self.since.get(&addr).is_some_and(|at| now.saturating_duration_since(*at) < self.lifetime)
    }

    /// Panics when it is larger than it may be.
    pub(crate) fn check_invariants(&self) {
        assert!(self.order.len() <= self.len_max && self.since.len() <= self.order.len(), "too many addresses");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_for_their_time_and_no_more_than_there_is_room_for() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let addr = |port: u16| SocketAddr::from(([1, 2, 3, 4], port));
        let mut silent = SilentNodes::new(10 * second, 100);
        for port in 1..=1000 {
            silent.insert(start, addr(port));
            silent.check_invariants();
        }
        assert!(!silent.contains(start, addr(900)) && silent.contains(start, addr(901)));
        silent.insert(start + 5 * second, addr(1000));
        assert!(silent.contains(start + 9 * second, addr(999)) && !silent.contains(start + 10 * second, addr(999)));
        assert!(silent.contains(start + 14 * second, addr(1000)), "it came again");
        silent.remove(addr(1000));
        assert!(!silent.contains(start + 5 * second, addr(1000)));
    }
}
