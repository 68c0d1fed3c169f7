//! The fuzz targets' properties under seeded mutations, on the stable toolchain.
//!
//! `MAGNES_FUZZ_RUNS` sets how many inputs each test tries, `MAGNES_FUZZ_SEED` where they begin.
#![allow(clippy::disallowed_methods, reason = "the stores begin at some instant")]

mod harness;

use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

const RUNS: u64 = 100_000;
const MUTATIONS_MAX: u64 = 6;

/// One message of each kind; from these the mutations begin.
const MESSAGES: [&[u8]; 12] = [
    b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
    b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re",
    b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
    b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz1234564:wantl2:n42:n6ee1:q9:find_node2:roi1e1:t2:aa1:y1:qe",
    b"d2:ip6:abcdef1:rd2:id20:0123456789abcdefghij5:nodes26:mnopqrstuvwxyz123456axje.ue1:t2:aa1:v4:LT121:y1:re",
    b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234566:noseedi1e6:scrapei1ee1:q9:get_peers1:t2:aa1:y1:qe",
    b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
    b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
    b"d1:ad2:id20:abcdefghij01234567893:seqi4e6:target20:mnopqrstuvwxyz123456e1:q3:get1:t2:aa1:y1:qe",
    b"d1:ad3:casi1e2:id20:abcdefghij01234567891:k32:abcdefghijklmnopqrstuvwxyz0123454:salt6:foobar3:seqi4e3:sig64:abcdefghijklmnopqrstuvwxyz012345abcdefghijklmnopqrstuvwxyz0123455:token8:aoeusnth1:vd1:ai1e1:bl1:cee3:eeei0ee1:q3:put1:t2:aa1:y1:qe",
    b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q17:sample_infohashes1:t2:aa1:y1:qe",
    b"d1:rd2:id20:abcdefghij01234567898:intervali60e3:numi2e7:samples40:abcdefghij0123456789abcdefghij0123456789e1:t2:aa1:y1:re",
];

/// Bytes that mean something in bencode.
const TELLING: &[u8] = b"dlie0123456789:-\x00\xff";

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn mutate(input: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let below = |limit: usize, rng: &mut ChaCha8Rng| rng.next_u64() as usize % limit.max(1);
    let at = below(input.len(), rng);
    match rng.next_u32() % 6 {
        0 if !input.is_empty() => input[at] ^= 1 << (rng.next_u32() % 8),
        1 if !input.is_empty() => input[at] = TELLING[below(TELLING.len(), rng)],
        2 => input.truncate(at),
        3 => input.insert(at, TELLING[below(TELLING.len(), rng)]),
        4 if !input.is_empty() => {
            let end = (at + 1 + below(8, rng)).min(input.len());
            input.drain(at..end);
        }
        _ => {
            let other = MESSAGES[below(MESSAGES.len(), rng)];
            let start = below(other.len(), rng);
            let end = (start + below(40, rng)).min(other.len());
            input.splice(at..at, other[start..end].iter().copied());
        }
    }
}

/// Tries mutated inputs; one that breaks a property is printed with the command that repeats it.
fn run(name: &str, property: impl Fn(&[u8])) {
    let (seed, runs) = (number("MAGNES_FUZZ_SEED", 0), number("MAGNES_FUZZ_RUNS", RUNS));
    for run in seed..seed + runs {
        let mut rng = ChaCha8Rng::seed_from_u64(run);
        let mut input = MESSAGES[rng.next_u64() as usize % MESSAGES.len()].to_vec();
        for _ in 0..rng.next_u64() % MUTATIONS_MAX {
            mutate(&mut input, &mut rng);
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| property(&input)));
        let repeat = format!("MAGNES_FUZZ_SEED={run} MAGNES_FUZZ_RUNS=1 cargo test -p magnes-dht --test fuzz {name}");
        assert!(outcome.is_ok(), "{:?}; repeat with: {repeat}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn krpc() {
    run("krpc", harness::krpc);
}

#[test]
fn stores() {
    let now = Instant::now();
    // Each input makes stores of its own, the guard's table included: far fewer of them say as much.
    for run in 0..number("MAGNES_FUZZ_RUNS", RUNS) / 1000 {
        let mut rng = ChaCha8Rng::seed_from_u64(run);
        let mut input = vec![0; 6000];
        rng.fill_bytes(&mut input);
        // Half of the values are bencode.
        for step in input.chunks_mut(120) {
            step[10..14].copy_from_slice(b"46:x");
        }
        harness::stores(now, &input);
    }
}
