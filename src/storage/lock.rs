#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this file locks files")]

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::sys::is_same_file;

/// Times that a lock file may be removed by its holder between our opening and locking it.
const TRIES_MAX: u32 = 16;
/// Bytes of a note that are read.
const NOTE_LEN_MAX: u64 = 16 * 1024;

/// A file that one process at a time holds, for state that two must not write. The system lets go of it when the process
/// ends, however it ends; dropping it removes the file.
#[derive(Debug)]
pub struct StateLock {
    path: PathBuf,
    file: File,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Someone holds it.
    #[error("{path} is locked by another process")]
    Held {
        /// The lock file.
        path: PathBuf,
        /// What the holder wrote into it; empty when it has not yet.
        note: String,
    },
    /// The file system does not let us.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StateLock {
    /// Takes the lock, and leaves a note to those who find it held. Does not wait.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process, or another lock of this one, has it.
    pub fn take(path: &Path, note: &str) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: path.to_path_buf(), source };
        for _ in 0..TRIES_MAX {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
            let file = file.map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held { path: path.to_path_buf(), note: read_note(&file) });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // Its last holder may have removed it meanwhile: what is locked then is a file that nobody else finds.
            let found = path.metadata().and_then(|found| Ok(is_same_file(&found, &file.metadata()?)));
            if matches!(found, Ok(Some(true) | None)) {
                let lock = Self { path: path.to_path_buf(), file };
                lock.write_note(note).map_err(failed)?;
                return Ok(lock);
            }
        }
        Err(failed(io::ErrorKind::WouldBlock.into()))
    }

    fn write_note(&self, note: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        (&self.file).write_all(note.as_bytes())
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        // Removed while it is held, so that it is never that of the next holder. Where it cannot be told whether a lock file
        // was removed, it stays.
        let own = self.file.metadata().ok();
        if own.is_some_and(|own| is_same_file(&own, &own).is_some()) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn read_note(file: &File) -> String {
    let mut note = String::new();
    // A note that cannot be read says as much as one that is not written yet.
    let _ = file.take(NOTE_LEN_MAX).read_to_string(&mut note);
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_holds_it_and_the_others_read_its_note() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        std::fs::write(&path, "left behind by a process that was killed").unwrap();
        let first = StateLock::take(&path, "first").unwrap();
        for _ in 0..3 {
            let held = StateLock::take(&path, "second").unwrap_err();
            assert!(matches!(&held, LockError::Held { note, .. } if note == "first"), "{held:?}");
        }
        drop(first);
        assert!(!path.exists());
        drop(StateLock::take(&path, "third").unwrap());
        let nowhere = StateLock::take(&folder.path().join("no/x.lock"), "");
        assert!(matches!(nowhere, Err(LockError::Io { .. })));
    }

    #[test]
    fn many_that_come_and_go_never_hold_it_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        if let Ok(lock) = StateLock::take(&path, "") {
                            assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                            inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            drop(lock);
                        }
                    }
                });
            }
        });
    }
}
