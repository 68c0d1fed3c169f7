use std::fmt;
use std::net::SocketAddr;

use magnes_dht::Readiness;

use super::error::TorrentError;
use crate::model::PieceIndex;
use crate::swarm::{BanReason, Reason};

/// How far a torrent is.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Progress {
    /// What the torrent is doing.
    pub phase: Phase,
    /// The name from the metadata, or the display name of the magnet link.
    pub name: Option<String>,
    /// Bytes of verified pieces; while checking, bytes that were checked.
    pub bytes_done: u64,
    /// All bytes that are to be fetched, once the metadata is known: those of the pieces of the selected files.
    pub bytes_total: Option<u64>,
    /// Payload received, in bytes per second, averaged over some seconds.
    pub down_bps: u64,
    /// Payload sent, in bytes per second, averaged over some seconds.
    pub up_bps: u64,
    /// Payload sent since the torrent was added, in bytes.
    pub uploaded: u64,
    /// Connected peers.
    pub peers: usize,
    /// Contacts in the DHT's tables; 0 without DHT.
    pub dht_nodes: usize,
    /// Why nothing moves, whenever nothing does.
    pub stall: Option<Stall>,
}

impl Progress {
    /// A torrent in this phase, of which nothing else is known.
    pub fn new(phase: Phase) -> Self {
        Self {
            phase,
            name: None,
            bytes_done: 0,
            bytes_total: None,
            down_bps: 0,
            up_bps: 0,
            uploaded: 0,
            peers: 0,
            dht_nodes: 0,
            stall: None,
        }
    }
}

/// What a torrent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Phase {
    /// The info dictionary is fetched from peers (BEP 9).
    Metadata,
    /// Data that stand in the folder already are checked.
    Checking,
    /// Pieces are fetched.
    Downloading,
    /// Everything is there and is served to others.
    Seeding,
    /// Stopped by the user.
    Paused,
    /// Stopped by an error; what was downloaded is kept.
    Failed,
}

/// Why nothing moves.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stall {
    /// The torrent's own reason.
    pub reason: Reason,
    /// How the search for peers goes, while none is known.
    pub search: Option<Search>,
}

/// How the search for peers goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Search {
    /// The DHT is asked; how far it is.
    Dht(Readiness),
    /// The DHT answers nothing, and the name of no host that it bootstraps from is found.
    Offline,
    /// The torrent is private: the DHT is not asked (BEP 27).
    Private,
    /// The session has no DHT.
    NoDht,
}

impl fmt::Display for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dht(readiness) => readiness.fmt(f),
            Self::Offline => f.write_str("no bootstrap host is found, this machine seems to be offline"),
            Self::Private => f.write_str("it is private, the DHT is not used"),
            Self::NoDht => f.write_str("the DHT is not used"),
        }
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.search {
            Some(search) => write!(f, "{}: {search}", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

/// What happens to a torrent, for those who want to tell it.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "type", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum TorrentEvent {
    /// The metadata are known and valid.
    #[non_exhaustive]
    Metadata {
        /// Name of the file or folder.
        name: String,
        /// All bytes of the torrent.
        bytes: u64,
        /// Number of pieces.
        pieces: u32,
        /// Number of files.
        files: usize,
    },
    /// A piece had the wrong hash and is fetched again.
    PieceFailed {
        /// The piece.
        piece: PieceIndex,
        /// Who was found to have sent wrong blocks, as far as that is known already.
        blamed: Vec<SocketAddr>,
    },
    /// A peer is not talked to any more.
    PeerBanned {
        /// Its address.
        addr: SocketAddr,
        /// What it did.
        reason: BanReason,
    },
    /// The reader was too slow: this many of the oldest events are gone.
    Missed {
        /// How many.
        events: u64,
    },
}

/// What a torrent shows to people.
#[derive(Debug, Clone)]
pub struct TorrentState {
    /// How far it is.
    pub progress: Progress,
    /// Set when it failed, or cannot become complete.
    pub error: Option<TorrentError>,
}
