//! The folder of what is kept between sessions. Other processes may use it at the same time. Everything here waits for the
//! disk: not for the network thread.
#![allow(clippy::disallowed_methods, reason = "a session makes its state folder")]

use std::path::{Path, PathBuf};

use super::error::AddError;
use crate::model::InfoHash;
use crate::storage::{LockError, StateLock};

/// What warnings name as their way out, in the field `way_out`.
const ANOTHER_FOLDER: &str = "another state folder";
const OWN_FOLDER: &str = "a state folder of its own";

/// The state folder of a session.
#[derive(Debug, Clone)]
pub(super) struct StateDir {
    folder: PathBuf,
}

/// A file that is kept, and its lock. Without a lock it is used all the same: where files cannot be locked, nobody else can
/// lock them either.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) lock: Option<StateLock>,
}

impl StateDir {
    /// Makes the folder where it is missing. `None`, with a warning, where it cannot be made: what is kept between sessions
    /// is a help, and no condition.
    pub(super) fn open(folder: PathBuf) -> Option<Self> {
        match std::fs::create_dir_all(&folder) {
            Ok(()) => Some(Self { folder }),
            Err(error) => {
                let folder = folder.display();
                tracing::warn!(
                    way_out = ANOTHER_FOLDER,
                    "cannot use {folder} as the state folder: {error}; nothing is kept between sessions"
                );
                None
            }
        }
    }

    /// The file of the DHT's table, unless another process saves its own there.
    pub(super) fn lock_table(&self) -> Option<Kept> {
        let lock = StateLock::take(&self.folder.join("dht.lock"), &std::process::id().to_string());
        if let Err(LockError::Held { note, .. }) = &lock {
            let folder = self.folder.display();
            tracing::info!(%folder, holder = %note, "another process saves the DHT's table: this one does not");
            return None;
        }
        Some(Kept { path: self.folder.join("dht.state"), lock: or_without(lock) })
    }

    /// The resume file of a torrent that goes into `target`. `Ok(None)`: another process keeps that torrent for another
    /// target folder.
    ///
    /// # Errors
    /// [`AddError::InUse`] when another process has the torrent in the same target folder.
    pub(super) fn lock_resume(&self, info_hash: InfoHash, target: &Path) -> Result<Option<Kept>, AddError> {
        let target = resolved(target);
        let own = note(&target);
        let lock = StateLock::take(&self.folder.join(format!("{info_hash}.lock")), &own);
        match &lock {
            // Nothing is noted yet: it may be the same.
            Err(LockError::Held { note, .. }) if *note == own || note.is_empty() => {
                return Err(AddError::InUse { info_hash, folder: target });
            }
            Err(LockError::Held { note, .. }) => {
                tracing::warn!(
                    way_out = OWN_FOLDER,
                    "another process has this torrent in {note}: no resume file is kept for this one"
                );
                return Ok(None);
            }
            _ => {}
        }
        Ok(Some(Kept { path: self.folder.join(format!("{info_hash}.resume")), lock: or_without(lock) }))
    }
}

fn or_without(lock: Result<StateLock, LockError>) -> Option<StateLock> {
    let told = |error: &LockError| {
        tracing::warn!(way_out = ANOTHER_FOLDER, "{error}; other processes are not kept from the same state");
    };
    lock.inspect_err(told).ok()
}

/// The folder as text that no other folder has.
fn note(target: &Path) -> String {
    match target.to_str() {
        Some(text) => text.to_owned(),
        None => target.as_os_str().as_encoded_bytes().escape_ascii().to_string(),
    }
}

/// The same for every way to name the folder, even while it is not there.
fn resolved(target: &Path) -> PathBuf {
    let target = std::path::absolute(target).unwrap_or_else(|_| target.to_path_buf());
    let there = target.ancestors().find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
    let Some((folder, canonical)) = there else { return target };
    let below = target.strip_prefix(folder).unwrap_or(Path::new(""));
    canonical.components().chain(below.components()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_is_had_once_in_a_folder_and_kept_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path().join("state")).unwrap();
        let hash = InfoHash::new([1; 20]);
        let target = folder.path().join("not/there/yet");
        let kept = state.lock_resume(hash, &target).unwrap().unwrap();
        assert!(kept.lock.is_some() && kept.path.ends_with(format!("{hash}.resume")));
        std::fs::create_dir_all(&target).unwrap();
        for same in [target.clone(), target.join("../yet"), target.join(".")] {
            let refused = state.lock_resume(hash, &same);
            assert!(matches!(&refused, Err(AddError::InUse { .. })), "{same:?}: {refused:?}");
        }
        assert!(matches!(state.lock_resume(hash, folder.path()), Ok(None)), "another folder");
        assert!(matches!(state.lock_resume(InfoHash::new([2; 20]), &target), Ok(Some(_))), "another torrent");
        drop(kept);
        assert!(matches!(state.lock_resume(hash, folder.path()), Ok(Some(_))));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_done_without() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(StateDir::open(file.clone()).is_none() && StateDir::open(file.join("below")).is_none());
    }

    #[test]
    #[cfg(unix)]
    fn folders_whose_names_are_not_text_are_told_apart() {
        use std::os::unix::ffi::OsStrExt;
        let [one, other] = [&b"a\xff"[..], b"a\xfe"].map(|name| Path::new(std::ffi::OsStr::from_bytes(name)));
        assert_ne!(note(one), note(other));
        assert_eq!(note(Path::new("Ü")), "Ü");
    }

    #[test]
    fn one_session_saves_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path().to_path_buf()).unwrap();
        let kept = state.lock_table();
        assert!(kept.is_some() && state.lock_table().is_none());
        drop(kept);
        assert!(state.lock_table().is_some());
    }
}
