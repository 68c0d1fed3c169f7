//! How long answers take, and from when on silence says something.

use std::time::Duration;

/// A query counts as stalled after this while round-trip times are not known, and at the latest: someone else may well
/// be nearer, and whoever is far from everyone loses less by a few queries more than by waiting.
pub(crate) const STALL_MAX: Duration = Duration::from_millis(250);
/// The earliest: below, a busy host's delays would count as silence.
const STALL_MIN: Duration = Duration::from_millis(100);
/// While round-trip times are not known, a query is given up after this: five times what a usual one takes.
pub(crate) const PATIENCE_START: Duration = Duration::from_millis(700);
/// Nothing that comes later is waited for, whatever was measured: that is longer than by satellite.
const PATIENCE_MAX: Duration = Duration::from_millis(1500);
/// Of a hundred answers this many come within the stall time.
const STALL_PERCENTILE: usize = 85;
/// A query is given up after this share of that, in percent: one answer of thirty comes later.
const PATIENCE_PERCENT: u32 = 150;
/// Half of the round-trip times are below this for a host that is at no particular distance from the others.
const USUAL_RTT_MS: usize = 140;
/// The width of a lookup, in percent of the usual: it follows the round-trip times up to here.
const WIDTH_MAX: usize = 250;
/// Round-trip times that the estimate looks back on: the last lookup or two.
const RTTS_MAX: usize = 64;
/// Fewer than this say nothing about the slowest.
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

    /// After this much silence another is asked: 85 of 100 answers come before it, unless all take long. To free the
    /// slots of the slower ones costs few queries, and most of those who are silent for this long will not answer at
    /// all.
    pub(crate) fn stall_time(&self) -> Duration {
        self.percentile(STALL_PERCENTILE).map_or(STALL_MAX, |rtt| rtt.clamp(STALL_MIN, STALL_MAX))
    }

    /// After this much silence nobody waits for an answer any more.
    pub(crate) fn patience(&self) -> Duration {
        let patience = |rtt: Duration| (rtt.max(STALL_MIN) * PATIENCE_PERCENT / 100).min(PATIENCE_MAX);
        self.percentile(STALL_PERCENTILE).map_or(PATIENCE_START, patience)
    }

    /// How many queries of a lookup may be under way, in percent of the usual number, 100 to 250. A lookup is a number
    /// of steps one after another, each as long as a round trip: whoever is far from everyone takes fewer and wider
    /// ones.
    pub(crate) fn width(&self) -> usize {
        let percent = |rtt: Duration| 100 * rtt.as_millis() as usize / USUAL_RTT_MS;
        self.percentile(50).map_or(100, |rtt| percent(rtt).clamp(100, WIDTH_MAX))
    }

    /// The time that this many of a hundred answers take at most; `None` while too few came.
    fn percentile(&self, percent: usize) -> Option<Duration> {
        let rtt = self.sorted.get(self.sorted.len() * percent / 100).filter(|_| self.sorted.len() >= RTTS_MIN)?;
        Some(Duration::from_millis((*rtt).into()))
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
    fn the_stall_time_is_what_85_of_100_answers_take() {
        let mut rtts = Rtts::default();
        assert_eq!((rtts.stall_time(), rtts.patience(), rtts.width()), (STALL_MAX, PATIENCE_START, 100));
        for turn in 0..1000u64 {
            rtts.add(Duration::from_millis(101 + turn * 37 % 100));
            rtts.check_invariants();
        }
        let stall_ms = rtts.stall_time().as_millis();
        assert!((178..=194).contains(&stall_ms), "{stall_ms} ms");
        assert_eq!(rtts.patience().as_millis(), stall_ms * 3 / 2);
        assert!((100..=115).contains(&rtts.width()), "{} %", rtts.width());
    }

    #[test]
    fn it_stays_within_bounds_and_forgets() {
        let mut rtts = Rtts::default();
        (0..RTTS_MAX).for_each(|_| rtts.add(Duration::from_secs(2)));
        assert_eq!((rtts.stall_time(), rtts.patience(), rtts.width()), (STALL_MAX, PATIENCE_MAX, WIDTH_MAX));
        (0..RTTS_MAX).for_each(|_| rtts.add(Duration::from_millis(1)));
        assert_eq!((rtts.stall_time(), rtts.patience(), rtts.width()), (STALL_MIN, STALL_MIN * 3 / 2, 100));
    }

    #[test]
    fn whoever_is_far_from_everybody_waits_longer_for_the_end_and_asks_more_at_once() {
        let mut rtts = Rtts::default();
        (0..RTTS_MAX).for_each(|_| rtts.add(Duration::from_millis(280)));
        assert_eq!((rtts.stall_time(), rtts.patience().as_millis(), rtts.width()), (STALL_MAX, 420, 200));
    }
}
