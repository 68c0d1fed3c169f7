use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::model::InfoHash;

/// Why a session could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address to listen on that cannot be had.
    #[error("cannot listen on {addr} (TCP and UDP): {source}")]
    Bind {
        /// The address as it was asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no thread, runtime or chance.
    #[error("cannot start the session's threads: {0}")]
    System(#[source] io::Error),
    /// The DHT node did not start.
    #[error("cannot start the DHT node: {0}")]
    Dht(#[source] magnes_dht::SpawnError),
}

/// Why a torrent could not be added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// The session has this torrent already.
    #[error("the torrent {0} is in this session already")]
    Duplicate(InfoHash),
    /// Another process that uses the same state folder has this torrent in the same target folder.
    #[error(
        "another process downloads or shares the torrent {info_hash} in {folder}: end it first, or choose another folder"
    )]
    InUse {
        /// The torrent.
        info_hash: InfoHash,
        /// The target folder.
        folder: PathBuf,
    },
    /// The session was shut down.
    #[error("the session is closed")]
    Closed,
}

/// Why a torrent could not be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// The torrent was removed already.
    #[error("the torrent {0} is not in this session any more")]
    NotFound(InfoHash),
    /// The session was shut down.
    #[error("the session is closed")]
    Closed,
}

/// Why a torrent cannot be told what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The torrent was removed, or its session was shut down.
    #[error("the torrent {0} is gone: it was removed, or its session is closed")]
    Gone(InfoHash),
}
