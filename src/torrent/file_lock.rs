use std::collections::VecDeque;

use crate::disk::Job;
use crate::model::PieceIndex;

/// Whether others are kept from writing the files: as long as pieces are fetched.
#[derive(Debug)]
pub(super) enum FileLock {
    /// They are not: nothing is missing.
    Free,
    /// The lock was asked for. What is to be written waits for it: no more than the swarm's credit.
    Asked(VecDeque<(PieceIndex, Job)>),
    /// They are.
    Held,
}
