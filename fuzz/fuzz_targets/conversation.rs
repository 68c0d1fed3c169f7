//! Whatever peers say, a fresh torrent stays sound.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/fuzz/harness/mod.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::conversation(std::time::Instant::now(), bytes));
