//! A resume file is read or refused, whatever it holds.
#![no_main]

use std::sync::LazyLock;

#[allow(dead_code)]
#[path = "../../tests/fuzz/harness/mod.rs"]
mod harness;

static SAVED: LazyLock<harness::Saved> = LazyLock::new(harness::Saved::new);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::resume(&SAVED, bytes));
