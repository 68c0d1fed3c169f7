use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use super::limits::threads_max;
use super::worker::{Worker, WorkerConfig};
use crate::disk::DiskError;
use crate::disk::Layout;
use crate::disk::{Done, Job, Verdict};
use crate::model::{Bitfield, PieceIndex};

/// Verdicts that may wait to be told.
const VERDICTS_MAX: usize = 64;

/// Errors that are kept, of different files. A disk that fails has no more to say after so many.
const ERRORS_MAX: usize = 1000;

/// What checking came to.
#[derive(Debug)]
pub struct Checked {
    /// The pieces that are on the disk with the right hash.
    pub have: Bitfield,
    /// The pieces of which nothing is known, because they could not be read.
    pub unreadable: Bitfield,
    /// Why, one error a file.
    pub errors: Vec<DiskError>,
}

/// Checks these pieces of a torrent on this many threads. `progress` is told how many are checked. What cannot be read
/// keeps nothing else from being checked.
pub fn check_all(
    layout: &Arc<Layout>,
    pieces: &[PieceIndex],
    threads: NonZeroUsize,
    mut progress: impl FnMut(usize),
) -> Checked {
    let piece_count = layout.info().geometry().piece_count();
    let (mut have, mut unreadable) = (Bitfield::empty(piece_count), Bitfield::empty(piece_count));
    let mut errors = BTreeMap::new();
    let threads = threads_max(threads).get().min(pieces.len());
    // Each thread takes the next piece that nobody has, so that the disk is read in order.
    let next = AtomicUsize::new(0);
    let (verdicts, told) = sync_channel(VERDICTS_MAX);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (verdicts, next) = (verdicts.clone(), &next);
            scope.spawn(move || {
                let mut worker = Worker::new(WorkerConfig::new([0, 0], threads));
                let mut done = Vec::new();
                worker.handle(Job::Open { store: 0, layout: layout.clone() }, &mut done);
                while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                    worker.handle(Job::Check { store: 0, piece: *piece }, &mut done);
                    for done in done.drain(..) {
                        // The other end outlives the threads.
                        let _ = verdicts.send(done);
                    }
                }
            });
        }
        drop(verdicts);
        for (index, verdict) in told.iter().enumerate() {
            match verdict {
                Done::Checked { piece, verdict: Verdict::Verified } => {
                    have.insert(piece);
                }
                Done::Checked { piece, verdict: Verdict::Unreadable(error) } => {
                    unreadable.insert(piece);
                    if errors.len() < ERRORS_MAX {
                        errors.entry(error.to_string()).or_insert(error);
                    }
                }
                _ => {}
            }
            progress(index + 1);
        }
    });
    Checked { have, unreadable, errors: errors.into_values().collect() }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests make files")]
mod tests {
    use super::*;
    use crate::model::{Metainfo, NewTorrent};
    use crate::storage::hash_path;

    #[test]
    fn any_number_of_threads_finds_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let mut bytes: Vec<u8> = (0..500_000u32).map(|at| (at * 31 % 241) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let threads = |count| NonZeroUsize::new(count).unwrap();
        let hashed = hash_path(&path, None, Some(16_384), threads(3), |_, _| ()).unwrap();
        let torrent = NewTorrent::from(hashed);
        let info = Arc::new(Metainfo::parse(torrent.encode()).unwrap().info);
        bytes[100_000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let layout = Arc::new(Layout::new(folder.path(), info));
        let pieces: Vec<PieceIndex> = layout.info().geometry().pieces().collect();
        for count in [1, 3, 100] {
            let mut told = 0;
            let Checked { have, unreadable, errors } =
                check_all(&layout, &pieces, threads(count), |checked| told = checked);
            assert!(unreadable.is_empty() && errors.is_empty());
            assert_eq!(told, pieces.len());
            assert_eq!(have.missing().collect::<Vec<_>>(), [PieceIndex::new(6)]);
        }
        assert!(check_all(&layout, &[], threads(2), |_| ()).have.is_empty());
    }
}
