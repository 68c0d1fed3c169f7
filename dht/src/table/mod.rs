//! The routing table (BEP 5, "Routing Table"): who answered us, by distance from the own id.
//!
//! Only contacts that answered a query of ours are ever in it; a node that merely queries us, or that others name, is
//! not. One table belongs to one socket (BEP 42, BEP 45), so one family is all it holds.

mod bucket;
mod record;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bucket::Bucket;
use record::{GOOD_S, Record};

pub(crate) use bucket::Insertion;

use crate::id::K;
use crate::{Contact, Distance, NodeId, Target};

/// No contact shares more bits than this with the own id: the buckets behind are one.
const DEPTH_MAX: usize = 159;
/// Ports below are never handed out: services live there that a crowd of DHT nodes could be aimed at.
const HANDED_OUT_PORT_MIN: u16 = 1024;
/// A contact is asked again when it has not answered for this long, in seconds: before it stops being good.
const CHECK_AFTER_S: u32 = GOOD_S - 3 * 60;
/// No contact is asked twice for the table's sake within this time, in seconds.
const CHECK_PAUSE_S: u32 = 10;

/// Addresses that are known to answer under changing ids; the oldest goes. And for how long they are, in seconds.
const FICKLE_MAX: usize = 64;
const FICKLE_S: u32 = 30 * 60;

/// Who answered us, by distance from the own id.
#[derive(Debug)]
pub(crate) struct Table {
    own_id: NodeId,
    epoch: Instant,
    buckets: Vec<Bucket>,
    len: usize,
    /// Addresses that answered under two ids, and when they did so last; longest ago first.
    fickle: VecDeque<(SocketAddr, u32)>,
}

impl Table {
    pub(crate) fn new(own_id: NodeId, now: Instant) -> Self {
        Self { own_id, epoch: now, buckets: Vec::new(), len: 0, fickle: VecDeque::new() }
    }

    pub(crate) fn own_id(&self) -> NodeId {
        self.own_id
    }

    /// How many contacts there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many of them are good.
    pub(crate) fn good(&self, now: Instant) -> usize {
        let now_s = self.seconds(now);
        self.records().filter(|record| record.is_good(now_s)).count()
    }

    /// Every contact.
    pub(crate) fn contacts(&self) -> impl Iterator<Item = Contact> + '_ {
        self.records().map(Record::contact)
    }

    /// A contact answered a query of ours.
    pub(crate) fn answered(&mut self, now: Instant, contact: Contact) -> Insertion {
        if contact.id == self.own_id {
            return Insertion::Refused;
        }
        let now_s = self.seconds(now);
        let depth = self.depth(&contact.id);
        if self.buckets.len() <= depth {
            self.buckets.resize_with(depth + 1, Bucket::default);
        }
        if self.is_fickle(now_s, &contact) {
            return Insertion::Refused;
        }
        let bucket = &mut self.buckets[depth];
        if let Some(index) = bucket.live.iter().position(|record| record.id == contact.id) {
            let record = &mut bucket.live[index];
            if record.addr() == contact.addr {
                record.answered_s = now_s;
                record.fails = 0;
                return Insertion::Known;
            }
            // Whoever holds an id keeps it as long as it answers: nobody takes a place over by naming its id.
            if record.is_good(now_s) {
                return Insertion::Refused;
            }
            *record = Record::new(contact, now_s);
            return Insertion::Known;
        }
        let inserted = bucket.insert(Record::new(contact, now_s), Bucket::capacity(depth));
        self.len = self.records().count();
        inserted
    }

    /// A contact queried us. Returns whether it is in the table.
    pub(crate) fn queried(&mut self, now: Instant, contact: Contact) -> bool {
        let now_s = self.seconds(now);
        match self.find(&contact) {
            Some((depth, index)) => {
                self.buckets[depth].live[index].queried_s = now_s;
                true
            }
            None => false,
        }
    }

    /// Whether the table would have a use for this node if it answered.
    pub(crate) fn wants(&self, now: Instant, id: &NodeId) -> bool {
        let now_s = self.seconds(now);
        let depth = self.depth(id);
        *id != self.own_id
            && self.buckets.get(depth).is_none_or(|bucket| {
                bucket.live.len() < Bucket::capacity(depth)
                    || (bucket.spare.is_empty() && bucket.live.iter().any(|record| !record.is_good(now_s)))
            })
    }

    /// A contact left a query unanswered.
    pub(crate) fn failed(&mut self, contact: &Contact) {
        if let Some((depth, index)) = self.find(contact)
            && self.buckets[depth].fail(index)
        {
            self.len = self.records().count();
        }
    }

    /// Whoever lives at this address is to be no contact.
    pub(crate) fn remove_addr(&mut self, addr: SocketAddr) {
        for bucket in &mut self.buckets {
            bucket.spare.retain(|record| record.addr() != addr);
        }
        let found = self.records().find(|record| record.addr() == addr).map(Record::contact);
        if let Some(contact) = found {
            self.remove_record(&contact);
        }
    }

    /// Whether someone answers at an address under changing ids: it could take a place for each. The contact that it
    /// was is gone then.
    fn is_fickle(&mut self, now_s: u32, contact: &Contact) -> bool {
        let other = self.records().find(|record| record.addr() == contact.addr && record.id != contact.id);
        if let Some(other) = other.map(Record::contact) {
            self.remove_record(&other);
            self.fickle.retain(|(addr, _)| *addr != contact.addr);
            if self.fickle.len() == FICKLE_MAX {
                self.fickle.pop_front();
            }
            self.fickle.push_back((contact.addr, now_s));
            return true;
        }
        let recent = |(addr, at_s): &(SocketAddr, u32)| *addr == contact.addr && now_s.saturating_sub(*at_s) < FICKLE_S;
        self.fickle.iter().any(recent)
    }

    fn remove_record(&mut self, contact: &Contact) {
        if let Some((depth, index)) = self.find(contact) {
            self.buckets[depth].remove(index);
            self.len = self.records().count();
        }
    }

    /// The `count` contacts nearest to a target, good ones or not, nearest first.
    pub(crate) fn nearest(&self, target: &Target, count: usize) -> Vec<Contact> {
        let mut nearest: Vec<(Distance, Contact)> = Vec::new();
        for group in self.groups_from(target) {
            if nearest.len() >= count {
                break;
            }
            let start = nearest.len();
            let live = group.iter().flat_map(|bucket| &bucket.live);
            nearest.extend(live.map(|record| (target.distance(&record.id), record.contact())));
            nearest[start..].sort_unstable();
        }
        nearest.truncate(count);
        nearest.into_iter().map(|(_, contact)| contact).collect()
    }

    /// Appends the compact form of up to 8 contacts near the target that a querying node may be told: good ones, or
    /// where there are not 8 such, ones that did not fail yet.
    pub(crate) fn hand_out(&self, now: Instant, target: &Target, out: &mut Vec<u8>) {
        let now_s = self.seconds(now);
        let mut best = Best::new();
        self.collect(target, &mut best, |record| record.is_good(now_s));
        if best.len < K {
            self.collect(target, &mut best, |record| record.fails == 0 && !record.is_good(now_s));
        }
        for record in best.iter() {
            crate::krpc::compact::push_node(out, &record.contact());
        }
    }

    fn collect<'t>(&'t self, target: &Target, best: &mut Best<'t>, accept: impl Fn(&Record) -> bool) {
        let accept = |record: &Record| accept(record) && record.port() >= HANDED_OUT_PORT_MIN;
        for group in self.groups_from(target) {
            if best.len == K {
                return;
            }
            best.floor = best.len;
            if let [bucket] = group {
                best.offer_all(target, &bucket.live, self.head_limit(target, bucket), accept);
            }
            // Nearly always enough of them are below that limit.
            if best.len < K {
                best.len = best.floor;
                for bucket in group {
                    best.offer_all(target, &bucket.live, u64::MAX, accept);
                }
            }
        }
    }

    /// A distance that a dozen of a large bucket's contacts are within, as far as ids are drawn by lot: most of the others
    /// need no closer look then.
    fn head_limit(&self, target: &Target, bucket: &Bucket) -> u64 {
        const ENOUGH: usize = 14;
        let Some(first) = bucket.live.first().filter(|_| bucket.live.len() > 2 * ENOUGH) else { return u64::MAX };
        let depth = self.depth(&first.id).min(63) as u32;
        // All of them share `depth` bits with the own id, and differ from it in the next. So their distances begin at the
        // same power of two, or at nothing if the target is one of theirs.
        let width = 1u64 << (63 - depth);
        let is_home = target.distance(&self.own_id).common_bits() == depth;
        let share = (bucket.live.len() / ENOUGH).ilog2();
        if is_home { width >> share } else { width + (width >> share) }
    }

    /// The buckets in groups, everything in one of which is nearer to the target than everything in the next: the
    /// target's own, then those deeper than it, which all differ from the target in the same bit, then each shallower.
    fn groups_from(&self, target: &Target) -> impl Iterator<Item = &[Bucket]> {
        let count = self.buckets.len();
        let depth = (target.distance(&self.own_id).common_bits() as usize).min(DEPTH_MAX);
        let own = depth.min(count)..(depth + 1).min(count);
        let deeper = (depth + 1).min(count)..count;
        let shallower = (0..depth.min(count)).rev().map(|depth| depth..depth + 1);
        [own, deeper].into_iter().chain(shallower).map(|range| &self.buckets[range])
    }

    /// The contact whose last answer is longest ago, if that is long enough for a question. It counts as asked.
    pub(crate) fn due_for_check(&mut self, now: Instant) -> Option<Contact> {
        let now_s = self.seconds(now);
        let due = |record: &&mut Record| {
            // Who queries us and answers nothing is no use to those who are told of it: queries do not count here.
            let is_silent = record.fails > 0 || now_s.saturating_sub(record.answered_s) >= CHECK_AFTER_S;
            is_silent && now_s.saturating_sub(record.checked_s) >= CHECK_PAUSE_S
        };
        let live = self.buckets.iter_mut().flat_map(|bucket| &mut bucket.live);
        let record = live.filter(due).min_by_key(|record| record.checked_s.max(record.answered_s))?;
        record.checked_s = now_s;
        Some(record.contact())
    }

    /// The contact that was asked longest ago for the table's sake, or answered: to see whether anybody is there. It
    /// counts as asked.
    pub(crate) fn probe(&mut self, now: Instant) -> Option<Contact> {
        let now_s = self.seconds(now);
        let live = self.buckets.iter_mut().flat_map(|bucket| &mut bucket.live);
        let record = live.min_by_key(|record| (record.fails > 0, record.checked_s.max(record.answered_s)))?;
        record.checked_s = now_s;
        Some(record.contact())
    }

    /// A bucket no lookup went through for 15 minutes and that has room, as the bits it shares with the own id. It
    /// counts as refreshed.
    pub(crate) fn due_for_refresh(&mut self, now: Instant) -> Option<u32> {
        let now_s = self.seconds(now);
        let due = |(depth, bucket): &(usize, &mut Bucket)| {
            bucket.live.len() < Bucket::capacity(*depth) && now_s.saturating_sub(bucket.refreshed_s) >= GOOD_S
        };
        let (depth, bucket) = self.buckets.iter_mut().enumerate().find(due)?;
        bucket.refreshed_s = now_s;
        Some(depth as u32)
    }

    /// A lookup for this target is under way.
    pub(crate) fn refreshed(&mut self, now: Instant, target: &Target) {
        let now_s = self.seconds(now);
        let depth = (target.distance(&self.own_id).common_bits() as usize).min(DEPTH_MAX);
        if let Some(bucket) = self.buckets.get_mut(depth) {
            bucket.refreshed_s = now_s;
        }
    }

    /// Sorts every contact again around another own id.
    pub(crate) fn rebase(&mut self, own_id: NodeId) {
        let buckets = std::mem::take(&mut self.buckets);
        self.own_id = own_id;
        for record in buckets.into_iter().flat_map(|bucket| bucket.live.into_iter().chain(bucket.spare)) {
            if record.id == own_id {
                continue;
            }
            let depth = self.depth(&record.id);
            if self.buckets.len() <= depth {
                self.buckets.resize_with(depth + 1, Bucket::default);
            }
            self.buckets[depth].insert(record, Bucket::capacity(depth));
        }
        self.len = self.records().count();
    }

    /// Panics when the table contradicts itself.
    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.len, self.records().count(), "the count of contacts");
        for (depth, bucket) in self.buckets.iter().enumerate() {
            assert!(bucket.live.len() <= Bucket::capacity(depth), "bucket {depth} is too full");
            assert!(bucket.spare.len() <= K, "bucket {depth} has too many replacements");
            for (index, record) in bucket.live.iter().enumerate() {
                assert_eq!(self.depth(&record.id), depth, "a contact in the wrong bucket");
                let others = &bucket.live[index + 1..];
                assert!(others.iter().all(|other| other.id != record.id), "two contacts with one id");
                let subnet = record.subnet();
                let is_alone = subnet.is_none() || others.iter().all(|other| other.subnet() != subnet);
                assert!(is_alone, "two contacts of one network in bucket {depth}");
            }
        }
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.buckets.iter().flat_map(|bucket| &bucket.live)
    }

    fn find(&self, contact: &Contact) -> Option<(usize, usize)> {
        let depth = self.depth(&contact.id);
        let live = &self.buckets.get(depth)?.live;
        let index = live.iter().position(|record| record.id == contact.id && record.addr() == contact.addr)?;
        Some((depth, index))
    }

    fn depth(&self, id: &NodeId) -> usize {
        (self.own_id.distance(id).common_bits() as usize).min(DEPTH_MAX)
    }

    /// Seconds of the table's clock, which starts at one: zero means never.
    fn seconds(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.epoch).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX - 1).saturating_add(1)
    }
}

/// The nearest contacts so far, in place: answering a query must not allocate.
struct Best<'t> {
    /// With the first bits of their distances.
    items: [(u64, Option<&'t Record>); K],
    len: usize,
    /// Where the contacts of the group at hand begin; those before are nearer for sure.
    floor: usize,
}

impl<'t> Best<'t> {
    fn new() -> Self {
        Self { items: [(u64::MAX, None); K], len: 0, floor: 0 }
    }

    /// Offers the records that are accepted and nearer than `head_limit`.
    fn offer_all(&mut self, target: &Target, records: &'t [Record], head_limit: u64, accept: impl Fn(&Record) -> bool) {
        for record in records {
            let head = target.distance(&record.id).head();
            let farthest = if self.len < K { head_limit } else { self.items[K - 1].0.min(head_limit) };
            if head <= farthest && accept(record) {
                self.offer(target, head, record);
            }
        }
    }

    fn offer(&mut self, target: &Target, head: u64, record: &'t Record) {
        let is_nearer = |(other_head, other): (u64, Option<&Record>)| {
            head < other_head
                || head == other_head
                    && other.is_some_and(|other| target.distance(&record.id) < target.distance(&other.id))
        };
        let mut at = self.len;
        while at > self.floor && is_nearer(self.items[at - 1]) {
            at -= 1;
        }
        if at == K {
            return;
        }
        let end = (self.len + 1).min(K);
        for to in (at + 1..end).rev() {
            self.items[to] = self.items[to - 1];
        }
        self.items[at] = (head, Some(record));
        self.len = end;
    }

    fn iter(&self) -> impl Iterator<Item = &'t Record> + '_ {
        self.items[..self.len].iter().filter_map(|(_, record)| *record)
    }
}

#[cfg(test)]
mod tests;
