use std::collections::BTreeMap;

use crate::Target;

/// Mutable items whose newest sequence number is remembered. The one goes that was seen or asked for longest ago.
const SEEN_MAX: usize = 4096;

/// The highest sequence number that was seen of each item that is or was followed: no older version is believed, in this
/// session or the next (BEP 46).
#[derive(Debug, Default)]
pub(in crate::node) struct Seen {
    by_target: BTreeMap<Target, (u64, i64)>,
    count: u64,
}

impl Seen {
    /// The highest sequence number of an item.
    pub(in crate::node) fn find(&self, target: &Target) -> Option<i64> {
        self.by_target.get(target).map(|(_, seq)| *seq)
    }

    /// A sequence number was seen; a lower one than before changes nothing.
    pub(in crate::node) fn note(&mut self, target: Target, seq: i64) {
        self.count += 1;
        let seq = self.find(&target).map_or(seq, |known| known.max(seq));
        self.by_target.insert(target, (self.count, seq));
        if self.by_target.len() > SEEN_MAX
            && let Some(oldest) = self.by_target.iter().min_by_key(|(_, (at, _))| *at).map(|(target, _)| *target)
        {
            self.by_target.remove(&oldest);
        }
    }

    /// Everything that is remembered, in the order of its [`Seen::note`].
    pub(in crate::node) fn list(&self) -> Vec<(Target, i64)> {
        let mut list: Vec<_> = self.by_target.iter().map(|(target, (at, seq))| (*at, *target, *seq)).collect();
        list.sort_unstable();
        list.into_iter().map(|(_, target, seq)| (target, seq)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_never_go_back_and_the_oldest_item_goes_first() {
        let mut seen = Seen::default();
        let target = |number: u16| {
            let mut bytes = [0; 20];
            bytes[..2].copy_from_slice(&number.to_be_bytes());
            Target::new(bytes)
        };
        for seq in [3, 5, 4] {
            seen.note(target(0), seq);
        }
        assert_eq!(seen.find(&target(0)), Some(5));
        seen.note(target(1), 1);
        seen.note(target(0), 0);
        for number in 2..=SEEN_MAX as u16 {
            seen.note(target(number), 1);
        }
        assert_eq!((seen.find(&target(0)), seen.find(&target(1))), (Some(5), None));
        assert_eq!(seen.list().len(), SEEN_MAX);
        assert_eq!(seen.list()[0], (target(0), 5));
    }
}
