//! The peers that announced to this node (BEP 5, BEP 33), in few bytes each.
//!
//! Deliberately absent: tokens. Who may announce is `token`'s business.

mod crowd;
mod few;
mod lot;
mod peers;
mod small;
#[cfg(test)]
mod tests;

pub use crowd::PEER_LIFETIME;
pub use peers::{PeerStore, SAMPLE_INTERVAL, Samples, Scrape};
