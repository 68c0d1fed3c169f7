//! How long answers take, and from when on silence says something.

use std::time::Duration;

/// Until round-trip times are known, a query counts as stalled after this.
pub(crate) const STALL_START: Duration = Duration::from_millis(350);
/// The stall time stays within these, whatever was measured: below, a busy host's delays would count as silence; above,
/// a lookup would wait longer for one node than asking another takes.
const STALL_MIN: Duration = Duration::from_millis(100);
const STALL_MAX: Duration = Duration::from_millis(600);
/// Round-trip times that the estimate looks back on: the last lookup or two.
const RTTS_MAX: usize = 64;
/// Fewer than this say nothing about the slowest quarter.
const RTTS_MIN: usize = 8;

/// The newest round-trip times.
#[derive(Debug, Default)]
pub(crate) struct Rtts {
    /// In milliseconds; as a ring, once it is full.
    newest: Vec<u16>,
    oldest_at: usize,
    /// The same, shortest first.
    sorted: Vec<u16>,
}

impl Rtts {
    /// An answer came after `rtt`.
    pub(crate) fn add(&mut self, rtt: Duration) {
        let rtt = u16::try_from(rtt.as_millis()).unwrap_or(u16::MAX);
        if self.newest.len() < RTTS_MAX {
            self.newest.push(rtt);
        } else {
            let oldest = std::mem::replace(&mut self.newest[self.oldest_at], rtt);
            self.oldest_at = (self.oldest_at + 1) % RTTS_MAX;
            let at = self.sorted.partition_point(|other| *other < oldest);
            self.sorted.remove(at);
        }
        let at = self.sorted.partition_point(|other| *other < rtt);
        self.sorted.insert(at, rtt);
    }

    /// The time that three of four answers take at most. To free the slots of the slower ones costs few queries, and half
    /// of those who are silent for so long will not answer at all.
    pub(crate) fn stall_time(&self) -> Duration {
        if self.sorted.len() < RTTS_MIN {
            return STALL_START;
        }
        Duration::from_millis(self.sorted[self.sorted.len() * 3 / 4].into()).clamp(STALL_MIN, STALL_MAX)
    }

    /// Panics when the parts disagree.
    pub(crate) fn check_invariants(&self) {
        assert!(self.newest.len() <= RTTS_MAX, "too many round-trip times");
        let mut newest = self.newest.clone();
        newest.sort_unstable();
        assert_eq!(newest, self.sorted, "the sorted round-trip times are other ones");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stall_time_is_what_three_of_four_answers_take() {
        let mut rtts = Rtts::default();
        assert_eq!(rtts.stall_time(), STALL_START);
        for turn in 0..1000u64 {
            rtts.add(Duration::from_millis(101 + turn * 37 % 100));
            rtts.check_invariants();
        }
        let stall_ms = rtts.stall_time().as_millis();
        assert!((168..=184).contains(&stall_ms), "{stall_ms} ms");
    }

    #[test]
    fn it_stays_within_bounds_and_forgets() {
        let mut rtts = Rtts::default();
        (0..RTTS_MAX).for_each(|_| rtts.add(Duration::from_secs(2)));
        assert_eq!(rtts.stall_time(), STALL_MAX);
        (0..RTTS_MAX).for_each(|_| rtts.add(Duration::from_millis(1)));
        assert_eq!(rtts.stall_time(), STALL_MIN);
    }
}
