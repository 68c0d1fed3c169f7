//! How the files that the process may have open are shared out: a quarter of them goes to data files, some are reserved, and
//! connections have the rest.

use std::io;
use std::num::NonZeroUsize;

use super::sys;

/// Data files that one thread keeps open where the process may have many.
const HANDLES_MAX: u64 = 64;

/// Locked files of one torrent where the process may have many: whoever writes the same torrent meets at its first files.
const LOCKS_MAX: usize = 8;
/// Kept for listeners, state files, locks, the runtimes and what is opened in passing.
const RESERVED: u64 = 32;

/// Data files that each of this many threads may keep open.
pub(super) fn handles_max(threads: usize) -> NonZeroUsize {
    share(sys::open_files_max(), threads)
}

fn share(open_files_max: Option<u64>, threads: usize) -> NonZeroUsize {
    let share = open_files_max.map_or(HANDLES_MAX, |most| most / 4 / threads.max(1) as u64);
    NonZeroUsize::new(share.min(HANDLES_MAX) as usize).unwrap_or(NonZeroUsize::MIN)
}

/// This many threads, or fewer where each could not open a file and the folder that it looks for it in.
pub(super) fn threads_max(threads: NonZeroUsize) -> NonZeroUsize {
    let most = sys::open_files_max().map_or(usize::MAX, |most| usize::try_from(most / 8).unwrap_or(usize::MAX));
    NonZeroUsize::new(threads.get().min(most)).unwrap_or(NonZeroUsize::MIN)
}

/// Files of one torrent that are kept locked: each lock takes a descriptor for as long as pieces are fetched.
pub(super) fn locks_max() -> usize {
    sys::open_files_max().map_or(LOCKS_MAX, |most| (most / 128).clamp(2, LOCKS_MAX as u64) as usize)
}

/// Connections that the process may have open beside its files, so that no crowd of peers keeps a file from being opened.
pub fn connections_max() -> usize {
    connections(sys::open_files_max())
}

fn connections(open_files_max: Option<u64>) -> usize {
    let rest = open_files_max.map(|most| (most - most / 4).saturating_sub(RESERVED).max(1));
    rest.map_or(usize::MAX, |rest| usize::try_from(rest).unwrap_or(usize::MAX))
}

/// Whether the process, or the system, has as many files open as it may: an error that says nothing about what was opened.
pub fn is_out_of_files(error: &io::Error) -> bool {
    sys::is_out_of_files(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_are_shared_out_and_many_are_not_all_taken() {
        let of = |most, threads| share(most, threads).get();
        assert_eq!([of(None, 8), of(Some(1024), 2), of(Some(1024), 8)], [64, 64, 32]);
        assert_eq!([of(Some(64), 2), of(Some(64), 8), of(Some(64), 128)], [8, 2, 1]);
        assert_eq!([Some(64), Some(10), Some(1024), None].map(connections), [16, 1, 736, usize::MAX]);
    }
}
