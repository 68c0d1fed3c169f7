use std::time::{Duration, Instant};

/// Pause after the first search; it doubles with every further one up to [`PAUSE_MAX`]. Peers that start together with
/// us have not announced yet when we ask for the first time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause. A swarm that comes to life is noticed within this time.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// When to ask the DHT for peers again, as long as more peers are wanted.
#[derive(Debug, Clone)]
pub(super) struct SearchSchedule {
    next: Option<Instant>,
    pause: Duration,
}

impl SearchSchedule {
    /// The first search is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { next: Some(now), pause: PAUSE_MIN }
    }

    /// When the next search is due. `None` while one is under way.
    pub(super) fn next_search(&self) -> Option<Instant> {
        self.next
    }

    /// A search began.
    pub(super) fn handle_started(&mut self) {
        self.next = None;
    }

    /// The search under way ended.
    pub(super) fn handle_finished(&mut self, now: Instant) {
        self.next = Some(now + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;

    #[test]
    fn searches_come_less_often_and_never_end() {
        let mut now = Instant::now();
        let mut schedule = SearchSchedule::new(now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            schedule.handle_started();
            assert_eq!(schedule.next_search(), None);
            schedule.handle_finished(now);
            let next = schedule.next_search().unwrap();
            pauses.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
