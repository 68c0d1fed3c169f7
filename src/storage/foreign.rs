//! Whether files that stand where a torrent's are to be written hold data of it, or may be the user's own.
#![allow(clippy::disallowed_types, reason = "this file reads files")]

use std::fs::File;
use std::io;

use super::open::open;
use super::sys::{self, Access};
use super::zeros::ZeroHashes;
use crate::disk::DiskError;
use crate::disk::Layout;
use crate::model::{BLOCK_LEN, Bitfield, Block};

/// Bytes read at once; a multiple of a block's.
const READ_LEN: u64 = 16 * BLOCK_LEN as u64;

/// Looks at files that are to be written and that we are not known to have made. They may be written when they are not
/// there, when a piece of theirs is verified, or when nothing stands in them; and when they have the torrent's length and
/// an untouched block beside other files of which pieces are verified: such are left by a download that was cut short.
///
/// # Errors
/// [`DiskError::TooLong`] and [`DiskError::Foreign`] name the first file that may be the user's.
pub(super) fn check_own(layout: &Layout, have: &Bitfield, files: &[usize]) -> Result<(), DiskError> {
    let mut shares: Option<Vec<bool>> = None;
    for index in files.iter().copied() {
        let path = || layout.path(index);
        let file = match open(layout, index, Access::ReadOwn) {
            Err(DiskError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        let expected = layout.files()[index].len;
        let len = file.metadata().map_err(|error| DiskError::new("look at", &path(), error))?.len();
        if len > expected {
            return Err(DiskError::TooLong { path: path(), len, expected });
        }
        let shares = shares.get_or_insert_with(|| sharing(layout, have));
        if len == 0 || shares[index] {
            continue;
        }
        let untouched = untouched(&file, len).map_err(|error| DiskError::new("read", &path(), error))?;
        let is_rest = len == expected && untouched != Untouched::Nothing && shares.contains(&true);
        if untouched != Untouched::All && !is_rest {
            return Err(DiskError::Foreign { path: path() });
        }
    }
    Ok(())
}

/// Which files have bytes in a verified piece. A piece of zeros says nothing: any file may have some.
fn sharing(layout: &Layout, have: &Bitfield) -> Vec<bool> {
    let info = layout.info();
    let mut zeros = ZeroHashes::default();
    let mut shares = vec![false; layout.files().len()];
    for piece in have.iter() {
        let len = info.geometry().piece_len(piece);
        if info.piece_hash(piece).is_some_and(|hash| *hash != zeros.of(len)) {
            layout.spans(&Block { piece, begin: 0, len }).for_each(|span| shares[span.file] = true);
        }
    }
    shares
}

/// How much of a file nobody has written to, as far as that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Untouched {
    Nothing,
    /// A block at least.
    Some,
    All,
}

fn untouched(file: &File, len: u64) -> io::Result<Untouched> {
    let mut all = true;
    let mut some = false;
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < len && (all || !some) {
        // What is a hole up to the end is seen at once.
        if sys::is_hole(file, at, len - at) {
            some |= len - at >= u64::from(BLOCK_LEN);
            break;
        }
        let now = (len - at).min(READ_LEN);
        if sys::is_hole(file, at, now) {
            some |= now >= u64::from(BLOCK_LEN);
        } else {
            bytes.clear();
            sys::append_at(file, &mut bytes, now as usize, at)?;
            for block in bytes.chunks(BLOCK_LEN as usize) {
                let zeros = block.iter().all(|byte| *byte == 0);
                all &= zeros;
                some |= zeros && block.len() == BLOCK_LEN as usize;
            }
        }
        at += now;
    }
    Ok(match (all, some) {
        (true, _) => Untouched::All,
        (false, true) => Untouched::Some,
        (false, false) => Untouched::Nothing,
    })
}
