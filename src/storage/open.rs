//! Opening files. Nothing outside the target folder is ever opened for writing.
#![allow(clippy::disallowed_types, reason = "this file opens files")]

use std::fs::File;
use std::io;

use super::sys::{self, Access};
use crate::disk::DiskError;
use crate::disk::Layout;

/// Opens a file of the layout.
pub(super) fn open(layout: &Layout, file: usize, access: Access) -> Result<File, DiskError> {
    let action = if access == Access::Write { "write to" } else { "open" };
    sys::open_beneath(layout.folder(), &layout.files()[file].components, access).map_err(|error| {
        let path = layout.path(file);
        match access != Access::Read && sys::is_link_refused(&error) {
            true => DiskError::Link { path },
            false => DiskError::new(action, &path, error),
        }
    })
}

/// Length in bytes of a file of the layout as it is on the disk; `None`: it is not there.
///
/// # Errors
/// When something else exists; anything else that the system said.
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

/// What tells a file from one that took its place later; `None` where it cannot be told, or the file is not there.
pub(super) fn identity(layout: &Layout, file: usize) -> Option<(u64, i64)> {
    sys::file_id(&open(layout, file, Access::ReadOwn).ok()?.metadata().ok()?)
}

/// Length in bytes and time of the last change of a file, in nanoseconds since 1970; `None`: it is not there.
pub(super) fn stamp(layout: &Layout, file: usize) -> Option<(u64, i64)> {
    let metadata = open(layout, file, Access::Read).ok()?.metadata().ok()?;
    Some((metadata.len(), sys::changed_ns(&metadata)?))
}
