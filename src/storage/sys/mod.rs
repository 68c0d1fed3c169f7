//! What systems do in different ways: Unix in its own words, any other system with what the standard library has.

mod access;
#[cfg(any(not(unix), test))]
mod portable;
#[cfg(unix)]
mod unix;

pub(super) use access::Access;
#[cfg(not(unix))]
pub(super) use portable::{
    allocated_bytes, append_at, changed_ns, file_id, free_bytes, is_deleted, is_hole, is_link_refused, is_out_of_files,
    is_same_file, open_beneath, open_files_max, try_lock, write_all_at,
};
#[cfg(unix)]
pub(super) use unix::{
    allocated_bytes, append_at, changed_ns, file_id, free_bytes, is_deleted, is_hole, is_link_refused, is_out_of_files,
    is_same_file, open_beneath, open_files_max, try_lock, write_all_at,
};
