//! `magnes dht`: single questions to the DHT, one file each.
//!
//! Deliberately absent: how the questions are asked, which is the library's.

mod asking;
mod hex;
mod value;

mod announce;
mod find_node;
mod get;
mod get_peers;
mod keygen;
mod ping;
mod put;
mod sample;
mod scrape;
mod trace;

mod command;

pub(super) use command::{DhtArgs, run};
