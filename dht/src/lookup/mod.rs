//! One iterative lookup over one socket: whom to ask next, and when it is over.
//!
//! Deliberately absent: sockets, transactions and time-outs, which the node sees to, and what the lookup is for.

mod candidate;
mod crowd;
mod wide;

mod walk;

pub(crate) use walk::{K, Lookup, Question, Step};

#[cfg(test)]
mod tests;
