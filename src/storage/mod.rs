//! Files, positions and hashes: blocking I/O on the disk workers.
//!
//! Deliberately absent: threads and channels (the engine's), and any opinion on which piece comes next.

mod error;
mod hashing;
mod layout;
mod vectored;

mod open;

mod resume;
mod worker;

mod existing;

mod create;

pub use create::{CreateError, HashedPath, hash_path};
pub use error::DiskError;
pub use existing::{ExistingData, Survey, survey};
pub use layout::{Layout, LayoutFile, Span};
pub use open::{len_on_disk, prepare};
pub use resume::{Resume, ResumeError};
pub use worker::{Done, Job, StoreId, Worker, WorkerConfig};
