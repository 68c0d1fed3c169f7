use std::path::Path;

use super::open::len_on_disk;
use super::resume::Resume;
use crate::disk::Layout;
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
    /// Pieces that must be checked, in ascending order.
    pub unknown: Vec<PieceIndex>,
    /// What was kept of an earlier session.
    pub resume: Option<Resume>,
}

/// Looks at the files of a torrent, without reading them: which pieces are known, and which must be checked.
pub fn survey(layout: &Layout, existing: ExistingData, resume_path: Option<&Path>) -> Survey {
    let geometry = layout.info().geometry();
    let piece_count = geometry.piece_count();
    if existing == ExistingData::Verified {
        return Survey { have: Bitfield::full(piece_count), unknown: Vec::new(), resume: None };
    }
    let resume = resume_path.and_then(|path| load(path, layout));
    let (have, unknown) = match &resume {
        Some(resume) if existing == ExistingData::Resume => resume.judge(layout),
        _ => (Bitfield::empty(piece_count), geometry.pieces().collect()),
    };
    Survey { have, unknown: on_disk(layout, unknown), resume }
}

fn load(path: &Path, layout: &Layout) -> Option<Resume> {
    Resume::load(path, &layout.info().hash())
        .inspect_err(|error| tracing::warn!(%error, "checking what is on the disk instead"))
        .ok()
        .flatten()
}

/// Those of the pieces whose bytes are within files that are there. A file that cannot be looked at may have them all.
fn on_disk(layout: &Layout, pieces: Vec<PieceIndex>) -> Vec<PieceIndex> {
    let lens: Vec<u64> = (0..layout.files().len())
        .map(|file| match layout.files()[file].padding {
            true => u64::MAX,
            false => match len_on_disk(layout, file) {
                Ok(len) => len.unwrap_or(0),
                Err(error) if error.is_absent() => 0,
                Err(_) => u64::MAX,
            },
        })
        .collect();
    let geometry = layout.info().geometry();
    let there = |piece: &PieceIndex| {
        let whole = Block { piece: *piece, begin: 0, len: geometry.piece_len(*piece) };
        layout.spans(&whole).all(|span| span.offset + u64::from(span.len) <= lens[span.file])
    };
    pieces.into_iter().filter(there).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the tests make and change files")]
mod tests {
    use super::*;
    use crate::model::{Metainfo, NewFile, NewTorrent};
    use std::fs::{File, OpenOptions};
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_file_that_was_changed_or_cut_since_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| NewFile { path: vec![name.into()], len: 32 };
        let torrent = NewTorrent {
            name: "top".into(),
            files: Some(vec![file("a"), file("b")]),
            total_len: 64,
            piece_len: 16,
            pieces: vec![0; 80],
            private: false,
            comment: None,
            created_by: None,
            creation_date: None,
            nodes: Vec::new(),
        };
        let layout = Layout::new(folder.path(), Arc::new(Metainfo::parse(torrent.encode()).unwrap().info));
        let path = |name: &str| folder.path().join("top").join(name);
        std::fs::create_dir(folder.path().join("top")).unwrap();
        for name in ["a", "b"] {
            std::fs::write(path(name), [1; 32]).unwrap();
        }
        let resume_path = folder.path().join("x.resume");
        Resume::new(&layout, &Bitfield::full(4), &[], Vec::new()).save(&resume_path).unwrap();
        let found = |existing| {
            let survey = survey(&layout, existing, Some(&resume_path));
            let numbers = |pieces: Vec<PieceIndex>| pieces.into_iter().map(PieceIndex::get).collect::<Vec<_>>();
            (numbers(survey.have.iter().collect()), numbers(survey.unknown))
        };
        assert_eq!(found(ExistingData::Resume), (vec![0, 1, 2, 3], vec![]));
        assert_eq!(found(ExistingData::Check), (vec![], vec![0, 1, 2, 3]));
        let mut doubting = Resume::new(&layout, &Bitfield::full(4), &[], Vec::new());
        let mut unreadable = Bitfield::empty(4);
        unreadable.insert(PieceIndex::new(3));
        doubting.doubt(&layout, &unreadable);
        doubting.save(&resume_path).unwrap();
        assert_eq!(found(ExistingData::Resume), (vec![0, 1], vec![2, 3]), "what could not be read is checked again");
        Resume::new(&layout, &Bitfield::full(4), &[], Vec::new()).save(&resume_path).unwrap();

        std::fs::write(path("b"), [2; 32]).unwrap();
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        File::options().write(true).open(path("b")).unwrap().set_modified(later).unwrap();
        assert_eq!(found(ExistingData::Resume), (vec![0, 1], vec![2, 3]), "changed");
        OpenOptions::new().write(true).open(path("b")).unwrap().set_len(16).unwrap();
        assert_eq!(found(ExistingData::Resume), (vec![0, 1], vec![2]), "cut");
        std::fs::remove_file(path("a")).unwrap();
        assert_eq!(found(ExistingData::Resume), (vec![], vec![2]), "deleted");
    }
}
