//! The test world: a virtual clock and network that step the sans-IO machines of many hosts in one process.
//!
//! [`World`] owns the clock, a queue of what is on its way, and the hosts. One seed repeats everything that happens in
//! it: delays, losses and the chance of every host. [`Network`] says how datagrams travel, [`Nat`] who can be reached,
//! [`Line`] what streams carry. [`Population`] is a whole DHT whose nodes only answer ([`Responder`]), cheap enough for tens
//! of thousands of them, and [`Client`] a whole client: node, torrent, connections and a disk in memory.
//!
//! Deliberately absent: threads, sockets, files, and the real time. A second in here takes as long as its events take.

mod census;
mod client;
mod errand;
mod figures;
mod host;
mod member;
mod nat;
mod network;
mod payload;
mod population;
mod queue;
mod responder;
mod searcher;
mod study;
mod trace;
mod world;

pub use census::Conduct;
pub use client::{Client, ClientConfig, Disk, Kept, Manners, Remains, Seen, Vice};
pub use errand::{Errand, Sought};
pub use figures::{LookupFigures, Spread, percentile};
pub use host::{Datagram, Host, StreamAction, StreamEvent, StreamId};
pub use member::Member;
pub use nat::Nat;
pub use network::Network;
pub use payload::Payload;
pub use population::{Population, PopulationConfig};
pub use responder::Responder;
pub use searcher::Searcher;
pub use study::LookupStudy;
pub use world::{HostIndex, Line, World, WorldStats};
