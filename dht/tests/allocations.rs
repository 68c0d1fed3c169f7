//! What a node allocates: nothing for a reply, little for itself, and a bounded amount whoever attacks it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test begins at some instant")]

mod rig;

use std::net::SocketAddr;
use std::time::Instant;

use magnes_dht::krpc::Method;
use magnes_dht::{InfoHash, NodeId, Target, item};
use rig::{Rig, addr, exempt, lifted, query};

fn info_hash(number: u32) -> InfoHash {
    let mut bytes = [0x5a; 20];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    InfoHash::new(bytes)
}

/// Announces with a token, as anybody can who receives at its address.
fn announce(rig: &mut Rig, from: SocketAddr, info_hash: InfoHash) {
    let token = rig.token(from, info_hash.into()).unwrap();
    let method =
        Method::AnnouncePeer { info_hash, port: Some(from.port()), implied_port: false, seed: false, token: &token };
    assert!(rig.tell(from, &query(NodeId::new([9; 20]), true, method)) > 0);
}

fn put(rig: &mut Rig, from: SocketAddr, value: &[u8]) {
    let token = rig.token(from, item::immutable_target(value)).unwrap();
    let method = Method::Put { token: &token, value, mutable: None, target: None };
    assert!(rig.tell(from, &query(NodeId::new([9; 20]), true, method)) > 0);
}

#[test]
fn a_reply_allocates_nothing_from_the_datagram_to_the_output() {
    let mut rig = Rig::new(lifted(), Instant::now());
    rig.fill(400);
    for number in 0..200 {
        announce(&mut rig, addr(1000 + number), info_hash(1));
        announce(&mut rig, addr(1000 + number), info_hash(1000 + number));
    }
    let stranger = NodeId::new([0x77; 20]);
    let target = Target::from(info_hash(5));
    let datagrams = [
        query(stranger, false, Method::Ping),
        query(stranger, false, Method::FindNode { target }),
        query(stranger, false, Method::GetPeers { info_hash: info_hash(1), noseed: false, scrape: false }),
        query(stranger, false, Method::GetPeers { info_hash: info_hash(1007), noseed: true, scrape: false }),
        query(stranger, false, Method::GetPeers { info_hash: info_hash(5), noseed: false, scrape: false }),
        query(stranger, false, Method::Get { target, seq: None }),
        query(stranger, false, Method::SampleInfohashes { target }),
        query(stranger, false, Method::Unknown { name: b"vote", target: Some(target) }),
        b"d1:ade1:q4:ping1:t2:aa1:y1:qe".to_vec(),
    ];
    for (number, datagram) in datagrams.iter().enumerate() {
        // The first ones make room that is kept: for the bytes, for the budgets, and for queries to the strangers.
        let mut bytes = 0;
        for round in 0..300 {
            rig.tell(addr(round), datagram);
        }
        let info = allocation_counter::measure(|| {
            for round in 0..300 {
                bytes += rig.tell(addr(round), datagram);
            }
        });
        assert!(bytes > 300 * 50, "query {number} is answered: {bytes} bytes");
        assert_eq!(info.count_total, 0, "query {number}: {info:?}");
    }
}

#[test]
fn an_idle_node_with_400_contacts_takes_at_most_48_kib() {
    let now = Instant::now();
    let mut rig = None;
    let info = allocation_counter::measure(|| {
        let filled = rig.insert(Rig::new(lifted(), now));
        filled.fill(400);
    });
    let contacts = rig.map_or(0, |rig| rig.node.stats(rig.now).contacts);
    println!("{} bytes on the heap with {contacts} contacts, {} at the most", info.bytes_current, info.bytes_max);
    assert!(contacts >= 400);
    assert!(info.bytes_current <= 48 * 1024, "{info:?}");
}

#[test]
fn hostile_announces_and_puts_take_at_most_8_mib() {
    // A million in an optimised build: cargo test --release -p magnes-dht --test allocations
    let rounds = if cfg!(debug_assertions) { 10_000 } else { 500_000 };
    let mut rig = Rig::new(exempt(), Instant::now());
    rig.fill(400);
    let info = allocation_counter::measure(|| {
        for number in 0..rounds {
            let from = addr(number % 100_000);
            announce(&mut rig, from, info_hash(number));
            put(&mut rig, from, format!("i{number}e").as_bytes());
        }
    });
    let stats = rig.node.stats(rig.now);
    println!(
        "{} bytes more on the heap after {rounds} announces and as many puts, {} at the most; {} peers and {} items",
        info.bytes_current, info.bytes_max, stats.stored_peers, stats.stored_items
    );
    assert!(stats.stored_peers >= 10_000 && stats.stored_items > 4_000);
    assert!(info.bytes_max <= 8 << 20, "{info:?}");
    rig.node.check_invariants();
}
