//! The Mainline DHT (BEP 5 and its extensions): a sans-IO Kademlia node and, with feature `tokio`, its driver.

pub mod compact;
mod id;
pub mod krpc;

pub use compact::{Contact, Family};
pub use id::{Distance, InfoHash, NodeId, ParseIdError, Target, is_local};
