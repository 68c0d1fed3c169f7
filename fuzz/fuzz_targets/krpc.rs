//! Any datagram decodes to an error or to a message that is written and read again unchanged.
#![no_main]

#[allow(dead_code)]
#[path = "../../dht/tests/fuzz/harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| harness::krpc(datagram));
