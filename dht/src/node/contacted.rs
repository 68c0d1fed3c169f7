//! Whom this node sent something recently.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand_core::Rng;

use crate::keyed::KeyedState;

/// How long one half of [`Contacted`] is filled. Routers let answers in for less.
const GENERATION: Duration = Duration::from_secs(10 * 60);
/// Bits of one half. With the 600 hosts that a busy client asks in that time, one stranger in twelve is taken for one of
/// them, which only puts off that it is believed.
const BITS: u64 = 4096;

/// To whom something was sent within the last ten to twenty minutes: two Bloom filters in turns, 1 KiB together. It may
/// take a stranger for one of them, and never one of them for a stranger.
#[derive(Debug)]
pub(crate) struct Contacted {
    hasher: KeyedState,
    /// The one that is filled, and the one before.
    halves: [[u64; BITS as usize / 64]; 2],
    turned_at: Instant,
}

impl Contacted {
    pub(crate) fn new(now: Instant, rng: &mut impl Rng) -> Self {
        Self { hasher: KeyedState::new(rng), halves: [[0; BITS as usize / 64]; 2], turned_at: now }
    }

    pub(crate) fn insert(&mut self, now: Instant, ip: IpAddr) {
        self.turn(now);
        for (word, bit) in self.places(ip) {
            self.halves[0][word] |= bit;
        }
    }

    pub(crate) fn contains(&mut self, now: Instant, ip: IpAddr) -> bool {
        self.turn(now);
        let places = self.places(ip);
        self.halves.iter().any(|half| places.iter().all(|&(word, bit)| half[word] & bit != 0))
    }

    fn turn(&mut self, now: Instant) {
        for _ in 0..2 {
            if now.saturating_duration_since(self.turned_at) < GENERATION {
                return;
            }
            self.turned_at += GENERATION;
            self.halves.swap(0, 1);
            self.halves[0] = [0; BITS as usize / 64];
        }
        // Nothing was sent for so long that both are empty, whenever that was.
        self.turned_at = self.turned_at.max(now.checked_sub(GENERATION).unwrap_or(self.turned_at));
    }

    fn places(&self, ip: IpAddr) -> [(usize, u64); 2] {
        let hash = self.hasher.hash_one(ip);
        [hash, hash >> 32].map(|hash| ((hash % BITS / 64) as usize, 1 << (hash % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    #[test]
    fn whom_something_was_sent_is_remembered_for_ten_minutes_at_least() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let ip = |number: u32| IpAddr::from(number.to_be_bytes());
        let mut contacted = Contacted::new(start, &mut ChaCha8Rng::seed_from_u64(1));
        assert!(!contacted.contains(at(0), ip(1)));
        for number in 0..600 {
            contacted.insert(at(599), ip(number));
        }
        for seconds in [599, 600, 1199] {
            assert!((0..600).all(|number| contacted.contains(at(seconds), ip(number))), "{seconds} s");
        }
        let mistaken = (10_000..20_000).filter(|number| contacted.contains(at(1199), ip(*number))).count();
        assert!(mistaken < 1000, "{mistaken} of 10,000 strangers are taken for others");
        assert!((0..600).all(|number| !contacted.contains(at(1200), ip(number))), "forgotten in time");
        contacted.insert(at(1_000_000), ip(7));
        assert!(contacted.contains(at(1_000_599), ip(7)));
    }
}
