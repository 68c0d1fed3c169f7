//! The same with the standard library alone. Every handle has one user at a time, so the position of a file may be moved.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this file opens, reads and writes files")]
#![cfg_attr(unix, allow(dead_code, reason = "elsewhere in use; here its tests run"))]

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::Access;

/// Opens a plain file below a folder, or makes it with its folders, as `access` says. Where links are not followed, none is,
/// unless it takes a folder's place between the look and the step.
pub(in crate::storage) fn open_beneath(folder: &Path, components: &[OsString], access: Access) -> io::Result<File> {
    let (name, parents) = components.split_last().ok_or(io::ErrorKind::InvalidInput)?;
    let write = access == Access::Write;
    let look = |path: &Path| if access == Access::Read { path.metadata() } else { path.symlink_metadata() };
    if write {
        std::fs::create_dir_all(folder)?;
    }
    let mut path = folder.to_path_buf();
    for component in parents {
        path.push(component);
        if write {
            match DirBuilder::new().create(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        if !look(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
    }
    path.push(name);
    match look(&path) {
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => return Err(io::ErrorKind::NotSeekable.into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().read(true).write(write).create(write).truncate(false).open(path)
}

/// Files that the process may have open: not told.
pub(in crate::storage) fn open_files_max() -> Option<u64> {
    None
}

/// Whether the process has as many files open as it may: not told.
pub(in crate::storage) fn is_out_of_files(_: &io::Error) -> bool {
    false
}

/// What tells a file from one that took its place later: when it was made.
pub(in crate::storage) fn file_id(metadata: &Metadata) -> Option<(u64, i64)> {
    let born = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((0, i64::try_from(born.as_nanos()).ok()?))
}

/// Locks nothing: what such systems lock, nobody else can read or write, not even through another handle of this process.
pub(in crate::storage) fn try_lock(_: &File) -> io::Result<bool> {
    Ok(true)
}

/// Whether [`open_beneath`] met a symbolic link that it does not follow; it says so as "not a plain file".
pub(in crate::storage) fn is_link_refused(_: &io::Error) -> bool {
    false
}

/// Writes the parts one after the other from `offset` on.
pub(in crate::storage) fn write_all_at(mut file: &File, parts: &[&[u8]], offset: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    parts.iter().try_for_each(|part| file.write_all(part))
}

/// Appends exactly `len` bytes of the file, from `offset` on, to `out`.
pub(in crate::storage) fn append_at(mut file: &File, out: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    out.reserve_exact(len);
    let read = file.take(len as u64).read_to_end(out)?;
    if read < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Whether a range of the file is a hole: not told, so everything is read.
pub(in crate::storage) fn is_hole(_: &File, _: u64, _: u64) -> bool {
    false
}

/// Time of the last change, in nanoseconds since 1970.
pub(in crate::storage) fn changed_ns(metadata: &Metadata) -> Option<i64> {
    let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

/// Bytes of a file that have their place on the disk already, as far as the length tells.
pub(in crate::storage) fn allocated_bytes(metadata: &Metadata) -> u64 {
    metadata.len()
}

/// Whether the file has no name any more: not told.
pub(in crate::storage) fn is_deleted(_: &Metadata) -> bool {
    false
}

/// Whether two descriptions are of one file: not told.
pub(in crate::storage) fn is_same_file(_: &Metadata, _: &Metadata) -> Option<bool> {
    None
}

/// Bytes that may still be written to the file system of a folder: not told.
pub(in crate::storage) fn free_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::sys;

    type Open = fn(&Path, &[OsString], Access) -> io::Result<File>;
    type Write = fn(&File, &[&[u8]], u64) -> io::Result<()>;
    type Append = fn(&File, &mut Vec<u8>, usize, u64) -> io::Result<()>;

    /// This system's own way and the portable one.
    const WAYS: [(Open, Write, Append); 2] =
        [(sys::open_beneath, sys::write_all_at, sys::append_at), (open_beneath, write_all_at, append_at)];

    fn path(components: &[&str]) -> Vec<OsString> {
        components.iter().map(|component| (*component).into()).collect()
    }

    #[test]
    fn both_ways_read_what_they_wrote_and_no_more() {
        for (open, write, append) in WAYS {
            let folder = tempfile::tempdir().unwrap();
            let file = open(folder.path(), &path(&["a", "b", "c"]), Access::Write).unwrap();
            write(&file, &[b"one", b"", b"two"], 5).unwrap();
            let mut out = Vec::with_capacity(100);
            out.extend_from_slice(b"x");
            append(&file, &mut out, 4, 6).unwrap();
            append(&file, &mut out, 3, 0).unwrap();
            assert_eq!(out, b"xnetw\0\0\0");
            let short = append(&file, &mut Vec::new(), 7, 5).unwrap_err();
            assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(
                open(folder.path(), &path(&["a", "b", "c"]), Access::Read).unwrap().metadata().unwrap().len(),
                11
            );
        }
    }

    #[test]
    fn both_ways_refuse_folders_and_nothing() {
        use Access::{Read, ReadOwn, Write};
        for (open, ..) in WAYS {
            let folder = tempfile::tempdir().unwrap();
            open(folder.path(), &path(&["real", "file"]), Write).unwrap();
            let refused =
                |components: &[&str], access| open(folder.path(), &path(components), access).unwrap_err().kind();
            for access in [Read, ReadOwn] {
                assert_eq!(refused(&["missing"], access), io::ErrorKind::NotFound);
                assert_eq!(refused(&["missing", "file"], access), io::ErrorKind::NotFound);
            }
            for access in [Read, ReadOwn, Write] {
                assert_eq!(refused(&["real"], access), io::ErrorKind::IsADirectory);
                assert_eq!(refused(&["real", "file", "below"], access), io::ErrorKind::NotADirectory);
                assert_eq!(refused(&[], access), io::ErrorKind::InvalidInput);
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn both_ways_follow_links_for_reading_and_for_nothing_else() {
        use Access::{Read, ReadOwn, Write};
        for (open, ..) in WAYS {
            let folder = tempfile::tempdir().unwrap();
            open(folder.path(), &path(&["real", "file"]), Write).unwrap();
            for (link, target) in [("folder", "real"), ("file", "real/file"), ("dangling", "new"), ("loop", "loop")] {
                std::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
                let components: &[&str] = if link == "folder" { &[link, "file"] } else { &[link] };
                for access in [Read, ReadOwn, Write] {
                    let opened = open(folder.path(), &path(components), access);
                    let leads_somewhere = ["folder", "file"].contains(&link);
                    assert_eq!(opened.is_ok(), access == Read && leads_somewhere, "{link} {access:?} {opened:?}");
                }
                assert!(!folder.path().join("new").exists());
            }
        }
    }
}
