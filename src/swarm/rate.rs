use std::time::{Duration, Instant};

use crate::model::BLOCK_LEN;

/// Length of a sample.
const SAMPLE: Duration = Duration::from_millis(500);

/// A flow that brought nothing for this long stands still, whatever its average is: the shorter, the faster it was.
const STILL_MIN: Duration = Duration::from_secs(3);
const STILL_MAX: Duration = Duration::from_secs(8);
/// ... or for the time in which it used to bring so much: four blocks.
const STILL_BYTES: f64 = 4.0 * BLOCK_LEN as f64;

/// Bytes per second: an average that forgets, and the total.
///
/// Every sample of half a second counts for `1/weight`; the start is averaged over the time there was, so that a fast peer
/// shows within a second.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    weight: u32,
    total: u64,
    /// Bytes since `since`.
    pending: u64,
    since: Instant,
    bps: f64,
    samples: u32,
    /// When bytes were counted last, and whether that is so long ago that nothing flows.
    last_at: Instant,
    is_still: bool,
}

impl Rate {
    /// An average over about `window`.
    pub(super) fn new(now: Instant, window: Duration) -> Self {
        let weight = (window.as_millis() / SAMPLE.as_millis()).clamp(1, 1000) as u32;
        Self { weight, total: 0, pending: 0, since: now, bps: 0.0, samples: 0, last_at: now, is_still: true }
    }

    /// Counts bytes.
    pub(super) fn add(&mut self, now: Instant, bytes: u64) {
        self.total += bytes;
        self.pending += bytes;
        self.last_at = now;
        self.update(now);
    }

    /// Bytes per second.
    pub(super) fn bps(&self) -> u64 {
        self.bps as u64
    }

    /// Bytes per second as people want to know it: none when nothing came for a while, though an average remembers long.
    pub(super) fn shown_bps(&self) -> u64 {
        if self.is_still { 0 } else { self.bps() }
    }

    /// All bytes that were counted.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Closes the sample when it is over. Silence counts too, so this is called about once per second.
    pub(super) fn update(&mut self, now: Instant) {
        self.is_still = now.saturating_duration_since(self.last_at) >= self.still_after();
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < SAMPLE {
            return;
        }
        let sample_bps = self.pending as f64 / elapsed.as_secs_f64();
        let covered = (elapsed.as_secs_f64() / SAMPLE.as_secs_f64()).round().max(1.0);
        self.samples = self.samples.saturating_add(covered as u32).min(self.weight);
        let share = (covered / f64::from(self.samples)).min(1.0);
        self.bps += (sample_bps - self.bps) * share;
        if self.bps < 1.0 {
            self.bps = 0.0;
        }
        self.pending = 0;
        self.since = now;
    }

    /// How long a silence is none of the pauses that this flow makes anyway.
    fn still_after(&self) -> Duration {
        if self.bps * STILL_MAX.as_secs_f64() <= STILL_BYTES {
            return STILL_MAX;
        }
        Duration::from_secs_f64(STILL_BYTES / self.bps).max(STILL_MIN)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;

    #[test]
    fn a_steady_flow_is_measured_and_silence_forgets_it() {
        let start = Instant::now();
        let mut rate = Rate::new(start, Duration::from_secs(20));
        for tick in 1..=100u32 {
            rate.add(start + SAMPLE * tick, 50_000);
        }
        assert!((95_000..=105_000).contains(&rate.bps()), "{}", rate.bps());
        assert_eq!(rate.total(), 5_000_000);
        for tick in 101..=140u32 {
            rate.update(start + SAMPLE * tick);
        }
        assert!(rate.bps() < 40_000, "{}", rate.bps());
        rate.update(start + Duration::from_secs(3600));
        assert_eq!(rate.bps(), 0);
    }

    #[test]
    fn a_flow_that_stands_still_is_shown_as_such_however_fast_it_was() {
        let start = Instant::now();
        let mut rate = Rate::new(start, Duration::from_secs(20));
        rate.update(start + SAMPLE);
        assert_eq!(rate.shown_bps(), 0);
        rate.add(start + SAMPLE * 2, 1 << 40);
        assert!(rate.shown_bps() > 0);
        rate.update(start + SAMPLE * 2 + STILL_MIN - SAMPLE);
        assert!(rate.shown_bps() > 0);
        rate.update(start + SAMPLE * 2 + STILL_MIN);
        assert_eq!(rate.shown_bps(), 0);
        assert!(rate.bps() > 0, "the average remembers");
        rate.add(start + SAMPLE * 3 + STILL_MIN, 1);
        assert!(rate.shown_bps() > 0);
    }

    #[test]
    fn the_pauses_of_a_slow_flow_are_no_standstill() {
        let start = Instant::now();
        let mut rate = Rate::new(start, Duration::from_secs(20));
        let pause = Duration::from_secs(6);
        for block in 1..=20 {
            let at = start + pause * block;
            rate.add(at, 16384);
            rate.update(at + pause - SAMPLE);
            assert!(rate.shown_bps() > 0, "block {block}");
        }
        rate.update(start + pause * 20 + STILL_MAX);
        assert_eq!(rate.shown_bps(), 0);
    }

    #[test]
    fn the_start_is_not_slowed_by_a_silence_that_never_was() {
        let start = Instant::now();
        let mut rate = Rate::new(start, Duration::from_secs(20));
        rate.add(start + SAMPLE, 500_000);
        assert_eq!(rate.bps(), 1_000_000);
    }
}
