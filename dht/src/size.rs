//! How many nodes the network has, from how near the nearest to a random point are.

use std::collections::VecDeque;

use crate::{Distance, Target};

/// Lookups that the estimate looks back on.
const LOOKUPS_MAX: usize = 64;
/// Fewer say too little.
const LOOKUPS_MIN: usize = 4;
/// Nodes near the target that a lookup has to have found, and that are looked at. More would have less chance in it, but
/// of those behind the eighth a lookup misses many.
const NODES_MIN: usize = 8;
/// Share of the nearest nodes that a lookup finds: the others' answers are lost, or nobody who was asked knew them. As
/// measured with half of all contacts dead and 2 % loss (testnet/README.md).
const FOUND_SHARE: f64 = 0.94;

/// What lookups say about the size of the network.
///
/// Nodes lie at random, so that in a network of n nodes the k-th nearest to any point is at k/n of the way around on
/// average. Every target counts once, and every lookup alike: one target that a crowd gathers around changes little.
#[derive(Debug, Default)]
pub(crate) struct SizeEstimate {
    /// The targets, and how much of the way around the eighth node was; oldest first.
    lookups: VecDeque<(Target, f64)>,
}

impl SizeEstimate {
    /// A lookup is over that found nodes at these distances, nearest first.
    pub(crate) fn handle_lookup(&mut self, target: Target, distances: impl Iterator<Item = Distance>) {
        let Some(last) = distances.map(Distance::as_share).nth(NODES_MIN - 1) else { return };
        self.lookups.retain(|(other, _)| *other != target);
        if self.lookups.len() == LOOKUPS_MAX {
            self.lookups.pop_front();
        }
        self.lookups.push_back((target, last));
    }

    /// How many nodes there are; `None` while too few lookups were made.
    pub(crate) fn nodes(&self) -> Option<f64> {
        if self.lookups.len() < LOOKUPS_MIN {
            return None;
        }
        let mean = self.lookups.iter().map(|(_, last)| last).sum::<f64>() / self.lookups.len() as f64;
        Some(NODES_MIN as f64 / FOUND_SHARE / mean.max(f64::MIN_POSITIVE))
    }

    /// The distance at which the eighth node from any point is to be expected.
    pub(crate) fn reach(&self) -> Option<Distance> {
        self.nodes().map(|nodes| Distance::from_share((NODES_MIN as f64 / nodes).min(1.0)))
    }

    /// Panics when it is larger than it may be.
    pub(crate) fn check_invariants(&self) {
        assert!(self.lookups.len() <= LOOKUPS_MAX, "too many lookups are remembered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;
    use rand_chacha::ChaCha8Rng;
    use rand_core::{Rng, SeedableRng};

    fn point(chance: &mut ChaCha8Rng) -> Target {
        Target::new(*NodeId::random(chance).as_bytes())
    }

    #[test]
    fn the_size_is_known_within_a_seventh_after_sixteen_lookups() {
        let mut chance = ChaCha8Rng::seed_from_u64(3);
        let nodes: Vec<NodeId> = (0..5000).map(|_| NodeId::random(&mut chance)).collect();
        let mut size = SizeEstimate::default();
        for _ in 0..16 {
            let target = point(&mut chance);
            let mut distances: Vec<Distance> = nodes.iter().map(|node| target.distance(node)).collect();
            distances.sort_unstable();
            let found = distances.into_iter().filter(|_| chance.next_u32() as f64 / 2f64.powi(32) < FOUND_SHARE);
            size.handle_lookup(target, found);
        }
        let nodes = size.nodes().unwrap();
        assert!((4300.0..5700.0).contains(&nodes), "{nodes}");
    }

    #[test]
    fn one_target_counts_once_however_often_it_is_looked_for() {
        let mut chance = ChaCha8Rng::seed_from_u64(3);
        let mut size = SizeEstimate::default();
        let attacked = point(&mut chance);
        for _ in 0..1000 {
            size.handle_lookup(attacked, std::iter::repeat_n(Distance::from_share(0.0), 8));
            size.check_invariants();
        }
        assert_eq!(size.nodes(), None);
        for _ in 0..15 {
            size.handle_lookup(point(&mut chance), std::iter::repeat_n(Distance::from_share(0.001), 8));
        }
        let nodes = size.nodes().unwrap();
        assert!((8600.0..9400.0).contains(&nodes), "{nodes}");
        size.handle_lookup(point(&mut chance), std::iter::repeat_n(Distance::from_share(0.001), 7));
        assert_eq!(size.nodes(), Some(nodes), "seven nodes are no lookup");
    }
}
