//! The Mainline DHT (BEP 5 and its extensions): a sans-IO Kademlia node and, with feature `tokio`, its driver.

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
mod rpc;
mod store;
mod table;
mod traffic;

#[cfg(feature = "tokio")]
pub use driver::{
    AnnounceGuard, AnnounceOutcome, BootstrapHost, BootstrapState, Closed, Dht, DhtBuilder, DhtStatus, ItemStream,
    KeptStream, LookupStream, NameLookup, OperationError, PeerStream, PutGuard, SampleStream, SpawnError, TraceStream,
    is_unresolved,
};
pub use event::{
    Conflict, Event, GetOutcome, Hop, LookupOutcome, NodeSamples, NotReady, OperationId, Output, PingAnswer,
    PutOutcome, Readiness, Refusal, ScrapeOutcome, SocketIndex, Stats,
};
pub use guard::{AddressFilter, Bogon, DropReason, Guard, GuardConfig, ParsePrefixError, Prefix, Verdict};
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
pub use store::{
    ITEM_LIFETIME, ItemStore, PEER_LIFETIME, PeerStore, PutError, SAMPLE_INTERVAL, Samples, Scrape, StoredItem,
    StoredMutable, TOKEN_EPOCH, Token, Tokens,
};
pub use traffic::{Drops, PerKind, QueryKind, Traffic};

/// The examples of the README, run as tests.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
