//! Who is not talked to for a while.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::event::BanReason;

/// Peers kept at most; the oldest is forgiven.
const BANS_MAX: usize = 4000;
/// How long the first ban lasts; each further one twice as long. None is forever: what looks like a lie may be a broken
/// disk, which gets mended, and a peer that nobody can replace is better than none.
const BAN_MIN: Duration = Duration::from_secs(10 * 60);
/// Doublings of that at most: ten hours.
const BAN_DOUBLINGS_MAX: u32 = 6;

/// Who did harm, and who is banned for it.
#[derive(Debug, Default)]
pub(super) struct Bans {
    by_key: BTreeMap<BanKey, Ban>,
}

/// An IP address with every port, since another port does not help a liar; on the loopback network, where every peer of a
/// machine has the same IP address, one port of it.
pub(super) type BanKey = (IpAddr, Option<u16>);

#[derive(Debug, Clone, Copy)]
struct Ban {
    since: Instant,
    /// `None`: it has a second chance, or served its time.
    until: Option<Instant>,
    times: u32,
    offender: SocketAddr,
    reason: BanReason,
    /// Whether it had something that we lack.
    was_source: bool,
}

impl Bans {
    /// Which peers a ban of this address is meant for.
    pub(super) fn key_of(addr: &SocketAddr) -> BanKey {
        (addr.ip(), addr.ip().is_loopback().then_some(addr.port()))
    }

    /// A peer that nobody can replace did harm. Returns whether that is forgiven: the first time it is.
    pub(super) fn forgives(&mut self, now: Instant, addr: SocketAddr, reason: BanReason) -> bool {
        let key = Self::key_of(&addr);
        if self.by_key.contains_key(&key) {
            return false;
        }
        self.insert(key, Ban { since: now, until: None, times: 0, offender: addr, reason, was_source: true });
        true
    }

    /// Bans a peer; returns until when.
    pub(super) fn ban(&mut self, now: Instant, addr: SocketAddr, reason: BanReason, was_source: bool) -> Instant {
        let key = Self::key_of(&addr);
        let old = self.by_key.get(&key).copied();
        // Its listening address and the one it connected from are banned together.
        let is_same = old.is_some_and(|old| old.until.is_some());
        let times = old.map_or(0, |old| old.times) + u32::from(!is_same);
        let was_source = was_source || (is_same && old.is_some_and(|old| old.was_source));
        let until = now + BAN_MIN * 2u32.pow((times - 1).min(BAN_DOUBLINGS_MAX));
        self.insert(key, Ban { since: now, until: Some(until), times, offender: addr, reason, was_source });
        until
    }

    /// Ends the bans whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        for ban in self.by_key.values_mut() {
            ban.until = ban.until.filter(|until| now < *until);
        }
    }

    /// Whether a ban is meant for this address.
    pub(super) fn covers(&self, addr: &SocketAddr) -> bool {
        self.by_key.get(&Self::key_of(addr)).is_some_and(|ban| ban.until.is_some())
    }

    /// Whether it was this very address that did harm.
    pub(super) fn is_offender(&self, addr: &SocketAddr) -> bool {
        self.by_key.get(&Self::key_of(addr)).is_some_and(|ban| ban.until.is_some() && ban.offender == *addr)
    }

    /// How many peers that had something we lack are banned, and what the last of them did.
    pub(super) fn sources(&self) -> Option<(usize, BanReason)> {
        let sources = self.by_key.values().filter(|ban| ban.until.is_some() && ban.was_source);
        let last = sources.clone().max_by_key(|ban| ban.since)?;
        Some((sources.count(), last.reason))
    }

    fn insert(&mut self, key: BanKey, ban: Ban) {
        if self.by_key.len() >= BANS_MAX && !self.by_key.contains_key(&key) {
            let oldest = self.by_key.iter().min_by_key(|(_, ban)| ban.since).map(|(key, _)| *key);
            oldest.map(|key| self.by_key.remove(&key));
        }
        self.by_key.insert(key, ban);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;

    const REASON: BanReason = BanReason::CorruptBlocks;

    fn addr(last: u8, port: u16) -> SocketAddr {
        ([10, 0, 0, last], port).into()
    }

    #[test]
    fn a_ban_ends_and_the_next_one_lasts_twice_as_long() {
        let mut now = Instant::now();
        let mut bans = Bans::default();
        let mut minutes = Vec::new();
        for _ in 0..9 {
            let until = bans.ban(now, addr(1, 1), REASON, true);
            assert_eq!(bans.ban(now, addr(1, 2), REASON, false), until, "one offence");
            assert_eq!(bans.sources(), Some((1, REASON)));
            minutes.push((until - now).as_secs() / 60);
            bans.expire(until - Duration::from_secs(1));
            assert!(bans.covers(&addr(1, 3)));
            bans.expire(until);
            assert!(!bans.covers(&addr(1, 1)) && bans.sources().is_none());
            now = until;
        }
        assert_eq!(minutes, [10, 20, 40, 80, 160, 320, 640, 640, 640]);
    }

    #[test]
    fn once_is_forgiven() {
        let now = Instant::now();
        let mut bans = Bans::default();
        assert!(bans.forgives(now, addr(1, 1), REASON) && !bans.covers(&addr(1, 1)));
        assert!(!bans.forgives(now, addr(1, 2), REASON), "another port of it");
        bans.ban(now, addr(1, 2), REASON, true);
        assert!(bans.covers(&addr(1, 1)) && bans.is_offender(&addr(1, 2)) && !bans.is_offender(&addr(1, 1)));
    }

    #[test]
    fn a_ban_covers_every_port_but_on_the_loopback_network_one() {
        let now = Instant::now();
        let mut bans = Bans::default();
        bans.ban(now, addr(1, 1), REASON, false);
        assert!(bans.covers(&addr(1, 9)) && !bans.covers(&addr(2, 1)) && bans.sources().is_none());
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        bans.ban(now, local(1), REASON, false);
        assert!(bans.covers(&local(1)) && !bans.covers(&local(2)));
    }

    #[test]
    fn memory_is_bounded() {
        let now = Instant::now();
        let mut bans = Bans::default();
        for number in 0..2 * BANS_MAX as u32 {
            let addr = (std::net::Ipv4Addr::from(0x0b00_0000 + number), 1).into();
            bans.ban(now + Duration::from_millis(number.into()), addr, REASON, false);
        }
        assert_eq!(bans.by_key.len(), BANS_MAX);
    }
}
