#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this file opens, reads and writes files")]

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, statat};
use rustix::io::Errno;

use super::Access;

/// How the folders on the way to a file are opened: nobody has to be allowed to list them.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a plain file below a folder, or makes it with its folders, as `access` says. Where links are not followed, the path
/// is walked folder by folder.
pub(in crate::storage) fn open_beneath(folder: &Path, components: &[OsString], access: Access) -> io::Result<File> {
    let (name, parents) = components.split_last().ok_or(io::ErrorKind::InvalidInput)?;
    // Not blocking: a pipe that stands there must not hold the thread.
    let flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if access == Access::Read {
        let mut path = folder.to_path_buf();
        path.extend(components);
        match openat(CWD, &path, flags, Mode::empty()) {
            // A path may be longer than what the system takes at once.
            Err(Errno::NAMETOOLONG) => {}
            opened => return plain(opened),
        }
    }
    let write = access == Access::Write;
    let follow = if access == Access::Read { OFlags::empty() } else { OFlags::NOFOLLOW };
    if write {
        std::fs::create_dir_all(folder)?;
    }
    let mut parent: OwnedFd = openat(CWD, folder, FOLDER, Mode::empty())?;
    for component in parents {
        if write {
            match mkdirat(&parent, component, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        parent = match openat(&parent, component, FOLDER | follow, Mode::empty()) {
            Err(Errno::NOTDIR) if is_link(&parent, component) => return Err(Errno::LOOP.into()),
            opened => opened?,
        };
    }
    let how = if write { OFlags::RDWR | OFlags::CREATE } else { OFlags::RDONLY };
    plain(openat(&parent, name, how | flags | follow, Mode::from_raw_mode(0o666)))
}

fn is_link(parent: &OwnedFd, name: &OsStr) -> bool {
    let found = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink)
}

/// The file that was opened, if it is a plain one.
fn plain(opened: rustix::io::Result<OwnedFd>) -> io::Result<File> {
    let file: File = match opened {
        Ok(opened) => opened.into(),
        // What opening a socket leads to.
        Err(Errno::NXIO) => return Err(io::ErrorKind::NotSeekable.into()),
        Err(error) => return Err(error.into()),
    };
    let kind = file.metadata()?.file_type();
    match kind {
        kind if kind.is_file() => Ok(file),
        kind if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::ErrorKind::NotSeekable.into()),
    }
}

/// Files that the process may have open; `None`: as many as it likes.
pub(in crate::storage) fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Whether the process, or the system, has as many files open as it may.
pub(in crate::storage) fn is_out_of_files(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// What tells a file from every other of its file system, even from one that took its place later: its number and, where it
/// is known, when it was made.
pub(in crate::storage) fn file_id(metadata: &Metadata) -> Option<(u64, i64)> {
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let born_ns = born.and_then(|born| i64::try_from(born.as_nanos()).ok()).unwrap_or_default();
    Some((metadata.ino(), born_ns))
}

/// Locks a file against others that do the same, as long as it is open. `false`: somebody else has it.
pub(in crate::storage) fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether [`open_beneath`] met a symbolic link that it does not follow.
pub(in crate::storage) fn is_link_refused(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::LOOP)
}

/// Writes the parts one after the other from `offset` on.
#[cfg(target_os = "linux")]
pub(in crate::storage) fn write_all_at(file: &File, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
    use std::io::IoSlice;

    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let written = match rustix::io::pwritev(file, rest, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        offset += written as u64;
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// Writes the parts one after the other from `offset` on.
#[cfg(not(target_os = "linux"))]
pub(in crate::storage) fn write_all_at(file: &File, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;

    for part in parts {
        file.write_all_at(part, offset)?;
        offset += part.len() as u64;
    }
    Ok(())
}

/// Appends exactly `len` bytes of the file, from `offset` on, to `out`. The memory is not zeroed before.
pub(in crate::storage) fn append_at(file: &File, out: &mut Vec<u8>, len: usize, mut offset: u64) -> io::Result<()> {
    let end = out.len() + len;
    out.reserve_exact(len);
    while out.len() < end {
        match rustix::io::pread(file, spare_capacity(out), offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => offset += read as u64,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // There may be more room than was asked for.
    out.truncate(end);
    Ok(())
}

/// Whether a range of the file is within its length and a hole: it reads as zeros, without reading. `false` where the file
/// system does not tell.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd"))]
pub(in crate::storage) fn is_hole(file: &File, offset: u64, len: u64) -> bool {
    let Some(end) = offset.checked_add(len) else { return false };
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset)) {
        Ok(data) => data >= end,
        // No data up to the end of the file, wherever that is.
        Err(Errno::NXIO) => file.metadata().is_ok_and(|metadata| metadata.len() >= end),
        Err(_) => false,
    }
}

/// Whether a range of the file is a hole: this system does not tell.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd")))]
pub(in crate::storage) fn is_hole(_: &File, _: u64, _: u64) -> bool {
    false
}

/// Time of the last change, in nanoseconds since 1970.
pub(in crate::storage) fn changed_ns(metadata: &Metadata) -> Option<i64> {
    metadata.mtime().checked_mul(1_000_000_000)?.checked_add(metadata.mtime_nsec())
}

/// Bytes of a file that have their place on the disk already.
pub(in crate::storage) fn allocated_bytes(metadata: &Metadata) -> u64 {
    metadata.blocks().saturating_mul(512)
}

/// Whether the file has no name any more: what is written to it is lost when it is closed.
pub(in crate::storage) fn is_deleted(metadata: &Metadata) -> bool {
    metadata.nlink() == 0
}

/// Whether two descriptions are of one file; `None` where this cannot be told.
pub(in crate::storage) fn is_same_file(a: &Metadata, b: &Metadata) -> Option<bool> {
    Some((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

/// Bytes that may still be written to the file system of a folder.
pub(in crate::storage) fn free_bytes(folder: &Path) -> Option<u64> {
    let state = rustix::fs::statvfs(folder).ok()?;
    state.f_bavail.checked_mul(state.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_longer_than_the_system_takes_at_once_is_written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let components: Vec<OsString> = (0..20).map(|index| format!("{index:0250}").into()).collect();
        let file = open_beneath(folder.path(), &components, Access::Write).unwrap();
        write_all_at(&file, &[b"x"], 0).unwrap();
        for access in [Access::Read, Access::ReadOwn] {
            assert_eq!(open_beneath(folder.path(), &components, access).unwrap().metadata().unwrap().len(), 1);
        }
    }
}
