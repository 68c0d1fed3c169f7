//! Whatever a fresh node is told, it stays sound.
#![no_main]

#[allow(dead_code)]
#[path = "../../dht/tests/fuzz/harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::node(std::time::Instant::now(), bytes));
