//! The values of the domain: what a torrent is made of, and every cast between its numbers.
//!
//! Deliberately absent: I/O and time.

mod bitfield;
mod create;
mod geometry;
mod info;
mod magnet;
mod metainfo;
mod names;
mod peer_addr;
mod peer_id;
mod printable;
mod publisher;
mod selection;
mod source;
mod warning;

pub use bitfield::Bitfield;
pub use create::{
    NewFile, NewNameError, NewTorrent, PIECE_LEN_CREATE_MAX, PIECE_LEN_CREATE_MIN, check_names, piece_len_for,
};
pub use geometry::{BLOCK_LEN, Block, Geometry, GeometryError, PieceIndex};
pub use info::{FILES_MAX, FileEntry, INFO_LEN_MAX, Info, METAINFO_LEN_MAX, ParseMetainfoError, Renamed};
pub use magnes_dht::InfoHash;
pub use magnet::{MAGNET_LEN_MAX, Magnet, ParseMagnetError, parse_info_hash};
pub use metainfo::Metainfo;
pub use names::NameRules;
pub(crate) use names::other_forms;
pub use peer_addr::{ParsePeerAddrError, PeerAddr, is_local};
pub use peer_id::PeerId;
pub use printable::{is_steering, printable};
pub use publisher::{ParsePublisherLinkError, PublisherLink};
pub use selection::{FileSelection, ParseSelectionError, SelectionError};
pub use source::{ParseSourceError, Source};
pub use warning::ParseWarning;
