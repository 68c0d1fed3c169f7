//! The tokio driver (feature `tokio`): what it is made of besides the task that owns the node. Sockets in batches, the
//! file that keeps the table between runs, and the names of bootstrap hosts.
//!
//! Deliberately absent: any rule of the protocol, and any lock. No datagram costs an allocation.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the driver is where the clock, the sockets and the state file of the DHT are"
)]
#![cfg_attr(not(test), expect(dead_code, reason = "used by the task that owns the node"))]

mod batch;
mod resolve;
mod state;
mod sys;
