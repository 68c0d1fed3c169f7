//! Files, positions and hashes: blocking I/O on the disk workers.
//!
//! What is done to a whole tree at once, [`check_all`] and [`hash_path`], shares the work among threads of its own, which
//! end before it returns. Deliberately absent: any other thread, and any opinion on which piece comes next.

mod sys;

mod error;
mod hashing;
mod layout;
mod lock;
mod zeros;

mod open;

mod write_lock;

mod handles;
mod job;
mod resume;

mod worker;

mod existing;

mod check;
mod create;

pub use check::check_all;
pub use create::{CreateError, HashedPath, hash_path};
pub use error::DiskError;
pub use existing::{ExistingData, Survey, survey};
pub use job::{Done, Job, StoreId};
pub use layout::{Layout, LayoutFile, Span};
pub use lock::{LockError, StateLock};
pub use open::{len_on_disk, prepare};
pub use resume::{Resume, ResumeError};
pub use worker::{Worker, WorkerConfig};
pub use write_lock::WriteLock;
