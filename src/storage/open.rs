//! Opening files without ever leaving the target folder.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this file opens files")]

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

use super::error::DiskError;
use super::layout::Layout;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Access {
    /// Reading; it has to be there.
    Read,
    /// Writing too; it and its folders are made where they are missing.
    Write,
}

/// Opens a file of the layout. The path is walked folder by folder, and no symbolic link below the target folder is
/// followed: a link that somebody put there leads nowhere.
pub(super) fn open(layout: &Layout, file: usize, access: Access) -> Result<File, DiskError> {
    let path = layout.path(file);
    open_beneath(layout.folder(), &layout.files()[file].components, access)
        .map_err(|error| DiskError::new("open", &path, error))
}

fn open_beneath(folder: &Path, components: &[String], access: Access) -> io::Result<File> {
    let (name, parents) = components.split_last().ok_or(io::ErrorKind::InvalidInput)?;
    if access == Access::Write {
        std::fs::create_dir_all(folder)?;
    }
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut parent: OwnedFd = openat(CWD, folder, directory, Mode::empty())?;
    for component in parents {
        if access == Access::Write {
            match mkdirat(&parent, component, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        parent = openat(&parent, component, directory | OFlags::NOFOLLOW, Mode::empty())?;
    }
    let flags = match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::RDWR | OFlags::CREATE,
    };
    // Not blocking: a pipe that stands there must not hold the thread.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file: File = openat(&parent, name, flags, Mode::from_raw_mode(0o666))?.into();
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(file)
}

/// Makes every file of the layout in its full length, sparse, so that a full disk shows early where the file system
/// tells, and blocks can be written in any order. A file that is longer is left alone.
pub fn prepare(layout: &Layout) -> Result<(), DiskError> {
    for (index, entry) in layout.files().iter().enumerate().filter(|(_, entry)| !entry.padding) {
        let file = open(layout, index, Access::Write)?;
        let path = layout.path(index);
        let len = file.metadata().map_err(|error| DiskError::new("look at", &path, error))?.len();
        if len > entry.len {
            return Err(DiskError::TooLong { path, len, expected: entry.len });
        }
        if len < entry.len {
            file.set_len(entry.len).map_err(|error| DiskError::new("extend", &path, error))?;
        }
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
    use std::os::unix::fs::MetadataExt;
    let file = open(layout, file, Access::Read).ok()?;
    let metadata = file.metadata().ok()?;
    let time_ns = metadata.mtime().checked_mul(1_000_000_000)?.checked_add(metadata.mtime_nsec())?;
    Some((metadata.len(), time_ns))
}
