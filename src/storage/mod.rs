//! Files, positions and hashes: blocking I/O on the disk workers.
//!
//! What is done to a whole tree at once, [`check_all`] and [`hash_path`], shares the work among threads of its own, which
//! end before it returns. Deliberately absent: any other thread, and any opinion on which piece comes next.

mod sys;

mod hashing;
mod limits;
mod lock;
mod zeros;

mod open;

mod write_lock;

mod fit;
mod foreign;
mod handles;
mod resume;

mod worker;

mod existing;
mod settle;

mod check;
mod create;

pub use check::{Checked, check_all};
pub use create::{CreateError, HashedPath, LeftOut, LeftOutReason, hash_path};
pub use existing::{ExistingData, Survey, survey};
pub use fit::{FitNames, fit};
pub use limits::{connections_max, is_out_of_files};
pub use lock::{LockError, StateLock};
pub use open::len_on_disk;
pub use resume::{Resume, ResumeError};
pub use settle::{Settled, settle};
pub use worker::{Worker, WorkerConfig};
pub use write_lock::WriteLock;
