use std::fmt;

/// How far a torrent is, and why it does not move when it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether the metadata are known.
    pub has_metadata: bool,
    /// Whether every piece is verified.
    pub is_complete: bool,
    /// Bytes of verified pieces.
    pub bytes_done: u64,
    /// All bytes of the torrent; 0 before the metadata are known.
    pub bytes_total: u64,
    /// Payload received, in bytes per second.
    pub down_bps: u64,
    /// Payload sent, in bytes per second.
    pub up_bps: u64,
    /// Payload received in all, in bytes.
    pub downloaded: u64,
    /// Payload sent in all, in bytes.
    pub uploaded: u64,
    /// Peers that are connected.
    pub peers_connected: usize,
    /// Addresses that are known.
    pub peers_known: usize,
    /// Why nothing moves, when nothing does.
    pub reason: Option<Reason>,
}

/// Why a torrent does not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The user paused it.
    Paused,
    /// No address is known.
    NoPeersFound,
    /// Addresses are known, and none was reached.
    NoPeerReached {
        /// Addresses known.
        known: usize,
        /// Attempts under way.
        dialing: usize,
    },
    /// Peers are connected, and none has the metadata.
    NobodyHasMetadata {
        /// Peers connected.
        connected: usize,
    },
    /// The metadata are being fetched.
    FetchingMetadata {
        /// Peers that say they have it.
        peers: usize,
    },
    /// The storage is not open yet: files are made, or data that are there already are checked.
    OpeningStorage,
    /// No connected peer has a piece that is missing.
    NobodyHasMissingPieces {
        /// Peers connected.
        connected: usize,
    },
    /// Every peer that has something chokes us.
    AllChoke {
        /// Peers connected that have something.
        connected: usize,
    },
    /// Blocks were asked for and do not come.
    WaitingForBlocks {
        /// Peers that were asked.
        peers: usize,
    },
    /// The disk has more to write than is allowed to wait.
    WaitingForDisk,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused => f.write_str("paused"),
            Self::NoPeersFound => f.write_str("no peers found yet"),
            Self::NoPeerReached { known, dialing } => {
                write!(f, "{known} peer address{} known, none reached yet ({dialing} being dialled)", es(*known))
            }
            Self::NobodyHasMetadata { connected } => {
                write!(f, "{connected} peer{} connected, none has the metadata yet", s(*connected))
            }
            Self::FetchingMetadata { peers } => write!(f, "waiting for the metadata from {peers} peer{}", s(*peers)),
            Self::OpeningStorage => f.write_str("opening the files"),
            Self::NobodyHasMissingPieces { connected } => {
                write!(f, "{connected} peer{} connected, none has a piece that is missing", s(*connected))
            }
            Self::AllChoke { connected } => write!(f, "{connected} peer{} connected, all choke us", s(*connected)),
            Self::WaitingForBlocks { peers } => write!(f, "waiting for blocks from {peers} peer{}", s(*peers)),
            Self::WaitingForDisk => f.write_str("waiting for the disk"),
        }
    }
}

fn s(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn es(count: usize) -> &'static str {
    if count == 1 { "" } else { "es" }
}
