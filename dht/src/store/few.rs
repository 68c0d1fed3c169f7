use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rand_core::Rng;

use super::lot::Lots;
use crate::InfoHash;
use crate::keyed::KeyedState;

/// Peers of one swarm that are kept as records of their own. More of them are cheaper as a crowd.
pub(super) const FEW_MAX: usize = 16;

/// What a record costs at most, in bytes: itself, the thirty-second part that is reserved for more, and 10 bytes of the
/// index when that has just doubled.
pub(super) const RECORD_BYTES: usize = 40;

/// Bits of an index entry that name a record; the others are part of its hash, and tell most of the wrong ones apart
/// without looking at them.
const SLOT_BITS: u32 = 24;
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;

/// Records that an index entry can name.
pub(super) const RECORDS_MAX: usize = SLOT_MASK as usize;

/// Seconds are counted modulo this, 97 days: by far more than a peer is kept.
const SECONDS_MODULUS: u32 = 1 << 23;

/// An IPv4 peer of a small swarm with its info hash: 29 bytes, without padding. Most swarms that a node stores have one
/// peer or two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) info_hash: InfoHash,
    ip: [u8; 4],
    port: [u8; 2],
    /// Seconds of the announce, modulo [`SECONDS_MODULUS`], above a bit for seeds.
    stamp: [u8; 3],
}

impl Record {
    pub(super) fn new(info_hash: InfoHash, ip: Ipv4Addr, port: u16, announced_s: u32, seed: bool) -> Self {
        let stamp = ((announced_s % SECONDS_MODULUS) << 1) | u32::from(seed);
        let [_, a, b, c] = stamp.to_be_bytes();
        Self { info_hash, ip: ip.octets(), port: port.to_be_bytes(), stamp: [a, b, c] }
    }

    pub(super) fn ip(&self) -> IpAddr {
        Ipv4Addr::from(self.ip).into()
    }

    pub(super) fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip(), u16::from_be_bytes(self.port))
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

/// The peers of small swarms: a dense array, and an open-addressed index over it by a keyed hash of the info hash.
#[derive(Debug)]
pub(super) struct Few {
    records: Vec<Record>,
    /// `slot + 1` and part of the hash; 0 is free. A power of two, or empty.
    index: Vec<u32>,
    hasher: KeyedState,
    swarms: usize,
}

impl Few {
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        Self { records: Vec::new(), index: Vec::new(), hasher: KeyedState::new(rng), swarms: 0 }
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// How many different info hashes the records have.
    pub(super) fn swarms(&self) -> usize {
        self.swarms
    }

    /// The slots of a swarm's records: how many, at most [`FEW_MAX`], and which.
    pub(super) fn find(&self, info_hash: &InfoHash) -> (usize, [u32; FEW_MAX]) {
        let (mut count, mut slots) = (0, [0; FEW_MAX]);
        if self.index.is_empty() {
            return (0, slots);
        }
        let hash = self.hash(info_hash);
        let (mask, mark) = (self.index.len() - 1, mark_of(hash));
        let mut at = hash as usize & mask;
        while self.index[at] != 0 && count < FEW_MAX {
            let entry = self.index[at];
            let slot = (entry & SLOT_MASK) - 1;
            if entry & !SLOT_MASK == mark && self.records[slot as usize].info_hash == *info_hash {
                slots[count] = slot;
                count += 1;
            }
            at = (at + 1) & mask;
        }
        (count, slots)
    }

    /// Adds a record; there have to be fewer than [`FEW_MAX`] of its swarm and [`RECORDS_MAX`] of all.
    pub(super) fn insert(&mut self, record: Record) {
        self.swarms += usize::from(self.find(&record.info_hash).0 == 0);
        if (self.records.len() + 1) * 5 > self.index.len() * 4 {
            self.rebuild((self.index.len() * 2).max(FEW_MAX));
        }
        if self.records.len() == self.records.capacity() {
            self.records.reserve_exact((self.records.len() / 32).max(4));
        }
        self.records.push(record);
        self.enter(self.records.len() - 1);
    }

    /// Replaces a record by one of the same swarm.
    pub(super) fn replace(&mut self, slot: usize, record: Record) {
        self.records[slot] = record;
    }

    /// Takes a record out. The last one takes its slot.
    pub(super) fn remove(&mut self, slot: usize) -> Record {
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

    /// The slot of a record drawn by lot; there has to be one.
    pub(super) fn draw(&self, lots: &mut Lots) -> usize {
        lots.draw(self.records.len())
    }

    /// Bytes that are really reserved.
    #[cfg(test)]
    pub(super) fn reserved_bytes(&self) -> usize {
        self.records.capacity() * size_of::<Record>() + self.index.capacity() * size_of::<u32>()
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

    /// Enters a record that is in none of the places of the index.
    fn enter(&mut self, slot: usize) {
        let hash = self.hash(&self.records[slot].info_hash);
        let mask = self.index.len() - 1;
        let mut at = hash as usize & mask;
        while self.index[at] != 0 {
            at = (at + 1) & mask;
        }
        self.index[at] = mark_of(hash) | (slot as u32 + 1);
    }

    /// Where in the index a record is.
    fn position(&self, slot: usize) -> usize {
        let hash = self.hash(&self.records[slot].info_hash);
        let (mask, entry) = (self.index.len() - 1, mark_of(hash) | (slot as u32 + 1));
        let mut at = hash as usize & mask;
        while self.index[at] != entry {
            at = (at + 1) & mask;
        }
        at
    }

    /// Takes a record out of the index, and moves up those that would not be found behind the gap.
    fn leave(&mut self, slot: usize) {
        let mask = self.index.len() - 1;
        let mut gap = self.position(slot);
        let mut at = (gap + 1) & mask;
        while self.index[at] != 0 {
            let other = (self.index[at] & SLOT_MASK) as usize - 1;
            let home = self.hash(&self.records[other].info_hash) as usize & mask;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.index[gap] = self.index[at];
                gap = at;
            }
            at = (at + 1) & mask;
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
