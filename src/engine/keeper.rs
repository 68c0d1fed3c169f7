//! When and how the resume file is saved.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::model::Bitfield;
use crate::storage::Resume;

/// How long after a piece was verified the resume file is saved. A process that is killed before loses nothing: what is on
/// the disk is checked.
const SAVE_DELAY: Duration = Duration::from_secs(30);

/// Saves the resume file: first the data are synced by every disk thread, then the file is written, so that it never
/// claims what a power cut can take away.
#[derive(Debug)]
pub(super) struct Keeper {
    path: Option<PathBuf>,
    due: Option<Instant>,
    syncing: Option<Syncing>,
}

/// What is to be saved once so many more disk threads have synced.
#[derive(Debug)]
struct Syncing {
    have: Bitfield,
    threads_left: usize,
    failed: bool,
}

impl Keeper {
    /// Saves to `path`; without one, nothing is kept.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path, due: None, syncing: None }
    }

    pub(super) fn path(&self) -> Option<&PathBuf> {
        self.path.as_ref()
    }

    /// A piece was verified.
    pub(super) fn note_change(&mut self, now: Instant) {
        if self.path.is_some() {
            self.due.get_or_insert(now + SAVE_DELAY);
        }
    }

    /// When [`Keeper::begin`] is due.
    pub(super) fn next_save(&self) -> Option<Instant> {
        self.due.filter(|_| self.syncing.is_none())
    }

    /// Begins a save of these pieces; returns whether so many disk threads are to sync now.
    pub(super) fn begin(&mut self, have: Bitfield, threads: usize) -> bool {
        self.due = None;
        let begins = self.path.is_some() && self.syncing.is_none();
        if begins {
            self.syncing = Some(Syncing { have, threads_left: threads, failed: false });
        }
        begins
    }

    /// A disk thread has synced, or could not. Returns the pieces to save when it was the last and all of them could.
    pub(super) fn handle_synced(&mut self, synced: bool) -> Option<Bitfield> {
        let syncing = self.syncing.as_mut()?;
        syncing.failed |= !synced;
        syncing.threads_left = syncing.threads_left.saturating_sub(1);
        if syncing.threads_left > 0 {
            return None;
        }
        self.syncing.take().filter(|syncing| !syncing.failed).map(|syncing| syncing.have)
    }

    /// Whether a save is under way.
    pub(super) fn is_saving(&self) -> bool {
        self.syncing.is_some()
    }
}

/// Writes the resume file. Blocks: not for the network thread.
pub(super) fn save(path: &Path, resume: &Resume) {
    if let Err(error) = resume.save(path) {
        tracing::warn!(%error, "the data will be checked at the next start");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_could_not_sync_is_not_saved() {
        let mut keeper = Keeper::new(Some("x.resume".into()));
        for (answers, saved) in [([true, true], true), ([false, true], false), ([true, false], false)] {
            assert!(keeper.begin(Bitfield::full(3), 2));
            assert!(!keeper.begin(Bitfield::full(3), 2), "one save at a time");
            assert_eq!(keeper.handle_synced(answers[0]), None);
            assert_eq!(keeper.handle_synced(answers[1]).is_some(), saved);
            assert!(!keeper.is_saving(), "the next save may begin");
        }
    }
}
