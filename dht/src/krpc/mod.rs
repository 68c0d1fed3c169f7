//! KRPC messages (BEP 5, 32, 33, 42, 43, 44, 51): borrowed, read in one pass, written within a size budget.
//!
//! Deliberately absent: any state. Which response belongs to which query is `rpc`'s business, and what to
//! answer is the node's.

mod bloom;
pub mod compact;
mod decode;
mod encode;
mod error;
mod message;
#[cfg(test)]
mod tests;

pub use bloom::{BloomFilter, SCRAPE_PEERS_MAX};
pub use decode::DecodeError;
pub use error::{ErrorCode, KrpcFault};
pub use message::{Body, Message, Method, MutablePut, Query, Response, Values, Want};

/// The longest transaction id that is echoed, in bytes: longer ones would only help to amplify.
pub const TRANSACTION_ID_LEN_MAX: usize = 32;
/// The longest token of another node that is kept and echoed, in bytes.
pub const TOKEN_LEN_MAX: usize = 128;
/// The largest payload that is sent, in bytes (BEP 32).
pub const PAYLOAD_LEN_MAX: usize = 1024;
/// The largest payload that is sent when it carries an item's value, in bytes: still one Ethernet frame.
pub const VALUE_PAYLOAD_LEN_MAX: usize = 1400;
/// The most peers in one response: with nodes of one family they stay well below [`PAYLOAD_LEN_MAX`].
pub const VALUES_MAX: usize = 50;
