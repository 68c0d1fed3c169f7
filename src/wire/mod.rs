//! Bytes and messages of one connection (BEP 3, 6, 9, 10).

mod message;

pub use message::{ExtendedHandshake, Message, MetadataMessage};
