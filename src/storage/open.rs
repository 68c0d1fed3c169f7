//! Opening files without ever leaving the target folder.
#![allow(clippy::disallowed_types, reason = "this file opens files")]

use std::fs::File;
use std::io;

use super::error::DiskError;
use super::layout::{Layout, Wanted};
use super::sys;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Access {
    /// Reading; it has to be there.
    Read,
    /// Writing too; it and its folders are made where they are missing.
    Write,
}

/// Opens a file of the layout. No symbolic link below the target folder is followed: a link that somebody put there leads
/// nowhere.
pub(super) fn open(layout: &Layout, file: usize, access: Access) -> Result<File, DiskError> {
    sys::open_beneath(layout.folder(), &layout.files()[file].components, access == Access::Write)
        .map_err(|error| DiskError::new("open", &layout.path(file), error))
}

/// Makes every wanted file of the layout in its full length, sparse, so that blocks can be written in any order. A file that
/// is longer is left alone. Warns when there is less room on the disk than the files still need.
///
/// # Errors
/// [`DiskError::TooLong`] when another file of that name is longer; anything else that the system refused.
pub fn prepare(layout: &Layout) -> Result<(), DiskError> {
    let mut needed_bytes: u64 = 0;
    for (index, entry) in layout.files().iter().enumerate().filter(|(_, entry)| !entry.padding) {
        match entry.wanted {
            Wanted::Nothing => continue,
            Wanted::Shared => match len_on_disk(layout, index)? {
                Some(len) if len > entry.len => {
                    return Err(DiskError::TooLong { path: layout.path(index), len, expected: entry.len });
                }
                _ => continue,
            },
            Wanted::Whole => {}
        }
        let file = open(layout, index, Access::Write)?;
        let metadata = file.metadata().map_err(|error| DiskError::new("look at", &layout.path(index), error))?;
        let len = metadata.len();
        if len > entry.len {
            return Err(DiskError::TooLong { path: layout.path(index), len, expected: entry.len });
        }
        if len < entry.len {
            file.set_len(entry.len).map_err(|error| DiskError::new("extend", &layout.path(index), error))?;
        }
        needed_bytes += entry.len.saturating_sub(sys::allocated_bytes(&metadata));
    }
    if let Some(free_bytes) = sys::free_bytes(layout.folder()).filter(|free_bytes| *free_bytes < needed_bytes) {
        let folder = layout.folder().display();
        tracing::warn!(%folder, needed_bytes, free_bytes, "there is less room than the torrent needs");
    }
    Ok(())
}

/// Length in bytes of a file of the layout as it is on the disk; `None`: it is not there.
///
/// # Errors
/// [`DiskError::NotPlain`] when something else stands there; anything else that the system said.
pub fn len_on_disk(layout: &Layout, file: usize) -> Result<Option<u64>, DiskError> {
    match open(layout, file, Access::Read) {
        Ok(opened) => {
            let metadata = opened.metadata().map_err(|error| DiskError::new("look at", &layout.path(file), error))?;
            Ok(Some(metadata.len()))
        }
        Err(DiskError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Length in bytes and time of the last change of a file, in nanoseconds since 1970; `None`: it is not there.
pub(super) fn stamp(layout: &Layout, file: usize) -> Option<(u64, i64)> {
    let metadata = open(layout, file, Access::Read).ok()?.metadata().ok()?;
    Some((metadata.len(), sys::changed_ns(&metadata)?))
}
