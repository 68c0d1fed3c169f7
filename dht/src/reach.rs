use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand_core::Rng;

use crate::keyed::KeyedState;

/// Distinct networks that have to agree on our address (BEP 42 leaves the number open).
const VOTES_MIN: usize = 8;
/// Votes that are kept; the oldest goes.
const VOTES_MAX: usize = 64;

/// What other nodes say our address is (the `ip` field, BEP 42). No single one is believed: votes count once a /24, or a
/// /48 of IPv6, and two thirds have to agree.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    by_network: BTreeMap<[u8; 6], (u64, SocketAddr)>,
    count: u64,
    settled: Option<IpAddr>,
}

impl Votes {
    /// A node says what it sees. Returns the address when it is settled anew.
    pub(crate) fn handle_vote(&mut self, from: IpAddr, seen: SocketAddr) -> Option<SocketAddr> {
        self.count += 1;
        self.by_network.insert(network(from), (self.count, seen));
        if self.by_network.len() > VOTES_MAX
            && let Some(oldest) =
                self.by_network.iter().min_by_key(|(_, (count, _))| *count).map(|(network, _)| *network)
        {
            self.by_network.remove(&oldest);
        }
        let agreeing = self.by_network.values().filter(|(_, other)| other.ip() == seen.ip()).count();
        let settled = agreeing >= VOTES_MIN && agreeing * 3 >= self.by_network.len() * 2;
        if settled && self.settled != Some(seen.ip()) {
            self.settled = Some(seen.ip());
            return Some(seen);
        }
        None
    }
}

fn network(ip: IpAddr) -> [u8; 6] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            [a, b, c, 0, 0, 4]
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, ..] = ip.octets();
            [a, b, c, d, e, f]
        }
    }
}

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

    fn seen(last: u8) -> SocketAddr {
        ([8, 8, 8, last], 6881).into()
    }

    #[test]
    fn one_network_has_one_vote() {
        let mut votes = Votes::default();
        for last in 0..200 {
            assert_eq!(votes.handle_vote([9, 9, 9, last].into(), seen(1)), None);
        }
    }

    #[test]
    fn eight_networks_and_two_thirds_settle_it_once() {
        let mut votes = Votes::default();
        for liar in 0..4 {
            assert_eq!(votes.handle_vote([1, 1, liar, 1].into(), seen(9)), None);
        }
        let settled: Vec<_> = (0..20).map(|voter| votes.handle_vote([2, 2, voter, 1].into(), seen(1))).collect();
        assert_eq!(settled.iter().flatten().collect::<Vec<_>>(), [&seen(1)]);
        assert_eq!(settled.iter().position(Option::is_some), Some(7));
    }
}
