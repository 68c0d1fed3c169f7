use super::names::{DEPTH_MAX, FOLDERS_MAX, NameError, NameRules, Names, PATH_LEN_MAX, component, is_bitcomet_padding};
use super::{BLOCK_LEN, PeerAddr, Renamed};
use bytes::Bytes;
use magnes_bencode::{DictWriter, Writer};

/// Smallest piece length that is chosen, in bytes.
pub const PIECE_LEN_CREATE_MIN: u32 = BLOCK_LEN;

/// Largest piece length that is chosen, in bytes.
pub const PIECE_LEN_CREATE_MAX: u32 = 16 * 1024 * 1024;

/// Number of pieces that a torrent should not exceed: few enough for short metadata, many enough to be traded.
const PIECES_WANTED_MAX: u64 = 2000;

/// The piece length for a torrent of `total_len` bytes: the smallest power of two that makes at most 2000 pieces, within
/// [`PIECE_LEN_CREATE_MIN`] and [`PIECE_LEN_CREATE_MAX`].
pub fn piece_len_for(total_len: u64) -> u32 {
    let mut piece_len = PIECE_LEN_CREATE_MIN;
    while piece_len < PIECE_LEN_CREATE_MAX && total_len.div_ceil(u64::from(piece_len)) > PIECES_WANTED_MAX {
        piece_len *= 2;
    }
    piece_len
}

/// A file of a torrent that is being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// The components of its path below the torrent's folder.
    pub path: Vec<String>,
    /// Length in bytes.
    pub len: u64,
}

/// Why a name cannot go into a torrent: [`Info`](super::Info) would read another name, or none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NewNameError {
    /// Nothing that could be a name.
    #[error("it has no name that a torrent could carry: share a file or folder that has one")]
    NoName,
    /// A name that stands for bytes that are not downloaded.
    #[error("downloaders take a file of this name for padding and do not write it: rename it or move it away")]
    Padding,
    /// A path of too many folders.
    #[error("it lies more than {DEPTH_MAX} folders deep: move it up")]
    TooDeep,
    /// A path of too many bytes.
    #[error("its path within the torrent has more than {PATH_LEN_MAX} bytes: shorten the names")]
    TooLong,
    /// Too many folders.
    #[error("there are more than {FOLDERS_MAX} folders: share them as several torrents")]
    TooManyFolders,
}

/// Checks that [`Info`](super::Info) reads the names of a torrent back as they are. `name` is that of the file or
/// folder, `files` the paths below the folder in order in the torrent. Returns the paths that are other ones on systems
/// that fold case or refuse some names.
///
/// # Errors
/// The first name that would change, with the position of its file; `None`: it is `name` itself.
pub fn check_names(name: &str, files: &[NewFile]) -> Result<Vec<Renamed>, (Option<usize>, NewNameError)> {
    if component(name.as_bytes(), NameRules::ANY).as_deref() != Some(name.as_bytes()) {
        return Err((None, NewNameError::NoName));
    }
    let elsewhere = component(name.as_bytes(), NameRules::PORTABLE).unwrap_or_default();
    let mut renamed = Vec::new();
    note(name.to_owned(), elsewhere, &mut renamed);
    let (mut here, mut elsewhere) = (Names::new(NameRules::ANY), Names::new(NameRules::PORTABLE));
    for (index, file) in files.iter().enumerate() {
        let path = file.path.join("/");
        let components: Vec<&[u8]> = file.path.iter().map(String::as_bytes).collect();
        check_path(&mut here, &components, &path).map_err(|error| (Some(index), error))?;
        // Where an underscore more makes it too long, it stays.
        let portable = elsewhere.place(&components).unwrap_or_else(|_| path.clone().into_bytes());
        note(path, portable, &mut renamed);
    }
    Ok(renamed)
}

fn note(from: String, to: Vec<u8>, renamed: &mut Vec<Renamed>) {
    if from.as_bytes() != to {
        renamed.push(Renamed { from, to: String::from_utf8_lossy(&to).into_owned() });
    }
}

fn check_path(names: &mut Names, components: &[&[u8]], path: &str) -> Result<(), NewNameError> {
    if is_bitcomet_padding(components) {
        return Err(NewNameError::Padding);
    }
    match names.place(components) {
        Ok(read_as) if read_as == path.as_bytes() => Ok(()),
        Ok(_) => Err(NewNameError::NoName),
        Err(NameError::Depth) => Err(NewNameError::TooDeep),
        Err(NameError::Length) => Err(NewNameError::TooLong),
        Err(NameError::Folders) => Err(NewNameError::TooManyFolders),
    }
}

/// Everything that a `.torrent` file of ours says. There is no tracker: peers are found through the DHT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTorrent {
    /// The name of the file, or of the folder.
    pub name: String,
    /// The files of the folder in the order of their bytes; `None` when the torrent is a single file of that name.
    pub files: Option<Vec<NewFile>>,
    /// All bytes.
    pub total_len: u64,
    /// Length of a piece in bytes.
    pub piece_len: u32,
    /// The SHA-1 of every piece, one after the other.
    pub pieces: Vec<u8>,
    /// Whether DHT and peer exchange are forbidden (BEP 27).
    pub private: bool,
    /// A remark.
    pub comment: Option<String>,
    /// The program that makes the file.
    pub created_by: Option<String>,
    /// Seconds since 1970. Not part of the info hash.
    pub creation_date: Option<i64>,
    /// DHT nodes to bootstrap from (BEP 5).
    pub nodes: Vec<PeerAddr>,
}

impl NewTorrent {
    /// The bytes of the `.torrent` file. Equal content gives equal bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.pieces.len() + 1024);
        Writer::new(&mut out).dict(|dict| {
            if let Some(comment) = &self.comment {
                dict.key(b"comment").bytes(comment.as_bytes());
            }
            if let Some(created_by) = &self.created_by {
                dict.key(b"created by").bytes(created_by.as_bytes());
            }
            if let Some(date) = self.creation_date {
                dict.key(b"creation date").int(date);
            }
            dict.key(b"info").dict(|info| self.encode_info(info));
            if !self.nodes.is_empty() {
                dict.key(b"nodes").list(|nodes| self.nodes.iter().for_each(|node| encode_node(node, nodes)));
            }
        });
        out.into()
    }

    fn encode_info(&self, info: &mut DictWriter<'_>) {
        match &self.files {
            Some(files) => info.key(b"files").list(|list| files.iter().for_each(|file| encode_file(file, list))),
            None => info.key(b"length").int(signed(self.total_len)),
        }
        info.key(b"name").bytes(self.name.as_bytes());
        info.key(b"piece length").int(i64::from(self.piece_len));
        info.key(b"pieces").bytes(&self.pieces);
        if self.private {
            info.key(b"private").int(1);
        }
    }
}

fn encode_file(file: &NewFile, list: &mut Writer<'_>) {
    list.dict(|dict| {
        dict.key(b"length").int(signed(file.len));
        dict.key(b"path").list(|path| file.path.iter().for_each(|component| path.bytes(component.as_bytes())));
    });
}

fn encode_node(node: &PeerAddr, nodes: &mut Writer<'_>) {
    let (host, port) = match node {
        PeerAddr::Socket(addr) => (addr.ip().to_string(), addr.port()),
        PeerAddr::Name { host, port } => (host.clone(), *port),
    };
    nodes.list(|pair| {
        pair.bytes(host.as_bytes());
        pair.int(i64::from(port));
    });
}

/// Lengths of files on disk fit 63 bits.
fn signed(len: u64) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metainfo;

    #[test]
    fn the_piece_length_grows_with_the_torrent() {
        const MIB: u64 = 1 << 20;
        assert_eq!(piece_len_for(0), 16 * 1024);
        assert_eq!(piece_len_for(2000 * 16 * 1024), 16 * 1024);
        assert_eq!(piece_len_for(2000 * 16 * 1024 + 1), 32 * 1024);
        assert_eq!(piece_len_for(1024 * MIB), 1 << 20);
        assert_eq!(piece_len_for(100 * 1024 * MIB), PIECE_LEN_CREATE_MAX);
        assert_eq!(piece_len_for(u64::MAX), PIECE_LEN_CREATE_MAX);
    }

    #[test]
    fn a_name_that_would_change_is_refused() {
        let check = |paths: &[&str]| {
            let file = |path: &&str| NewFile { path: path.split('/').map(str::to_owned).collect(), len: 1 };
            check_names("top", &paths.iter().map(file).collect::<Vec<_>>())
        };
        assert_eq!(check(&["Makefile", "a/makefile", "a/x", "b", "\u{202e}gpj.exe"]), Ok(vec![]));
        let elsewhere = |from: &str, to: &str| vec![Renamed { from: from.into(), to: to.into() }];
        for (name, portable) in [("aux.c", "_aux.c"), ("a\\b", "a_b"), ("Q: x", "Q_ x"), ("a\nb", "a_b"), ("x.", "x")] {
            assert_eq!(
                check(&["a", &format!("{name}/y")]),
                Ok(elsewhere(&format!("{name}/y"), &format!("{portable}/y")))
            );
            assert_eq!(check_names(name, &[]), Ok(elsewhere(name, portable)));
        }
        assert_eq!(check(&["Makefile", "makefile"]), Ok(elsewhere("makefile", "makefile.1")));
        assert_eq!(check(&["D/x", "d/y"]), Ok(elsewhere("d/y", "d.1/y")));
        assert_eq!(check(&["x", "_____padding_file_0"]), Err((Some(1), NewNameError::Padding)));
        assert_eq!(check(&[&vec!["d"; DEPTH_MAX + 1].join("/")]), Err((Some(0), NewNameError::TooDeep)));
        assert_eq!(check(&[&vec!["d".repeat(200); 11].join("/")]), Err((Some(0), NewNameError::TooLong)));
        assert_eq!(check_names("", &[]), Err((None, NewNameError::NoName)));
    }

    #[test]
    fn what_is_encoded_reads_back() {
        let torrent = NewTorrent {
            name: "n".into(),
            files: Some(vec![
                NewFile { path: vec!["d".into(), "é".into()], len: 3 },
                NewFile { path: vec!["z".into()], len: 0 },
            ]),
            total_len: 3,
            piece_len: 16,
            pieces: vec![7; 20],
            private: true,
            comment: Some("c".into()),
            created_by: Some("m".into()),
            creation_date: Some(-1),
            nodes: vec!["[::1]:5".parse().unwrap(), "host:6".parse().unwrap()],
        };
        let raw = torrent.encode();
        assert!(magnes_bencode::Reader::strict(&raw).skip().is_ok(), "canonical");
        let metainfo = Metainfo::parse(raw).unwrap();
        let files: Vec<_> = metainfo.info.files().iter().map(|file| (file.path.as_slice(), file.len)).collect();
        assert_eq!(files, [("d/é".as_bytes(), 3), (b"z", 0)]);
        assert!(metainfo.info.is_private());
        assert_eq!(metainfo.nodes, torrent.nodes);
        assert_eq!((&metainfo.comment, &metainfo.created_by), (&torrent.comment, &torrent.created_by));
        assert_eq!(metainfo.creation_date, Some(-1));

        let single = NewTorrent { files: None, nodes: vec![], ..torrent };
        let info = Metainfo::parse(single.encode()).unwrap().info;
        assert!(info.is_single_file() && info.files()[0].path == b"n");
    }
}
