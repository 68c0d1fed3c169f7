#![allow(clippy::disallowed_types, reason = "this file locks files")]

use std::fs::File;

use super::limits::locks_max;
use super::open::open;
use super::sys::{self, Access};
use crate::disk::DiskError;
use crate::disk::{Layout, Wanted};

/// Keeps others that respect it from writing the same files, whatever state they keep where: two that write would take each
/// other's blocks for their own verified ones. The locks are advisory and on the files themselves, so nothing is left behind
/// however the process ends. Whoever only reads takes none.
#[derive(Debug)]
pub struct WriteLock {
    /// Held open: the locks are theirs.
    _files: Vec<File>,
}

impl WriteLock {
    /// Locks the first files of the layout that are to be written and are there. A file system that knows no locks is no
    /// reason to stop. Does not wait.
    ///
    /// # Errors
    /// [`DiskError::InUse`] when someone else writes one of them, in this process or another.
    pub fn take(layout: &Layout) -> Result<Self, DiskError> {
        let written = |index: &usize| {
            let file = &layout.files()[*index];
            !file.padding && file.len > 0 && file.wanted != Wanted::Nothing
        };
        let mut files = Vec::new();
        for index in (0..layout.files().len()).filter(written).take(locks_max()) {
            // What cannot be opened is told by whoever writes it.
            let Ok(file) = open(layout, index, Access::Read) else { continue };
            match sys::try_lock(&file) {
                Ok(true) => files.push(file),
                Ok(false) => return Err(DiskError::InUse { path: layout.path(index) }),
                Err(error) => tracing::debug!(path = %layout.path(index).display(), %error, "a file cannot be locked"),
            }
        }
        Ok(Self { _files: files })
    }
}

#[cfg(test)]
#[cfg(unix)]
#[allow(clippy::disallowed_methods, reason = "the tests make files")]
mod tests {
    use super::*;
    use crate::model::{Metainfo, NewFile, NewTorrent};
    use std::path::Path;
    use std::sync::Arc;

    fn layout(folder: &Path, names: &[&str]) -> Layout {
        let torrent = NewTorrent {
            name: "top".into(),
            files: Some(names.iter().map(|name| NewFile { path: vec![(*name).into()], len: 32 }).collect()),
            total_len: 32 * names.len() as u64,
            piece_len: 32,
            pieces: vec![0; 20 * names.len()],
            private: false,
            comment: None,
            created_by: None,
            creation_date: None,
            nodes: Vec::new(),
        };
        Layout::new(folder, Arc::new(Metainfo::parse(torrent.encode()).unwrap().info))
    }

    #[test]
    fn one_at_a_time_writes_a_file_under_whatever_name_of_a_torrent() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("top")).unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(folder.path().join("top").join(name), [0; 32]).unwrap();
        }
        let first = WriteLock::take(&layout(folder.path(), &["a", "b"])).unwrap();
        let again = WriteLock::take(&layout(&folder.path().join("top/.."), &["b", "c"]));
        assert!(matches!(&again, Err(DiskError::InUse { path }) if path.ends_with("top/b")), "{again:?}");
        drop(WriteLock::take(&layout(folder.path(), &["c", "missing"])).unwrap());
        drop(first);
        WriteLock::take(&layout(folder.path(), &["b", "c"])).unwrap();
    }
}
