use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::{Bitfield, Block, FileSelection, Info, NameRules, SelectionError};

/// Where the bytes of a torrent stand on the disk.
#[derive(Debug)]
pub struct Layout {
    info: Arc<Info>,
    folder: PathBuf,
    files: Vec<LayoutFile>,
}

/// A file of the torrent on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutFile {
    /// The components of its path below the folder, each a name and no more.
    pub components: Vec<OsString>,
    /// Length in bytes.
    pub len: u64,
    /// Offset in bytes of its first byte from the start of the torrent.
    pub offset: u64,
    /// Zeros that are not on the disk (BEP 47).
    pub padding: bool,
    /// How much of it is to be fetched.
    pub wanted: Wanted,
}

/// How much of a file is to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Wanted {
    /// All of it.
    Whole,
    /// The bytes in pieces that it shares with a file that is wanted: no more than they take is made of it.
    Shared,
    /// Nothing.
    Nothing,
}

/// A part of a block within one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Position of the file in [`Layout::files`].
    pub file: usize,
    /// Offset in bytes within the file.
    pub offset: u64,
    /// Length in bytes.
    pub len: u32,
}

impl Layout {
    /// The layout of a torrent in `folder`: its one file there, or its own folder there with the files in it. The names are
    /// those of the torrent, as far as folders of this system take them.
    pub fn new(folder: &Path, info: Arc<Info>) -> Self {
        Self::with_rules(folder, info, NameRules::default())
    }

    /// The same in a folder that does not take every name.
    pub fn with_rules(folder: &Path, info: Arc<Info>, rules: NameRules) -> Self {
        let (own, paths) = info.names_under(rules);
        let own = (!info.is_single_file()).then(|| os_name(&own));
        let files = info
            .files()
            .iter()
            .zip(paths)
            .map(|(file, path)| LayoutFile {
                components: own.iter().cloned().chain(path.split(|byte| *byte == b'/').map(os_name)).collect(),
                len: file.len,
                offset: file.offset,
                padding: file.padding,
                wanted: Wanted::Whole,
            })
            .collect();
        Self { info, folder: folder.to_path_buf(), files }
    }

    /// Gives a file another path below the folder.
    pub(crate) fn rename(&mut self, file: usize, components: Vec<OsString>) {
        self.files[file].components = components;
    }

    /// Limits what is fetched to some of the files. Returns the pieces that they need.
    ///
    /// # Errors
    /// A file that the torrent does not have.
    pub fn select(&mut self, selection: &FileSelection) -> Result<Bitfield, SelectionError> {
        let pieces = selection.pieces(&self.info)?;
        let geometry = *self.info.geometry();
        for (index, file) in (0..).zip(&mut self.files) {
            let mut own = geometry.pieces_of(file.offset, file.len);
            file.wanted = match selection.contains(index) {
                true => Wanted::Whole,
                false if own.any(|piece| pieces.contains(piece)) => Wanted::Shared,
                false => Wanted::Nothing,
            };
        }
        Ok(pieces)
    }

    /// The torrent.
    pub fn info(&self) -> &Arc<Info> {
        &self.info
    }

    /// The folder that nothing is ever written outside of.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files in the order of their bytes.
    pub fn files(&self) -> &[LayoutFile] {
        &self.files
    }

    /// The whole path of the torrent's one file, or of its own folder.
    pub fn own_path(&self) -> PathBuf {
        // There is a file, and its path begins with that name.
        self.folder.join(&self.files[0].components[0])
    }

    /// The whole path of a file.
    pub fn path(&self, file: usize) -> PathBuf {
        let mut path = self.folder.clone();
        path.extend(&self.files[file].components);
        path
    }

    /// The parts of files that a range of a piece covers, in order. Empty files have none.
    pub fn spans(&self, block: &Block) -> impl Iterator<Item = Span> + '_ {
        let start = self.info.geometry().piece_offset(block.piece) + u64::from(block.begin);
        let end = start + u64::from(block.len);
        let first = self.files.partition_point(|file| file.offset + file.len <= start);
        let covering = self.files.iter().enumerate().skip(first).take_while(move |(_, file)| file.offset < end);
        covering.filter(|(_, file)| file.len > 0).map(move |(index, file)| {
            let from = start.max(file.offset);
            let to = end.min(file.offset + file.len);
            // A range of a piece is at most a piece long.
            Span { file: index, offset: from - file.offset, len: (to - from) as u32 }
        })
    }
}

/// A file name of these bytes.
#[cfg(unix)]
fn os_name(name: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(name.to_vec())
}

/// A file name of these bytes, as far as they are text.
#[cfg(not(unix))]
fn os_name(name: &[u8]) -> OsString {
    String::from_utf8_lossy(name).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metainfo;
    use crate::model::{NewFile, NewTorrent, PieceIndex};

    fn layout(lens: &[u64]) -> Layout {
        let total_len: u64 = lens.iter().sum();
        let file = |(index, len): (usize, &u64)| NewFile { path: vec![format!("d{index}"), "f".into()], len: *len };
        let torrent = NewTorrent {
            name: "top".into(),
            files: Some(lens.iter().enumerate().map(file).collect()),
            total_len,
            piece_len: 16384,
            pieces: vec![0; 20 * total_len.div_ceil(16384) as usize],
            private: false,
            comment: None,
            created_by: None,
            creation_date: None,
            nodes: Vec::new(),
        };
        let info = Metainfo::parse(torrent.encode()).unwrap().info;
        Layout::new(Path::new("/nowhere"), Arc::new(info))
    }

    #[test]
    fn ranges_cover_files_and_skip_empty_ones() {
        let layout = layout(&[10_000, 0, 10_000, 20_000]);
        let block = Block { piece: PieceIndex::new(0), begin: 5_000, len: 11_384 };
        let spans: Vec<Span> = layout.spans(&block).collect();
        assert_eq!(spans, [Span { file: 0, offset: 5_000, len: 5_000 }, Span { file: 2, offset: 0, len: 6_384 }]);
        let block = Block { piece: PieceIndex::new(1), begin: 0, len: 16_384 };
        let spans: Vec<Span> = layout.spans(&block).collect();
        assert_eq!(spans, [Span { file: 2, offset: 6_384, len: 3_616 }, Span { file: 3, offset: 0, len: 12_768 }]);
        assert_eq!(layout.path(3), Path::new("/nowhere/top/d3/f"));
    }

    #[test]
    fn neighbours_of_selected_files_are_known() {
        let mut layout = layout(&[10_000, 10_000, 20_000, 0, 40_000]);
        let pieces = layout.select(&"1,3".parse().unwrap()).unwrap();
        assert_eq!(pieces.iter().map(PieceIndex::get).collect::<Vec<_>>(), [0, 1]);
        let wanted: Vec<Wanted> = layout.files().iter().map(|file| file.wanted).collect();
        use Wanted::{Nothing, Shared, Whole};
        assert_eq!(wanted, [Shared, Whole, Shared, Whole, Nothing]);
        assert!(layout.select(&"5".parse().unwrap()).is_err());
    }
}
