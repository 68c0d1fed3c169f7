use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::records::{FEW_MAX, Records};
use super::*;
use crate::InfoHash;
use crate::krpc::SCRAPE_PEERS_MAX;

const BUDGET_BYTES: usize = 1 << 20;
const RECORD_BYTES: usize = Records::<[u8; 4]>::RECORD_BYTES;

struct World {
    start: Instant,
    rng: ChaCha8Rng,
    store: PeerStore,
}

fn world() -> World {
    let start = Instant::now();
    let mut rng = ChaCha8Rng::from_seed([5; 32]);
    World { start, store: PeerStore::new(BUDGET_BYTES, start, &mut rng), rng }
}

impl World {
    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn announce(&mut self, seconds: u64, info_hash: u64, peer: u32) {
        self.store.announce(self.at(seconds), hash(info_hash), addr(peer), false);
    }

    fn sample(&mut self, seconds: u64, info_hash: u64, count_max: usize) -> Vec<SocketAddr> {
        let mut out = Vec::new();
        let now = self.at(seconds);
        self.store.sample(now, &hash(info_hash), count_max, false, &mut self.rng, &mut out);
        out
    }
}

fn hash(number: u64) -> InfoHash {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    InfoHash::new(bytes)
}

fn addr(number: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from_bits(0x0500_0000 + number).into(), 6881)
}

fn addr_v6(number: u32) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (u128::from(number) << 64) + 1).into(), 6881)
}

#[test]
fn on_the_loopback_network_a_peer_is_its_port() {
    let now = Instant::now();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut store = PeerStore::new(1 << 20, now, &mut rng);
    for port in [6881, 6882, 6882] {
        store.announce(now, InfoHash::new([1; 20]), ([127, 0, 0, 1], port).into(), false);
        store.announce(now, InfoHash::new([1; 20]), ([10, 0, 0, 1], port).into(), false);
    }
    store.check_invariants();
    assert_eq!(store.peers(), 3, "two on loopback, one elsewhere");
}

#[test]
fn a_new_port_replaces_the_old_one() {
    let mut world = world();
    let ip = addr(1).ip();
    for port in [7000, 7001] {
        world.store.announce(world.start, hash(1), SocketAddr::new(ip, port), false);
    }
    assert_eq!(world.sample(0, 1, 10), [SocketAddr::new(ip, 7001)]);
    world.store.announce(world.start, hash(1), SocketAddr::new(addr(2).ip(), 22), false);
    assert_eq!(world.store.peers(), 1, "ports of the system are not stored");
}

#[test]
fn peers_expire_half_an_hour_after_their_last_announce() {
    let mut world = world();
    world.announce(0, 1, 1);
    world.announce(0, 1, 2);
    world.announce(1000, 1, 2);
    assert_eq!(world.sample(1800, 1, 10).len(), 2);
    assert_eq!(world.sample(1801, 1, 10), [addr(2)]);
    world.store.expire(world.at(1801));
    assert_eq!(world.store.peers(), 1);
    world.store.expire(world.at(2801));
    assert_eq!((world.store.peers(), world.store.info_hashes(), world.store.used_bytes()), (0, 0, 0));
    world.store.check_invariants();
}

#[test]
fn announcing_alone_keeps_expired_swarms_from_piling_up() {
    let mut world = world();
    for number in 0..20_000 {
        world.announce(number, number, 1);
    }
    assert!(world.store.info_hashes() < 4_000, "{} swarms", world.store.info_hashes());
    world.store.check_invariants();
}

#[test]
fn a_sample_is_fair_and_has_no_peer_twice() {
    let mut world = world();
    for peer in 0..200 {
        world.announce(0, 1, peer);
    }
    let mut counts = [0u32; 200];
    for _ in 0..2000 {
        let sample = world.sample(0, 1, 50);
        let distinct: BTreeSet<_> = sample.iter().collect();
        assert_eq!((sample.len(), distinct.len()), (50, 50));
        for peer in sample {
            let IpAddr::V4(ip) = peer.ip() else { panic!("a v4 swarm") };
            counts[(ip.to_bits() - 0x0500_0000) as usize] += 1;
        }
    }
    assert!(counts.iter().all(|count| (400..600).contains(count)), "500 each is fair: {counts:?}");
}

#[test]
fn seeds_are_left_out_for_seeds_and_counted_apart() {
    let mut world = world();
    for peer in 0..60 {
        world.store.announce(world.start, hash(1), addr(peer), peer < 40);
    }
    let mut out = Vec::new();
    world.store.sample(world.start, &hash(1), 50, true, &mut world.rng, &mut out);
    assert_eq!(out.len(), 20);
    let scrape = world.store.scrape(world.start, &hash(1)).unwrap();
    assert!((scrape.seeds.estimate() - 40.0).abs() < 4.0 && (scrape.peers.estimate() - 20.0).abs() < 3.0);
    assert!(scrape.seeds.contains(addr(0).ip()) && scrape.peers.contains(addr(59).ip()));
    assert!(world.store.scrape(world.start, &hash(2)).is_none());
}

#[test]
fn a_scrape_is_at_most_a_minute_old() {
    let mut world = world();
    world.announce(0, 1, 1);
    assert!(!world.store.scrape(world.at(0), &hash(1)).unwrap().peers.contains(addr(2).ip()));
    world.announce(1, 1, 2);
    assert!(world.store.scrape(world.at(60), &hash(1)).unwrap().peers.contains(addr(2).ip()));
}

#[test]
fn a_hostile_flood_stays_in_the_budget_and_leaves_the_living_swarms_useful() {
    let mut world = world();
    for peer in 0..3000 {
        world.announce(0, 0, peer);
    }
    for number in 0..40_000u64 {
        world.announce(0, 1 + number, 7);
        if number % 1000 == 0 {
            // A living swarm is announced to now and then.
            world.announce(0, 0, 3000 + number as u32);
        }
    }
    assert!(world.store.used_bytes() <= BUDGET_BYTES);
    world.store.check_invariants();
    assert_eq!(world.sample(0, 0, 50).len(), 50, "the swarm of many still fills a reply");
    assert_eq!(world.sample(0, 40_000, 50).len(), 1, "and nobody is refused");
}

/// What a peer costs on average, with `size` peers in each swarm.
fn bytes_each(size: u32, addr: impl Fn(u32) -> SocketAddr, record_bytes: usize) -> usize {
    let mut world = world();
    for peer in 0..10_000 {
        world.store.announce(world.start, hash(u64::from(peer / size)), addr(peer), false);
        if world.store.used_bytes() > BUDGET_BYTES - 2 * record_bytes {
            break;
        }
        let peers = world.store.peers();
        if peers > 1000 {
            assert!(world.store.reserved_bytes() <= peers * record_bytes, "what is reserved is counted");
        }
    }
    world.store.check_invariants();
    world.store.used_bytes() / world.store.peers()
}

#[test]
fn a_peer_costs_at_most_40_bytes_amortised() {
    // Peers in each swarm: alone, as few as are kept as records, one more, and as many as the large ones have.
    for size in [1, 2, FEW_MAX as u32, FEW_MAX as u32 + 2, 300] {
        let bytes_each = bytes_each(size, addr, RECORD_BYTES);
        assert!(bytes_each <= 40, "{bytes_each} bytes with {size} peers in a swarm");
    }
}

#[test]
fn an_ipv6_peer_costs_at_most_48_bytes_amortised() {
    for size in [1, 2, 3, FEW_MAX as u32 / 2, FEW_MAX as u32 / 2 + 1, 300] {
        let bytes_each = bytes_each(size, addr_v6, Records::<[u8; 16]>::RECORD_BYTES);
        assert!(bytes_each <= 48, "{bytes_each} bytes with {size} peers in a swarm");
    }
}

#[test]
fn a_swarm_that_grows_keeps_its_peers_and_its_place() {
    let mut world = world();
    for peer in 0..3 * FEW_MAX as u32 {
        world.announce(u64::from(peer), 1, peer);
        world.announce(u64::from(peer), 2 + u64::from(peer), peer);
        world.store.check_invariants();
        assert_eq!(world.sample(u64::from(peer), 1, 100).len(), peer as usize + 1);
        assert_eq!(world.store.info_hashes(), peer as usize + 2);
    }
    // Each peer keeps its age through the change.
    assert_eq!(world.sample(1810, 1, 100).len(), 3 * FEW_MAX - 10);
    world.store.expire(world.at(1810));
    world.store.check_invariants();
    assert_eq!(world.store.peers(), 2 * (3 * FEW_MAX - 10));
}

#[test]
fn both_families_are_stored() {
    let mut world = world();
    for number in 0..3 {
        world.store.announce(world.start, hash(1), addr_v6(number), number == 1);
        world.announce(0, 1, number);
        world.store.check_invariants();
    }
    let sample: BTreeSet<SocketAddr> = world.sample(0, 1, 100).into_iter().collect();
    assert_eq!(sample, [addr_v6(0), addr_v6(1), addr_v6(2), addr(0), addr(1), addr(2)].into());
    assert_eq!(world.store.info_hashes(), 1);
}

#[test]
fn small_swarms_of_both_families_grow_age_and_go() {
    let mut world = world();
    let mut held: BTreeSet<(u64, SocketAddr)> = BTreeSet::new();
    for step in 0..4_000_u32 {
        // Peers come and come again; every third one has an IPv6 address, and some swarms have both.
        let (swarm, peer) = (u64::from(step * 7 % 1009), step * 13 % 97);
        let addr = if step % 3 == 0 { addr_v6(peer) } else { addr(peer) };
        world.store.announce(world.at(u64::from(step / 4)), hash(swarm), addr, false);
        held.insert((swarm, addr));
        if step % 250 == 0 {
            world.store.check_invariants();
        }
    }
    assert_eq!(world.store.peers(), held.len(), "nobody twice, nobody lost");
    for swarm in 0..1009 {
        let sample: BTreeSet<SocketAddr> = world.sample(1000, swarm, 1000).into_iter().collect();
        assert_eq!(sample, held.iter().filter(|(of, _)| *of == swarm).map(|(_, addr)| *addr).collect());
    }
    world.store.expire(world.at(2000));
    world.store.check_invariants();
    assert!((1..held.len()).contains(&world.store.peers()), "some are too old, some are not");
    world.store.expire(world.at(2801));
    assert_eq!((world.store.peers(), world.store.info_hashes(), world.store.used_bytes()), (0, 0, 0));
    world.store.check_invariants();
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_the_ipv4_address() {
    let mut world = world();
    let mapped = SocketAddr::new(Ipv4Addr::from_bits(0x0500_0001).to_ipv6_mapped().into(), 6881);
    world.store.announce(world.start, hash(1), mapped, false);
    world.announce(0, 1, 1);
    assert_eq!(world.sample(0, 1, 10), [addr(1)]);
}

#[test]
fn a_flood_of_one_network_does_not_push_out_what_the_others_announced() {
    let mut world = world();
    // Small swarms and a larger one fill the store from many networks.
    let network = |number: u32| SocketAddr::new(Ipv4Addr::from_bits(0x1000_0000 + number * 256).into(), 6881);
    let mut honest = 0;
    while world.store.used_bytes() < BUDGET_BYTES - RECORD_BYTES {
        world.store.announce(world.start, hash(u64::from(honest) % 20_000), network(honest), false);
        honest += 1;
    }
    let flood = if cfg!(debug_assertions) { 30_000 } else { 1_000_000 };
    for number in 0..flood {
        let flooder = SocketAddr::from(([66, 6, 6, number as u8], 6881));
        world.store.announce(world.start, hash(1_000_000 + number), flooder, false);
    }
    world.store.check_invariants();
    let left = (0..honest).filter(|number| {
        let mut out = Vec::new();
        let info_hash = hash(u64::from(*number) % 20_000);
        world.store.sample(world.start, &info_hash, 1000, false, &mut world.rng, &mut out);
        out.contains(&network(*number))
    });
    let (left, honest) = (left.count(), honest as usize);
    assert!(left * 100 >= honest * 90, "{left} of {honest} are left");
    // And an honest newcomer finds room.
    world.announce(1, 77, 1);
    assert!(world.sample(1, 77, 10).contains(&addr(1)));
}

#[test]
fn a_swarm_near_the_limit_of_scrapes_has_no_room_and_still_renews_itself() {
    let mut world = world();
    for peer in 0..SCRAPE_PEERS_MAX as u32 {
        assert!(world.store.has_room(&hash(1)));
        world.announce(u64::from(peer / 10), 1, peer);
    }
    assert!(!world.store.has_room(&hash(1)));
    world.announce(700, 1, 1_000_000);
    let sample = world.sample(700, 1, SCRAPE_PEERS_MAX);
    assert!(sample.contains(&addr(1_000_000)) && !sample.contains(&addr(0)), "the oldest gave way");
    world.store.check_invariants();
}

#[test]
fn the_sample_of_info_hashes_stays_for_its_interval() {
    let mut world = world();
    let empty = world.store.sample_info_hashes(world.start, &mut world.rng);
    assert_eq!(empty, Samples { info_hashes: &[], interval_s: 0, total: 0 });
    for number in 0..100 {
        world.announce(0, number, 1);
    }
    let first = world.store.sample_info_hashes(world.start, &mut world.rng);
    assert_eq!((first.info_hashes.len(), first.interval_s, first.total), (400, 3600, 100));
    let first = first.info_hashes.to_vec();
    assert_eq!(first.chunks(20).collect::<BTreeSet<_>>().len(), 20, "none twice");
    for number in 100..200 {
        world.announce(1200, number, 1);
    }
    let now = world.at(1200);
    let second = world.store.sample_info_hashes(now, &mut world.rng);
    assert_eq!((second.info_hashes, second.interval_s), (&first[..], 2400));
    for number in 100..200 {
        world.announce(3600, number, 1);
    }
    let now = world.at(3600);
    let third = world.store.sample_info_hashes(now, &mut world.rng);
    assert_eq!((third.interval_s, third.total), (3600, 100), "the first hundred expired");
    assert!(third.info_hashes.chunks(20).all(|key| !first.chunks(20).any(|old| old == key)));
}
