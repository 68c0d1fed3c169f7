//! The fuzz targets' properties under seeded mutations, on the stable toolchain.
//!
//! `MAGNES_FUZZ_RUNS` sets how many inputs each test tries, `MAGNES_FUZZ_SEED` where they begin. A million of each, with
//! the checks of a debug build, take about two minutes:
//! `MAGNES_FUZZ_RUNS=1000000 cargo test --profile fuzz -p magnes-dht --test fuzz`
#![allow(clippy::disallowed_methods, reason = "the stores begin at some instant")]

mod harness;

use std::time::Instant;

use magnes_dht::krpc::{Body, Message, Response};
use magnes_dht::{Node, NodeConfig, NodeId, Output};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

const RUNS: u64 = 5_000;
const MUTATIONS_MAX: u64 = 6;
const STEPS_MAX: u32 = 12;

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
fn run(name: &str, draw: impl Fn(&mut ChaCha8Rng) -> Vec<u8>, property: impl Fn(&[u8])) {
    let (seed, runs) = (number("MAGNES_FUZZ_SEED", 0), number("MAGNES_FUZZ_RUNS", RUNS));
    for run in seed..seed + runs {
        let mut rng = ChaCha8Rng::seed_from_u64(run);
        let input = draw(&mut rng);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| property(&input)));
        let repeat =
            format!("MAGNES_FUZZ_SEED={run} MAGNES_FUZZ_RUNS=1 cargo test -p magnes-dht --test fuzz -- --exact {name}");
        assert!(outcome.is_ok(), "{:?}; repeat with: {repeat}", String::from_utf8_lossy(&input));
    }
}

/// One mutated message.
fn message(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut input = MESSAGES[rng.next_u64() as usize % MESSAGES.len()].to_vec();
    for _ in 0..rng.next_u64() % MUTATIONS_MAX {
        mutate(&mut input, rng);
    }
    input
}

/// The steps that a fresh node is told: mutated messages, return values of mutated responses, and anything else.
fn steps(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut input = vec![rng.next_u32() as u8];
    for _ in 0..1 + rng.next_u32() % STEPS_MAX {
        let [kind, parameter, ..] = rng.next_u32().to_le_bytes();
        let mut content = message(rng);
        if (6..10).contains(&(kind % 20)) && content.starts_with(b"d1:r") {
            // Only what stands behind `r`; the harness gives it the transaction id that it needs.
            let end = content.windows(4).rposition(|window| window == b"1:t2").unwrap_or(content.len());
            content.truncate(end);
            content.drain(..4);
        }
        content.truncate(255);
        input.extend([kind, parameter, content.len() as u8]);
        input.append(&mut content);
    }
    input
}

/// What a node saved that knows two contacts.
fn saved(now: Instant) -> Vec<u8> {
    let mut node = Node::new(NodeConfig::default(), [3; 32], now);
    let socket = node.add_socket(now, ([0, 0, 0, 0], 6881).into());
    for number in 1..3 {
        let addr = ([80, number, 2, 3], 6881).into();
        node.add_node(now, addr);
        let Some(Output::Transmit { payload, .. }) = node.poll_output() else { panic!("no query") };
        let transaction = Message::decode(payload).expect("a query").transaction.to_vec();
        let body = Body::Response(Response::new(NodeId::new([number; 20])));
        let mut datagram = Vec::new();
        Message { transaction: &transaction, version: None, ip: None, body }.encode(&mut datagram);
        node.handle_datagram(now, socket, addr, &datagram);
        while node.poll_output().is_some() {}
    }
    assert_eq!(node.stats(now).contacts, 2);
    node.snapshot()
}

#[test]
fn krpc() {
    run("krpc", message, harness::krpc);
}

#[test]
fn node() {
    let now = Instant::now();
    run("node", steps, |input| harness::node(now, input));
}

#[test]
fn snapshot() {
    let now = Instant::now();
    let saved = saved(now);
    let bent = |rng: &mut ChaCha8Rng| {
        let mut input = saved.clone();
        for _ in 0..rng.next_u64() % MUTATIONS_MAX {
            mutate(&mut input, rng);
        }
        input
    };
    run("snapshot", bent, |input| harness::snapshot(now, input));
}

#[test]
fn stores() {
    let now = Instant::now();
    // Each input makes stores of its own, the guard's table included: far fewer of them say as much.
    for run in 0..number("MAGNES_FUZZ_RUNS", RUNS) / 100 {
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
