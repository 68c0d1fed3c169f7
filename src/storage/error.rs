use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sys;

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
    /// A file stands there that is longer than the torrent's.
    #[error("{path} has {len} bytes, {expected} were expected: it is another file and was left alone; move it away")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// The torrent's.
        expected: u64,
    },
    /// A symbolic link or another thing stands where a file or folder belongs.
    #[error("{path} leads through a symbolic link, or is not a plain file or folder; it was left alone")]
    NotPlain {
        /// The path.
        path: PathBuf,
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

    pub(super) fn new(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let path = path.to_path_buf();
        if sys::is_link_refused(&source) {
            return Self::NotPlain { path };
        }
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path, needed: None },
            io::ErrorKind::FileTooLarge => Self::FileTooLarge { path },
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => Self::NotPlain { path },
            _ => Self::Io { action, path, source: Arc::new(source) },
        }
    }
}

fn needs(needed: Option<u64>) -> String {
    needed.map_or_else(String::new, |bytes| format!(", up to {bytes} bytes more are needed"))
}
