//! Writing files so that whoever reads them sees the old one or the new one, never a part.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this file writes files")]

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Replaces the file at `path`, written at `beside` first, which must be in the same folder.
///
/// # Errors
/// What the system refused; what stood at `path` stays as it was.
pub fn replace_file(path: &Path, beside: &Path, bytes: &[u8]) -> io::Result<()> {
    write_beside(beside, bytes, |beside| std::fs::rename(beside, path))?;
    // The name itself is on the disk only once its folder is; not every system lets a folder be opened.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Writes a file at `beside`, syncs it, and has `place` put it where it belongs. What fails leaves nothing at `beside`.
///
/// # Errors
/// What the system or `place` refused.
pub fn write_beside(beside: &Path, bytes: &[u8], place: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    // What an earlier process left there, or anything else, is not written through.
    match std::fs::remove_file(beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(beside)?;
    let placed = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| place(beside));
    if placed.is_err() {
        // A part of it is of no use, and what failed is what is reported.
        let _ = std::fs::remove_file(beside);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_leaves_the_old_file_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, beside) = (folder.path().join("state"), folder.path().join("state.new"));
        std::fs::write(&beside, b"left by an earlier process").unwrap();
        replace_file(&path, &beside, b"old").unwrap();
        let full = |_: &Path| Err(ErrorKind::StorageFull.into());
        assert_eq!(write_beside(&beside, b"new", full).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
