//! Everything that was asked for and is under way: from the command to the last event.
//!
//! One file an operation. Deliberately absent: whom a lookup asks next ([`crate::lookup`]) and what silence means
//! ([`crate::rpc`]).

mod operation;

mod announce;
mod keep;
mod lookup;
mod ping;

pub(super) use keep::Keep;
pub(super) use lookup::Kind;
pub(super) use operation::Operation;
