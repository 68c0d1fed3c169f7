use std::path::PathBuf;

use super::{Stage, Torrent};
use crate::disk::{Layout, LayoutFile, Wanted};
use crate::model::{Bitfield, Geometry, PieceIndex};

/// How far a file of a torrent is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FileStatus {
    /// Its number, by which it is selected.
    pub index: u32,
    /// Its path on the disk, below the folder into which the torrent goes.
    pub path: PathBuf,
    /// Length in bytes.
    pub len: u64,
    /// Bytes of it in verified pieces.
    pub bytes_done: u64,
    /// How much of it is to be fetched.
    pub wanted: Wanted,
}

impl FileStatus {
    /// The files of a torrent that has these pieces, in the order of their bytes. What is not on the disk (BEP 47) is left
    /// out.
    pub fn of(layout: &Layout, have: Option<&Bitfield>) -> Vec<Self> {
        let geometry = layout.info().geometry();
        let files = (0..).zip(layout.files()).filter(|(_, file)| !file.padding);
        let status = |(index, file): (u32, &LayoutFile)| Self {
            index,
            path: file.components.iter().collect(),
            len: file.len,
            bytes_done: have.map_or(0, |have| bytes_done(geometry, file, have)),
            wanted: file.wanted,
        };
        files.map(status).collect()
    }
}

fn bytes_done(geometry: &Geometry, file: &LayoutFile, have: &Bitfield) -> u64 {
    let own = |piece: PieceIndex| {
        let begin = geometry.piece_offset(piece);
        let end = begin + u64::from(geometry.piece_len(piece));
        end.min(file.offset + file.len).saturating_sub(begin.max(file.offset))
    };
    geometry.pieces_of(file.offset, file.len).filter(|piece| have.contains(*piece)).map(own).sum()
}

impl Torrent {
    /// The pieces that are verified, as far as that is found out.
    pub fn have(&self) -> Option<&Bitfield> {
        match &self.stage {
            Stage::Checking(checking) | Stage::Settling(checking) => Some(checking.opening.have()),
            _ => self.swarm.have(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::model::{Metainfo, NewFile, NewTorrent};

    #[test]
    fn pieces_count_for_each_file_by_what_they_cover_of_it() {
        let lens = [10_000, 0, 10_000, 20_000];
        let file = |(index, len): (usize, &u64)| NewFile { path: vec![format!("f{index}")], len: *len };
        let torrent = NewTorrent {
            name: "top".into(),
            files: Some(lens.iter().enumerate().map(file).collect()),
            total_len: 40_000,
            piece_len: 16_384,
            pieces: vec![0; 60],
            private: false,
            comment: None,
            created_by: None,
            creation_date: None,
            nodes: Vec::new(),
        };
        let info = Metainfo::parse(torrent.encode()).unwrap().info;
        let mut layout = Layout::new(Path::new("/nowhere"), Arc::new(info));
        layout.select(&"0".parse().unwrap()).unwrap();
        let mut have = Bitfield::empty(3);
        let done = |have: &Bitfield| {
            FileStatus::of(&layout, Some(have)).iter().map(|file| file.bytes_done).collect::<Vec<_>>()
        };
        have.insert(PieceIndex::new(0));
        assert_eq!(done(&have), [10_000, 0, 6_384, 0]);
        have.insert(PieceIndex::new(2));
        assert_eq!(done(&have), [10_000, 0, 6_384, 7_232]);
        assert_eq!(done(&Bitfield::full(3)), lens);
        let files = FileStatus::of(&layout, None);
        assert_eq!(files.iter().map(|file| file.bytes_done).sum::<u64>(), 0);
        let wanted: Vec<Wanted> = files.iter().map(|file| file.wanted).collect();
        assert_eq!(wanted, [Wanted::Whole, Wanted::Nothing, Wanted::Shared, Wanted::Nothing]);
        assert_eq!((files[2].index, files[2].path.as_path()), (2, Path::new("top/f2")));
    }
}
