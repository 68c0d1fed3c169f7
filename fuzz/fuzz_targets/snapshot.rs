//! A saved table is read or refused, whatever it holds.
#![no_main]

#[allow(dead_code)]
#[path = "../../dht/tests/fuzz/harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::snapshot(std::time::Instant::now(), bytes));
