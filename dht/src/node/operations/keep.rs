use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::announce::Announce;
use crate::event::OperationId;
use crate::item::Item;

/// Pause between the announces of a torrent that is kept announced; others forget after half an hour.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(13 * 60);
/// Pause between the puts of an item that is kept (BEP 44: republish after an hour, others forget after two).
const PUT_INTERVAL: Duration = Duration::from_secs(3600);
/// Pause between the looks at an item that is followed; it doubles while nothing changes.
const WATCH_INTERVAL_MIN: Duration = Duration::from_secs(60);
const WATCH_INTERVAL_MAX: Duration = Duration::from_secs(15 * 60);
/// Pause after a run that nobody took part in; it doubles with every further one.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Something that is done again and again until it is stopped.
#[derive(Debug)]
pub(in crate::node) struct Keep {
    pub(super) task: Kept,
    /// The run under way.
    pub(super) run: Option<OperationId>,
    /// When the next one begins, unless one is under way.
    pub(in crate::node) due: Instant,
    interval: Duration,
    retry: Duration,
}

/// What is kept up.
#[derive(Debug)]
pub(super) enum Kept {
    Announce(Announce),
    Put {
        item: Item,
        cas: Option<i64>,
    },
    Watch {
        key: [u8; 32],
        salt: Vec<u8>,
        /// Versions up to this sequence number are not to be told.
        above: Option<i64>,
    },
}

/// How a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// Nobody answered, or nobody took what was to be stored.
    Unheard,
    /// As planned; an item that is followed is still the same.
    Done,
    /// An item that is followed has changed.
    Changed,
}

impl Keep {
    pub(super) fn new(now: Instant, task: Kept) -> Self {
        let interval = match task {
            Kept::Announce(_) => ANNOUNCE_INTERVAL,
            Kept::Put { .. } => PUT_INTERVAL,
            Kept::Watch { .. } => WATCH_INTERVAL_MIN,
        };
        Self { task, run: None, due: now, interval, retry: RETRY_MIN }
    }

    /// A run is over: when the next one begins.
    pub(super) fn handle_end(&mut self, now: Instant, run: Run, chance: &mut ChaCha8Rng) {
        self.run = None;
        if run == Run::Unheard {
            self.due = now + self.retry;
            self.retry = (self.retry * 2).min(RETRY_MAX);
            return;
        }
        if run == Run::Changed {
            self.interval = WATCH_INTERVAL_MIN;
        }
        self.retry = RETRY_MIN;
        self.due = now + jitter(chance, self.interval);
        if let Kept::Watch { .. } = self.task {
            self.interval = (self.interval * 2).min(WATCH_INTERVAL_MAX);
        }
    }
}

/// A time between nine tenths of `around` and all of it.
fn jitter(chance: &mut ChaCha8Rng, around: Duration) -> Duration {
    around - around / 10 * (chance.next_u32() % 1000) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    /// Pauses after runs of a watch that end like this, in seconds.
    fn pauses(runs: &[Run]) -> Vec<u64> {
        let now = Instant::now();
        let mut chance = ChaCha8Rng::from_seed([1; 32]);
        let mut keep = Keep::new(now, Kept::Watch { key: [0; 32], salt: Vec::new(), above: None });
        let pause = |run: &Run| {
            keep.handle_end(now, *run, &mut chance);
            keep.due.duration_since(now).as_secs()
        };
        runs.iter().map(pause).collect()
    }

    #[test]
    fn an_item_that_does_not_change_is_looked_at_ever_less_often() {
        let still = pauses(&[Run::Done; 7]);
        let limits = [(54, 60), (108, 120), (216, 240), (432, 480), (810, 900), (810, 900), (810, 900)];
        assert!(still.iter().zip(limits).all(|(pause, (min, max))| (min..=max).contains(pause)), "{still:?}");
        let changed = pauses(&[Run::Done, Run::Done, Run::Done, Run::Changed, Run::Done]);
        assert!((54..=60).contains(&changed[3]) && (108..=120).contains(&changed[4]), "{changed:?}");
    }

    #[test]
    fn a_run_that_nobody_heard_is_tried_again_soon() {
        assert_eq!(pauses(&[Run::Unheard; 8]), [1, 2, 4, 8, 16, 32, 60, 60]);
        let after = pauses(&[Run::Unheard, Run::Unheard, Run::Done, Run::Unheard]);
        assert_eq!((after[1], after[3]), (2, 1));
    }
}
