//! magnes: a trackerless BitTorrent client as a library.
//!
//! A file imports lower floors only: [`model`] (values), [`wire`] (bytes and messages of one connection), [`swarm`] (the
//! decisions of one torrent) and [`storage`] (files and hashes).

#[cfg(feature = "session")]
mod engine;
pub mod model;
#[cfg(feature = "session")]
pub mod session;
pub mod storage;
pub mod swarm;
pub mod wire;
