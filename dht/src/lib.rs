//! The Mainline DHT (BEP 5 and its extensions): a sans-IO Kademlia node and, with feature `tokio`, its driver.

mod id;

pub use id::{InfoHash, NodeId, ParseIdError};
