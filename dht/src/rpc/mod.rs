//! Our queries: which response belongs to which, what silence means, and how many new endpoints may be asked.
//!
//! Deliberately absent: what an answer is good for, which the node and its lookups know.

mod endpoints;
mod rtt;
mod transactions;

pub use endpoints::EndpointBudget;
pub(crate) use endpoints::Endpoints;
pub(crate) use transactions::{Purpose, Silence, Transaction, Transactions};
