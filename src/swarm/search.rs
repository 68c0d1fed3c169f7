use std::time::{Duration, Instant};

/// Pause after a search that found nobody; it doubles up to [`FOUND_NONE_MAX`].
const FOUND_NONE_MIN: Duration = Duration::from_secs(5);
/// Longest pause while nobody is found. A swarm that comes to life is noticed within this time.
const FOUND_NONE_MAX: Duration = Duration::from_secs(60);
/// Pause after a search that found peers. The DHT's answers change slowly: peers announce every quarter of an hour.
const FOUND_SOME: Duration = Duration::from_secs(120);

/// When to ask the DHT for peers again.
#[derive(Debug, Clone)]
pub struct SearchSchedule {
    next: Option<Instant>,
    pause_none: Duration,
}

impl SearchSchedule {
    /// The first search is due at once.
    pub fn new(now: Instant) -> Self {
        Self { next: Some(now), pause_none: FOUND_NONE_MIN }
    }

    /// When the next search is due. `None` while one is under way.
    pub fn next_search(&self) -> Option<Instant> {
        self.next
    }

    /// A search began.
    pub fn handle_started(&mut self) {
        self.next = None;
    }

    /// The search under way ended with so many addresses.
    pub fn handle_finished(&mut self, now: Instant, found: usize) {
        if found > 0 {
            self.pause_none = FOUND_NONE_MIN;
            self.next = Some(now + FOUND_SOME);
        } else {
            self.next = Some(now + self.pause_none);
            self.pause_none = (self.pause_none * 2).min(FOUND_NONE_MAX);
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;

    #[test]
    fn fruitless_searches_come_less_often_and_never_end() {
        let mut now = Instant::now();
        let mut schedule = SearchSchedule::new(now);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            schedule.handle_started();
            assert_eq!(schedule.next_search(), None);
            schedule.handle_finished(now, 0);
            let next = schedule.next_search().unwrap();
            pauses.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        schedule.handle_finished(now, 3);
        assert_eq!(schedule.next_search(), Some(now + FOUND_SOME));
        schedule.handle_finished(now, 0);
        assert_eq!(schedule.next_search(), Some(now + FOUND_NONE_MIN), "finding somebody starts over");
    }
}
