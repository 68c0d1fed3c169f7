//! The decisions of one torrent: whom to dial, what to ask for, whom to serve. [`Swarm`] is the machine; the other files
//! are the rules it is made of.
//!
//! Deliberately absent: sockets, files, clocks and tasks. Payload goes through as [`bytes::Bytes`] and is never looked at.

mod credit;
mod event;
mod limits;
mod rate;
mod status;

mod bans;
mod blame;
mod candidates;
mod claim;
mod metadata;
mod rarity;

mod asks;
mod choker;
mod flood;
mod serves;

mod peer;
mod peer_status;
mod pieces;

mod machine;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests;

pub use event::{BanReason, CloseCause, CloseReason, Event, Output, PeerKey, PeerSource, Unwanted};
pub use limits::Amounts;
pub use machine::{Swarm, SwarmConfig};
pub use peer_status::PeerStatus;
pub use status::{Contacts, Reason, Status};
