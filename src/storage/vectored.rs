//! Writing several buffers in one system call, where there is one.
#![allow(clippy::disallowed_types, reason = "this file writes files")]

use std::fs::File;
use std::io;

/// Writes the parts one after the other from `offset` on.
#[cfg(target_os = "linux")]
pub(super) fn write_all_at(file: &File, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
    use std::io::IoSlice;

    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let written = match rustix::io::pwritev(file, rest, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        offset += written as u64;
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// Writes the parts one after the other from `offset` on.
#[cfg(not(target_os = "linux"))]
pub(super) fn write_all_at(file: &File, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;

    for part in parts {
        file.write_all_at(part, offset)?;
        offset += part.len() as u64;
    }
    Ok(())
}
