use std::net::IpAddr;

use bytes::Bytes;

use crate::model::{Block, PieceIndex};

/// One message of the peer protocol after the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// A message that is not known here, and ignored. Never sent.
    Unknown,
    /// No bytes; keeps the connection open (BEP 3).
    KeepAlive,
    /// The sender stops serving requests (BEP 3).
    Choke,
    /// The sender serves requests (BEP 3).
    Unchoke,
    /// The sender wants pieces of the receiver (BEP 3).
    Interested,
    /// The sender wants nothing of the receiver (BEP 3).
    NotInterested,
    /// The sender has one more piece (BEP 3).
    Have(PieceIndex),
    /// The pieces that the sender has, raw: whether it fits the torrent is known only with the metadata (BEP 3).
    Bitfield(Bytes),
    /// Asks for a block (BEP 3).
    Request(Block),
    /// The content of a block (BEP 3).
    Piece {
        /// The piece.
        piece: PieceIndex,
        /// Offset in bytes within the piece.
        begin: u32,
        /// The bytes.
        data: Bytes,
    },
    /// Takes a request back (BEP 3).
    Cancel(Block),
    /// The UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// The sender would like to serve this piece (BEP 6).
    Suggest(PieceIndex),
    /// The sender has every piece (BEP 6).
    HaveAll,
    /// The sender has no piece (BEP 6).
    HaveNone,
    /// The sender will not serve this request (BEP 6).
    Reject(Block),
    /// The sender serves this piece even while it chokes (BEP 6).
    AllowedFast(PieceIndex),
    /// The extension handshake (BEP 10).
    ExtendedHandshake(ExtendedHandshake),
    /// A message of ut_metadata (BEP 9).
    Metadata(MetadataMessage),
}

/// What the extension handshake says (BEP 10). Message ids are kept by the [`Link`](super) and not shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtendedHandshake {
    /// Whether the sender takes ut_metadata messages (BEP 9).
    pub ut_metadata: bool,
    /// The sender's claim of the length of the info dictionary in bytes (BEP 9).
    pub metadata_size: Option<u32>,
    /// How many requests the sender keeps queued.
    pub reqq: Option<u32>,
    /// The TCP port on which the sender listens.
    pub port: Option<u16>,
    /// Name and version of the sender's client.
    pub client: Option<String>,
    /// The receiver's address as the sender sees it.
    pub your_ip: Option<IpAddr>,
    /// The sender has all it wants and will not download (BEP 21).
    pub upload_only: bool,
}

/// A message of ut_metadata (BEP 9). Metadata pieces are 16 KiB, the last may be shorter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataMessage {
    /// Asks for a metadata piece.
    Request {
        /// Index of the metadata piece.
        piece: u32,
    },
    /// The content of a metadata piece.
    Data {
        /// Index of the metadata piece.
        piece: u32,
        /// The sender's claim of the whole length in bytes.
        total_size: u32,
        /// The bytes.
        data: Bytes,
    },
    /// The sender does not have or does not give the metadata piece.
    Reject {
        /// Index of the metadata piece.
        piece: u32,
    },
}
