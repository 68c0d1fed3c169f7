//! One iterative lookup over one socket: whom to ask next, and when it is over.
//!
//! Deliberately absent: sockets, transactions and time-outs, which the node sees to, and what the lookup is for.

mod candidate;
mod crowd;
mod shares;

mod walk;

mod nearest_cache;
mod size;

pub(crate) use nearest_cache::NearestCache;
pub(crate) use size::SizeEstimate;
pub(crate) use walk::{Lookup, Question, Step};

#[cfg(test)]
mod tests;
