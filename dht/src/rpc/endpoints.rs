//! How many new endpoints may be sent something. Each costs the router of a home an entry in its table, and many routers
//! fail at about a hundred a second for half a minute.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::is_local;

/// For how long a router is taken to remember an endpoint: what most do for UDP at least.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// Endpoints that are known at once: those of about ten lookups. The longest known are forgotten, and count as new again.
const KNOWN_MAX: usize = 512;
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

/// Milliseconds of the counter's own clock, which take a quarter of an [`Instant`]'s room. After seven weeks it begins
/// again; moments that matter are a minute old at most.
type Moment = u32;

/// Keeps count of the endpoints.
#[derive(Debug)]
pub(crate) struct Endpoints {
    /// `None`: no limit.
    budget: Option<EndpointBudget>,
    /// Who was new last, oldest first.
    known: VecDeque<(u32, Moment)>,
    /// When the newest new ones were sent something, oldest first.
    admitted: VecDeque<Moment>,
    /// What moments count from: the first query.
    epoch: Option<Instant>,
}

impl Endpoints {
    pub(crate) fn new(budget: Option<EndpointBudget>) -> Self {
        let budget = budget.map(|budget| {
            let per_half_minute = budget.per_half_minute.clamp(1, PER_HALF_MINUTE_MAX);
            EndpointBudget { per_second: budget.per_second.clamp(1, per_half_minute.div_ceil(2)), per_half_minute }
        });
        Self { budget, known: VecDeque::new(), admitted: VecDeque::new(), epoch: None }
    }

    /// Whether an address may be sent a query: it is known, there is room for another, or no router is on the way.
    pub(crate) fn admits(&self, now: Instant, addr: SocketAddr) -> bool {
        self.wait(now).is_zero() || is_local(addr.ip()) || self.knows(now, addr)
    }

    /// A query is sent to this address, admitted or not.
    pub(crate) fn note(&mut self, now: Instant, addr: SocketAddr) {
        let Some(budget) = self.budget.filter(|_| !is_local(addr.ip())) else { return };
        if self.knows(now, addr) {
            return;
        }
        self.epoch.get_or_insert(now);
        let moment = self.moment(now);
        keep_newest(&mut self.known, KNOWN_MAX, |(_, at)| age(moment, *at) < KNOWN_FOR);
        self.known.push_back((fingerprint(addr), moment));
        keep_newest(&mut self.admitted, budget.per_half_minute, |at| age(moment, *at) < HALF_MINUTE);
        self.admitted.push_back(moment);
    }

    /// Whether an address counts as known: it was new less than a minute ago. What is sent to it since does not prolong
    /// that, which errs on the router's side.
    fn knows(&self, now: Instant, addr: SocketAddr) -> bool {
        let (key, moment) = (fingerprint(addr), self.moment(now));
        let newest = self.known.iter().rev().take_while(|(_, at)| age(moment, *at) < KNOWN_FOR);
        newest.map(|(other, _)| *other).any(|other| other == key)
    }

    fn moment(&self, now: Instant) -> Moment {
        self.epoch.map_or(0, |epoch| now.saturating_duration_since(epoch).as_millis() as Moment)
    }

    /// For how long there is no room for another; zero where there is some.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let Some(budget) = self.budget else { return Duration::ZERO };
        let moment = self.moment(now);
        let after = |count: usize, span: Duration| {
            let at = self.admitted.len().checked_sub(count).and_then(|index| self.admitted.get(index));
            at.map_or(Duration::ZERO, |at| span.saturating_sub(age(moment, *at)))
        };
        after(2 * budget.per_second, TWO_SECONDS).max(after(budget.per_half_minute, HALF_MINUTE))
    }

    /// Panics when it is larger than it may be.
    pub(crate) fn check_invariants(&self) {
        assert!(self.known.len() <= KNOWN_MAX, "too many endpoints are known");
        let max = self.budget.map_or(0, |budget| budget.per_half_minute);
        assert!(self.admitted.len() <= max, "too many endpoints are counted");
    }
}

fn age(now: Moment, at: Moment) -> Duration {
    Duration::from_millis(now.wrapping_sub(at).into())
}

/// Makes room for one more, without those that do not matter any more, and gives back what a burst took.
fn keep_newest<T>(queue: &mut VecDeque<T>, len_max: usize, matters: impl Fn(&T) -> bool) {
    while queue.len() >= len_max || queue.front().is_some_and(|oldest| !matters(oldest)) {
        queue.pop_front();
    }
    if queue.capacity() > 4 * queue.len() + 64 {
        queue.shrink_to(2 * queue.len());
    }
}

/// Two endpoints that are taken for one cost nothing.
fn fingerprint(addr: SocketAddr) -> u32 {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            (bits >> 96) as u32
                ^ ((bits >> 64) as u32).rotate_left(11)
                ^ ((bits >> 32) as u32).rotate_left(5)
                ^ bits as u32
        }
    };
    ip ^ u32::from(addr.port()).rotate_left(16)
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
        for ms in (0..100_000u64).step_by(5) {
            let now = start + Duration::from_millis(ms);
            while endpoints.admits(now, addr(number)) {
                endpoints.note(now, addr(number));
                endpoints.check_invariants();
                times_ms.push(ms);
                number += 1;
            }
            assert!(!endpoints.wait(now).is_zero());
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
