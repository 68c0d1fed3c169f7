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

/// An item of `files`, its path as it stands there.
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

/// Whether this is a path that is what it has to be under its name.
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

    /// The paths as text of an `info` of several files.
    fn paths(files: &str, piece_count: usize) -> Vec<String> {
        let info = with_files(files, piece_count).unwrap();
        info.files().iter().map(|file| info.text(&file.path).into_owned()).collect()
    }

    #[test]
    fn several_files_stand_one_after_the_other() {
        let info = with_files(
            "d6:lengthi20e4:pathl1:d1:aeed4:attr1:p6:lengthi12e4:pathl4:.pad2:12eed6:lengthi0e4:pathl1:beed\
             4:attr1:l4:pathl1:leed6:lengthi1e4:pathl1:d1:aee",
            3,
        )
        .unwrap();
        let files: Vec<_> = info.files().iter().map(|f| (f.path.as_slice(), f.offset, f.len, f.padding)).collect();
        let expected = [
            (&b"d/a"[..], 0, 20, false),
            (b".pad/12", 20, 12, true),
            (b"b", 32, 0, false),
            (b"l", 32, 0, true),
            (b"d/a.1", 32, 1, false),
        ];
        assert_eq!(files, expected);
        assert!(!info.is_single_file());
        assert_eq!(info.renamed().collect::<Vec<_>>(), [Renamed { from: "d/a".into(), to: "d/a.1".into() }]);
        assert_eq!(info.piece_hash(PieceIndex::new(2)), Some(b"hhhhhhhhhhhhhhhhhhhh"));
        assert_eq!(info.piece_hash(PieceIndex::new(3)), None);
        assert_eq!(info.piece_hash(PieceIndex::new(u32::MAX)), None);
    }

    #[test]
    fn names_that_differ_in_case_are_two_files_and_two_folders() {
        let files = "d6:lengthi1e4:pathl6:READMEeed6:lengthi1e4:pathl6:readmeeed6:lengthi1e4:pathl1:D1:aee\
                     d6:lengthi1e4:pathl1:d1:aee";
        assert_eq!(paths(files, 1), ["README", "readme", "D/a", "d/a"]);
        let info = with_files(files, 1).unwrap();
        let (name, folded) = info.names_under(NameRules::PORTABLE);
        assert_eq!(name, b"n");
        assert_eq!(folded, [&b"README"[..], b"readme.1", b"D/a", b"d.1/a"]);
    }

    #[test]
    fn an_entry_without_bytes_and_name_marks_a_folder_and_takes_no_name() {
        let marker = |path: &str| format!("d6:lengthi0e4:pathl{path}eed6:lengthi1e4:pathl3:dir1:aee");
        for path in ["3:dir0:", "3:dir1:.", "0:", "1:.", ""] {
            let info = with_files(&marker(path), 1).unwrap();
            assert!(info.files()[0].padding && !info.files()[1].padding, "{path}");
            assert_eq!(info.files()[1].path, b"dir/a", "{path}");
            assert_eq!(info.renamed().count(), 0, "{path}");
        }
    }

    #[test]
    fn a_component_of_nothing_gets_a_substitute() {
        assert_eq!(paths("d6:lengthi1e4:pathl0:eed6:lengthi1e4:pathl2:..1:.1:xee", 1), ["_", "_.1/_/x"]);
        assert_eq!(paths("d6:lengthi1e4:pathlee", 1), ["_"]);
        for (path, expected) in [
            ("1:/2://", "_/__"),
            ("2:..2:..3:bar", "_/_/bar"),
            ("18:foo/../../../bar//", "foo_.._.._.._bar__"),
            ("8:/foobar/", "_foobar_"),
            ("3:a\0b", "a_b"),
            ("4:\\\\..", "\\\\.."),
        ] {
            assert_eq!(paths(&format!("d6:lengthi1e4:pathl{path}ee"), 1), [expected], "{path}");
        }
    }

    #[test]
    fn names_that_are_not_utf_8_keep_their_bytes_and_are_shown_in_their_encoding() {
        let raw = b"d6:lengthi0e4:name4:\xd6\xd0\xce\xc412:piece lengthi1e6:pieces0:e";
        let info = Info::parse_with(Bytes::from_static(raw), Encoding::for_label(b"GBK")).unwrap();
        assert_eq!((info.name(), info.name_bytes()), ("\u{4e2d}\u{6587}", &b"\xd6\xd0\xce\xc4"[..]));
        assert_eq!(info.files()[0].path, b"\xd6\xd0\xce\xc4");
        assert_eq!(info.names_under(NameRules::PORTABLE).0, b"____");
        let unknown = parse(raw).unwrap();
        assert!(unknown.name().contains('\u{fffd}') && unknown.name_bytes() == info.name_bytes());
        assert_eq!(unknown.renamed().count(), 0);
    }

    #[test]
    fn padding_by_the_convention_of_bitcomet_is_padding() {
        let name = "_____padding_file_0_if you see this file, please update to BitComet 0.85 or above____";
        let padding = format!("d6:lengthi15e4:pathl{}:{name}ee", name.len());
        let info = with_files(&format!("d6:lengthi1e4:pathl1:aee{padding}{padding}"), 2).unwrap();
        assert_eq!(info.files().iter().map(|file| file.padding).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(info.renamed().count(), 0);
    }

    #[test]
    fn what_is_optional_and_odd_is_left_out_with_a_warning() {
        let single =
            |more: &str| parse(format!("d6:lengthi0e4:name1:x12:piece lengthi1e6:pieces0:{more}e").as_bytes()).unwrap();
        for private in ["1:1", "3:i1e", "0:", "le", "de", "i99999999999999999999e"] {
            let info = single(&format!("7:private{private}"));
            assert!(!info.is_private(), "{private}");
            let expected = ParseWarning::WrongForm { key: "private", expected: "an integer" };
            assert_eq!(info.warnings(), [expected], "{private}");
        }
        assert!(single("7:privatei1e7:privatei0e").is_private(), "in any place");
        for name in ["i3e", "0:", "le", "1:\u{0}"] {
            let info = single(&format!("10:name.utf-8{name}"));
            assert_eq!(info.name(), if name == "1:\0" { "_" } else { "x" }, "{name}");
        }
        let not_utf8 = b"d6:lengthi0e4:name1:x10:name.utf-82:\xff\xfe12:piece lengthi1e6:pieces0:e";
        assert_eq!(parse(not_utf8).unwrap().name(), "x");
        assert_eq!(parse(b"d6:lengthi0e4:namei1e10:name.utf-81:y12:piece lengthi1e6:pieces0:e").unwrap().name(), "y");
        assert_eq!(single("5:filesi1e").warnings(), [ParseWarning::WrongForm { key: "files", expected: "a list" }]);
        assert!(single("4:sizei99999999999999999999e").warnings().is_empty(), "a key that nobody needs");

        for (entry, path) in [
            ("d4:attri5e6:lengthi1e4:pathl1:aee", "a"),
            ("d6:lengthi1e4:pathl1:ae10:path.utf-81:be", "a"),
            ("d6:lengthi1e4:pathl1:ae10:path.utf-8lee", "a"),
            ("d6:lengthi1e4:pathl1:ae10:path.utf-8li1eee", "a"),
            ("d6:lengthi1e4:path1:a10:path.utf-8l1:bee", "b"),
            ("d6:lengthi1e10:path.utf-8l1:bee", "b"),
            ("d4:attr1:p6:lengthi1ee", ".pad/1"),
            ("d4:attr1:p6:lengthi1e4:path1:ae", ".pad/1"),
            ("d6:lengthi1e5:mtimei99999999999999999999e4:pathl1:aee", "a"),
        ] {
            assert_eq!(paths(entry, 1), [path], "{entry}");
        }
        let link = with_files("d4:attr1:l6:lengthi3e4:pathl1:aeed6:lengthi1e4:pathl1:bee", 1).unwrap();
        assert_eq!(link.warnings(), [ParseWarning::LinkWithLength]);
        assert_eq!((link.files()[0].len, link.files()[1].offset, link.geometry().total_len()), (0, 0, 1));
        let both =
            parse(b"d5:filesld6:lengthi0e4:pathl1:aeee6:lengthi9e4:name1:x12:piece lengthi1e6:pieces0:e").unwrap();
        assert!(!both.is_single_file() && both.warnings() == [ParseWarning::LengthBesideFiles]);
    }

    #[test]
    fn piece_lengths_need_not_be_powers_of_two() {
        for piece_len in [1, 3, 16_385, 536_854_528, 536_870_912_u64] {
            let raw = format!("d6:lengthi1e4:name1:x12:piece lengthi{piece_len}e6:pieces20:{}e", "h".repeat(20));
            assert_eq!(u64::from(parse(raw.as_bytes()).unwrap().geometry().piece_len_nominal()), piece_len);
        }
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
        assert_eq!(info.files()[0].path, info.name_bytes());
        assert_eq!(info.warnings(), [ParseWarning::NoName]);
        assert_eq!(info.renamed().collect::<Vec<_>>(), [Renamed { from: ".".into(), to: info.name().into() }]);
        for nothing in ["0:", "2:.."] {
            let raw = format!("d6:lengthi0e4:name{nothing}12:piece lengthi1e6:pieces0:e");
            let info = parse(raw.as_bytes()).unwrap();
            assert_eq!(info.name(), info.hash().to_string());
        }
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
            (error(b"d5:filesi1e4:name1:x6:pieces0:e"), wrong("files", "a list")),
            (single("1:1", "i16e", 20), wrong("length", "an integer")),
            (single("i-1e", "i16e", 20), E::NegativeLength("the file".into())),
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
            (files("d6:lengthi1e4:path1:ae"), wrong("path", "a list of strings")),
            (files("d6:lengthi1e4:pathli1eee"), wrong("path", "a string")),
            (files("d6:lengthi-1e4:pathl1:aee"), E::NegativeLength("file 0".into())),
            (files(&"d6:lengthi9223372036854775807e4:pathl1:aee".repeat(2)), E::TotalTooLarge),
            (
                files("d6:lengthi99999999999999999999e4:pathl1:aee"),
                E::Bencode(magnes_bencode::Error { kind: ErrorKind::BadInteger, position: 10 }),
            ),
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
