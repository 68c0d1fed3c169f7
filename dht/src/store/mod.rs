//! What is stored for others: the peers that announced to this node (BEP 5, BEP 33), in few bytes each, and items (BEP
//! 44); and the tokens that prove that whoever stores something receives at its address.

mod items;
mod large_swarm;
mod owners;
mod peers;
mod permutation;
mod records;
mod small_swarms;
mod split_mix;
#[cfg(test)]
mod tests;
mod token;

pub use items::{ITEM_LIFETIME, ItemStore, PutError, StoredItem, StoredMutable};
pub use large_swarm::PEER_LIFETIME;
pub use peers::{PeerStore, SAMPLE_INTERVAL, Samples, Scrape};
pub use token::{TOKEN_EPOCH, Token, Tokens};
