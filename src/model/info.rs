use super::names::{DEPTH_MAX, FOLDERS_MAX, NameError, NameRules, Names, PATH_LEN_MAX, component, is_bitcomet_padding};
use super::warning::Warnings;
use super::{Geometry, GeometryError, InfoHash, ParseWarning, PieceIndex};
use bytes::Bytes;
use encoding_rs::Encoding;
use magnes_bencode::{ErrorKind, Kind, Reader};
use sha1::{Digest, Sha1};
use std::borrow::Cow;
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
    /// Where the file belongs below [`Info::name_bytes`] (or, in a torrent of a single file, that name itself): components
    /// joined by `/`, none of them empty, `.` or `..`, and told apart from all others. Not always UTF-8: see
    /// [`Info::text`].
    pub path: Vec<u8>,
    /// Length in bytes.
    pub len: u64,
    /// Offset in bytes of the file's first byte from the start of the torrent.
    pub offset: u64,
    /// Never on disk: zeros that bring the next file to the start of a piece, a symbolic link (BEP 47), or the mark of an
    /// empty folder.
    pub padding: bool,
}

/// A name that a torrent has and that cannot stand on a disk as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// The path in the torrent, as text.
    pub from: String,
    /// The path on the disk, as text.
    pub to: String,
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
    name_bytes: Vec<u8>,
    geometry: Geometry,
    pieces: Bytes,
    files: Vec<FileEntry>,
    single_file: bool,
    private: bool,
    encoding: Option<&'static Encoding>,
    /// Files (`None`: the name itself) whose path differs from that in the torrent, which is here.
    renamed: Vec<(Option<usize>, Box<[u8]>)>,
    warnings: Vec<ParseWarning>,
}

impl Info {
    /// Reads the bytes of an `info` value, as they stand in a `.torrent` file or came from peers (BEP 9).
    pub fn parse(raw: Bytes) -> Result<Self, ParseMetainfoError> {
        Self::parse_with(raw, None)
    }

    /// The same; `encoding` is that of names that are not UTF-8.
    pub(super) fn parse_with(raw: Bytes, encoding: Option<&'static Encoding>) -> Result<Self, ParseMetainfoError> {
        if raw.len() > INFO_LEN_MAX {
            return Err(ParseMetainfoError::InfoTooLarge(raw.len()));
        }
        let hash = InfoHash::new(Sha1::digest(&raw).into());
        let mut warnings = Warnings::default();
        let keys = Keys::read(&raw, &mut warnings)?;
        let Some(pieces) = keys.pieces else {
            return Err(if keys.v2 { ParseMetainfoError::V2Only } else { ParseMetainfoError::Missing("pieces") });
        };
        let raw_name = keys.usable_name(&mut warnings)?;
        let mut renamed = Vec::new();
        let name_bytes = component(raw_name, NameRules::ANY).unwrap_or_else(|| {
            warnings.push(ParseWarning::NoName);
            hash.to_string().into_bytes()
        });
        if name_bytes != raw_name {
            renamed.push((None, raw_name.into()));
        }
        let (files, single_file) = match (keys.files, keys.length) {
            (Some(files), length) => {
                if length.is_some() {
                    warnings.push(ParseWarning::LengthBesideFiles);
                }
                (read_files(files, &mut renamed, &mut warnings)?, false)
            }
            (None, Some(len)) => {
                let len = u64::try_from(len?).map_err(|_| ParseMetainfoError::NegativeLength("the file".to_owned()))?;
                (vec![FileEntry { path: name_bytes.clone(), len, offset: 0, padding: false }], true)
            }
            (None, None) if keys.files_wrong => return Err(wrong_type("files", "a list")),
            (None, None) => return Err(ParseMetainfoError::Missing("length")),
        };
        if keys.files_wrong {
            warnings.wrong_form("files", "a list");
        }
        let total_len = files.last().map_or(0, FileEntry::end);
        let piece_len = keys.piece_len.ok_or(ParseMetainfoError::Missing("piece length"))?;
        let piece_len = u64::try_from(piece_len).map_err(|_| ParseMetainfoError::NegativePieceLength(piece_len))?;
        let geometry = Geometry::new(total_len, piece_len)?;
        if pieces.len() != geometry.piece_count() as usize * HASH_LEN {
            return Err(ParseMetainfoError::PiecesLength { found: pieces.len(), piece_count: geometry.piece_count() });
        }
        let pieces = raw.slice_ref(pieces);
        let name = text(&name_bytes, encoding).into_owned();
        let (private, warnings) = (keys.private.unwrap_or(false), warnings.into_vec());
        Ok(Self {
            hash,
            name,
            name_bytes,
            geometry,
            pieces,
            files,
            single_file,
            private,
            encoding,
            renamed,
            warnings,
            raw,
        })
    }

    /// The bytes that were read; the info hash is their SHA-1.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The info hash.
    pub fn hash(&self) -> InfoHash {
        self.hash
    }

    /// The name as text: of the file, or of the folder that the files are in.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name as it stands on a disk: never empty, `.` or `..`, without `/` and NUL.
    pub fn name_bytes(&self) -> &[u8] {
        &self.name_bytes
    }

    /// A path or name of the torrent as text: in the encoding that the `.torrent` file names, if it is not UTF-8.
    pub fn text<'a>(&self, name: &'a [u8]) -> Cow<'a, str> {
        text(name, self.encoding)
    }

    /// The names that no disk takes as the torrent has them, and what they are instead.
    pub fn renamed(&self) -> impl Iterator<Item = Renamed> + '_ {
        self.renamed.iter().map(|(file, from)| {
            let to = file.map_or(self.name_bytes.as_slice(), |file| &self.files[file].path);
            Renamed { from: self.text(from).into_owned(), to: self.text(to).into_owned() }
        })
    }

    /// The name and the paths of all files as they are in a folder with these rules.
    pub fn names_under(&self, rules: NameRules) -> (Vec<u8>, Vec<Vec<u8>>) {
        let name = component(&self.name_bytes, rules).unwrap_or_else(|| self.hash.to_string().into_bytes());
        if self.single_file {
            return (name.clone(), vec![name]);
        }
        if rules == NameRules::ANY {
            // As they were placed when they were read.
            return (name, self.files.iter().map(|file| file.path.clone()).collect());
        }
        let mut names = Names::new(rules);
        let paths = self.files.iter().enumerate().map(|(index, file)| {
            // What never comes to stand on disk takes no name from what does.
            let mut none = Names::new(rules);
            let components: Vec<&[u8]> = file.path.split(|byte| *byte == b'/').collect();
            let placed = if file.padding { &mut none } else { &mut names }.place(&components);
            // These paths have kept to the limits before; an underscore more may break them.
            placed.unwrap_or_else(|_| format!("_{index}").into_bytes())
        });
        let paths = paths.collect();
        (name, paths)
    }

    /// What was passed over in reading.
    pub fn warnings(&self) -> &[ParseWarning] {
        &self.warnings
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
    /// Compressed with gzip, and damaged.
    #[error("the torrent file is compressed with gzip and damaged: download it again")]
    Gzip,
    /// A file of a kind that people save by mistake.
    #[error("not a torrent but {0}")]
    OtherFormat(&'static str),
    /// A web page in place of a torrent.
    #[error("not a torrent but a web page: the download of the .torrent file probably needs a login")]
    WebPage,
    /// Larger than [`METAINFO_LEN_MAX`].
    #[error("the torrent file has {0} bytes, more than the limit of {max}", max = METAINFO_LEN_MAX)]
    TooLarge(usize),
    /// Larger than [`INFO_LEN_MAX`].
    #[error("the torrent's `info` has {0} bytes, more than the limit of {INFO_LEN_MAX}")]
    InfoTooLarge(usize),
    /// A key that must be there.
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
        /// What its value must be.
        expected: &'static str,
    },
    /// Only the keys of BitTorrent v2 (BEP 52).
    #[error("the torrent is BitTorrent v2 only: not supported yet (hybrid torrents work)")]
    V2Only,
    /// No files.
    #[error("the torrent's `files` is empty")]
    NoFiles,
    /// More than [`FILES_MAX`].
    #[error("the torrent has more than {FILES_MAX} files")]
    TooManyFiles,
    /// A length below zero.
    #[error("the length of {0} in the torrent is negative")]
    NegativeLength(String),
    /// More bytes than 63 bits count.
    #[error("the lengths of the torrent's files add up to more than a file system can hold")]
    TotalTooLarge,
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
    /// `Some(None)`: a value of another type.
    name: Option<Option<&'a [u8]>>,
    name_utf8: Option<&'a [u8]>,
    piece_len: Option<i64>,
    pieces: Option<&'a [u8]>,
    length: Option<Result<i64, ParseMetainfoError>>,
    /// The raw list.
    files: Option<&'a [u8]>,
    files_wrong: bool,
    private: Option<bool>,
    v2: bool,
}

impl<'a> Keys<'a> {
    fn read(raw: &'a [u8], warnings: &mut Warnings) -> Result<Self, ParseMetainfoError> {
        let mut keys = Self::default();
        let mut reader = Reader::new(raw);
        let mut dict = of_type(reader.dict(), "info", "a dictionary")?;
        while let Some((key, value)) = dict.entry()? {
            match key {
                b"name" => once(&mut keys.name, "name", value.bytes().ok())?,
                b"name.utf-8" => {
                    let name =
                        warnings.or_left_out(utf8(value).filter(|name| !name.is_empty()), "name.utf-8", "a name");
                    warnings.first(&mut keys.name_utf8, "name.utf-8", name);
                }
                b"piece length" => once(&mut keys.piece_len, "piece length", int(value, "piece length")?)?,
                b"pieces" => once(&mut keys.pieces, "pieces", bytes(value, "pieces")?)?,
                b"length" => once(&mut keys.length, "length", int(value, "length"))?,
                b"files" => match value.kind()? {
                    Kind::List => once(&mut keys.files, "files", value.raw()?)?,
                    _ => keys.files_wrong = true,
                },
                b"private" => {
                    let private = warnings.or_left_out(value.int().ok(), "private", "an integer");
                    // A torrent that says it in any place is private.
                    keys.private = keys.private.max(private.map(|private| private != 0));
                }
                b"meta version" | b"file tree" => keys.v2 = true,
                _ => {}
            }
        }
        reader.finish()?;
        Ok(keys)
    }

    /// The name that counts; it may be empty.
    fn usable_name(&self, warnings: &mut Warnings) -> Result<&'a [u8], ParseMetainfoError> {
        match (self.name_utf8, self.name) {
            (Some(name), Some(Some(_)) | None) | (None, Some(Some(name))) => Ok(name),
            (Some(name), Some(None)) => {
                warnings.wrong_form("name", "a string");
                Ok(name)
            }
            (None, Some(None)) => Err(wrong_type("name", "a string")),
            (None, None) => Err(ParseMetainfoError::Missing("name")),
        }
    }
}

/// Reads the `files` list.
fn read_files(
    raw: &[u8],
    renamed: &mut Vec<(Option<usize>, Box<[u8]>)>,
    warnings: &mut Warnings,
) -> Result<Vec<FileEntry>, ParseMetainfoError> {
    let mut files = Vec::new();
    let mut names = Names::new(NameRules::ANY);
    let mut offset: u64 = 0;
    let mut reader = Reader::new(raw);
    let mut list = reader.list()?;
    while let Some(item) = list.item()? {
        if files.len() == FILES_MAX {
            return Err(ParseMetainfoError::TooManyFiles);
        }
        let number = files.len();
        let read = read_file(item, number, warnings)?;
        let path = read.place(&mut names).map_err(|error| match error {
            NameError::Depth => ParseMetainfoError::PathTooDeep(number),
            NameError::Length => ParseMetainfoError::PathTooLong(number),
            NameError::Folders => ParseMetainfoError::TooManyFolders,
        })?;
        let original = read.path.join(&b'/');
        if !read.padding && original != path {
            renamed.push((Some(number), original.into()));
        }
        files.push(FileEntry { path, len: read.len, offset, padding: read.padding });
        offset = offset
            .checked_add(read.len)
            .filter(|total| i64::try_from(*total).is_ok())
            .ok_or(ParseMetainfoError::TotalTooLarge)?;
    }
    if files.is_empty() { Err(ParseMetainfoError::NoFiles) } else { Ok(files) }
}

/// An item of `files`, its path as it is written there.
struct ReadFile<'a> {
    path: Vec<&'a [u8]>,
    len: u64,
    padding: bool,
}

impl ReadFile<'_> {
    fn place(&self, names: &mut Names) -> Result<Vec<u8>, NameError> {
        if !self.padding {
            return names.place(&self.path);
        }
        // What never comes to stand on disk takes no name from what does.
        if self.path.is_empty() {
            return Ok(format!(".pad/{}", self.len).into_bytes());
        }
        Names::new(NameRules::ANY).place(&self.path)
    }
}

fn read_file<'a>(
    item: &mut Reader<'a>,
    number: usize,
    warnings: &mut Warnings,
) -> Result<ReadFile<'a>, ParseMetainfoError> {
    let (mut length, mut path, mut path_utf8) = (None, None, None);
    let (mut padding, mut link) = (false, false);
    let mut dict = of_type(item.dict(), "files", "a list of dictionaries")?;
    while let Some((key, value)) = dict.entry()? {
        match key {
            b"length" => once(&mut length, "length", int(value, "length"))?,
            b"path" => once(&mut path, "path", components(value, number))?,
            b"path.utf-8" => {
                let found = components(value, number).ok().filter(|path| is_utf8_path(path));
                let found = warnings.or_left_out(found, "path.utf-8", "a list of names");
                warnings.first(&mut path_utf8, "path.utf-8", found);
            }
            b"attr" => {
                let attr = warnings.or_left_out(value.bytes().ok(), "attr", "a string").unwrap_or_default();
                (padding, link) = (padding || attr.contains(&b'p'), link || attr.contains(&b'l'));
            }
            _ => {}
        }
    }
    let path = match (path_utf8, path) {
        (Some(path), _) => path,
        (None, Some(Ok(path))) => path,
        (None, None | Some(Err(ParseMetainfoError::WrongType { .. }))) if padding => {
            warnings.push(ParseWarning::PaddingWithoutPath);
            Vec::new()
        }
        (None, Some(Err(error))) => return Err(error),
        (None, None) => return Err(ParseMetainfoError::Missing("path")),
    };
    let len = match length {
        length if link => {
            if !matches!(length, None | Some(Ok(0))) {
                warnings.push(ParseWarning::LinkWithLength);
            }
            0
        }
        None => return Err(ParseMetainfoError::Missing("length")),
        Some(len) => u64::try_from(len?).map_err(|_| ParseMetainfoError::NegativeLength(format!("file {number}")))?,
    };
    let folder = len == 0 && matches!(path.last(), None | Some(&(b"" | b".")));
    let padding = padding || link || folder || is_bitcomet_padding(&path);
    Ok(ReadFile { path, len, padding })
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

/// Whether this is a path that is what it must be under its name.
fn is_utf8_path(path: &[&[u8]]) -> bool {
    !path.is_empty() && path.iter().all(|component| std::str::from_utf8(component).is_ok())
}

fn utf8<'a>(value: &mut Reader<'a>) -> Option<&'a [u8]> {
    value.bytes().ok().filter(|text| std::str::from_utf8(text).is_ok())
}

/// Text in an encoding, if it is not UTF-8.
pub(super) fn text<'a>(bytes: &'a [u8], encoding: Option<&'static Encoding>) -> Cow<'a, str> {
    match (std::str::from_utf8(bytes), encoding) {
        (Ok(text), _) => Cow::Borrowed(text),
        (Err(_), Some(encoding)) => encoding.decode_without_bom_handling(bytes).0,
        (Err(_), None) => String::from_utf8_lossy(bytes),
    }
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

fn wrong_type(key: &'static str, expected: &'static str) -> ParseMetainfoError {
    ParseMetainfoError::WrongType { key, expected }
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
#[path = "info_tests.rs"]
mod tests;
