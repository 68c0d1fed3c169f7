//! A `.torrent` file is a torrent or an error.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/fuzz/harness/mod.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::metainfo(bytes));
