use std::sync::Arc;

use bytes::Bytes;

use super::error::DiskError;
use super::layout::Layout;
use crate::model::{Block, PieceIndex};

/// Which torrent of the session a job is about.
pub type StoreId = u32;

/// What a disk thread is to do.
#[derive(Debug)]
pub enum Job {
    /// Know a torrent from here on.
    Open {
        /// The torrent.
        store: StoreId,
        /// Where its bytes stand.
        layout: Arc<Layout>,
    },
    /// Write consecutive blocks of a piece.
    Write {
        /// The torrent.
        store: StoreId,
        /// The piece.
        piece: PieceIndex,
        /// Offset of the first block within the piece, in bytes.
        begin: u32,
        /// The bytes.
        blocks: Vec<Bytes>,
    },
    /// Read a range of a piece.
    Read {
        /// The torrent.
        store: StoreId,
        /// Comes back with the bytes.
        tag: u64,
        /// The range; it may be longer than a block.
        block: Block,
    },
    /// Find out whether a piece is on the disk.
    Check {
        /// The torrent.
        store: StoreId,
        /// The piece.
        piece: PieceIndex,
    },
    /// Find out which pieces lie beyond the ends of the files that hold this one: a look, where checking would read.
    Measure {
        /// The torrent.
        store: StoreId,
        /// The piece.
        piece: PieceIndex,
    },
    /// Bring what was written to the disk itself.
    Sync {
        /// The torrent.
        store: StoreId,
    },
    /// Forget a torrent and close its files.
    Close {
        /// The torrent.
        store: StoreId,
    },
}

/// What is known of a piece on the disk.
#[derive(Debug)]
pub enum Verdict {
    /// It is there with the right hash.
    Verified,
    /// It is not: its files are missing or too short, or its bytes are others.
    Absent,
    /// It could not be read, so nothing is known.
    Unreadable(DiskError),
}

/// What a disk thread did.
#[derive(Debug)]
pub enum Done {
    /// Blocks were written.
    Written {
        /// The piece.
        piece: PieceIndex,
        /// How many bytes.
        bytes: u32,
    },
    /// Every byte of a piece was written, and this is what its hash says.
    Hashed {
        /// The piece.
        piece: PieceIndex,
        /// Whether it has the hash of the metadata.
        verified: bool,
        /// A keyed digest of each block, when this or an earlier version of the piece failed.
        digests: Option<Box<[u64]>>,
    },
    /// A range was read.
    Read {
        /// The tag of the job.
        tag: u64,
        /// The range.
        block: Block,
        /// Its bytes.
        data: Bytes,
    },
    /// A piece was checked.
    Checked {
        /// The piece.
        piece: PieceIndex,
        /// What came of it.
        verdict: Verdict,
    },
    /// Files were measured.
    Measured {
        /// The pieces that are not whole in them.
        absent: Vec<PieceIndex>,
    },
    /// A range could not be read.
    Unread {
        /// The tag of the job.
        tag: u64,
        /// The range.
        block: Block,
        /// Why.
        error: DiskError,
    },
    /// What was written of a piece cannot be read back to be hashed: the piece has to be written again as a whole.
    Lost {
        /// The piece.
        piece: PieceIndex,
        /// Why.
        error: DiskError,
    },
    /// What was written is on the disk, or not.
    Synced(Result<(), DiskError>),
    /// Blocks could not be written. Those of the same file that were written before are kept.
    Failed(DiskError),
}
