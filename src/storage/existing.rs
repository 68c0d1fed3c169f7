use std::path::Path;

use super::layout::Layout;
use super::open::stamp;
use super::resume::Resume;
use crate::model::{Bitfield, Block, PieceIndex};

/// What is known of data that stand in the folder already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingData {
    /// Trusted as far as a resume file matches the sizes and times of the files; what it does not cover is checked.
    Resume,
    /// Every piece is checked.
    Check,
    /// Every piece was verified by the caller a moment ago.
    Verified,
}

/// What stands in the folder.
#[derive(Debug)]
pub struct Survey {
    /// Pieces that are known to be there.
    pub have: Bitfield,
    /// Pieces that have to be checked, in ascending order.
    pub unknown: Vec<PieceIndex>,
}

/// Looks at the files of a torrent, without reading them: which pieces are known, and which have to be checked.
pub fn survey(layout: &Layout, existing: ExistingData, resume_path: Option<&Path>) -> Survey {
    let geometry = layout.info().geometry();
    let piece_count = geometry.piece_count();
    if existing == ExistingData::Verified {
        return Survey { have: Bitfield::full(piece_count), unknown: Vec::new() };
    }
    if existing == ExistingData::Resume
        && let Some(resume) = resume_path.and_then(|path| load(path, layout))
    {
        let (have, unknown) = resume.judge(layout);
        return Survey { have, unknown: on_disk(layout, unknown) };
    }
    Survey { have: Bitfield::empty(piece_count), unknown: on_disk(layout, geometry.pieces().collect()) }
}

fn load(path: &Path, layout: &Layout) -> Option<Resume> {
    Resume::load(path, &layout.info().hash())
        .inspect_err(|error| tracing::warn!(%error, "checking what is on the disk instead"))
        .ok()
        .flatten()
}

/// Those of the pieces whose bytes are within files that are there.
fn on_disk(layout: &Layout, pieces: Vec<PieceIndex>) -> Vec<PieceIndex> {
    let lens: Vec<u64> = (0..layout.files().len())
        .map(|file| match layout.files()[file].padding {
            true => u64::MAX,
            false => stamp(layout, file).map_or(0, |(len, _)| len),
        })
        .collect();
    let geometry = layout.info().geometry();
    let there = |piece: &PieceIndex| {
        let whole = Block { piece: *piece, begin: 0, len: geometry.piece_len(*piece) };
        layout.spans(&whole).all(|span| span.offset + u64::from(span.len) <= lens[span.file])
    };
    pieces.into_iter().filter(there).collect()
}
