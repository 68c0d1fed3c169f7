//! Bytes and messages of one connection (BEP 3, 6, 9, 10).
//!
//! [`Link`] is the machine: the driver appends what the socket gave, drains events, and writes what the link has queued.
//! Deliberately absent: sockets, the meaning of messages for a torrent, and encryption.

mod message;

mod fault;
mod handshake;

mod extension;

mod codec;

mod recv_buffer;
mod send_queue;

mod allowed_fast;

mod link;

pub use allowed_fast::{ALLOWED_FAST_COUNT, allowed_fast_set};
pub use codec::REQUEST_LEN_MAX;
pub use extension::METADATA_PIECE_LEN;
pub use fault::PeerFault;
pub use handshake::{Features, HANDSHAKE_LEN, PeerHello};
pub use link::{Link, LinkConfig, LinkEvent, LinkStats};
pub use message::{ExtendedHandshake, Message, MetadataMessage};
pub use send_queue::{SendError, TRANSMIT_SLICES_MAX, Transmitted};
