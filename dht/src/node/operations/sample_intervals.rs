use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The longest interval of BEP 51; one that claims more gets this.
const INTERVAL_MAX: Duration = Duration::from_secs(21_600);
/// Nodes of which the end of the interval is remembered, about 60 bytes each. Beyond that the one is forgotten that may
/// be asked again soonest.
const NODES_MAX: usize = 16_384;

/// Until when each node gives the same samples, as it said (BEP 51): before, it is not asked again.
#[derive(Debug, Default)]
pub(in crate::node) struct SampleIntervals {
    ends: BTreeMap<SocketAddr, Instant>,
}

impl SampleIntervals {
    /// How long a node is not to be asked yet.
    pub(in crate::node) fn wait(&self, now: Instant, addr: SocketAddr) -> Option<Duration> {
        self.ends.get(&addr).map(|end| end.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// A node gave samples that stay the same for `interval_s`.
    pub(in crate::node) fn note(&mut self, now: Instant, addr: SocketAddr, interval_s: i64) -> Duration {
        let interval = Duration::from_secs(u64::try_from(interval_s).unwrap_or(0)).min(INTERVAL_MAX);
        if interval.is_zero() {
            self.ends.remove(&addr);
            return interval;
        }
        if self.ends.len() >= NODES_MAX && !self.ends.contains_key(&addr) {
            self.ends.retain(|_, end| *end > now);
            if self.ends.len() >= NODES_MAX
                && let Some(soonest) = self.ends.iter().min_by_key(|(_, end)| **end).map(|(addr, _)| *addr)
            {
                self.ends.remove(&soonest);
            }
        }
        self.ends.insert(addr, now + interval);
        interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(number: u32) -> SocketAddr {
        (number.to_be_bytes(), 6881).into()
    }

    #[test]
    fn a_node_may_be_asked_again_when_its_interval_is_over() {
        let now = Instant::now();
        let mut intervals = SampleIntervals::default();
        for (claimed, wait) in [(60, 60), (i64::MAX, 21_600), (0, 0), (-1, 0)] {
            intervals.note(now, addr(1), claimed);
            let wait = Duration::from_secs(wait);
            assert_eq!(intervals.wait(now, addr(1)).unwrap_or_default(), wait, "{claimed}");
            assert_eq!(intervals.wait(now + wait, addr(1)), None, "{claimed}");
            assert_eq!(intervals.wait(now, addr(2)), None);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = Instant::now();
        let mut intervals = SampleIntervals::default();
        intervals.note(now, addr(0), 1);
        for number in 1..=NODES_MAX as u32 {
            intervals.note(now, addr(number), 100);
        }
        assert_eq!(intervals.ends.len(), NODES_MAX);
        assert_eq!(intervals.wait(now, addr(0)), None, "the one that may be asked soonest is forgotten");
        assert!(intervals.wait(now, addr(1)).is_some());
    }
}
