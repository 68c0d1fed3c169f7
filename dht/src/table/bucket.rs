use super::record::{FAILS_MAX, Record};
use crate::id::K;

/// Replacements of a bucket: as many as it could lose.
const SPARE_MAX: usize = K;

/// The contacts that share a certain number of leading bits with the own id, and verified ones waiting to take a place.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) live: Vec<Record>,
    /// Longest waiting first.
    pub(super) spare: Vec<Record>,
    /// When a lookup went through this bucket last, in seconds of the table's clock.
    pub(super) refreshed_s: u32,
}

/// What became of a contact that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Insertion {
    /// It has been in the table.
    Known,
    /// It is in the table now.
    Added,
    /// It waits for a place.
    Waiting,
    /// It must not enter: it is ourselves, or its place is taken by another of its address or network.
    Refused,
}

impl Bucket {
    /// How many contacts the bucket at `depth` holds. The shallow ones serve every lookup's first hop and cover most of
    /// the network, so they hold more.
    pub(super) fn capacity(depth: usize) -> usize {
        match depth {
            0 => 128,
            1 => 64,
            2 => 32,
            3 => 16,
            _ => K,
        }
    }

    pub(super) fn insert(&mut self, record: Record, capacity: usize) -> Insertion {
        if self.collides(&record) {
            return Insertion::Refused;
        }
        if self.live.len() < capacity {
            self.live.push(record);
            self.spare.retain(|spare| spare.id != record.id);
            return Insertion::Added;
        }
        // Who violates BEP 42 gives way to who does not.
        if record.is_compliant
            && let Some(violator) = self.live.iter_mut().find(|live| !live.is_compliant)
        {
            let violator = std::mem::replace(violator, record);
            self.wait(violator);
            return Insertion::Added;
        }
        self.wait(record);
        Insertion::Waiting
    }

    fn wait(&mut self, record: Record) {
        self.spare.retain(|spare| spare.id != record.id && spare.addr() != record.addr());
        if self.spare.len() == SPARE_MAX {
            self.spare.remove(0);
        }
        self.spare.push(record);
    }

    /// Whether another contact has the same id, the same address or the same network.
    fn collides(&self, record: &Record) -> bool {
        let subnet = record.subnet();
        self.live.iter().any(|live| {
            live.id == record.id || live.addr() == record.addr() || (subnet.is_some() && live.subnet() == subnet)
        })
    }

    /// Counts an unanswered query. Returns whether the contact lost its place.
    pub(super) fn fail(&mut self, index: usize) -> bool {
        let record = &mut self.live[index];
        record.fails += 1;
        if record.fails < FAILS_MAX {
            return false;
        }
        self.remove(index);
        true
    }

    /// Takes a contact out; the replacement that answered last and fits takes its place.
    pub(super) fn remove(&mut self, index: usize) {
        self.live.swap_remove(index);
        while let Some(record) = self.spare.pop() {
            if !self.collides(&record) {
                self.live.push(record);
                break;
            }
        }
    }
}
