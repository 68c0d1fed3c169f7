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
const FOUND_SHARE: f64 = 0.92;
/// A lookup that says this many times more or less than the one in the middle says nothing: where the eighth node is by
/// chance, it is within this in all but one of ten thousand. Targets with a crowd around them are outside, and lookups
/// that did not get near their target.
const OUTLIER: f64 = 4.0;

/// What lookups say about the size of the network.
///
/// Nodes lie at random, so that in a network of n nodes the k-th nearest to any point is at k/n of the way around on
/// average. Every target counts once, and every lookup alike that does not say something quite different from most.
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
        let mut shares: Vec<f64> = self.lookups.iter().map(|(_, last)| *last).collect();
        shares.sort_unstable_by(f64::total_cmp);
        let middle = shares[shares.len() / 2];
        shares.retain(|share| (middle / OUTLIER..=middle * OUTLIER).contains(share));
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
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

    /// The estimate after sixteen lookups among a thousand nodes, `crowded` of them for targets with a crowd. The gaps
    /// between the distances of points drawn by lot are exponential.
    fn estimate(crowded: usize, chance: &mut ChaCha8Rng) -> f64 {
        let mut size = SizeEstimate::default();
        for number in 0..16 {
            let mut share = 0.0;
            let distances = std::iter::repeat_with(|| {
                let unit = (f64::from(chance.next_u32()) + 1.0) / 2f64.powi(32);
                share -= unit.ln() / 1000.0 / FOUND_SHARE;
                Distance::from_share(share)
            });
            let mut distances: Vec<Distance> = distances.take(NODES_MIN).collect();
            if number % 4 == 0 && number / 4 < crowded {
                distances.splice(0..0, (1..=64).map(|near| Distance::from_share(f64::from(near) * 1e-7)));
            }
            size.handle_lookup(point(chance), distances.into_iter());
            size.check_invariants();
        }
        size.nodes().unwrap()
    }

    #[test]
    fn the_size_is_known_within_a_seventh_after_sixteen_lookups_even_with_a_crowd_at_one_of_four_targets() {
        let mut chance = ChaCha8Rng::seed_from_u64(3);
        for crowded in [0, 4] {
            let mut shares: Vec<f64> = (0..400).map(|_| estimate(crowded, &mut chance) / 1000.0).collect();
            let mean = shares.iter().sum::<f64>() / 400.0;
            assert!((0.98..1.03).contains(&mean), "{mean} with {crowded} crowds");
            shares.sort_unstable_by(|left, right| (left - 1.0).abs().total_cmp(&(right - 1.0).abs()));
            // Of five estimates, four.
            assert!((6.0 / 7.0..8.0 / 7.0).contains(&shares[320]), "{} with {crowded} crowds", shares[320]);
        }
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
        assert!((8600.0..8800.0).contains(&nodes), "{nodes}");
        size.handle_lookup(point(&mut chance), std::iter::repeat_n(Distance::from_share(0.001), 7));
        assert_eq!(size.nodes(), Some(nodes), "seven nodes are no lookup");
    }
}
