use std::io::ErrorKind;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::model::{Block, PieceIndex};
use crate::wire::{Message, PeerFault};

/// One connection attempt, ours or theirs. Never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(u64);

impl PeerKey {
    /// The key with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Who told us of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerSource {
    /// A DHT node (BEP 5).
    Dht,
    /// The user, or the magnet link.
    User,
    /// The resume file: we were connected in an earlier session.
    Resume,
    /// The peer itself: it connected to us.
    Incoming,
}

/// Why a connection is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseCause {
    /// We asked for it with [`Output::Close`], or the torrent ends.
    ByUs,
    /// The address did not answer, or refused.
    DialFailed(ErrorKind),
    /// The peer closed it.
    Eof,
    /// The connection broke.
    Io(ErrorKind),
    /// The peer broke a rule of the protocol.
    Fault(PeerFault),
    /// The peer does not read what it asked for.
    TooSlow,
}

/// Why we close a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// It is ourselves.
    OwnPeerId,
    /// We are connected to this peer already.
    Duplicate,
    /// There is no room, or others are more useful.
    NoRoom,
    /// Neither side will ever want anything of the other.
    BothComplete,
    /// The address is banned.
    Banned,
    /// A bitfield that does not fit the torrent.
    BadBitfield,
    /// A piece or block that the torrent does not have.
    BadRange,
    /// It sends endlessly what is useless.
    Flood,
    /// The torrent is paused.
    Paused,
}

/// What to do.
#[derive(Debug)]
pub enum Output {
    /// Connect to an address.
    Dial {
        /// The key of the attempt.
        peer: PeerKey,
        /// Where to.
        addr: SocketAddr,
    },
    /// Send a message.
    Send {
        /// To whom.
        peer: PeerKey,
        /// What.
        message: Message,
    },
    /// Take blocks back that wait to be written, as far as nothing of them is; answered by
    /// [`Swarm::handle_taken_back`](super::Swarm::handle_taken_back).
    TakeBack {
        /// From the way to whom.
        peer: PeerKey,
        /// Which.
        blocks: Unwanted,
    },
    /// Close a connection. It is gone for the torrent; no [`CloseCause`] has to follow.
    Close {
        /// Which.
        peer: PeerKey,
        /// Why.
        reason: CloseReason,
    },
    /// The info dictionary, checked against the info hash. The torrent continues with
    /// [`Swarm::handle_opened`](super::Swarm::handle_opened).
    Metadata(Bytes),
    /// Write consecutive blocks.
    Write {
        /// The piece.
        piece: PieceIndex,
        /// Offset of the first block within the piece, in bytes.
        begin: u32,
        /// The blocks' bytes.
        blocks: Vec<Bytes>,
    },
    /// Read a run of blocks for a peer; answered by [`Swarm::handle_read`](super::Swarm::handle_read).
    Read {
        /// For whom.
        peer: PeerKey,
        /// The run.
        run: Block,
    },
    /// The address of a DHT node that a peer told of (BEP 5, PORT). Ping it before believing it.
    DhtNode(SocketAddr),
    /// Something that the user may want to know.
    Event(Event),
}

/// Blocks that are not to be sent after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwanted {
    /// These: the peer cancelled them.
    Blocks(Vec<Block>),
    /// All but those of these pieces, which are served to a peer that is choked too (BEP 6).
    AllBut(Vec<PieceIndex>),
}

impl Unwanted {
    /// Whether the block is one of them.
    pub fn contains(&self, block: &Block) -> bool {
        match self {
            Self::Blocks(blocks) => blocks.contains(block),
            Self::AllBut(pieces) => !pieces.contains(&block.piece),
        }
    }
}

/// What happened to the torrent.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A piece is verified.
    PieceVerified(PieceIndex),
    /// A piece has the wrong hash.
    PieceFailed {
        /// The piece.
        piece: PieceIndex,
        /// Who sent wrong blocks, as far as that is known already.
        blamed: Vec<SocketAddr>,
    },
    /// A peer is not talked to any more.
    PeerBanned {
        /// Its address.
        addr: SocketAddr,
        /// What it did.
        reason: BanReason,
    },
    /// Every piece is verified.
    Completed,
}

/// What a banned peer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum BanReason {
    /// It sent blocks that are not the torrent's.
    CorruptBlocks,
    /// It sent metadata that do not have the info hash.
    CorruptMetadata,
    /// It broke the protocol again and again.
    Faults,
}

impl std::fmt::Display for BanReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CorruptBlocks => "it sent corrupt blocks",
            Self::CorruptMetadata => "it sent metadata of another torrent",
            Self::Faults => "it broke the protocol several times",
        })
    }
}
