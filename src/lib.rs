//! magnes: a trackerless BitTorrent client as a library.
//!
//! A session holds torrents, finds their peers through the DHT, and fetches and serves their pieces. It runs on threads of
//! its own: the methods are `async` and work on any executor.
//!
#![cfg_attr(feature = "session", doc = "```no_run")]
#![cfg_attr(not(feature = "session"), doc = "```ignore")]
//! use magnes::model::Magnet;
//! use magnes::session::{AddOptions, Config, Session, SessionEvent};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let session = Session::start(Config::default().state_dir("state")).await?;
//! let mut events = session.events();
//! let magnet: Magnet = "magnet:?xt=urn:btih:c9e15763f722f23e98a29decdfae341b98d53056".parse()?;
//! session.add(magnet, AddOptions::new("downloads")).await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         SessionEvent::Completed { info_hash } => {
//!             println!("{info_hash} is complete");
//!             break;
//!         }
//!         SessionEvent::Failed { error, .. } => return Err(error.into()),
//!         _ => {}
//!     }
//! }
//! session.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | none | the parts below the session, without tokio |
//! | `session` | the API in `session`, on tokio |
//! | `serde` | `Serialize` on what the API reports: `session::Progress`, events, info hashes |
//! | `cli` (default) | the program; a library user turns it off |
//!
//! ```toml
//! magnes = { version = "0.1", default-features = false, features = ["session"] }
//! ```
//!
//! # What is stable
//!
//! `session` with all that it re-exports, [`model`] and [`dht`] are the API: they break only where the version says so, as
//! Cargo reads it (0.1 to 0.2, 1 to 2). What will grow is `#[non_exhaustive]`, and made with methods. [`wire`], [`disk`],
//! [`swarm`], [`fleet`], [`torrent`] and [`storage`] are the parts that a session is made of. They can be used alone, without
//! tokio, and may change with any version.
//!
//! # The parts
//!
//! A file imports lower floors only: [`model`] (values), [`wire`] (bytes and messages of one connection), [`disk`] (what a
//! torrent and its disk say to each other), [`swarm`] (the decisions among the peers of a torrent), [`fleet`] (what the
//! torrents of a session share), [`torrent`] (the life of one torrent) and [`storage`] (files and hashes).

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
