//! The same with the standard library alone. Every handle has one user at a time, so the position of a file may be moved.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this file opens, reads and writes files")]
#![cfg_attr(unix, allow(dead_code, reason = "elsewhere in use; here its tests run"))]

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Opens a plain file below a folder, for reading, or for writing too and then made with its folders. No symbolic link below
/// the folder is followed, unless it takes a folder's place between the look and the step.
pub(in crate::storage) fn open_beneath(folder: &Path, components: &[String], write: bool) -> io::Result<File> {
    let (name, parents) = components.split_last().ok_or(io::ErrorKind::InvalidInput)?;
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
        if !path.symlink_metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
    }
    path.push(name);
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() => return Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().read(true).write(write).create(write).truncate(false).open(path)
}

/// Locks nothing: what such systems lock, nobody else can read or write, not even through another handle of this process.
pub(in crate::storage) fn try_lock(_: &File) -> io::Result<bool> {
    Ok(true)
}

/// Whether [`open_beneath`] met a symbolic link; it says so as "not a directory".
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

    type Open = fn(&Path, &[String], bool) -> io::Result<File>;
    type Write = fn(&File, &[&[u8]], u64) -> io::Result<()>;
    type Append = fn(&File, &mut Vec<u8>, usize, u64) -> io::Result<()>;

    /// This system's own way and the portable one.
    const WAYS: [(Open, Write, Append); 2] =
        [(sys::open_beneath, sys::write_all_at, sys::append_at), (open_beneath, write_all_at, append_at)];

    fn path(components: &[&str]) -> Vec<String> {
        components.iter().map(|component| (*component).to_owned()).collect()
    }

    #[test]
    fn both_ways_read_what_they_wrote_and_no_more() {
        for (open, write, append) in WAYS {
            let folder = tempfile::tempdir().unwrap();
            let file = open(folder.path(), &path(&["a", "b", "c"]), true).unwrap();
            write(&file, &[b"one", b"", b"two"], 5).unwrap();
            let mut out = Vec::with_capacity(100);
            out.extend_from_slice(b"x");
            append(&file, &mut out, 4, 6).unwrap();
            append(&file, &mut out, 3, 0).unwrap();
            assert_eq!(out, b"xnetw\0\0\0");
            let short = append(&file, &mut Vec::new(), 7, 5).unwrap_err();
            assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(open(folder.path(), &path(&["a", "b", "c"]), false).unwrap().metadata().unwrap().len(), 11);
        }
    }

    #[test]
    fn both_ways_refuse_links_folders_and_nothing() {
        for (open, ..) in WAYS {
            let folder = tempfile::tempdir().unwrap();
            open(folder.path(), &path(&["real", "file"]), true).unwrap();
            let refused = |components: &[&str], write: bool| open(folder.path(), &path(components), write).unwrap_err();
            assert_eq!(refused(&["missing"], false).kind(), io::ErrorKind::NotFound);
            assert_eq!(refused(&["missing", "file"], false).kind(), io::ErrorKind::NotFound);
            for write in [false, true] {
                refused(&["real"], write);
                refused(&["real", "file", "below"], write);
                refused(&[], write);
            }
            #[cfg(unix)]
            for (link, target) in [("folder", "real"), ("file", "real/file"), ("dangling", "new")] {
                std::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
                for write in [false, true] {
                    let components: &[&str] = if link == "folder" { &[link, "file"] } else { &[link] };
                    refused(components, write);
                }
                assert!(!folder.path().join("new").exists());
            }
        }
    }
}
