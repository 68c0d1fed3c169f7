//! What others say our address is.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::Network;

/// Distinct networks that have to agree on our address (BEP 42 leaves the number open).
const VOTES_MIN: usize = 8;
/// Votes that are kept; the oldest goes.
const VOTES_MAX: usize = 64;

/// What other nodes say our address is (the `ip` field, BEP 42). No single one is believed: votes count once a
/// [site](Network::site), and two thirds have to agree.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    by_network: BTreeMap<Network, (u64, SocketAddr)>,
    count: u64,
    settled: Option<IpAddr>,
}

impl Votes {
    /// A node says what it sees. Returns the address when it is settled again.
    pub(crate) fn handle_vote(&mut self, from: IpAddr, seen: SocketAddr) -> Option<SocketAddr> {
        self.count += 1;
        self.by_network.insert(Network::site(from), (self.count, seen));
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

#[cfg(test)]
mod tests {
    use super::*;

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
