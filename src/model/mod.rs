//! The values of the domain: what a torrent is made of, and every cast between its numbers.
//!
//! Deliberately absent: I/O and time.

mod bitfield;
mod geometry;

pub use bitfield::Bitfield;
pub use geometry::{BLOCK_LEN, Block, Geometry, GeometryError, PieceIndex};
pub use magnes_dht::InfoHash;
