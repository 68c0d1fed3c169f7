use super::names::{DEPTH_MAX, FOLDERS_MAX, NameError, Names, PATH_LEN_MAX, safe_component};
use super::{Geometry, GeometryError, InfoHash, PieceIndex};
use bytes::Bytes;
use magnes_bencode::{ErrorKind, Kind, Reader};
use sha1::{Digest, Sha1};
use std::fmt;

/// Largest `.torrent` file that is read, in bytes: the `info` and room for the layers of a hybrid torrent.
pub const METAINFO_LEN_MAX: usize = 64 * 1024 * 1024;
/// Largest `info` value that is read, in bytes. At 20 bytes a piece this is 800,000 pieces.
pub const INFO_LEN_MAX: usize = 16 * 1024 * 1024;

/// Most files of one torrent.
pub const FILES_MAX: usize = 1_000_000;

/// Length of a piece's SHA-1 in bytes.
const HASH_LEN: usize = 20;

/// A file of a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Where the file belongs below [`Info::name`] (or, in a torrent of a single file, that name itself): components
    /// joined by `/`, made safe, and told apart from all others even where case does not count.
    pub path: String,
    /// Length in bytes.
    pub len: u64,
    /// Offset in bytes of the file's first byte from the start of the torrent.
    pub offset: u64,
    /// Never on disk: zeros that bring the next file to the start of a piece, or a symbolic link (BEP 47).
    pub padding: bool,
}

impl FileEntry {
    /// Offset in bytes from the start of the torrent of what follows the file.
    pub fn end(&self) -> u64 {
        // Cannot overflow: the sum of all lengths was checked.
        self.offset + self.len
    }
}

/// The `info` value of a torrent (BEP 3), checked: what its info hash stands for. Of a hybrid torrent (BEP 52) it is the
/// v1 side.
#[derive(Clone)]
pub struct Info {
    raw: Bytes,
    hash: InfoHash,
    name: String,
    geometry: Geometry,
    pieces: Bytes,
    files: Vec<FileEntry>,
    single_file: bool,
    private: bool,
}

impl Info {
    /// Reads the bytes of an `info` value, as they stand in a `.torrent` file or came from peers (BEP 9).
    pub fn parse(raw: Bytes) -> Result<Self, ParseMetainfoError> {
        if raw.len() > INFO_LEN_MAX {
            return Err(ParseMetainfoError::InfoTooLarge(raw.len()));
        }
        let hash = InfoHash::new(Sha1::digest(&raw).into());
        let keys = Keys::read(&raw)?;
        let Some(pieces) = keys.pieces else {
            return Err(if keys.v2 { ParseMetainfoError::V2Only } else { ParseMetainfoError::Missing("pieces") });
        };
        let name = keys.name_utf8.or(keys.name).ok_or(ParseMetainfoError::Missing("name"))?;
        let name = safe_component(name).unwrap_or_else(|| hash.to_string());
        let (files, single_file) = match (keys.length, keys.files) {
            (Some(_), Some(_)) => return Err(ParseMetainfoError::LengthAndFiles),
            (None, None) => return Err(ParseMetainfoError::Missing("length")),
            (Some(len), None) => {
                let len = u64::try_from(len).map_err(|_| ParseMetainfoError::NegativeLength(name.clone()))?;
                (vec![FileEntry { path: name.clone(), len, offset: 0, padding: false }], true)
            }
            (None, Some(files)) => (read_files(files)?, false),
        };
        let total_len = files.last().map_or(0, FileEntry::end);
        let piece_len = keys.piece_len.ok_or(ParseMetainfoError::Missing("piece length"))?;
        let piece_len = u64::try_from(piece_len).map_err(|_| ParseMetainfoError::NegativePieceLength(piece_len))?;
        let geometry = Geometry::new(total_len, piece_len)?;
        if pieces.len() != geometry.piece_count() as usize * HASH_LEN {
            return Err(ParseMetainfoError::PiecesLength { found: pieces.len(), piece_count: geometry.piece_count() });
        }
        let pieces = raw.slice_ref(pieces);
        Ok(Self { hash, name, geometry, pieces, files, single_file, private: keys.private, raw })
    }

    /// The bytes that were read; the info hash is their SHA-1.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The info hash.
    pub fn hash(&self) -> InfoHash {
        self.hash
    }

    /// The name, made safe: of the file, or of the folder that the files are in.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the bytes divide into pieces.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The SHA-1 that a piece has to have; `None` when the torrent has no such piece.
    pub fn piece_hash(&self, piece: PieceIndex) -> Option<&[u8; 20]> {
        let start = piece.as_usize().checked_mul(HASH_LEN)?;
        self.pieces.get(start..)?.first_chunk()
    }

    /// The files in the order of their bytes, padding and links among them. Never empty.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Whether the torrent is one file that stands by itself, without a folder.
    pub fn is_single_file(&self) -> bool {
        self.single_file
    }

    /// Whether peers may come from trackers only: no DHT, no peer exchange (BEP 27).
    pub fn is_private(&self) -> bool {
        self.private
    }
}

impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info").field("hash", &self.hash).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why bytes are not a torrent that can be fetched: one variant per broken rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseMetainfoError {
    /// No bencode at all.
    #[error("not a torrent: {0}")]
    Bencode(#[from] magnes_bencode::Error),
    /// An empty file.
    #[error("not a torrent: the file is empty")]
    Empty,
    /// A web page in place of a torrent.
    #[error("not a torrent but a web page: the download of the .torrent file probably needs a login")]
    WebPage,
    /// Larger than [`METAINFO_LEN_MAX`].
    #[error("the torrent file has {0} bytes, more than the limit of {max}", max = METAINFO_LEN_MAX)]
    TooLarge(usize),
    /// Larger than [`INFO_LEN_MAX`].
    #[error("the torrent's `info` has {0} bytes, more than the limit of {INFO_LEN_MAX}")]
    InfoTooLarge(usize),
    /// A key that has to be there.
    #[error("the torrent has no `{0}`")]
    Missing(&'static str),
    /// A key that occurs twice, so that readers would disagree.
    #[error("the torrent has `{0}` twice")]
    Twice(&'static str),
    /// A value of another type.
    #[error("the torrent's `{key}` is not {expected}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What its value has to be.
        expected: &'static str,
    },
    /// Only the keys of BitTorrent v2 (BEP 52).
    #[error("the torrent is BitTorrent v2 only: not supported yet (hybrid torrents work)")]
    V2Only,
    /// Both the form for one file and the form for several.
    #[error("the torrent has both `length` and `files`: it cannot be one file and several")]
    LengthAndFiles,
    /// No files.
    #[error("the torrent's `files` is empty")]
    NoFiles,
    /// More than [`FILES_MAX`].
    #[error("the torrent has more than {FILES_MAX} files")]
    TooManyFiles,
    /// A length below zero.
    #[error("the length of `{0}` in the torrent is negative")]
    NegativeLength(String),
    /// More bytes than 63 bits count.
    #[error("the lengths of the torrent's files add up to more than a file system can hold")]
    TotalTooLarge,
    /// A link that claims bytes of its own (BEP 47).
    #[error("the symbolic link `{0}` in the torrent has a length")]
    LinkWithLength(String),
    /// A path without a usable component.
    #[error("file {0} of the torrent has an empty path")]
    PathEmpty(usize),
    /// A path of too many folders.
    #[error("file {0} of the torrent lies more than {DEPTH_MAX} folders deep")]
    PathTooDeep(usize),
    /// A path of too many bytes.
    #[error("the path of file {0} of the torrent has more than {PATH_LEN_MAX} bytes")]
    PathTooLong(usize),
    /// Too many folders.
    #[error("the torrent has more than {FOLDERS_MAX} folders")]
    TooManyFolders,
    /// A piece length below zero.
    #[error("the torrent's piece length {0} is negative")]
    NegativePieceLength(i64),
    /// Numbers that make no pieces.
    #[error("the torrent's pieces make no sense: {0}")]
    Geometry(#[from] GeometryError),
    /// Another number of hashes than of pieces.
    #[error("the torrent's `pieces` has {found} bytes, but its {piece_count} pieces need 20 bytes each")]
    PiecesLength {
        /// Bytes that are there.
        found: usize,
        /// Pieces that the lengths make.
        piece_count: u32,
    },
}

/// The keys of an `info` value that matter, unchecked.
#[derive(Default)]
struct Keys<'a> {
    name: Option<&'a [u8]>,
    name_utf8: Option<&'a [u8]>,
    piece_len: Option<i64>,
    pieces: Option<&'a [u8]>,
    length: Option<i64>,
    /// The raw list.
    files: Option<&'a [u8]>,
    private: bool,
    v2: bool,
}

impl<'a> Keys<'a> {
    fn read(raw: &'a [u8]) -> Result<Self, ParseMetainfoError> {
        let mut keys = Self::default();
        let mut reader = Reader::new(raw);
        let mut dict = of_type(reader.dict(), "info", "a dictionary")?;
        while let Some((key, value)) = dict.entry()? {
            match key {
                b"name" => once(&mut keys.name, "name", bytes(value, "name")?)?,
                b"name.utf-8" => once(&mut keys.name_utf8, "name.utf-8", bytes(value, "name.utf-8")?)?,
                b"piece length" => once(&mut keys.piece_len, "piece length", int(value, "piece length")?)?,
                b"pieces" => once(&mut keys.pieces, "pieces", bytes(value, "pieces")?)?,
                b"length" => once(&mut keys.length, "length", int(value, "length")?)?,
                b"files" => match value.kind()? {
                    Kind::List => once(&mut keys.files, "files", value.raw()?)?,
                    _ => return Err(ParseMetainfoError::WrongType { key: "files", expected: "a list" }),
                },
                b"private" => keys.private |= int(value, "private")? != 0,
                b"meta version" | b"file tree" => keys.v2 = true,
                _ => {}
            }
        }
        reader.finish()?;
        Ok(keys)
    }
}

/// Reads the `files` list.
fn read_files(raw: &[u8]) -> Result<Vec<FileEntry>, ParseMetainfoError> {
    let mut files = Vec::new();
    let mut names = Names::default();
    let mut offset: u64 = 0;
    let mut reader = Reader::new(raw);
    let mut list = reader.list()?;
    while let Some(item) = list.item()? {
        if files.len() == FILES_MAX {
            return Err(ParseMetainfoError::TooManyFiles);
        }
        let file = read_file(item, files.len(), offset, &mut names)?;
        offset = offset
            .checked_add(file.len)
            .filter(|total| i64::try_from(*total).is_ok())
            .ok_or(ParseMetainfoError::TotalTooLarge)?;
        files.push(file);
    }
    if files.is_empty() { Err(ParseMetainfoError::NoFiles) } else { Ok(files) }
}

fn read_file(
    item: &mut Reader<'_>,
    number: usize,
    offset: u64,
    names: &mut Names,
) -> Result<FileEntry, ParseMetainfoError> {
    let (mut length, mut path, mut path_utf8) = (None, None, None);
    let (mut padding, mut link) = (false, false);
    let mut dict = of_type(item.dict(), "files", "a list of dictionaries")?;
    while let Some((key, value)) = dict.entry()? {
        match key {
            b"length" => once(&mut length, "length", int(value, "length")?)?,
            b"path" => once(&mut path, "path", components(value, number)?)?,
            b"path.utf-8" => once(&mut path_utf8, "path.utf-8", components(value, number)?)?,
            b"attr" => {
                let attr = bytes(value, "attr")?;
                (padding, link) = (attr.contains(&b'p'), attr.contains(&b'l'));
            }
            _ => {}
        }
    }
    let path = path_utf8.or(path).ok_or(ParseMetainfoError::Missing("path"))?;
    // What never comes to stand on disk takes no name from what does.
    let path = if padding || link { Names::default().place(&path) } else { names.place(&path) };
    let path = path.map_err(|error| match error {
        NameError::Empty => ParseMetainfoError::PathEmpty(number),
        NameError::TooDeep => ParseMetainfoError::PathTooDeep(number),
        NameError::TooLong => ParseMetainfoError::PathTooLong(number),
        NameError::TooManyFolders => ParseMetainfoError::TooManyFolders,
    })?;
    let len = match length {
        None | Some(0) if link => 0,
        Some(_) if link => return Err(ParseMetainfoError::LinkWithLength(path)),
        None => return Err(ParseMetainfoError::Missing("length")),
        Some(len) => u64::try_from(len).map_err(|_| ParseMetainfoError::NegativeLength(path.clone()))?,
    };
    Ok(FileEntry { path, len, offset, padding: padding || link })
}

/// The components of the path of file `number`.
fn components<'a>(value: &mut Reader<'a>, number: usize) -> Result<Vec<&'a [u8]>, ParseMetainfoError> {
    let mut components = Vec::new();
    let mut list = of_type(value.list(), "path", "a list of strings")?;
    while let Some(item) = list.item()? {
        if components.len() == DEPTH_MAX {
            return Err(ParseMetainfoError::PathTooDeep(number));
        }
        components.push(bytes(item, "path")?);
    }
    Ok(components)
}

/// Fills a slot that a key fills once.
pub(super) fn once<T>(slot: &mut Option<T>, key: &'static str, value: T) -> Result<(), ParseMetainfoError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ParseMetainfoError::Twice(key)),
    }
}

fn int(value: &mut Reader<'_>, key: &'static str) -> Result<i64, ParseMetainfoError> {
    of_type(value.int(), key, "an integer")
}

fn bytes<'a>(value: &mut Reader<'a>, key: &'static str) -> Result<&'a [u8], ParseMetainfoError> {
    of_type(value.bytes(), key, "a string")
}

/// Names the key in the error that says that a value has another type.
pub(super) fn of_type<T>(
    result: Result<T, magnes_bencode::Error>,
    key: &'static str,
    expected: &'static str,
) -> Result<T, ParseMetainfoError> {
    result.map_err(|error| match error.kind {
        ErrorKind::WrongType => ParseMetainfoError::WrongType { key, expected },
        _ => ParseMetainfoError::Bencode(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseMetainfoError as E;
    use proptest::prelude::*;

    fn parse(raw: &[u8]) -> Result<Info, E> {
        Info::parse(Bytes::copy_from_slice(raw))
    }

    /// An `info` of several files with 16-byte pieces, from what stands in `files`.
    fn with_files(files: &str, piece_count: usize) -> Result<Info, E> {
        let pieces = "h".repeat(20 * piece_count);
        parse(format!("d5:filesl{files}e4:name1:n12:piece lengthi16e6:pieces{}:{pieces}e", pieces.len()).as_bytes())
    }

    #[test]
    fn several_files_stand_one_after_the_other() {
        let info = with_files(
            "d6:lengthi20e4:pathl1:d1:aeed4:attr1:p6:lengthi12e4:pathl4:.pad2:12eed6:lengthi0e4:pathl1:beed\
             4:attr1:l4:pathl1:leed6:lengthi1e4:pathl1:d1:Aee",
            3,
        )
        .unwrap();
        let files: Vec<_> = info.files().iter().map(|f| (f.path.as_str(), f.offset, f.len, f.padding)).collect();
        let expected = [
            ("d/a", 0, 20, false),
            (".pad/12", 20, 12, true),
            ("b", 32, 0, false),
            ("l", 32, 0, true),
            ("d/A.1", 32, 1, false),
        ];
        assert_eq!(files, expected);
        assert!(!info.is_single_file());
        assert_eq!(info.piece_hash(PieceIndex::new(2)), Some(b"hhhhhhhhhhhhhhhhhhhh"));
        assert_eq!(info.piece_hash(PieceIndex::new(3)), None);
        assert_eq!(info.piece_hash(PieceIndex::new(u32::MAX)), None);
    }

    #[test]
    fn the_hash_is_that_of_the_raw_bytes_with_unknown_keys() {
        let raw = b"d6:lengthi0e3:fooi01e4:name1:x12:piece lengthi16384e6:pieces0:7:privatei1ee";
        let info = parse(raw).unwrap();
        assert_eq!(info.hash().as_bytes()[..], Sha1::digest(raw)[..]);
        assert_eq!(info.raw(), &raw[..]);
        assert!(info.is_private() && info.is_single_file());
        assert_eq!(info.geometry().piece_count(), 0);
    }

    #[test]
    fn of_a_hybrid_torrent_the_v1_side_is_read() {
        let raw = b"d9:file treede6:lengthi1e12:meta versioni2e4:name1:x12:piece lengthi16384e6:pieces20:\
            aaaaaaaaaaaaaaaaaaaae";
        assert_eq!(parse(raw).unwrap().geometry().total_len(), 1);
        let v2_only = b"d9:file treede12:meta versioni2e4:name1:x12:piece lengthi16384ee";
        assert_eq!(parse(v2_only).unwrap_err(), E::V2Only);
    }

    #[test]
    fn a_name_of_nothing_is_replaced_by_the_info_hash() {
        let info = parse(b"d6:lengthi0e4:name1:.12:piece lengthi1e6:pieces0:e").unwrap();
        assert_eq!(info.name(), info.hash().to_string());
        assert_eq!(info.files()[0].path, info.name());
        let info = parse(b"d6:lengthi0e4:name1:.10:name.utf-82:..12:piece lengthi1e6:pieces0:e").unwrap();
        assert_eq!(info.name(), "_");
    }

    #[test]
    fn every_broken_rule_has_its_error() {
        let single = |length: &str, piece_len: &str, hashes: usize| {
            let pieces = "h".repeat(hashes);
            let raw = format!("d6:length{length}4:name1:x12:piece length{piece_len}6:pieces{hashes}:{pieces}e");
            parse(raw.as_bytes()).unwrap_err()
        };
        let wrong = |key, expected| E::WrongType { key, expected };
        let error = |raw: &[u8]| parse(raw).unwrap_err();
        let files = |files: &str| with_files(files, 1).unwrap_err();
        for (found, expected) in [
            (error(b"le"), wrong("info", "a dictionary")),
            (error(b"de"), E::Missing("pieces")),
            (error(b"d6:pieces0:e"), E::Missing("name")),
            (error(b"d4:name1:x6:pieces0:e"), E::Missing("length")),
            (error(b"d6:lengthi0e4:name1:x6:pieces0:e"), E::Missing("piece length")),
            (error(b"d4:namei1e6:pieces0:e"), wrong("name", "a string")),
            (error(b"d6:piecesi1ee"), wrong("pieces", "a string")),
            (error(b"d4:name1:x4:name1:ye"), E::Twice("name")),
            (error(b"d5:filesle6:lengthi1e4:name1:x6:pieces0:e"), E::LengthAndFiles),
            (error(b"d5:filesi1e4:name1:x6:pieces0:e"), wrong("files", "a list")),
            (single("1:1", "i16e", 20), wrong("length", "an integer")),
            (single("i-1e", "i16e", 20), E::NegativeLength("x".into())),
            (single("i1e", "i0e", 20), E::Geometry(GeometryError::PieceLengthZero)),
            (single("i1e", "i-16e", 20), E::NegativePieceLength(-16)),
            (single("i1e", "i1099511627776e", 20), E::Geometry(GeometryError::PieceLengthTooLarge(1 << 40))),
            (single("i17e", "i16e", 20), E::PiecesLength { found: 20, piece_count: 2 }),
            (single("i1e", "i16e", 19), E::PiecesLength { found: 19, piece_count: 1 }),
            (single("i1e", "i16e", 0), E::PiecesLength { found: 0, piece_count: 1 }),
            (files(""), E::NoFiles),
            (files("i1e"), wrong("files", "a list of dictionaries")),
            (files("d6:lengthi1ee"), E::Missing("path")),
            (files("d4:pathl1:aee"), E::Missing("length")),
            (files("d6:lengthi1e4:pathlee"), E::PathEmpty(0)),
            (files("d6:lengthi1e4:pathl0:1:.ee"), E::PathEmpty(0)),
            (files("d6:lengthi1e4:path1:ae"), wrong("path", "a list of strings")),
            (files("d6:lengthi1e4:pathli1eee"), wrong("path", "a string")),
            (files("d6:lengthi-1e4:pathl1:aee"), E::NegativeLength("a".into())),
            (files(&"d6:lengthi9223372036854775807e4:pathl1:aee".repeat(2)), E::TotalTooLarge),
            (files("d4:attr1:l6:lengthi1e4:pathl1:aee"), E::LinkWithLength("a".into())),
            (files(&format!("d6:lengthi1e4:pathl{}ee", "1:a".repeat(65))), E::PathTooDeep(0)),
            (
                files(&format!("d6:lengthi1e4:pathl{}ee", format!("200:{}", "a".repeat(200)).repeat(11))),
                E::PathTooLong(0),
            ),
        ] {
            assert_eq!(found, expected);
        }
        let trailing = error(b"d6:lengthi0e4:name1:x12:piece lengthi16e6:pieces0:ex");
        assert!(matches!(trailing, E::Bencode(error) if error.kind == ErrorKind::TrailingBytes));
        assert_eq!(error(&vec![b'x'; INFO_LEN_MAX + 1]), E::InfoTooLarge(INFO_LEN_MAX + 1));
    }

    proptest! {
        #[test]
        fn any_change_of_a_torrent_is_an_error_or_a_torrent(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut raw = b"d5:filesld6:lengthi20e4:pathl1:d1:aeed4:attr1:p6:lengthi12e4:pathl4:.pad2:12eee4:name1:n12:\
                piece lengthi16e6:pieces40:hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhe"
                .to_vec();
            let len = raw.len();
            prop_assert!(parse(&raw).is_ok());
            prop_assert!(parse(&raw[..at.index(len)]).is_err());
            raw[at.index(len)] = byte;
            if let Ok(info) = parse(&raw) {
                let total: u64 = info.files().iter().map(|file| file.len).sum();
                prop_assert_eq!(total, info.geometry().total_len());
            }
        }
    }
}
