//! The Mainline DHT (BEP 5 and its extensions): a sans-IO Kademlia node and, with feature `tokio`, its driver.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests need some instant to count from"))]

mod bogon;
pub mod compact;
#[cfg(feature = "tokio")]
mod driver;
mod endpoints;
mod event;
mod findings;
mod guard;
mod id;
pub mod item;
mod item_store;
mod keyed;
pub mod krpc;
mod lookup;
mod node;
mod owners;
mod prefix;
mod reach;
mod recent;
mod rpc;
mod rtt;
mod scrape;
mod server;
mod size;
mod snapshot;
mod store;
mod table;
mod token;
mod traffic;

pub use bogon::{AddressFilter, Bogon};
pub use compact::{Contact, Family};
#[cfg(feature = "tokio")]
pub use driver::{
    AnnounceGuard, AnnounceOutcome, BootstrapHost, BootstrapState, Closed, Dht, DhtBuilder, ItemStream, OperationError,
    PeerStream, PutGuard, SampleStream, SpawnError, TraceStream, is_unresolved,
};
pub use endpoints::EndpointBudget;
pub use event::{
    AnnouncePort, Conflict, Event, GetOutcome, Hop, LookupOutcome, NodeSamples, NotReady, OPERATIONS_MAX, OperationId,
    Output, PingAnswer, PutOutcome, Readiness, Refusal, ScrapeOutcome, SocketIndex, StartError, Stats,
};
pub use guard::{DropReason, Guard, GuardConfig, GuardStats, Verdict};
pub use id::{Distance, InfoHash, NodeId, ParseIdError, Target, is_local};
pub use item::{Item, ItemError, MutableItem};
pub use item_store::{ITEM_LIFETIME, ItemStore, PutError, StoredItem, StoredMutable};
pub use node::{Node, NodeConfig, NodeMode, RouterState};
pub use prefix::{ParsePrefixError, Prefix};
pub use scrape::{BloomFilter, SCRAPE_PEERS_MAX};
pub use snapshot::SnapshotError;
pub use store::{PEER_LIFETIME, PeerStore, SAMPLE_INTERVAL, Samples, Scrape};
pub use token::{TOKEN_EPOCH, Token, Tokens};
pub use traffic::{Drops, PerKind, QueryKind, Traffic};

/// The examples of the README, run as tests.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
