//! What is to be written is got ready; what is only read is left as it is.

use super::foreign::check_own;
use super::open::{len_on_disk, open};
use super::resume::Resume;
use super::sys::{self, Access};
use super::write_lock::WriteLock;
use crate::disk::DiskError;
use crate::disk::{Layout, Wanted};
use crate::model::{Bitfield, Block};

/// Files that are ready.
#[derive(Debug)]
pub struct Settled {
    /// Held as long as pieces are fetched; `None`: nothing is missing.
    pub lock: Option<WriteLock>,
    /// Which files of the layout are ours to write: those that we made, in this session or an earlier one.
    pub own: Vec<bool>,
}

/// Makes what is wanted and is not there. `known` are the pieces that are not to be fetched: those that are verified,
/// and those that cannot be read. Files that hold no other piece are not opened for writing, except that empty files
/// are made. Files that exist already and are not known to be ours are refused before anything is written, unless
/// `overwrite`.
///
/// # Errors
/// [`DiskError::Foreign`] and [`DiskError::TooLong`] for what may be the user's own; [`DiskError::InUse`]; anything else that
/// the system refused.
pub fn settle(
    layout: &Layout,
    known: &Bitfield,
    resume: Option<&Resume>,
    overwrite: bool,
) -> Result<Settled, DiskError> {
    if layout.folder().exists() && !layout.folder().is_dir() {
        return Err(DiskError::TargetIsFile { path: layout.folder().to_path_buf() });
    }
    let written = written(layout, known);
    let mut own: Vec<bool> =
        (0..layout.files().len()).map(|file| resume.is_some_and(|resume| resume.is_own(layout, file))).collect();
    if !written.contains(&true) {
        make_empty(layout)?;
        return Ok(Settled { lock: None, own });
    }
    // Whoever else downloads it is named as that, before what it has written so far is judged.
    let looked = WriteLock::take(layout)?;
    if !overwrite {
        let strange: Vec<usize> = (0..written.len()).filter(|file| written[*file] && !own[*file]).collect();
        check_own(layout, known, &strange)?;
    }
    make_empty(layout)?;
    make(layout, &written, overwrite)?;
    own.iter_mut().zip(&written).for_each(|(own, written)| *own |= *written);
    drop(looked);
    Ok(Settled { lock: Some(WriteLock::take(layout)?), own })
}

/// Which files get bytes when the wanted pieces that are not `known` are fetched.
fn written(layout: &Layout, known: &Bitfield) -> Vec<bool> {
    let geometry = layout.info().geometry();
    let mut written = vec![false; layout.files().len()];
    for piece in known.missing() {
        let whole = Block { piece, begin: 0, len: geometry.piece_len(piece) };
        if layout.spans(&whole).any(|span| layout.files()[span.file].wanted == Wanted::Whole) {
            layout.spans(&whole).for_each(|span| written[span.file] = !layout.files()[span.file].padding);
        }
    }
    written
}

/// Makes the wanted files that have no bytes. Whatever file exists already is as good.
fn make_empty(layout: &Layout) -> Result<(), DiskError> {
    for (index, file) in layout.files().iter().enumerate() {
        let empty = file.len == 0 && !file.padding && file.wanted == Wanted::Whole;
        if empty && len_on_disk(layout, index)?.is_none() {
            open(layout, index, Access::Write)?;
        }
    }
    Ok(())
}

/// Makes the files in their full length, sparse, so that blocks can be written in any order. Files of which only the bytes
/// beside a wanted file are fetched are made when these come. Warns when there is less room on the disk than is needed.
fn make(layout: &Layout, written: &[bool], overwrite: bool) -> Result<(), DiskError> {
    let mut needed_bytes: u64 = 0;
    for (index, entry) in layout.files().iter().enumerate().filter(|(index, _)| written[*index]) {
        if entry.wanted != Wanted::Whole && len_on_disk(layout, index)?.is_none() {
            continue;
        }
        let file = open(layout, index, Access::Write)?;
        let metadata = file.metadata().map_err(|error| DiskError::new("look at", &layout.path(index), error))?;
        let len = metadata.len();
        if len > entry.len && !overwrite {
            return Err(DiskError::TooLong { path: layout.path(index), len, expected: entry.len });
        }
        if len > entry.len || (len < entry.len && entry.wanted == Wanted::Whole) {
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

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
