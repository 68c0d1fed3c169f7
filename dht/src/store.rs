use std::collections::BTreeSet;
use std::mem::size_of;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use rand_core::Rng;

use crate::InfoHash;
use crate::keyed::KeyedState;
use crate::scrape::{BloomFilter, SCRAPE_PEERS_MAX};

/// How long a peer is kept after its last announce.
pub const PEER_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// How long one subset of the info hashes is handed out (BEP 51 allows up to six hours).
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(3600);

/// Info hashes in one subset: with the nodes of both families they stay below 1024 bytes.
const SAMPLES_MAX: usize = 20;

/// Peers that no other swarm can take from a swarm: twice what one reply carries.
const SWARM_SHARE_MIN: usize = 100;

/// A budget below this would hold no full swarm.
const BUDGET_BYTES_MIN: usize = 256 * 1024;

/// Peers below this port are never stored: no client listens there, but services that a swarm could be aimed at do.
const PORT_MIN: u16 = 1024;

/// Swarms looked at for expired peers with each announce: a full turn takes half as many announces as there are swarms.
const SWEEP_SWARMS: usize = 2;

/// Pairs of filters kept, and for how long, so that asking again and again for a large swarm costs nothing.
const SCRAPES_CACHED: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");
const SCRAPE_LIFETIME: Duration = Duration::from_secs(60);

/// What a swarm costs besides its peers, in bytes: a node and a slot of the map, its key again, and two allocations.
const SWARM_BYTES: usize = 160;

/// The peers that announced to this node, within a budget of bytes (BEP 5, BEP 33).
///
/// One entry per info hash and IP address: a new port replaces the old one. The store is never "full": when the budget
/// is used up, the largest swarm gives its oldest peers, down to what a reply can carry anyway; when none is larger,
/// the swarm goes that was announced to least recently.
#[derive(Debug)]
pub struct PeerStore {
    swarms: LruCache<InfoHash, Swarm, KeyedState>,
    /// Every key of `swarms`, to draw from by lot and to sweep in turns.
    keys: Vec<InfoHash>,
    /// The swarms that have to give first, by size.
    large: BTreeSet<(usize, InfoHash)>,
    scrapes: LruCache<InfoHash, Scrape, KeyedState>,
    start: Instant,
    budget_bytes: usize,
    used_bytes: usize,
    peers: usize,
    sweep_next: usize,
    frozen: Vec<u8>,
    frozen_until: Instant,
}

#[derive(Debug, Default)]
struct Swarm {
    /// In ascending order of `ip`.
    peers: Vec<Peer>,
    /// No peer is older than this.
    oldest_s: u32,
    /// Place in `PeerStore::keys`.
    key_index: usize,
}

#[derive(Debug, Clone, Copy)]
struct Peer {
    /// IPv4 addresses are mapped.
    ip: [u8; 16],
    announced_s: u32,
    port: u16,
    seed: bool,
}

/// The seeds and the other peers of a swarm (BEP 33).
#[derive(Debug, Clone)]
pub struct Scrape {
    /// `BFsd`.
    pub seeds: BloomFilter,
    /// `BFpe`.
    pub peers: BloomFilter,
    made: Instant,
}

/// A reply to `sample_infohashes` (BEP 51).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Samples<'a> {
    /// Concatenated info hashes.
    pub info_hashes: &'a [u8],
    /// Seconds for which they stay the same.
    pub interval_s: u32,
    /// How many info hashes are stored.
    pub total: usize,
}

impl PeerStore {
    /// An empty store that will use about `budget_bytes` at most.
    pub fn new(budget_bytes: usize, start: Instant, rng: &mut impl Rng) -> Self {
        Self {
            swarms: LruCache::unbounded_with_hasher(KeyedState::new(rng)),
            keys: Vec::new(),
            large: BTreeSet::new(),
            scrapes: LruCache::with_hasher(SCRAPES_CACHED, KeyedState::new(rng)),
            start,
            budget_bytes: budget_bytes.max(BUDGET_BYTES_MIN),
            used_bytes: 0,
            peers: 0,
            sweep_next: 0,
            frozen: Vec::new(),
            frozen_until: start,
        }
    }

    /// Stored peers, expired ones that no sweep has met yet included.
    pub fn peers(&self) -> usize {
        self.peers
    }

    /// Stored info hashes.
    pub fn info_hashes(&self) -> usize {
        self.keys.len()
    }

    /// Bytes in use, at most the budget.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Stores a peer, or refreshes it. A peer on a port of the system (below 1024) is not stored.
    pub fn announce(&mut self, now: Instant, info_hash: InfoHash, addr: SocketAddr, seed: bool) {
        if addr.port() < PORT_MIN {
            return;
        }
        let now_s = self.seconds(now);
        self.sweep_some(now_s, SWEEP_SWARMS);
        let peer = Peer { ip: mapped(addr.ip()), announced_s: now_s, port: addr.port(), seed };
        if self.swarms.get(&info_hash).is_none() {
            let key_index = self.keys.len();
            self.keys.push(info_hash);
            self.swarms.put(info_hash, Swarm { key_index, oldest_s: now_s, ..Swarm::default() });
            self.used_bytes += SWARM_BYTES;
        }
        self.update(&info_hash, |swarm| swarm.insert(peer));
        while self.used_bytes > self.budget_bytes {
            self.evict();
        }
    }

    /// Whether a swarm has room, which is when a token may be given out for it (BEP 33).
    pub fn has_room(&self, info_hash: &InfoHash) -> bool {
        self.swarms.peek(info_hash).is_none_or(|swarm| swarm.peers.len() < SCRAPE_PEERS_MAX)
    }

    /// Appends to `out` up to `count_max` peers of a swarm, drawn by lot; without seeds if the asker is one.
    pub fn sample(
        &self,
        now: Instant,
        info_hash: &InfoHash,
        count_max: usize,
        noseed: bool,
        rng: &mut impl Rng,
        out: &mut Vec<SocketAddr>,
    ) {
        let Some(swarm) = self.swarms.peek(info_hash) else {
            return;
        };
        let now_s = self.seconds(now);
        let peers = swarm.in_random_order(rng).filter(|peer| !(peer.is_expired(now_s) || noseed && peer.seed));
        out.extend(peers.take(count_max).map(Peer::addr));
    }

    /// The filters of a swarm, at most a minute old; `None` if nobody announced to it.
    pub fn scrape(&mut self, now: Instant, info_hash: &InfoHash) -> Option<&Scrape> {
        let swarm = self.swarms.peek(info_hash)?;
        let is_fresh = |scrape: &Scrape| now.saturating_duration_since(scrape.made) < SCRAPE_LIFETIME;
        if !self.scrapes.peek(info_hash).is_some_and(is_fresh) {
            let now_s = self.seconds(now);
            let mut scrape = Scrape { seeds: BloomFilter::new(), peers: BloomFilter::new(), made: now };
            for peer in swarm.peers.iter().filter(|peer| !peer.is_expired(now_s)) {
                let filter = if peer.seed { &mut scrape.seeds } else { &mut scrape.peers };
                filter.insert(peer.addr().ip());
            }
            self.scrapes.put(*info_hash, scrape);
        }
        self.scrapes.get(info_hash)
    }

    /// Some of the stored info hashes, the same ones until the interval that goes with them is over.
    pub fn sample_info_hashes(&mut self, now: Instant, rng: &mut impl Rng) -> Samples<'_> {
        if now >= self.frozen_until || self.frozen.is_empty() {
            self.sweep_some(self.seconds(now), self.keys.len());
            self.freeze(now, rng);
        }
        let interval_s = match self.frozen.is_empty() {
            true => 0,
            false => self.frozen_until.saturating_duration_since(now).as_secs() as u32,
        };
        Samples { info_hashes: &self.frozen, interval_s, total: self.keys.len() }
    }

    /// Drops expired peers. Replies leave them out in any case; this is for memory and numbers.
    pub fn expire(&mut self, now: Instant) {
        self.sweep_some(self.seconds(now), self.keys.len());
    }

    /// Panics when the parts of the store contradict each other.
    pub fn check_invariants(&self) {
        assert_eq!(self.swarms.len(), self.keys.len());
        let (mut peers, mut used_bytes, mut large) = (0, 0, 0);
        for (key, swarm) in &self.swarms {
            assert_eq!(self.keys[swarm.key_index], *key);
            assert!(!swarm.peers.is_empty(), "a swarm without peers is forgotten");
            assert!(swarm.peers.is_sorted_by(|a, b| a.place() < b.place()), "one entry per address, in order");
            assert!(swarm.peers.iter().all(|peer| peer.announced_s >= swarm.oldest_s));
            assert!(swarm.peers.len() <= SCRAPE_PEERS_MAX);
            peers += swarm.peers.len();
            used_bytes += SWARM_BYTES + swarm.bytes();
            large += usize::from(self.large.contains(&(swarm.peers.len(), *key)));
        }
        assert_eq!(peers, self.peers);
        assert_eq!(used_bytes, self.used_bytes);
        assert_eq!(large, self.large.len());
        assert!(self.used_bytes <= self.budget_bytes);
    }

    fn seconds(&self, now: Instant) -> u32 {
        // 136 years.
        now.saturating_duration_since(self.start).as_secs() as u32
    }

    /// Changes the peers of a swarm and keeps the sums; a swarm without peers is forgotten.
    fn update(&mut self, info_hash: &InfoHash, change: impl FnOnce(&mut Swarm)) {
        let Some(swarm) = self.swarms.peek_mut(info_hash) else {
            return;
        };
        let (len_before, bytes_before) = (swarm.peers.len(), swarm.bytes());
        change(swarm);
        let (len, bytes, key_index) = (swarm.peers.len(), swarm.bytes(), swarm.key_index);
        self.peers = self.peers + len - len_before;
        self.used_bytes = self.used_bytes + bytes - bytes_before;
        if len != len_before {
            if len_before > SWARM_SHARE_MIN {
                self.large.remove(&(len_before, *info_hash));
            }
            if len > SWARM_SHARE_MIN {
                self.large.insert((len, *info_hash));
            }
        }
        if len == 0 {
            self.swarms.pop(info_hash);
            self.forget_key(key_index, bytes);
        }
    }

    /// Takes a swarm that left the map, with `bytes` of peers, out of the rest.
    fn forget_key(&mut self, key_index: usize, bytes: usize) {
        self.used_bytes -= SWARM_BYTES + bytes;
        self.keys.swap_remove(key_index);
        if let Some(moved) = self.keys.get(key_index)
            && let Some(swarm) = self.swarms.peek_mut(moved)
        {
            swarm.key_index = key_index;
        }
    }

    fn evict(&mut self) {
        if let Some(&(_, info_hash)) = self.large.last() {
            self.update(&info_hash, Swarm::trim);
        } else if let Some((_, swarm)) = self.swarms.pop_lru() {
            self.peers -= swarm.peers.len();
            self.forget_key(swarm.key_index, swarm.bytes());
        }
    }

    /// Drops the expired peers of the next `count` swarms.
    fn sweep_some(&mut self, now_s: u32, count: usize) {
        for _ in 0..count.min(self.keys.len()) {
            if self.sweep_next >= self.keys.len() {
                self.sweep_next = 0;
            }
            let Some(&info_hash) = self.keys.get(self.sweep_next) else {
                return;
            };
            let swarms_before = self.keys.len();
            self.update(&info_hash, |swarm| swarm.expire(now_s));
            // A swarm that went left its place to another one, which is next.
            if self.keys.len() == swarms_before {
                self.sweep_next += 1;
            }
        }
    }

    /// Draws the subset of info hashes for the next interval.
    fn freeze(&mut self, now: Instant, rng: &mut impl Rng) {
        self.frozen.clear();
        self.frozen_until = now + SAMPLE_INTERVAL;
        let indices = Permutation::new(self.keys.len(), rng).take(SAMPLES_MAX);
        self.frozen.extend(indices.flat_map(|index| self.keys[index].as_bytes()));
    }
}

impl Swarm {
    fn bytes(&self) -> usize {
        self.peers.capacity() * size_of::<Peer>()
    }

    fn insert(&mut self, peer: Peer) {
        match self.peers.binary_search_by_key(&peer.place(), Peer::place) {
            Ok(index) => self.peers[index] = peer,
            Err(mut index) => {
                if self.peers.len() >= SCRAPE_PEERS_MAX {
                    self.trim();
                    index = self.peers.partition_point(|other| other.place() < peer.place());
                }
                if self.peers.len() == self.peers.capacity() {
                    // A quarter instead of the double: what is reserved and not used counts as used.
                    self.peers.reserve_exact((self.peers.len() / 4).max(1));
                }
                self.peers.insert(index, peer);
            }
        }
    }

    /// Drops the oldest eighth of the peers, so that the work of finding them is shared by many announces.
    fn trim(&mut self) {
        let count = (self.peers.len() / 8).max(1);
        let mut ages: Vec<u32> = self.peers.iter().map(|peer| peer.announced_s).collect();
        let (_, &mut limit_s, _) = ages.select_nth_unstable(count - 1);
        let mut left = count;
        self.peers.retain(|peer| {
            let goes = peer.announced_s <= limit_s && left > 0;
            left -= usize::from(goes);
            !goes
        });
        self.shrink();
    }

    fn expire(&mut self, now_s: u32) {
        if !is_expired(self.oldest_s, now_s) {
            return;
        }
        self.peers.retain(|peer| !peer.is_expired(now_s));
        self.oldest_s = self.peers.iter().map(|peer| peer.announced_s).min().unwrap_or(now_s);
        self.shrink();
    }

    fn shrink(&mut self) {
        self.peers.shrink_to(self.peers.len() + self.peers.len() / 8);
    }

    fn in_random_order(&self, rng: &mut impl Rng) -> impl Iterator<Item = &Peer> {
        Permutation::new(self.peers.len(), rng).map(|index| &self.peers[index])
    }
}

impl Peer {
    /// What a swarm holds once: an IP address, whose new port replaces the old. On the loopback network, where every
    /// peer has the same IP address, an address with its port.
    fn place(&self) -> ([u8; 16], u16) {
        let port = if self.addr().ip().is_loopback() { self.port } else { 0 };
        (self.ip, port)
    }

    fn addr(&self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.ip).to_canonical(), self.port)
    }

    fn is_expired(&self, now_s: u32) -> bool {
        is_expired(self.announced_s, now_s)
    }
}

fn is_expired(announced_s: u32, now_s: u32) -> bool {
    now_s.saturating_sub(announced_s) > PEER_LIFETIME.as_secs() as u32
}

fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Visits `0..len` once each in an order drawn by lot, without memory: from a random start by a stride that shares no
/// divisor with the length.
struct Permutation {
    len: usize,
    next: usize,
    stride: usize,
    left: usize,
}

impl Permutation {
    fn new(len: usize, rng: &mut impl Rng) -> Self {
        if len < 2 {
            return Self { len, next: 0, stride: 1, left: len };
        }
        let chance = rng.next_u64();
        let next = (chance >> 32) as usize % len;
        let mut stride = 1 + chance as u32 as usize % (len - 1);
        while greatest_common_divisor(stride, len) != 1 {
            stride -= 1;
        }
        Self { len, next, stride, left: len }
    }
}

impl Iterator for Permutation {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let index = self.next;
        // The stride is shorter than the length, so that one subtraction does what a division would.
        self.next += self.stride;
        if self.next >= self.len {
            self.next -= self.len;
        }
        Some(index)
    }
}

fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;
    use std::net::Ipv4Addr;

    const BUDGET_BYTES: usize = 1 << 20;

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
        for number in 0..200_000u64 {
            world.announce(0, 1 + number, 7);
            if number % 1000 == 0 {
                // A living swarm is announced to now and then.
                world.announce(0, 0, 3000 + number as u32);
            }
        }
        assert!(world.store.used_bytes() <= BUDGET_BYTES);
        world.store.check_invariants();
        assert_eq!(world.sample(0, 0, 50).len(), 50, "the swarm of many still fills a reply");
        assert_eq!(world.sample(0, 200_000, 50).len(), 1, "and nobody is refused");
    }

    #[test]
    fn a_peer_costs_at_most_40_bytes_amortised() {
        let mut world = world();
        for peer in 0..300_000 {
            world.announce(0, u64::from(peer % 1000), peer);
            if world.store.used_bytes() > BUDGET_BYTES - 1000 {
                break;
            }
        }
        let bytes_each = world.store.used_bytes() / world.store.peers();
        assert!(bytes_each <= 40, "{bytes_each} bytes with {} peers", world.store.peers());
        world.store.check_invariants();
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
}
