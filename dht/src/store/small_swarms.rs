use std::net::{IpAddr, SocketAddr};

use rand_core::Rng;

use super::records::{FEW_MAX, RECORDS_MAX, Record, Records};
use crate::{Family, InfoHash};

/// The peers of small swarms. Those of one swarm have one family: a swarm of both is a large one.
#[derive(Debug)]
pub(super) struct SmallSwarms {
    v4: Records<[u8; 4]>,
    v6: Records<[u8; 16]>,
}

/// Where a peer of a small swarm is, until one is removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    family: Family,
    index: u32,
}

/// What is known of a peer of a small swarm.
#[derive(Debug, Clone, Copy)]
pub(super) struct SmallPeer {
    pub(super) info_hash: InfoHash,
    pub(super) addr: SocketAddr,
    pub(super) seed: bool,
    /// Seconds since the announce.
    pub(super) age_s: u32,
}

/// Where the peers of one small swarm are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slots {
    family: Family,
    count: usize,
    indexes: [u32; FEW_MAX],
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.indexes[..self.count].iter().map(|index| Slot { family: self.family, index: *index })
    }
}

impl SmallSwarms {
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        Self { v4: Records::new(rng), v6: Records::new(rng) }
    }

    /// How many peers there are.
    pub(super) fn len(&self) -> usize {
        self.v4.records().len() + self.v6.records().len()
    }

    /// Whether the peers of one family are as many as can be named.
    pub(super) fn is_full(&self) -> bool {
        self.v4.records().len().max(self.v6.records().len()) >= RECORDS_MAX
    }

    /// How many swarms there are.
    pub(super) fn swarms(&self) -> usize {
        self.v4.swarms() + self.v6.swarms()
    }

    /// What they cost.
    pub(super) fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes()
    }

    /// The peers of a swarm.
    pub(super) fn find(&self, info_hash: &InfoHash) -> Slots {
        let (count, indexes) = self.v4.find(info_hash);
        if count > 0 {
            return Slots { family: Family::V4, count, indexes };
        }
        let (count, indexes) = self.v6.find(info_hash);
        Slots { family: Family::V6, count, indexes }
    }

    /// Appends to `out` up to `count_max` peers of a swarm, drawn by lot; without seeds if the asker is one. `false` if it
    /// is no small swarm.
    pub(super) fn sample(
        &self,
        now_s: u32,
        info_hash: &InfoHash,
        count_max: usize,
        noseed: bool,
        rng: &mut impl Rng,
        out: &mut Vec<SocketAddr>,
    ) -> bool {
        self.v4.sample(now_s, info_hash, count_max, noseed, rng, out)
            || self.v6.sample(now_s, info_hash, count_max, noseed, rng, out)
    }

    /// Whether a swarm stays small with one more peer.
    pub(super) fn has_room(&self, swarm: &Slots, addr: SocketAddr) -> bool {
        let swarm_max = match Family::of(addr) {
            Family::V4 => Records::<[u8; 4]>::SWARM_MAX,
            Family::V6 => Records::<[u8; 16]>::SWARM_MAX,
        };
        swarm.count == 0 || swarm.family == Family::of(addr) && swarm.count < swarm_max
    }

    /// The peer in a slot.
    pub(super) fn peer(&self, slot: Slot, now_s: u32) -> SmallPeer {
        match slot.family {
            Family::V4 => known(&self.v4.records()[slot.index as usize], now_s),
            Family::V6 => known(&self.v6.records()[slot.index as usize], now_s),
        }
    }

    /// All peers, by a number below [`SmallSwarms::len`] each.
    pub(super) fn nth(&self, number: usize) -> Option<Slot> {
        match number.checked_sub(self.v4.records().len()) {
            None => Some(Slot { family: Family::V4, index: number as u32 }),
            Some(number) if number < self.v6.records().len() => Some(Slot { family: Family::V6, index: number as u32 }),
            Some(_) => None,
        }
    }

    /// Adds a peer to a swarm that has room for it.
    pub(super) fn insert(&mut self, now_s: u32, info_hash: InfoHash, addr: SocketAddr, seed: bool) {
        match addr.ip() {
            IpAddr::V4(ip) => self.v4.insert(Record::new(info_hash, ip.octets(), addr.port(), now_s, seed)),
            IpAddr::V6(ip) => self.v6.insert(Record::new(info_hash, ip.octets(), addr.port(), now_s, seed)),
        }
    }

    /// Replaces a peer of the same swarm and family.
    pub(super) fn replace(&mut self, slot: Slot, now_s: u32, info_hash: InfoHash, addr: SocketAddr, seed: bool) {
        let index = slot.index as usize;
        match addr.ip() {
            IpAddr::V4(ip) => self.v4.replace(index, Record::new(info_hash, ip.octets(), addr.port(), now_s, seed)),
            IpAddr::V6(ip) => self.v6.replace(index, Record::new(info_hash, ip.octets(), addr.port(), now_s, seed)),
        }
    }

    /// Takes a peer out. Another one may take its slot.
    pub(super) fn remove(&mut self, slot: Slot, now_s: u32) -> SmallPeer {
        match slot.family {
            Family::V4 => known(&self.v4.remove(slot.index as usize), now_s),
            Family::V6 => known(&self.v6.remove(slot.index as usize), now_s),
        }
    }

    /// Bytes that are really reserved.
    #[cfg(test)]
    pub(super) fn reserved_bytes(&self) -> usize {
        self.v4.reserved_bytes() + self.v6.reserved_bytes()
    }

    pub(super) fn check_invariants(&self) {
        self.v4.check_invariants();
        self.v6.check_invariants();
        let of_both = |record: &&Record<[u8; 16]>| self.v4.find(&record.info_hash).0 > 0;
        assert!(!self.v6.records().iter().any(|record| of_both(&record)), "a small swarm has one family");
    }
}

fn known<Ip: Copy + Into<IpAddr>>(record: &Record<Ip>, now_s: u32) -> SmallPeer {
    SmallPeer { info_hash: record.info_hash, addr: record.addr(), seed: record.seed(), age_s: record.age_s(now_s) }
}
