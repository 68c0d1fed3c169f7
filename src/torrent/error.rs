use crate::disk::DiskError;
use crate::model::{InfoHash, ParseMetainfoError, SelectionError};

/// Why a torrent stopped before it was complete. What was downloaded is kept.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TorrentError {
    /// Files could not be opened, written or read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file was selected that the torrent does not have.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The metadata have the right info hash and are not a torrent that can be downloaded.
    #[error("the metadata of {info_hash} cannot be used: {source}")]
    Metadata {
        /// The torrent.
        info_hash: InfoHash,
        /// What is wrong with them.
        source: ParseMetainfoError,
    },
    /// A thread that reads and writes files ended, which is a fault of ours.
    #[error("a disk thread ended")]
    DiskThread,
    /// The session was shut down, or the torrent was removed.
    #[error("the torrent was stopped")]
    Stopped,
}
