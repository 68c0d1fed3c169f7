use super::names::{DEPTH_MAX, FOLDERS_MAX, NameError, Names, PATH_LEN_MAX, safe_component};
use super::{BLOCK_LEN, PeerAddr};
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

/// Why a name cannot go into a torrent as it is: [`Info`](super::Info) would read another name, or none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NewNameError {
    /// A name that is not safe on every system.
    #[error("`{name}` is not a file name on every system, downloaders would call it `{read_as}`: rename it")]
    Unsafe {
        /// The name.
        name: String,
        /// What would be read instead.
        read_as: String,
    },
    /// Two names that are one where case does not count.
    #[error("another name there differs only in case, downloaders would call this one `{read_as}`: rename one of them")]
    Clash {
        /// The path that would be read instead.
        read_as: String,
    },
    /// Nothing that could be a name.
    #[error("it has no name that a torrent could carry: share a file or folder that has one")]
    NoName,
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

/// Checks that [`Info`](super::Info) reads the names of a torrent back as they are. `name` is that of the file or folder,
/// `files` the paths below the folder in their order in the torrent.
///
/// # Errors
/// The first name that would change, with the position of its file; `None`: it is `name` itself.
pub fn check_names(name: &str, files: &[NewFile]) -> Result<(), (Option<usize>, NewNameError)> {
    check_component(name).map_err(|error| (None, error))?;
    let mut names = Names::default();
    for (index, file) in files.iter().enumerate() {
        check_path(&mut names, &file.path).map_err(|error| (Some(index), error))?;
    }
    Ok(())
}

fn check_component(name: &str) -> Result<(), NewNameError> {
    match safe_component(name.as_bytes()) {
        None => Err(NewNameError::NoName),
        Some(read_as) if read_as != name => Err(NewNameError::Unsafe { name: name.to_owned(), read_as }),
        Some(_) => Ok(()),
    }
}

fn check_path(names: &mut Names, path: &[String]) -> Result<(), NewNameError> {
    path.iter().try_for_each(|component| check_component(component))?;
    let components: Vec<&[u8]> = path.iter().map(String::as_bytes).collect();
    let read_as = names.place(&components).map_err(|error| match error {
        NameError::Empty => NewNameError::NoName,
        NameError::TooDeep => NewNameError::TooDeep,
        NameError::TooLong => NewNameError::TooLong,
        NameError::TooManyFolders => NewNameError::TooManyFolders,
    })?;
    if read_as == path.join("/") { Ok(()) } else { Err(NewNameError::Clash { read_as }) }
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
        assert_eq!(check(&["Makefile", "a/makefile", "a/x", "b"]), Ok(()));
        for name in ["aux.c", "a\\b", "\u{202e}gpj.exe", "C:x", "NUL", "a\nb", &"n".repeat(241)] {
            for path in [name.to_owned(), format!("{name}/x"), format!("x/{name}")] {
                let refused = check(&["a", &path]);
                assert!(matches!(refused, Err((Some(1), NewNameError::Unsafe { .. }))), "{path}: {refused:?}");
            }
            assert!(matches!(check_names(name, &[]), Err((None, NewNameError::Unsafe { .. }))), "{name}");
        }
        let clash = |read_as: &str| Err((Some(1), NewNameError::Clash { read_as: read_as.to_owned() }));
        assert_eq!(check(&["Makefile", "makefile"]), clash("makefile.1"));
        assert_eq!(check(&["D/x", "d/y"]), clash("D/y"), "one folder where case does not count");
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
        let files: Vec<_> = metainfo.info.files().iter().map(|file| (file.path.as_str(), file.len)).collect();
        assert_eq!(files, [("d/é", 3), ("z", 0)]);
        assert!(metainfo.info.is_private());
        assert_eq!(metainfo.nodes, torrent.nodes);
        assert_eq!((&metainfo.comment, &metainfo.created_by), (&torrent.comment, &torrent.created_by));
        assert_eq!(metainfo.creation_date, Some(-1));

        let single = NewTorrent { files: None, nodes: vec![], ..torrent };
        let info = Metainfo::parse(single.encode()).unwrap().info;
        assert!(info.is_single_file() && info.files()[0].path == "n");
    }
}
