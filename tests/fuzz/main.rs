//! What comes from files, links and peers, as programs write it and as nobody would: seeded, on the stable toolchain.
//!
//! `MAGNES_FUZZ_RUNS` sets how many inputs each test tries, `MAGNES_FUZZ_SEED` where they begin. A million of each, with
//! the checks of a debug build, take about three minutes on two cores:
//! `MAGNES_FUZZ_RUNS=1000000 cargo test --profile fuzz --test fuzz`
#![allow(clippy::disallowed_methods, reason = "the machines begin at some instant")]

mod grammar;
mod harness;

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use grammar::{Draw, mutate};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

const RUNS: u64 = 2_000;
/// Bytes that reading takes at most, for each byte that is read: the smallest folder is named by three and kept by name.
const BYTES_HELD_PER_BYTE: u64 = 512;
/// And bytes that it takes for nothing at all.
const BYTES_HELD_MIN: u64 = 64 * 1024;
/// Allocations for each byte that is read at most: they stand for the time that it takes.
const ALLOCATIONS_PER_BYTE: u64 = 16;
const ALLOCATIONS_MIN: u64 = 1000;
const HEAD_AND_HASH_LEN: usize = 12 + 20;
const RESUME_BYTES_MIN: u64 = 4 * 1024 * 1024 + BYTES_HELD_MIN;
/// What a conversation with up to fifty peers holds at most, links, queues and what is served included.
const CONVERSATION_BYTES_MAX: u64 = 16 * 1024 * 1024;
const CONVERSATION_ALLOCATIONS_MAX: u64 = 500_000;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Tries drawn inputs; one that breaks a property is printed with the command that repeats it.
fn run(name: &str, draw: impl Fn(&mut ChaCha8Rng) -> Vec<u8> + Sync, property: impl Fn(&[u8]) + Sync) {
    let (seed, runs) = (number("MAGNES_FUZZ_SEED", 0), number("MAGNES_FUZZ_RUNS", RUNS));
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(16) as u64;
    std::thread::scope(|scope| {
        for first in seed..(seed + threads).min(seed + runs) {
            let (draw, property) = (&draw, &property);
            scope.spawn(move || {
                for run in (first..seed + runs).step_by(threads as usize) {
                    let input = draw(&mut ChaCha8Rng::seed_from_u64(run));
                    let outcome = catch_unwind(AssertUnwindSafe(|| property(&input)));
                    let repeat =
                        format!("MAGNES_FUZZ_SEED={run} MAGNES_FUZZ_RUNS=1 cargo test --test fuzz -- --exact {name}");
                    assert!(outcome.is_ok(), "{}; repeat with: {repeat}", input.escape_ascii());
                }
            });
        }
    });
}

/// What reading takes stays in proportion to what is read: a number in it never chooses an amount.
fn bounded(input: &[u8], read: impl FnOnce(&[u8])) {
    let len = input.len() as u64;
    within(input, BYTES_HELD_MIN + BYTES_HELD_PER_BYTE * len, ALLOCATIONS_MIN + ALLOCATIONS_PER_BYTE * len, read);
}

/// Each of the four lists of a resume file has room made for it ahead, 1 MiB at most whatever length it claims (serde).
fn resumed(saved: &harness::Saved, input: &[u8]) {
    let len = input.len() as u64;
    within(
        input,
        RESUME_BYTES_MIN + BYTES_HELD_PER_BYTE * len,
        ALLOCATIONS_MIN + ALLOCATIONS_PER_BYTE * len,
        |input| {
            harness::resume(saved, input);
        },
    );
}

/// Neither holds more bytes at once nor allocates more often.
fn within(input: &[u8], bytes_max: u64, count_max: u64, read: impl FnOnce(&[u8])) {
    let mut outcome = Ok(());
    let taken = allocation_counter::measure(|| outcome = catch_unwind(AssertUnwindSafe(|| read(input))));
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    assert!(taken.bytes_max <= bytes_max, "{} bytes are held for {}", taken.bytes_max, input.len());
    assert!(taken.count_total <= count_max, "{} allocations for {} bytes", taken.count_total, input.len());
}

/// Every bit flipped, and every length.
fn bent(whole: &[u8], property: impl Fn(&[u8])) {
    for end in 0..=whole.len() {
        property(&whole[..end]);
    }
    let mut changed = whole.to_vec();
    for at in 0..whole.len() {
        for bit in 0..8 {
            changed[at] ^= 1 << bit;
            property(&changed);
            changed[at] ^= 1 << bit;
        }
    }
}

const TORRENT: &[u8] = b"d8:announce5:udp:a13:announce-listll5:udp:b5:udp:cel5:udp:dee7:comment2:hi10:created by1:m\
    13:creation datei7e4:infod5:filesld6:lengthi7e4:pathl1:a2:..eed4:attr1:p6:lengthi16377e4:pathl4:.pad5:16377ee\
    d6:lengthi0e4:pathl1:a1:beee4:name1:n12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa7:privatei1ee\
    5:nodesll9:127.0.0.1i1eel3:::1i2eee8:url-list6:http:we";

const MAGNET: &[u8] = b"magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a&dn=a+b%20c&tr=udp%3a%2f%2ft%3a1\
    &x.pe=127.0.0.1:6881&x.pe=[::1]:1&so=0,2-4&ws=http://s&xl=7";

#[test]
fn metainfo() {
    run("metainfo", grammar::torrent, |input| bounded(input, harness::metainfo));
}

#[test]
fn magnet() {
    run("magnet", grammar::magnet, |input| bounded(input, harness::magnet));
}

#[test]
fn link() {
    let now = Instant::now();
    run("link", grammar::stream, |input| harness::link(now, input));
}

#[test]
fn conversation() {
    let now = Instant::now();
    run("conversation", grammar::conversation, |input| {
        let converse = |input: &[u8]| harness::conversation(now, input);
        within(input, CONVERSATION_BYTES_MAX, CONVERSATION_ALLOCATIONS_MAX, converse);
    });
}

#[test]
fn resume() {
    let saved = harness::Saved::new();
    let draw = |rng: &mut ChaCha8Rng| {
        let mut input = saved.bytes.clone();
        for _ in 0..rng.below(6) {
            mutate(&mut input, &saved.bytes, rng);
        }
        input
    };
    run("resume", draw, |input| resumed(&saved, input));
}

#[test]
fn a_length_of_gigabytes_in_a_resume_file_does_not_choose_an_allocation() {
    let saved = harness::Saved::new();
    // Behind the head and the info hash stands the length of the metadata: 0xfc and four bytes are a long one (bincode).
    let mut input = saved.bytes.clone();
    input.splice(HEAD_AND_HASH_LEN.., [0xfc, 0xff, 0xff, 0xff, 0x03, b'd']);
    resumed(&saved, &input);
}

#[test]
fn every_flipped_bit_and_every_length_of_a_torrent_a_link_and_a_resume_file() {
    assert!(magnes::model::Metainfo::parse(bytes::Bytes::from_static(TORRENT)).is_ok());
    assert!(String::from_utf8_lossy(MAGNET).parse::<magnes::model::Magnet>().is_ok());
    bent(TORRENT, |input| bounded(input, harness::metainfo));
    bent(MAGNET, |input| bounded(input, harness::magnet));
    let saved = harness::Saved::new();
    bent(&saved.bytes, |input| resumed(&saved, input));
}

#[test]
fn a_good_share_of_what_is_drawn_is_accepted_and_a_good_share_is_not() {
    const DRAWN: usize = 2000;
    let share = |accepted: &dyn Fn(&mut ChaCha8Rng) -> bool| {
        (0..DRAWN).filter(|run| accepted(&mut ChaCha8Rng::seed_from_u64(*run as u64))).count() * 100 / DRAWN
    };
    let torrents = share(&|rng| magnes::model::Metainfo::parse(grammar::torrent(rng).into()).is_ok());
    let links = share(&|rng| {
        let link = grammar::magnet(rng);
        String::from_utf8_lossy(&link).parse::<magnes::model::Magnet>().is_ok()
    });
    for percent in [torrents, links] {
        assert!((10..90).contains(&percent), "{percent} of 100 are accepted");
    }
}
