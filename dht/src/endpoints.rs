//! How many new endpoints may be sent something. Each costs the router of a home an entry in its table, and many routers
//! fail at about a hundred a second for half a minute.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::is_local;
use crate::recent::Recent;

/// For how long a router is taken to remember an endpoint: what most do for UDP at least.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// Endpoints that are known at once; the longest known are forgotten, and count as new again.
const KNOWN_MAX: usize = 4096;
/// The most that a budget can allow in half a minute, which bounds the memory.
const PER_HALF_MINUTE_MAX: usize = 10_000;

const TWO_SECONDS: Duration = Duration::from_secs(2);
const HALF_MINUTE: Duration = Duration::from_secs(30);

/// How many addresses that were not sent anything within a minute may be sent a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointBudget {
    /// On average over any two seconds: a lookup is a burst.
    pub per_second: usize,
    /// Within any 30 seconds, at most 10,000.
    pub per_half_minute: usize,
}

impl Default for EndpointBudget {
    /// 40 a second and 600 in half a minute.
    fn default() -> Self {
        Self { per_second: 40, per_half_minute: 600 }
    }
}

/// Keeps count of the endpoints.
#[derive(Debug)]
pub(crate) struct Endpoints {
    /// `None`: no limit.
    budget: Option<EndpointBudget>,
    known: Recent,
    /// When the newest new ones were sent something, oldest first.
    admitted: VecDeque<Instant>,
}

impl Endpoints {
    pub(crate) fn new(budget: Option<EndpointBudget>) -> Self {
        let budget = budget.map(|budget| {
            let per_half_minute = budget.per_half_minute.clamp(1, PER_HALF_MINUTE_MAX);
            EndpointBudget { per_second: budget.per_second.clamp(1, per_half_minute.div_ceil(2)), per_half_minute }
        });
        Self { budget, known: Recent::new(KNOWN_FOR, KNOWN_MAX), admitted: VecDeque::new() }
    }

    /// Whether an address may be sent a query: it is known, there is room for another, or no router is on the way.
    pub(crate) fn admits(&self, now: Instant, addr: SocketAddr) -> bool {
        self.next_room().is_none_or(|at| at <= now) || is_local(addr.ip()) || self.known.contains(now, addr)
    }

    /// A query is sent to this address, admitted or not.
    pub(crate) fn note(&mut self, now: Instant, addr: SocketAddr) {
        let Some(budget) = self.budget.filter(|_| !is_local(addr.ip())) else { return };
        if !self.known.contains(now, addr) {
            self.admitted.push_back(now);
            if self.admitted.len() > budget.per_half_minute {
                self.admitted.pop_front();
            }
        }
        self.known.insert(now, addr);
    }

    /// From when on there is room for another; in the past where there is some.
    pub(crate) fn next_room(&self) -> Option<Instant> {
        let budget = self.budget?;
        let after = |count: usize, span: Duration| {
            let index = self.admitted.len().checked_sub(count)?;
            Some(*self.admitted.get(index)? + span)
        };
        after(2 * budget.per_second, TWO_SECONDS).max(after(budget.per_half_minute, HALF_MINUTE))
    }

    /// Panics when it is larger than it may be.
    pub(crate) fn check_invariants(&self) {
        self.known.check_invariants();
        let max = self.budget.map_or(0, |budget| budget.per_half_minute);
        assert!(self.admitted.len() <= max, "too many endpoints are counted");
        assert!(self.admitted.iter().is_sorted(), "oldest first");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(number: u32) -> SocketAddr {
        let [a, b, c, d] = (0x0800_0000 + number).to_be_bytes();
        ([a, b, c, d], 6881).into()
    }

    #[test]
    fn no_more_than_forty_a_second_and_six_hundred_in_half_a_minute() {
        let start = Instant::now();
        let mut endpoints = Endpoints::new(Some(EndpointBudget::default()));
        let (mut times_ms, mut number) = (Vec::new(), 0);
        for ms in 0..100_000u64 {
            let now = start + Duration::from_millis(ms);
            while endpoints.admits(now, addr(number)) {
                endpoints.note(now, addr(number));
                endpoints.check_invariants();
                times_ms.push(ms);
                number += 1;
            }
            assert!(endpoints.next_room().is_some_and(|room| room > now));
        }
        let most = |span_ms: u64| {
            let within =
                |first: usize| times_ms[first..].iter().take_while(|ms| **ms < times_ms[first] + span_ms).count();
            (0..times_ms.len()).step_by(7).map(within).max()
        };
        assert_eq!((most(2000), most(30_000)), (Some(80), Some(600)));
    }

    #[test]
    fn known_endpoints_are_free() {
        let now = Instant::now();
        let mut endpoints = Endpoints::new(Some(EndpointBudget { per_second: 1, per_half_minute: 3 }));
        endpoints.note(now, addr(1));
        endpoints.note(now, addr(1));
        assert!(endpoints.admits(now, addr(2)));
        endpoints.note(now, addr(2));
        assert!(endpoints.admits(now, addr(1)) && !endpoints.admits(now, addr(3)));
        assert!(endpoints.admits(now + TWO_SECONDS, addr(3)));
        endpoints.note(now + TWO_SECONDS, addr(3));
        assert!(!endpoints.admits(now + 2 * TWO_SECONDS, addr(4)) && endpoints.admits(now + HALF_MINUTE, addr(4)));
    }

    #[test]
    fn a_lifted_budget_admits_everybody() {
        let now = Instant::now();
        let mut endpoints = Endpoints::new(None);
        for number in 0..100_000 {
            assert!(endpoints.admits(now, addr(number)));
            endpoints.note(now, addr(number));
        }
        endpoints.check_invariants();
    }
}
