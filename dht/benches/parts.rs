//! What a reply costs, whole and in parts: `cargo bench -p magnes-dht --bench parts`.
//!
//! Prints nanoseconds for each step, the median of several rounds over inputs that do not repeat soon. The first lines
//! are a whole `Node` with 400 contacts, from the datagram to the output: all the work of a server but its system calls.
//! Behind `--`, `ping`, `find_node`, `get_peers` or `parts` run only these.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock and prints")]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use magnes_dht::internals::{AddressFilter, Guard, PeerStore, Tokens};
use magnes_dht::krpc::{Body, Message, Method, Query, Response, Values, Want};
use magnes_dht::{GuardConfig, InfoHash, NodeConfig, NodeId, Target};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

#[path = "../tests/rig/mod.rs"]
mod rig;

/// Short rounds, so that many of them are not interrupted on a busy machine.
const ROUNDS: u32 = 301;
const STEPS_A_ROUND: u32 = 1000;

/// Runs `step` with a number that grows, and prints what one run costs: in the median round and in the fastest one.
fn bench(name: &str, mut step: impl FnMut(u32)) {
    let mut rounds_ns: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let start = Instant::now();
            (0..STEPS_A_ROUND).for_each(|number| step(round * STEPS_A_ROUND + number));
            start.elapsed().as_nanos() as f64 / f64::from(STEPS_A_ROUND)
        })
        .collect();
    rounds_ns.sort_by(f64::total_cmp);
    let (median_ns, least_ns) = (rounds_ns[rounds_ns.len() / 2], rounds_ns[0]);
    println!("{name:<32} {median_ns:>8.1} ns {least_ns:>8.1} ns at best {:>6.2} M/s", 1e3 / least_ns);
}

fn is_asked_for(name: &str) -> bool {
    let mut filters = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    filters.peek().is_none() || filters.any(|filter| name.contains(&filter))
}

/// Addresses all over the Internet, in an order without rhyme.
fn addr(number: u32) -> SocketAddr {
    let ip = 0x1000_0000 + number.wrapping_mul(0x9e37_79b1) % 0x4000_0000;
    SocketAddr::new(Ipv4Addr::from_bits(ip).into(), 6881)
}

fn info_hash(number: u32) -> InfoHash {
    let mut bytes = [0x42; 20];
    bytes[..4].copy_from_slice(&number.wrapping_mul(0x85eb_ca6b).to_be_bytes());
    InfoHash::new(bytes)
}

/// A node with contacts and a thousand small swarms, asked from all over the Internet.
fn bench_node(name: &str, config: NodeConfig, method: impl Fn(u32) -> Method<'static>) {
    if !is_asked_for(name) {
        return;
    }
    let mut rig = rig::Rig::new(config, Instant::now());
    rig.fill(400);
    for number in 0..3000 {
        let (from, info_hash) = (rig::addr(number), info_hash(number % 1000));
        let Some(token) = rig.token(from, info_hash.into()) else { continue };
        let method = Method::AnnouncePeer { info_hash, port: None, implied_port: true, seed: false, token: &token };
        rig.tell(from, &rig::query(NodeId::new([9; 20]), true, method));
    }
    let id = NodeId::random(&mut ChaCha8Rng::from_seed([2; 32]));
    let datagrams: Vec<Vec<u8>> = (0..2000).map(|number| rig::query(id, false, method(number))).collect();
    bench(name, |number| {
        rig.now += Duration::from_micros(1);
        let bytes = rig.tell(rig::addr(number % 100_000), &datagrams[number as usize % datagrams.len()]);
        assert!(bytes > 0, "every query is answered");
    });
}

fn main() {
    bench_node("node: ping", rig::lifted(), |_| Method::Ping);
    bench_node("node: find_node", rig::lifted(), |number| Method::FindNode { target: info_hash(number).into() });
    let get_peers = |number| Method::GetPeers { info_hash: info_hash(number), noseed: false, scrape: false };
    bench_node("node: get_peers", rig::lifted(), get_peers);
    bench_node("node: get_peers, no budgets", rig::exempt(), get_peers);
    if is_asked_for("parts") {
        bench_parts();
    }
}

fn bench_parts() {
    let now = Instant::now();
    let mut rng = ChaCha8Rng::from_seed([1; 32]);

    let tokens = Tokens::new(now, &mut rng);
    bench("token issued", |number| {
        black_box(tokens.issue(now, addr(number).ip(), &Target::from(info_hash(number))));
    });
    bench("token verified", |number| {
        black_box(tokens.verify(now, addr(number).ip(), &Target::from(info_hash(number)), &[7; 8]));
    });

    let filter = AddressFilter::new(([0, 0, 0, 0], 6881).into());
    let config = GuardConfig::default().total_bytes_per_s(u32::MAX);
    let mut guard = Guard::new(config, filter, now, &mut rng);
    bench("query admitted, reply charged", |number| {
        let now = now + Duration::from_micros(u64::from(number) * 5);
        black_box(guard.admit_query(now, addr(number)));
        guard.charge_reply(now, addr(number), 700);
    });
    bench("query of a flood dropped", |_| {
        black_box(guard.admit_query(now, addr(1)));
    });

    let mut store = PeerStore::new(64 << 20, now, &mut rng);
    bench("peer announced, 10,000 swarms", |number| {
        store.announce(now, info_hash(number % 10_000), addr(number), false);
    });
    let mut sample = Vec::with_capacity(64);
    bench("50 peers sampled", |number| {
        sample.clear();
        store.sample(now, &info_hash(number % 10_000), 50, false, &mut rng, &mut sample);
        black_box(&sample);
    });

    let id = NodeId::random(&mut rng);
    let method = Method::GetPeers { info_hash: info_hash(1), noseed: false, scrape: false };
    let body = Body::Query(Query { id, read_only: false, want: Want::default(), method });
    let mut query = Vec::new();
    Message { transaction: b"abcd", version: Some(b"LT12"), ip: None, body }.encode(&mut query);
    bench("get_peers query decoded", |_| {
        black_box(Message::decode(black_box(&query)).is_ok());
    });
    let nodes = [9; 8 * 26];
    let peers: Vec<SocketAddr> = (0..50).map(addr).collect();
    let mut reply = Vec::with_capacity(1500);
    for (name, peers) in [("reply of 8 nodes encoded", &peers[..0]), ("... and 50 peers", &peers[..])] {
        bench(name, |number| {
            let mut response = Response::new(id);
            response.nodes = Some(&nodes);
            response.token = Some(&[1; 8]);
            if !peers.is_empty() {
                response.values = Values::of(peers);
            }
            reply.clear();
            let body = Body::Response(response);
            Message { transaction: b"abcd", version: None, ip: Some(addr(number)), body }.encode(&mut reply);
            black_box(&reply);
        });
    }
}
