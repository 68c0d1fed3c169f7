//! Everything that was asked for and is under way: from the command to the last event.
//!
//! The first files are what an operation knows, without the node; the last ones are what the node does with it.
//! Deliberately absent: whom a lookup asks next ([`crate::lookup`]) and what silence means ([`crate::rpc`]).

mod announce;
mod get;
mod put;
mod sample_intervals;
mod scrape;

mod keep;
mod seen;

mod kind;
mod operation;

mod lookup;
mod ping;
mod runs;
mod sample;
mod start;
mod store;

pub(super) use keep::Keep;
pub(super) use kind::Kind;
pub(super) use operation::Operation;
pub(super) use sample_intervals::SampleIntervals;
pub(super) use seen::Seen;
pub(super) use store::StoreAnswer;
