//! The tokio driver (feature `tokio`): sockets in batches, one task that owns the [`Node`](crate::Node), and the
//! [`Dht`] handle.
//!
//! The task moves bytes, time and commands into the node, and datagrams and events out. Deliberately absent: any rule
//! of the protocol, and any lock. A datagram that is answered costs no allocation, and neither does one that is not.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the driver is where the clock, the sockets and the state file of the DHT are"
)]

mod batch;
mod bootstrap;
mod builder;
mod command;
mod handle;
mod resolve;
mod state;
mod streams;
mod subscription;
mod sys;
mod task;
mod unreachable;

pub use bootstrap::{BootstrapHost, BootstrapState, DhtStatus, is_unresolved};
pub use builder::{DhtBuilder, SpawnError};
pub use handle::Dht;
pub use resolve::NameLookup;
pub use streams::{
    AnnounceGuard, ItemStream, KeptStream, LookupStream, PeerStream, PutGuard, SampleStream, TraceStream,
};
pub use subscription::{Closed, OperationError};
