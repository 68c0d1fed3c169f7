use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the disk did not do what it was asked for. What is written stays.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// No room, or over the quota.
    #[error("the disk is full: cannot write {path}{}; what was downloaded is kept, make room and start again", needs(*needed))]
    Full {
        /// The file.
        path: PathBuf,
        /// Bytes of the torrent that are not verified yet, where that is known.
        needed: Option<u64>,
    },
    /// A file that is longer than the file system, or a limit of the process, allows.
    #[error(
        "{path} is longer than its file system or a limit of this process (ulimit -f) allows; what was downloaded is \
             kept, lift the limit or use another folder"
    )]
    FileTooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file that was deleted while it was written.
    #[error("{path} was deleted or replaced while it was written; start again, what is left of the data is found")]
    Deleted {
        /// The file.
        path: PathBuf,
    },
    /// A file that another download writes.
    #[error(
        "{path} is being written by another download, here or in another process: end it first, or use another folder"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A file exists that is longer than the torrent's.
    #[error(
        "{path} has {len} bytes, {expected} were expected: it is another file and was left alone; move it away, use another \
             folder, or replace it"
    )]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// The torrent's.
        expected: u64,
    },
    /// A file exists that is not known to be the torrent's.
    #[error(
        "{path} stands there already and shares no piece with the torrent: it may be your own and was left alone; use another \
             folder, move it away, or replace it"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A symbolic link stands where something is to be written.
    #[error(
        "{path} is, or is behind, a symbolic link: links are followed for reading, never for writing; what is missing goes \
             into a plain file in its place, or into another folder"
    )]
    Link {
        /// The file.
        path: PathBuf,
    },
    /// A folder stands where the torrent has a file.
    #[error(
        "{path} is a folder and the torrent has a file of that name: it was left alone; move it away or use another folder"
    )]
    IsFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Something else stands where a folder belongs.
    #[error(
        "on the way to {path} a file stands where a folder belongs: it was left alone; move it away or use another folder"
    )]
    NotFolder {
        /// What was to be opened.
        path: PathBuf,
    },
    /// The target folder is none.
    #[error("{path} is no folder: name the folder to download into")]
    TargetIsFile {
        /// What was named.
        path: PathBuf,
    },
    /// A pipe, a socket or a device stands where a file belongs.
    #[error("{path} is no plain file (a pipe, a socket or a device); it was left alone")]
    NotPlain {
        /// The path.
        path: PathBuf,
    },
    /// Data that could not be read, and so are neither known to be right nor wrong.
    #[error("{} cannot be read and will not be fetched again: {first}", count_of(*pieces))]
    Unreadable {
        /// How many pieces.
        pieces: u32,
        /// The first error met.
        first: Box<DiskError>,
    },
    /// Anything else that the system said.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl DiskError {
    /// The same error; one that says that the disk is full says how many bytes are still to come, too.
    pub fn with_needed(self, bytes: u64) -> Self {
        match self {
            Self::Full { path, .. } => Self::Full { path, needed: Some(bytes) },
            other => other,
        }
    }

    /// Whether the data that were looked for are not there; otherwise nothing is known of them.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
            }
            Self::IsFolder { .. } | Self::NotFolder { .. } | Self::NotPlain { .. } => true,
            _ => false,
        }
    }

    /// What the system said when `action` was tried on `path`.
    pub fn new(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path, needed: None },
            io::ErrorKind::FileTooLarge => Self::FileTooLarge { path },
            io::ErrorKind::IsADirectory => Self::IsFolder { path },
            io::ErrorKind::NotADirectory => Self::NotFolder { path },
            io::ErrorKind::NotSeekable => Self::NotPlain { path },
            _ => Self::Io { action, path, source: Arc::new(source) },
        }
    }
}

fn needs(needed: Option<u64>) -> String {
    needed.map_or_else(String::new, |bytes| format!(", up to {bytes} bytes more are needed"))
}

fn count_of(pieces: u32) -> String {
    match pieces {
        1 => "1 piece".to_owned(),
        _ => format!("{pieces} pieces"),
    }
}
