use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use rand_core::Rng;

use super::large_swarm::{LargeSwarm, Peer, is_expired, place_port};
use super::owners::{Owner, Owners};
use super::permutation::Permutation;
use super::small_swarms::{Slot, SmallPeer, SmallSwarms};
use super::split_mix::SplitMix;
use crate::InfoHash;
use crate::keyed::KeyedState;
use crate::krpc::{BloomFilter, SCRAPE_PEERS_MAX};

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

/// Records and large swarms looked at for expired peers with each announce: a full turn takes half as many announces as there
/// are of them.
const SWEEP_STEPS: usize = 2;

/// The same with each tick of a clock that has nothing else to do: a full turn of a million takes four minutes.
const SWEEP_TICK: usize = 4096;

/// Records drawn by lot when one has to go; the oldest of the network that has most goes.
const EVICTION_DRAWS: usize = 8;

/// Pairs of filters kept, and for how long, so that asking again and again for a large swarm costs nothing.
const SCRAPES_CACHED: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");
const SCRAPE_LIFETIME: Duration = Duration::from_secs(60);

/// What a large swarm costs besides its peers, in bytes: a node and a slot of the map, its key again, and two allocations.
const LARGE_SWARM_BYTES: usize = 160;

/// The peers that announced to this node, within a budget of bytes (BEP 5, BEP 33).
///
/// One entry per info hash and IP address: a new port replaces the old one. The store is never "full". When the budget
/// is used up, a network (/24, /48) that has more than a sixteenth of everything replaces what it brought last; else
/// the largest swarm gives its oldest peers, down to what a reply can carry anyway; else goes what was announced least
/// recently, as far as a few draws by lot tell.
#[derive(Debug)]
pub struct PeerStore {
    small: SmallSwarms,
    large_swarms: LruCache<InfoHash, LargeSwarm, KeyedState>,
    /// Every key of `large_swarms`, to draw from by lot and to sweep in turns.
    large_keys: Vec<InfoHash>,
    large_peers: usize,
    large_bytes: usize,
    /// The large swarms that have to give first, by size.
    largest: BTreeSet<(usize, InfoHash)>,
    /// Who has how many peers, counted from when the budget is used up for the first time.
    owners: Option<Owners<(InfoHash, SocketAddr)>>,
    owner_key: KeyedState,
    lots: SplitMix,
    scrapes: Option<LruCache<InfoHash, Scrape, KeyedState>>,
    start: Instant,
    budget_bytes: usize,
    sweep_small: usize,
    sweep_large: usize,
    frozen: Vec<u8>,
    frozen_until: Instant,
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
            small: SmallSwarms::new(rng),
            large_swarms: LruCache::unbounded_with_hasher(KeyedState::new(rng)),
            large_keys: Vec::new(),
            large_peers: 0,
            large_bytes: 0,
            largest: BTreeSet::new(),
            owners: None,
            owner_key: KeyedState::new(rng),
            lots: SplitMix::new(rng.next_u64()),
            scrapes: None,
            start,
            budget_bytes: budget_bytes.max(BUDGET_BYTES_MIN),
            sweep_small: 0,
            sweep_large: 0,
            frozen: Vec::new(),
            frozen_until: start,
        }
    }

    /// Stored peers, expired ones that no sweep has met yet included.
    pub fn peers(&self) -> usize {
        self.small.len() + self.large_peers
    }

    /// Stored info hashes.
    pub fn info_hashes(&self) -> usize {
        self.small.swarms() + self.large_keys.len()
    }

    /// Bytes in use, at most the budget.
    pub fn used_bytes(&self) -> usize {
        self.small.bytes() + self.large_bytes
    }

    /// Stores a peer, or refreshes it. A peer on a port of the system (below 1024) is not stored.
    pub fn announce(&mut self, now: Instant, info_hash: InfoHash, addr: SocketAddr, seed: bool) {
        if addr.port() < PORT_MIN {
            return;
        }
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        let now_s = self.seconds(now);
        self.sweep_small(now_s, SWEEP_STEPS);
        self.sweep_large_swarms(now_s, SWEEP_STEPS);
        let owner = Owner::of(addr.ip(), &self.owner_key);
        if let Some(owners) = &mut self.owners {
            owners.add(owner, 1);
        }
        if !self.announce_to_small(now_s, info_hash, addr, seed) {
            self.gather(now_s, info_hash);
            let peer = Peer::new(addr, now_s, seed);
            self.update(&info_hash, |swarm, gone| swarm.insert(peer, gone));
        }
        while self.used_bytes() > self.budget_bytes || self.small.is_full() {
            self.evict(now_s, owner);
        }
        if let Some(owners) = &mut self.owners {
            owners.set_last(owner, (info_hash, addr));
        }
    }

    /// Whether a swarm has room, which is when a token may be given out for it (BEP 33).
    pub fn has_room(&self, info_hash: &InfoHash) -> bool {
        self.large_swarms.peek(info_hash).is_none_or(|swarm| swarm.peers.len() < SCRAPE_PEERS_MAX)
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
        let now_s = self.seconds(now);
        if self.small.sample(now_s, info_hash, count_max, noseed, rng, out) {
            return;
        }
        if let Some(swarm) = self.large_swarms.peek(info_hash) {
            let peers = swarm.in_random_order(rng).filter(|peer| !(peer.is_expired(now_s) || noseed && peer.seed));
            out.extend(peers.take(count_max).map(Peer::addr));
        }
    }

    /// The filters of a swarm, at most a minute old; `None` if nobody announced to it.
    pub fn scrape(&mut self, now: Instant, info_hash: &InfoHash) -> Option<&Scrape> {
        let slots = self.small.find(info_hash);
        let swarm = self.large_swarms.peek(info_hash);
        if slots.len() == 0 && swarm.is_none() {
            return None;
        }
        let owner_key = &self.owner_key;
        let scrapes = self.scrapes.get_or_insert_with(|| LruCache::with_hasher(SCRAPES_CACHED, owner_key.clone()));
        let is_fresh = |scrape: &Scrape| now.saturating_duration_since(scrape.made) < SCRAPE_LIFETIME;
        if !scrapes.peek(info_hash).is_some_and(is_fresh) {
            let now_s = now.saturating_duration_since(self.start).as_secs() as u32;
            let mut scrape = Scrape { seeds: BloomFilter::new(), peers: BloomFilter::new(), made: now };
            let mut insert = |addr: SocketAddr, seed: bool| {
                let filter = if seed { &mut scrape.seeds } else { &mut scrape.peers };
                filter.insert(addr.ip());
            };
            let peers = slots.iter().map(|slot| self.small.peer(slot, now_s));
            for peer in peers.filter(|peer| !is_expired(peer.age_s)) {
                insert(peer.addr, peer.seed);
            }
            for peer in swarm.iter().flat_map(|swarm| &swarm.peers).filter(|peer| !peer.is_expired(now_s)) {
                insert(peer.addr(), peer.seed);
            }
            scrapes.put(*info_hash, scrape);
        }
        scrapes.get(info_hash)
    }

    /// Some of the stored info hashes, the same ones until the interval that goes with them is over.
    pub fn sample_info_hashes(&mut self, now: Instant, rng: &mut impl Rng) -> Samples<'_> {
        if now >= self.frozen_until || self.frozen.is_empty() {
            self.expire(now);
            self.freeze(now, rng);
        }
        let interval_s = match self.frozen.is_empty() {
            true => 0,
            false => self.frozen_until.saturating_duration_since(now).as_secs() as u32,
        };
        Samples { info_hashes: &self.frozen, interval_s, total: self.info_hashes() }
    }

    /// Drops every expired peer. Replies leave them out in any case; this is for memory and numbers.
    pub fn expire(&mut self, now: Instant) {
        let now_s = self.seconds(now);
        self.sweep_small(now_s, self.small.len());
        self.sweep_large_swarms(now_s, self.large_keys.len());
    }

    /// Drops some of the expired peers: for a clock that ticks every second.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let now_s = self.seconds(now);
        self.sweep_small(now_s, SWEEP_TICK);
        self.sweep_large_swarms(now_s, SWEEP_TICK);
    }

    /// Bytes that the small swarms really take, index and reserve included.
    #[cfg(test)]
    pub(super) fn reserved_bytes(&self) -> usize {
        self.small.reserved_bytes()
    }

    /// Panics when the parts of the store contradict each other.
    pub fn check_invariants(&self) {
        self.small.check_invariants();
        assert_eq!(self.large_swarms.len(), self.large_keys.len());
        let (mut peers, mut used_bytes, mut largest) = (0, 0, 0);
        for (key, swarm) in &self.large_swarms {
            assert_eq!(self.large_keys[swarm.key_index], *key);
            assert_eq!(self.small.find(key).len(), 0, "a swarm is in one place");
            assert!(!swarm.peers.is_empty(), "a swarm without peers is forgotten");
            assert!(swarm.peers.is_sorted_by(|a, b| a.place() < b.place()), "one entry per address, in order");
            assert!(swarm.peers.iter().all(|peer| peer.announced_s >= swarm.oldest_s));
            assert!(swarm.peers.len() <= SCRAPE_PEERS_MAX);
            peers += swarm.peers.len();
            used_bytes += LARGE_SWARM_BYTES + swarm.bytes();
            largest += usize::from(self.largest.contains(&(swarm.peers.len(), *key)));
        }
        assert_eq!(peers, self.large_peers);
        assert_eq!(used_bytes, self.large_bytes);
        assert_eq!(largest, self.largest.len());
        assert!(self.used_bytes() <= self.budget_bytes);
        if let Some(owners) = &self.owners {
            assert_eq!(owners.total(), self.peers());
        }
    }

    fn seconds(&self, now: Instant) -> u32 {
        // 136 years.
        now.saturating_duration_since(self.start).as_secs() as u32
    }

    /// Stores or refreshes a peer of a small swarm. `false`: it is none, or will be none with this peer.
    fn announce_to_small(&mut self, now_s: u32, info_hash: InfoHash, addr: SocketAddr, seed: bool) -> bool {
        let slots = self.small.find(&info_hash);
        let is_same = |slot: &Slot| {
            let other = self.small.peer(*slot, now_s).addr;
            other.ip() == addr.ip() && place_port(other) == place_port(addr)
        };
        if let Some(slot) = slots.iter().find(is_same) {
            self.small.replace(slot, now_s, info_hash, addr, seed);
            if let Some(owners) = &mut self.owners {
                owners.subtract(Owner::of(addr.ip(), &self.owner_key), 1);
            }
            return true;
        }
        if !self.small.has_room(&slots, addr) || slots.len() == 0 && self.large_swarms.contains(&info_hash) {
            return false;
        }
        self.small.insert(now_s, info_hash, addr, seed);
        true
    }

    /// Makes a large swarm of a small one.
    fn gather(&mut self, now_s: u32, info_hash: InfoHash) {
        if self.large_swarms.get(&info_hash).is_some() {
            return;
        }
        let key_index = self.large_keys.len();
        self.large_keys.push(info_hash);
        self.large_swarms
            .put(info_hash, LargeSwarm { key_index, oldest_s: now_s, touched_s: now_s, peers: Vec::new() });
        self.large_bytes += LARGE_SWARM_BYTES;
        loop {
            let Some(slot) = self.small.find(&info_hash).iter().next() else {
                return;
            };
            let SmallPeer { addr, seed, age_s, .. } = self.small.remove(slot, now_s);
            let announced_s = now_s.saturating_sub(age_s);
            let peer = Peer::new(addr, announced_s, seed);
            self.update(&info_hash, |swarm, gone| {
                swarm.oldest_s = swarm.oldest_s.min(announced_s);
                swarm.insert(peer, gone);
            });
        }
    }

    /// Changes the peers of a large swarm and keeps the sums; `change` tells of each peer that goes. A large swarm without peers is
    /// forgotten.
    fn update(&mut self, info_hash: &InfoHash, change: impl FnOnce(&mut LargeSwarm, &mut dyn FnMut(&Peer))) {
        let Some(swarm) = self.large_swarms.peek_mut(info_hash) else {
            return;
        };
        let (len_before, bytes_before) = (swarm.peers.len(), swarm.bytes());
        let (owners, owner_key) = (&mut self.owners, &self.owner_key);
        change(swarm, &mut |peer| {
            if let Some(owners) = owners {
                owners.subtract(Owner::of(peer.addr().ip(), owner_key), 1);
            }
        });
        let (len, bytes, key_index) = (swarm.peers.len(), swarm.bytes(), swarm.key_index);
        self.large_peers = self.large_peers + len - len_before;
        self.large_bytes = self.large_bytes + bytes - bytes_before;
        if len != len_before {
            if len_before > SWARM_SHARE_MIN {
                self.largest.remove(&(len_before, *info_hash));
            }
            if len > SWARM_SHARE_MIN {
                self.largest.insert((len, *info_hash));
            }
        }
        if len == 0 {
            self.large_swarms.pop(info_hash);
            self.forget_key(key_index, bytes);
        }
    }

    /// Takes a large swarm that left the map, with `bytes` of peers, out of the rest.
    fn forget_key(&mut self, key_index: usize, bytes: usize) {
        self.large_bytes -= LARGE_SWARM_BYTES + bytes;
        self.large_keys.swap_remove(key_index);
        if let Some(moved) = self.large_keys.get(key_index)
            && let Some(swarm) = self.large_swarms.peek_mut(moved)
        {
            swarm.key_index = key_index;
        }
    }

    /// Forgets a peer of a small swarm.
    fn remove_small(&mut self, now_s: u32, slot: Slot) {
        let peer = self.small.remove(slot, now_s);
        if let Some(owners) = &mut self.owners {
            owners.subtract(Owner::of(peer.addr.ip(), &self.owner_key), 1);
        }
    }

    /// Makes room, `owner` having brought what it is needed for.
    fn evict(&mut self, now_s: u32, owner: Owner) {
        if self.owners.is_none() {
            self.owners = Some(self.count_owners());
        }
        if let Some((info_hash, addr)) = self.owners.as_mut().and_then(|owners| owners.take_excess(owner))
            && self.remove(now_s, &info_hash, addr)
        {
            return;
        }
        if let Some(&(_, info_hash)) = self.largest.last() {
            return self.update(&info_hash, |swarm, gone| swarm.trim(gone));
        }
        let small = self.least_wanted(now_s);
        let swarm = self.large_swarms.peek_lru().map(|(info_hash, swarm)| (*info_hash, swarm.touched_s));
        match (small, swarm) {
            (Some((slot, age_s)), Some((_, touched_s))) if age_s >= now_s.saturating_sub(touched_s) => {
                self.remove_small(now_s, slot);
            }
            (_, Some((info_hash, _))) => self.update(&info_hash, |swarm, gone| {
                swarm.peers.iter().for_each(gone);
                swarm.peers = Vec::new();
            }),
            (Some((slot, _)), None) => self.remove_small(now_s, slot),
            (None, None) => {}
        }
    }

    /// Of a few peers of small swarms drawn by lot, one of the networks that have most, and of those the oldest; and its
    /// age.
    fn least_wanted(&mut self, now_s: u32) -> Option<(Slot, u32)> {
        let draws = (0..EVICTION_DRAWS).filter_map(|_| {
            let number = self.lots.draw(self.small.len());
            let peer = self.small.peer(self.small.nth(number)?, now_s);
            let owner = Owner::of(peer.addr.ip(), &self.owner_key);
            // Shares that differ by less than the double count as equal.
            let share = self.owners.as_ref().map_or(0, |owners| owners.used(owner)).checked_ilog2();
            Some((share, peer.age_s, number))
        });
        let (_, age_s, number) = draws.max()?;
        Some((self.small.nth(number)?, age_s))
    }

    fn count_owners(&self) -> Owners<(InfoHash, SocketAddr)> {
        let mut owners = Owners::new();
        let small = (0..self.small.len()).filter_map(|number| self.small.nth(number));
        let small = small.map(|slot| self.small.peer(slot, 0).addr.ip());
        let large_swarms = self.large_swarms.iter().flat_map(|(_, swarm)| &swarm.peers).map(|peer| peer.addr().ip());
        for ip in small.chain(large_swarms) {
            owners.add(Owner::of(ip, &self.owner_key), 1);
        }
        owners
    }

    /// Forgets one peer. Returns whether it was there.
    fn remove(&mut self, now_s: u32, info_hash: &InfoHash, addr: SocketAddr) -> bool {
        let before = self.peers();
        let is_it = |slot: &Slot| self.small.peer(*slot, now_s).addr == addr;
        match self.small.find(info_hash).iter().find(is_it) {
            Some(slot) => self.remove_small(now_s, slot),
            None => self.update(info_hash, |swarm, gone| swarm.remove(addr, gone)),
        }
        self.peers() < before
    }

    /// Drops the expired ones of the next `count` peers of small swarms.
    fn sweep_small(&mut self, now_s: u32, count: usize) {
        for _ in 0..count.min(self.small.len()) {
            if self.sweep_small >= self.small.len() {
                self.sweep_small = 0;
            }
            let Some(slot) = self.small.nth(self.sweep_small) else {
                return;
            };
            // A peer that goes leaves its slot to another one, which is next.
            if is_expired(self.small.peer(slot, now_s).age_s) {
                self.remove_small(now_s, slot);
            } else {
                self.sweep_small += 1;
            }
        }
    }

    /// Drops the expired peers of the next `count` large swarms.
    fn sweep_large_swarms(&mut self, now_s: u32, count: usize) {
        for _ in 0..count.min(self.large_keys.len()) {
            if self.sweep_large >= self.large_keys.len() {
                self.sweep_large = 0;
            }
            let Some(&info_hash) = self.large_keys.get(self.sweep_large) else {
                return;
            };
            let swarms_before = self.large_keys.len();
            self.update(&info_hash, |swarm, gone| swarm.expire(now_s, gone));
            if self.large_keys.len() == swarms_before {
                self.sweep_large += 1;
            }
        }
    }

    /// Draws the subset of info hashes for the next interval.
    fn freeze(&mut self, now: Instant, rng: &mut impl Rng) {
        self.frozen.clear();
        self.frozen_until = now + SAMPLE_INTERVAL;
        for number in Permutation::new(self.small.len() + self.large_keys.len(), rng) {
            let info_hash = match self.small.nth(number) {
                Some(slot) => self.small.peer(slot, 0).info_hash,
                None => self.large_keys[number - self.small.len()],
            };
            // Up to sixteen records have one info hash.
            if !self.frozen.chunks_exact(20).any(|other| other == info_hash.as_bytes()) {
                self.frozen.extend_from_slice(info_hash.as_bytes());
            }
            if self.frozen.len() >= SAMPLES_MAX * 20 {
                return;
            }
        }
    }
}
