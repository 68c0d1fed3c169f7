//! What is made of data that the disk does not give back.

use std::collections::BTreeSet;

use crate::disk::DiskError;
use crate::model::PieceIndex;

/// Pieces that are checked at once because a read of them failed. The others are checked when they are asked for again.
const CHECKING_MAX: usize = 16;
/// Pieces that may be lost between writing and hashing. After so many the disk is not fit to download to.
const LOST_MAX: u32 = 8;

/// One torrent's trouble with its disk. A failed read costs the piece at most, never the torrent; what cannot be read back
/// again and again ends it.
#[derive(Debug, Default)]
pub(super) struct DiskFaults {
    checking: BTreeSet<PieceIndex>,
    lost: u32,
    told: [bool; 2],
}

impl DiskFaults {
    /// A part of a verified piece could not be read. Returns whether the piece is to be checked.
    pub(super) fn handle_unread(&mut self, piece: PieceIndex, error: &DiskError) -> bool {
        self.tell(piece, error);
        self.checking.len() < CHECKING_MAX && self.checking.insert(piece)
    }

    /// Such a piece was checked.
    pub(super) fn handle_checked(&mut self, piece: PieceIndex) {
        self.checking.remove(&piece);
    }

    /// What was written of a piece could not be read back. Returns whether the torrent should continue.
    pub(super) fn handle_lost(&mut self, piece: PieceIndex, error: &DiskError) -> bool {
        self.tell(piece, error);
        self.lost += 1;
        self.lost <= LOST_MAX
    }

    /// A file that is gone, or that cannot be read, fails in every piece of it: the first one is enough to know.
    fn tell(&mut self, piece: PieceIndex, error: &DiskError) {
        let is_absent = error.is_absent();
        match (std::mem::replace(&mut self.told[usize::from(is_absent)], true), is_absent) {
            (true, _) => tracing::debug!(%error, %piece, "a piece cannot be read"),
            (false, true) => {
                tracing::warn!(%error, %piece, "what is missing is not offered to others, and fetched again")
            }
            (false, false) => {
                tracing::warn!(%error, %piece, "what cannot be read is not served meanwhile, and not fetched again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> DiskError {
        DiskError::Full { path: "x".into(), needed: None }
    }

    #[test]
    fn a_piece_is_checked_once_at_a_time_and_few_at_once() {
        let mut faults = DiskFaults::default();
        let piece = PieceIndex::new;
        assert!(faults.handle_unread(piece(0), &error()));
        assert!(!faults.handle_unread(piece(0), &error()));
        let more = (1..100).filter(|index| faults.handle_unread(piece(*index), &error())).count();
        assert_eq!(more, CHECKING_MAX - 1);
        faults.handle_checked(piece(0));
        assert!(faults.handle_unread(piece(0), &error()));
    }

    #[test]
    fn a_disk_that_loses_again_and_again_is_given_up() {
        let mut faults = DiskFaults::default();
        let goes_on = (0..100).filter(|index| faults.handle_lost(PieceIndex::new(*index), &error())).count();
        assert_eq!(goes_on as u32, LOST_MAX);
    }
}
