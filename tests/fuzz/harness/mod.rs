// What has to hold for any bytes. Shared by the seeded runner in `tests/fuzz/main.rs` and the libFuzzer targets.

mod conversation;
mod metainfo;
mod resume;
mod wire;

pub(crate) use conversation::conversation;
pub(crate) use metainfo::{magnet, metainfo};
pub(crate) use resume::{Saved, resume};
pub(crate) use wire::link;
