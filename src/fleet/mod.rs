//! What the torrents of a session share: [`Budget`] says how much each may use.
//!
//! Deliberately absent: a queue of torrents, and rates.

mod budget;

pub use budget::{Ask, Budget, Grant};
