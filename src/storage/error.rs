use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the disk did not do what it was asked for. What is written stays.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// No room, or over the quota.
    #[error("the disk is full: cannot write {path}; what was downloaded is kept, make room and start again")]
    Full {
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
    pub(super) fn new(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let path = path.to_path_buf();
        if rustix::io::Errno::from_io_error(&source) == Some(rustix::io::Errno::LOOP) {
            return Self::NotPlain { path };
        }
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => Self::NotPlain { path },
            _ => Self::Io { action, path, source: Arc::new(source) },
        }
    }
}
