//! What is said between a torrent and its disk: where its bytes stand, what is to be done, and what came of it.
//!
//! Deliberately absent: I/O. [`storage`](crate::storage) does these jobs on files; a test does them in memory.

mod error;
mod layout;

mod job;

pub use error::DiskError;
pub use job::{Done, Job, StoreId, Verdict};
pub use layout::{Layout, LayoutFile, Span, Wanted};
