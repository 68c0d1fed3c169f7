//! Whatever is put and announced, the stores stay sound and within their budgets.
#![no_main]

#[allow(dead_code)]
#[path = "../../dht/tests/fuzz/harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::stores(std::time::Instant::now(), bytes));
