use std::collections::VecDeque;

use crate::disk::{DiskError, Verdict};
use crate::model::{Bitfield, PieceIndex};

/// Checks that one disk thread has in its queue: enough to keep it busy.
const CHECKS_PER_THREAD: usize = 4;

/// What is known of the pieces on the disk, and which are still to be checked.
#[derive(Debug)]
pub(super) struct Opening {
    have: Bitfield,
    /// Pieces that could not be read, and the first error.
    unreadable: Bitfield,
    first_error: Option<DiskError>,
    unknown: VecDeque<PieceIndex>,
    unknown_count: usize,
    checking: usize,
    checking_max: usize,
}

impl Opening {
    /// These pieces are there, and of those nothing is known.
    pub(super) fn new(have: Bitfield, unknown: Vec<PieceIndex>, threads: usize) -> Self {
        Self {
            unreadable: Bitfield::empty(have.piece_count()),
            have,
            first_error: None,
            unknown_count: unknown.len(),
            unknown: unknown.into(),
            checking: 0,
            checking_max: threads * CHECKS_PER_THREAD,
        }
    }

    /// The next piece to check, while the disk threads are not busy enough.
    pub(super) fn next_check(&mut self) -> Option<PieceIndex> {
        if self.checking >= self.checking_max {
            return None;
        }
        let piece = self.unknown.pop_front()?;
        self.checking += 1;
        Some(piece)
    }

    /// A piece was checked.
    pub(super) fn handle_checked(&mut self, piece: PieceIndex, verdict: Verdict) {
        self.checking = self.checking.saturating_sub(1);
        match verdict {
            Verdict::Verified => {
                self.have.insert(piece);
            }
            Verdict::Absent => {}
            Verdict::Unreadable(error) => {
                self.unreadable.insert(piece);
                self.first_error.get_or_insert(error);
            }
        }
    }

    /// Whether nothing is left to find out.
    pub(super) fn is_checked(&self) -> bool {
        self.unknown.is_empty() && self.checking == 0
    }

    /// The pieces that are there.
    pub(super) fn have(&self) -> &Bitfield {
        &self.have
    }

    /// The pieces that cannot be read.
    pub(super) fn unreadable(&self) -> &Bitfield {
        &self.unreadable
    }

    /// The pieces that are there, those that cannot be read, and why.
    pub(super) fn finish(self) -> (Bitfield, Bitfield, Option<DiskError>) {
        let pieces = self.unreadable.count();
        let error = self.first_error.map(|first| DiskError::Unreadable { pieces, first: first.into() });
        (self.have, self.unreadable, error)
    }

    /// Pieces that were checked, and that must be.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.unknown_count - self.unknown.len() - self.checking, self.unknown_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pieces_are_checked_at_once_and_what_each_came_to_is_kept() {
        let piece = PieceIndex::new;
        let mut opening = Opening::new(Bitfield::empty(10), (0..10).map(piece).collect(), 2);
        let first: Vec<PieceIndex> = std::iter::from_fn(|| opening.next_check()).collect();
        assert_eq!(first.len(), 2 * CHECKS_PER_THREAD);
        assert_eq!(opening.progress(), (0, 10));
        opening.handle_checked(piece(0), Verdict::Verified);
        opening.handle_checked(piece(1), Verdict::Absent);
        let error = || DiskError::Full { path: "x".into(), needed: None };
        (2..8).for_each(|index| opening.handle_checked(piece(index), Verdict::Unreadable(error())));
        assert!(!opening.is_checked());
        while let Some(next) = opening.next_check() {
            opening.handle_checked(next, Verdict::Verified);
        }
        assert!(opening.is_checked() && opening.progress() == (10, 10));
        let (have, unreadable, error) = opening.finish();
        assert_eq!((have.count(), unreadable.count()), (3, 6));
        assert!(matches!(error, Some(DiskError::Unreadable { pieces: 6, .. })));
    }
}
