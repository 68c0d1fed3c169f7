use std::time::{Duration, Instant};

use crate::model::Bitfield;

/// How long after a piece was verified the resume file is saved. A process that is killed before loses nothing: what is on
/// the disk is checked.
const SAVE_DELAY: Duration = Duration::from_secs(30);

/// When the resume file is saved: first the data are synced by every disk thread, then the file is written, so that it never
/// claims what a power cut can take away.
#[derive(Debug)]
pub(super) struct Saving {
    is_kept: bool,
    due: Option<Instant>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Idle,
    /// What is to be saved once this many more disk threads have synced.
    Syncing {
        have: Bitfield,
        threads_left: usize,
        failed: bool,
    },
    Writing,
}

impl Saving {
    /// Without `is_kept`, nothing is saved.
    pub(super) fn new(is_kept: bool) -> Self {
        Self { is_kept, due: None, step: Step::Idle }
    }

    /// A piece was verified.
    pub(super) fn note_change(&mut self, now: Instant) {
        if self.is_kept {
            self.due.get_or_insert(now + SAVE_DELAY);
        }
    }

    /// When [`Saving::begin`] is due.
    pub(super) fn next_save(&self) -> Option<Instant> {
        self.due.filter(|_| !self.is_saving())
    }

    /// Begins a save of these pieces; returns whether this many disk threads are to sync now.
    pub(super) fn begin(&mut self, have: Bitfield, threads: usize) -> bool {
        self.due = None;
        let begins = self.is_kept && !self.is_saving();
        if begins {
            self.step = Step::Syncing { have, threads_left: threads, failed: false };
        }
        begins
    }

    /// A disk thread has synced, or could not. Returns the pieces to save when it was the last and all of them could.
    pub(super) fn handle_synced(&mut self, synced: bool) -> Option<Bitfield> {
        let Step::Syncing { threads_left, failed, .. } = &mut self.step else { return None };
        *failed |= !synced;
        *threads_left = threads_left.saturating_sub(1);
        if *threads_left > 0 {
            return None;
        }
        match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Syncing { have, failed: false, .. } => {
                self.step = Step::Writing;
                Some(have)
            }
            _ => None,
        }
    }

    /// The resume file was written.
    pub(super) fn handle_saved(&mut self) {
        self.step = Step::Idle;
    }

    /// Whether a save is under way.
    pub(super) fn is_saving(&self) -> bool {
        !matches!(self.step, Step::Idle)
    }

    /// Whether disk threads are still to sync.
    pub(super) fn is_syncing(&self) -> bool {
        matches!(self.step, Step::Syncing { .. })
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin at some instant")]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_could_not_sync_is_not_saved() {
        let mut saving = Saving::new(true);
        for (answers, saved) in [([true, true], true), ([false, true], false), ([true, false], false)] {
            assert!(saving.begin(Bitfield::full(3), 2));
            assert!(!saving.begin(Bitfield::full(3), 2), "one save at a time");
            assert_eq!(saving.handle_synced(answers[0]), None);
            assert_eq!(saving.handle_synced(answers[1]).is_some(), saved);
            assert_eq!(saving.is_saving(), saved, "the file is being written, or the next save may begin");
            saving.handle_saved();
        }
    }

    #[test]
    fn changes_are_saved_together_and_nothing_where_nothing_is_kept() {
        let now = Instant::now();
        let mut saving = Saving::new(true);
        saving.note_change(now);
        saving.note_change(now + SAVE_DELAY / 2);
        assert_eq!(saving.next_save(), Some(now + SAVE_DELAY));
        let mut saving = Saving::new(false);
        saving.note_change(now);
        assert!(saving.next_save().is_none() && !saving.begin(Bitfield::full(3), 2));
    }
}
