use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};

use rand_core::Rng;

use super::large_swarm::is_expired;
use super::permutation::Permutation;
use crate::InfoHash;
use crate::keyed::KeyedState;

/// Peers of one swarm that are kept as records of their own at most.
pub(super) const FEW_MAX: usize = 16;

/// Bits of an index entry that name a record; the others are part of its hash, and tell most of the wrong ones apart
/// without looking at them.
const SLOT_BITS: u32 = 24;
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;

/// Records that an index entry can name.
pub(super) const RECORDS_MAX: usize = SLOT_MASK as usize;

/// Seconds are counted modulo this, 97 days: by far more than a peer is kept.
const SECONDS_MODULUS: u32 = 1 << 23;

/// What is reserved besides the records.
struct Layout {
    /// The index grows when more than this part of it is in use.
    index_full: (usize, usize),
    /// By this part of itself.
    index_growth_divisor: usize,
    /// What that leaves for a record at most, in bytes.
    index_bytes: usize,
    /// The part of the records that is reserved for more.
    reserve_divisor: usize,
}

/// Of the 40 bytes that a record may cost, an IPv4 address leaves ten to the index, which doubles and is searched fast.
const LAYOUT_V4: Layout = Layout { index_full: (4, 5), index_growth_divisor: 1, index_bytes: 10, reserve_divisor: 32 };

/// An IPv6 address leaves six of 48. At least five index entries of seven are in use, and a search that finds nothing
/// looks at some twenty of them, which are beside each other.
const LAYOUT_V6: Layout = Layout { index_full: (17, 20), index_growth_divisor: 5, index_bytes: 6, reserve_divisor: 64 };

/// A peer of a small swarm with its info hash, its address as four or sixteen bytes: 29 or 41 bytes, without padding.
/// Most swarms that a node stores have one peer or two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<Ip> {
    pub(super) info_hash: InfoHash,
    ip: Ip,
    port: [u8; 2],
    /// Seconds of the announce, modulo [`SECONDS_MODULUS`], above a bit for seeds.
    stamp: [u8; 3],
}

impl<Ip: Copy + Into<IpAddr>> Record<Ip> {
    pub(super) fn new(info_hash: InfoHash, ip: Ip, port: u16, announced_s: u32, seed: bool) -> Self {
        let stamp = ((announced_s % SECONDS_MODULUS) << 1) | u32::from(seed);
        let [_, a, b, c] = stamp.to_be_bytes();
        Self { info_hash, ip, port: port.to_be_bytes(), stamp: [a, b, c] }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip.into(), u16::from_be_bytes(self.port))
    }

    pub(super) fn seed(&self) -> bool {
        self.stamp[2] & 1 == 1
    }

    /// Seconds since the announce.
    pub(super) fn age_s(&self, now_s: u32) -> u32 {
        let [a, b, c] = self.stamp;
        let announced_s = u32::from_be_bytes([0, a, b, c]) >> 1;
        now_s.wrapping_sub(announced_s) % SECONDS_MODULUS
    }
}

/// The peers of small swarms of one family: a dense array, and an open-addressed index over it by a keyed hash of the info
/// hash.
#[derive(Debug)]
pub(super) struct Records<Ip> {
    records: Vec<Record<Ip>>,
    /// `slot + 1` and part of the hash; 0 is free.
    index: Vec<u32>,
    hasher: KeyedState,
    swarms: usize,
}

impl<Ip: Copy + Into<IpAddr>> Records<Ip> {
    const LAYOUT: Layout = if size_of::<Ip>() == 4 { LAYOUT_V4 } else { LAYOUT_V6 };

    /// What a record costs at most, in bytes: itself, what is reserved for more, and its part of the index when that has
    /// just grown. 40 with an IPv4 address, 48 with an IPv6 one.
    pub(super) const RECORD_BYTES: usize = size_of::<Record<Ip>>()
        + size_of::<Record<Ip>>().div_ceil(Self::LAYOUT.reserve_divisor)
        + Self::LAYOUT.index_bytes;

    /// Peers of one swarm at most: more of them are cheaper as a large swarm.
    pub(super) const SWARM_MAX: usize = if size_of::<Ip>() == 4 { FEW_MAX } else { FEW_MAX / 2 };

    pub(super) fn new(rng: &mut impl Rng) -> Self {
        Self { records: Vec::new(), index: Vec::new(), hasher: KeyedState::new(rng), swarms: 0 }
    }

    pub(super) fn records(&self) -> &[Record<Ip>] {
        &self.records
    }

    /// What the records cost, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.records.len() * Self::RECORD_BYTES
    }

    /// How many different info hashes the records have.
    pub(super) fn swarms(&self) -> usize {
        self.swarms
    }

    /// The slots of a swarm's records: how many, at most [`Records::SWARM_MAX`], and which.
    pub(super) fn find(&self, info_hash: &InfoHash) -> (usize, [u32; FEW_MAX]) {
        let (mut count, mut slots) = (0, [0; FEW_MAX]);
        if self.index.is_empty() {
            return (0, slots);
        }
        let hash = self.hash(info_hash);
        let (mut at, mark) = (self.home(hash), mark_of(hash));
        while self.index[at] != 0 && count < Self::SWARM_MAX {
            let entry = self.index[at];
            let slot = (entry & SLOT_MASK) - 1;
            if entry & !SLOT_MASK == mark && self.records[slot as usize].info_hash == *info_hash {
                slots[count] = slot;
                count += 1;
            }
            at = self.after(at);
        }
        (count, slots)
    }

    /// Appends to `out` up to `count_max` peers of a swarm, drawn by lot; without seeds if the asker is one. `false` if the
    /// swarm is not here.
    pub(super) fn sample(
        &self,
        now_s: u32,
        info_hash: &InfoHash,
        count_max: usize,
        noseed: bool,
        rng: &mut impl Rng,
        out: &mut Vec<SocketAddr>,
    ) -> bool {
        let (count, slots) = self.find(info_hash);
        let records = Permutation::new(count, rng).map(|number| &self.records[slots[number] as usize]);
        let fit = records.filter(|record| !(is_expired(record.age_s(now_s)) || noseed && record.seed()));
        out.extend(fit.take(count_max).map(Record::addr));
        count > 0
    }

    /// Adds a record; there must be fewer than [`Records::SWARM_MAX`] of its swarm and [`RECORDS_MAX`] of all.
    pub(super) fn insert(&mut self, record: Record<Ip>) {
        self.swarms += usize::from(self.find(&record.info_hash).0 == 0);
        let (part, whole) = Self::LAYOUT.index_full;
        if (self.records.len() + 1) * whole > self.index.len() * part {
            self.rebuild((self.index.len() + self.index.len() / Self::LAYOUT.index_growth_divisor).max(FEW_MAX));
        }
        if self.records.len() == self.records.capacity() {
            self.records.reserve_exact((self.records.len() / Self::LAYOUT.reserve_divisor).max(4));
        }
        self.records.push(record);
        self.enter(self.records.len() - 1);
    }

    /// Replaces a record by one of the same swarm.
    pub(super) fn replace(&mut self, slot: usize, record: Record<Ip>) {
        self.records[slot] = record;
    }

    /// Takes a record out. The last one takes its slot.
    pub(super) fn remove(&mut self, slot: usize) -> Record<Ip> {
        let last = self.records.len() - 1;
        self.leave(slot);
        if slot != last {
            let at = self.position(last);
            self.index[at] = self.index[at] & !SLOT_MASK | (slot as u32 + 1);
        }
        let removed = self.records.swap_remove(slot);
        self.swarms -= usize::from(self.find(&removed.info_hash).0 == 0);
        self.shrink();
        removed
    }

    /// Bytes that are really reserved.
    #[cfg(test)]
    pub(super) fn reserved_bytes(&self) -> usize {
        self.records.capacity() * size_of::<Record<Ip>>() + self.index.capacity() * size_of::<u32>()
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.index.iter().filter(|entry| **entry != 0).count(), self.records.len());
        let mut swarms = std::collections::BTreeSet::new();
        for (slot, record) in self.records.iter().enumerate() {
            swarms.insert(record.info_hash);
            let (count, slots) = self.find(&record.info_hash);
            assert!(slots[..count].contains(&(slot as u32)), "every record is found");
        }
        assert_eq!(swarms.len(), self.swarms);
    }

    fn hash(&self, info_hash: &InfoHash) -> u64 {
        self.hasher.hash_one(info_hash.as_bytes())
    }

    /// Where the search for a hash begins.
    fn home(&self, hash: u64) -> usize {
        ((u64::from(hash as u32) * self.index.len() as u64) >> 32) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.index.len() { 0 } else { at + 1 }
    }

    /// Steps of [`Records::after`] that lead from one place to another.
    fn steps(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.index.len() - from }
    }

    /// Enters a record that is in none of the places of the index.
    fn enter(&mut self, slot: usize) {
        let hash = self.hash(&self.records[slot].info_hash);
        let mut at = self.home(hash);
        while self.index[at] != 0 {
            at = self.after(at);
        }
        self.index[at] = mark_of(hash) | (slot as u32 + 1);
    }

    /// Where in the index a record is.
    fn position(&self, slot: usize) -> usize {
        let hash = self.hash(&self.records[slot].info_hash);
        let entry = mark_of(hash) | (slot as u32 + 1);
        let mut at = self.home(hash);
        while self.index[at] != entry {
            at = self.after(at);
        }
        at
    }

    /// Takes a record out of the index, and moves up those that would not be found behind the gap.
    fn leave(&mut self, slot: usize) {
        let mut gap = self.position(slot);
        let mut at = self.after(gap);
        while self.index[at] != 0 {
            let other = (self.index[at] & SLOT_MASK) as usize - 1;
            let home = self.home(self.hash(&self.records[other].info_hash));
            if self.steps(home, at) >= self.steps(gap, at) {
                self.index[gap] = self.index[at];
                gap = at;
            }
            at = self.after(at);
        }
        self.index[gap] = 0;
    }

    fn shrink(&mut self) {
        if self.records.len() * 8 < self.index.len() && self.index.len() > FEW_MAX {
            self.rebuild(self.index.len() / 2);
        }
        if self.records.len() + self.records.len() / 4 + FEW_MAX < self.records.capacity() {
            self.records.shrink_to(self.records.len());
        }
    }

    fn rebuild(&mut self, len: usize) {
        self.index = Vec::new();
        self.index = vec![0; len];
        (0..self.records.len()).for_each(|slot| self.enter(slot));
    }
}

fn mark_of(hash: u64) -> u32 {
    (hash >> 32) as u32 & !SLOT_MASK
}
