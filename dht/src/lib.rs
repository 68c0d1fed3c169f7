//! The Mainline DHT (BEP 5 and its extensions): a sans-IO Kademlia node and, with feature `tokio`, its driver.
//!
//! With the driver, [`Dht`] is the handle on a running node. Two of them on the loopback network (on the Internet, bootstrap
//! from [`BOOTSTRAP`]):
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use magnes_dht::{AnnouncePort, Dht, InfoHash, PeerRole};
//!
//! let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
//! let first = Dht::builder().listen(local).spawn().await?;
//! let second = Dht::builder().listen(local).bootstrap(first.local_addrs()[0]).spawn().await?;
//! second.ready().await?;
//!
//! let info_hash: InfoHash = "dd8255ecdc7ca55fb0bbf81323d87062db1f6d1c".parse()?;
//! let outcome = second.announce(info_hash, AnnouncePort::Explicit(6881), PeerRole::Downloader).await?;
//! assert_eq!(outcome.acknowledged, 1);
//!
//! let mut peers = first.get_peers(info_hash);
//! while let Some(found) = peers.next().await {
//!     println!("peers: {found:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Without it, [`Node`] is the machine: it is told what happens ([`Node::handle_datagram`], [`Node::handle_timeout`]), is asked
//! for things ([`Node::start`] with a [`Request`]), and says what is to be done ([`Node::poll_output`]). It has no clock, no
//! socket and no thread, and its randomness comes from a seed.
//!
//! | what for | where |
//! |---|---|
//! | peers of a torrent, announces | [`Request::GetPeers`], [`Request::Announce`] |
//! | items that can be replaced or not (BEP 44, 46) | [`item`], [`Request::PutMutable`], [`Request::Watch`] |
//! | counts of swarms (BEP 33), samples of info hashes (BEP 51) | [`Request::Scrape`], [`Request::Sample`] |
//! | messages on the wire | [`krpc`], [`compact`] |
//! | limits and roles of a node | [`NodeConfig`], [`GuardConfig`], [`NodeMode`] |
//! | numbers about a node | [`Stats`], [`Traffic`] |
//!
//! Structs of settings and results are `#[non_exhaustive]`: begin with `default()` and change what is to differ.
//!
//! Features: `tokio` (default), the driver; `serde`, [`Serialize`](serde::Serialize) for ids, contacts, results and numbers,
//! and `Deserialize` for what a program reads back.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests need some instant to count from"))]

#[cfg(feature = "tokio")]
mod driver;
mod event;
mod guard;
mod id;
pub mod item;
mod keyed;
pub mod krpc;
mod lookup;
mod network;
mod node;
mod replace;
mod rpc;
mod store;
mod table;
mod traffic;

#[cfg(feature = "tokio")]
pub use driver::{
    AnnounceGuard, BootstrapHost, BootstrapState, Closed, Dht, DhtBuilder, DhtStatus, ItemStream, KeptStream,
    LookupStream, NameLookup, OperationError, PeerStream, PutGuard, SampleStream, SpawnError, TraceStream,
    is_unresolved,
};
pub use event::{
    AnnounceOutcome, Conflict, Event, GetOutcome, Hop, LookupOutcome, NodeSamples, NotReady, OperationId, Output,
    PingAnswer, PutOutcome, Readiness, Refusal, ScrapeOutcome, SocketIndex, Stats,
};
pub use guard::{GuardConfig, ParsePrefixError, Prefix};
pub use id::{Distance, InfoHash, NodeId, ParseIdError, Target};
pub use item::{Item, ItemError, MutableItem};
pub use krpc::compact::{self, Contact, Family};
pub use krpc::{BloomFilter, SCRAPE_PEERS_MAX};
pub use network::{Network, is_local};
pub use node::{
    AnnouncePort, BOOTSTRAP, Node, NodeConfig, NodeMode, OPERATIONS_MAX, PeerRole, Request, RequestError, RouterState,
    SnapshotError,
};
pub use rpc::EndpointBudget;
pub use traffic::{Drops, PerKind, QueryKind, Traffic};

/// The parts of a node alone, for tests, benches, the simulated network and the crate `magnes`. They change without notice.
#[doc(hidden)]
pub mod internals {
    pub use crate::guard::{AddressFilter, Bogon, DropReason, Guard, Verdict};
    pub use crate::id::K;
    pub use crate::replace::{replace_file, write_beside};
    pub use crate::store::{
        ITEM_LIFETIME, ItemStore, PEER_LIFETIME, PeerStore, PutError, SAMPLE_INTERVAL, Samples, Scrape, StoredItem,
        StoredMutable, TOKEN_EPOCH, Token, Tokens,
    };
}

/// The examples of the README, run as tests.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
