//! What lookups found, for the next one with the same target.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::id::K;
use crate::{Contact, Target};

/// Targets that are remembered; the one not looked for the longest goes.
const TARGETS_MAX: usize = 64;
/// Nodes that are remembered of each: twice as many as a lookup results in.
const CONTACTS_MAX: usize = 2 * K;
/// Later than this, other nodes may well be nearer.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// The nearest nodes that were found for the latest targets.
#[derive(Debug, Default)]
pub(crate) struct NearestCache {
    /// The newest last.
    lookups: VecDeque<(Target, Instant, Vec<Contact>)>,
}

impl NearestCache {
    /// A lookup found these.
    pub(crate) fn insert(&mut self, now: Instant, target: Target, found: impl Iterator<Item = Contact>) {
        self.lookups.retain(|(other, at, _)| *other != target && now.saturating_duration_since(*at) < LIFETIME);
        let found: Vec<Contact> = found.take(CONTACTS_MAX).collect();
        if found.is_empty() {
            return;
        }
        if self.lookups.len() == TARGETS_MAX {
            self.lookups.pop_front();
        }
        self.lookups.push_back((target, now, found));
    }

    /// What was found for this target within an hour.
    pub(crate) fn of(&self, now: Instant, target: &Target) -> &[Contact] {
        let fits = |(other, at, _): &&(Target, Instant, Vec<Contact>)| {
            other == target && now.saturating_duration_since(*at) < LIFETIME
        };
        self.lookups.iter().find(fits).map_or(&[], |(.., found)| found)
    }

    /// Panics when it is larger than it may be.
    pub(crate) fn check_invariants(&self) {
        assert!(self.lookups.len() <= TARGETS_MAX, "too many targets are remembered");
        assert!(self.lookups.iter().all(|(.., found)| found.len() <= CONTACTS_MAX), "too many nodes are remembered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    #[test]
    fn the_latest_targets_are_remembered_for_an_hour() {
        let now = Instant::now();
        let target = |number: u8| Target::new([number; 20]);
        let contact = |number: u8| Contact { id: NodeId::new([number; 20]), addr: ([1, 2, 3, number], 1).into() };
        let mut cache = NearestCache::default();
        for number in 0..100 {
            cache.insert(now, target(number), (0..100).map(contact));
            cache.check_invariants();
        }
        assert_eq!(cache.of(now, &target(10)), []);
        assert_eq!(cache.of(now, &target(99)), (0..16).map(contact).collect::<Vec<_>>());
        assert_eq!(cache.of(now + LIFETIME, &target(99)), []);
        cache.insert(now, target(99), std::iter::once(contact(7)));
        assert_eq!(cache.of(now, &target(99)), [contact(7)]);
    }
}
