use std::time::{Duration, Instant};

/// Queries in a row without any answer after which the network counts as gone: that many dead contacts in a row are
/// not met by chance where others answer.
const LOST_AFTER: u64 = 8;
/// Pause between two looks while something seems wrong, and once the network is gone: its return is noticed within it
/// and a round trip.
const LOOK_WHILE_IN_DOUBT: Duration = Duration::from_secs(1);
const LOOK_WHILE_LOST: Duration = Duration::from_secs(5);
/// Without an answer for this long there is a look even though nothing seems wrong: nothing else may be under way.
const QUIET_MAX: Duration = Duration::from_secs(60);

/// Whether the network answers over one socket.
#[derive(Debug, Default)]
pub(super) struct Health {
    heard_at: Option<Instant>,
    /// Queries that failed since then, all of them sent after it.
    unanswered: u64,
    look_at: Option<Instant>,
}

impl Health {
    /// A query of ours was answered. Returns whether the network had been gone.
    pub(super) fn handle_answer(&mut self, now: Instant) -> bool {
        let was_lost = self.is_lost();
        self.heard_at = Some(now);
        self.unanswered = 0;
        self.look_at = None;
        was_lost
    }

    /// A query that was sent at `sent_at` failed. Returns whether others answered in the meantime: else the network may
    /// be down, which is no contact's fault.
    pub(super) fn handle_failure(&mut self, sent_at: Instant) -> bool {
        let others_answered = self.heard_at.is_some_and(|heard| heard >= sent_at);
        self.unanswered += u64::from(!others_answered);
        others_answered
    }

    /// Whether anybody answered ever.
    pub(super) fn has_heard(&self) -> bool {
        self.heard_at.is_some()
    }

    /// Whether the network answered once and is gone.
    pub(super) fn is_lost(&self) -> bool {
        self.has_heard() && self.unanswered >= LOST_AFTER
    }

    /// Queries that failed since the last answer.
    pub(super) fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// Whether it is time to ask someone only to see whether there is an answer. It counts as done.
    pub(super) fn is_look_due(&mut self, now: Instant) -> bool {
        let Some(heard_at) = self.heard_at else { return false };
        let is_quiet = now.saturating_duration_since(heard_at) >= QUIET_MAX;
        if (self.unanswered == 0 && !is_quiet) || self.look_at.is_some_and(|look_at| now < look_at) {
            return false;
        }
        self.look_at = Some(now + if self.is_lost() { LOOK_WHILE_LOST } else { LOOK_WHILE_IN_DOUBT });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_failures_after_the_last_answer_are_a_lost_network() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut health = Health::default();
        for _ in 0..100 {
            assert!(!health.handle_failure(at(0)));
        }
        assert!(!health.is_lost() && !health.is_look_due(at(100)), "what never answered is not lost but not found");
        assert!(!health.handle_answer(at(100)));
        assert!(!health.is_look_due(at(159)));
        assert!(health.is_look_due(at(160)), "it was quiet for long");
        for _ in 0..7 {
            assert!(!health.handle_failure(at(101)));
        }
        assert!(health.handle_failure(at(99)), "sent before the last answer");
        assert!(!health.is_lost() && health.is_look_due(at(161)));
        health.handle_failure(at(101));
        assert!(health.is_lost());
        assert!(health.is_look_due(at(162)) && !health.is_look_due(at(166)) && health.is_look_due(at(167)));
        assert!(health.handle_answer(at(170)) && !health.is_lost());
    }
}
