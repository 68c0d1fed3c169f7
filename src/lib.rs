//! magnes: a trackerless BitTorrent client as a library.
//!
//! With feature `session` (part of the default) the API is `session`. Below it, and usable without tokio, a file imports
//! lower floors only: [`model`] (values), [`wire`] (bytes and messages of one connection), [`disk`] (what a torrent and its
//! disk say to each other), [`swarm`] (the decisions among peers), [`torrent`] (the life of one torrent) and
//! [`storage`] (files and hashes).

pub mod disk;
#[cfg(feature = "session")]
mod engine;
pub mod fleet;
pub mod model;
#[cfg(feature = "session")]
pub mod session;
pub mod storage;
pub mod swarm;
pub mod torrent;
pub mod wire;

pub use magnes_dht as dht;

/// The examples of the README, run as tests.
#[cfg(all(doctest, feature = "session"))]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
