//! Any bytes of a peer are messages or a fault.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/fuzz/harness/mod.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::link(std::time::Instant::now(), bytes));
