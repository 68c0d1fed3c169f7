use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::event::PeerSource;

/// Addresses kept at most. A DHT search of a large swarm yields a few hundred; more than this is flooding.
const CANDIDATES_MAX: usize = 4000;
/// Banned IP addresses kept at most; the oldest is forgiven.
const BANNED_MAX: usize = 4000;
/// Pause before an address that failed once is dialled again; it doubles with every further failure.
const RETRY_MIN: Duration = Duration::from_secs(2);
/// Failures in a row after which an address is forgotten until somebody names it again.
const FAILURES_MAX: u8 = 8;
/// Pause before a peer that closed a working connection is dialled again.
const RECONNECT: Duration = Duration::from_secs(20);

/// The addresses that may be dialled: each once, in the order of their promise, with back-off.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    by_addr: BTreeMap<SocketAddr, Candidate>,
    /// Those that may be dialled, by the time from which on and then by promise. The first is the next.
    queue: std::collections::BTreeSet<(Instant, u8, SocketAddr)>,
    /// Who is banned, and since when.
    banned: BTreeMap<BanKey, Instant>,
}

/// An IP address with every port, since another port does not help a liar; on the loopback network, where every peer of a
/// machine has the same IP address, one port of it.
type BanKey = (IpAddr, Option<u16>);

#[derive(Debug, Clone, Copy)]
struct Candidate {
    promise: u8,
    failures: u8,
    /// Its place in the queue; `None` while it is dialled or connected.
    due: Option<Instant>,
}

impl Candidates {
    /// Takes an address in; returns whether it may be dialled and was not known.
    pub(super) fn add(&mut self, now: Instant, addr: SocketAddr, source: PeerSource) -> bool {
        if !is_dialable(&addr) || self.is_banned(&addr) {
            return false;
        }
        if self.by_addr.contains_key(&addr) || self.by_addr.len() >= CANDIDATES_MAX {
            return false;
        }
        let promise = promise(source);
        self.by_addr.insert(addr, Candidate { promise, failures: 0, due: Some(now) });
        self.queue.insert((now, promise, addr))
    }

    /// A peer that connected to us listens here: it need not be dialled before that connection ends. Returns whether the
    /// address may be dialled at all.
    pub(super) fn adopt(&mut self, addr: SocketAddr) -> bool {
        if !is_dialable(&addr) || self.is_banned(&addr) {
            return false;
        }
        if let Some(candidate) = self.by_addr.get_mut(&addr) {
            if let Some(due) = candidate.due.take() {
                self.queue.remove(&(due, candidate.promise, addr));
            }
        } else if self.by_addr.len() < CANDIDATES_MAX {
            let promise = promise(PeerSource::Incoming);
            self.by_addr.insert(addr, Candidate { promise, failures: 0, due: None });
        }
        true
    }

    /// The next address to dial, if one is due; it counts as being dialled from here on.
    pub(super) fn next(&mut self, now: Instant) -> Option<SocketAddr> {
        let (due, _, addr) = *self.queue.first()?;
        if due > now {
            return None;
        }
        self.queue.pop_first();
        if let Some(candidate) = self.by_addr.get_mut(&addr) {
            candidate.due = None;
        }
        Some(addr)
    }

    /// When the next address is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _, _)| *due)
    }

    /// An address could not be reached, or its connection failed before it was of use.
    pub(super) fn handle_failed(&mut self, now: Instant, addr: SocketAddr) {
        let Some(candidate) = self.by_addr.get_mut(&addr) else { return };
        candidate.failures += 1;
        if candidate.failures >= FAILURES_MAX {
            self.forget(&addr);
            return;
        }
        let pause = RETRY_MIN * 2u32.pow(u32::from(candidate.failures) - 1);
        self.enqueue(addr, now + pause);
    }

    /// A connection that worked has ended.
    pub(super) fn handle_ended(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(candidate) = self.by_addr.get_mut(&addr) {
            candidate.failures = 0;
        }
        self.enqueue(addr, now + RECONNECT);
    }

    /// Never offers the address again, until it is added anew.
    pub(super) fn forget(&mut self, addr: &SocketAddr) {
        if let Some(Candidate { due: Some(due), promise, .. }) = self.by_addr.remove(addr) {
            self.queue.remove(&(due, promise, *addr));
        }
    }

    /// Bans a peer and forgets what it makes useless.
    pub(super) fn ban(&mut self, now: Instant, addr: SocketAddr) {
        if self.banned.len() >= BANNED_MAX {
            let oldest = self.banned.iter().min_by_key(|(_, since)| **since).map(|(key, _)| *key);
            oldest.map(|key| self.banned.remove(&key));
        }
        let key = ban_key(&addr);
        self.banned.insert(key, now);
        let gone: Vec<SocketAddr> = self.by_addr.keys().filter(|addr| ban_key(addr) == key).copied().collect();
        for addr in gone {
            self.forget(&addr);
        }
    }

    /// Whether the peer is banned.
    pub(super) fn is_banned(&self, addr: &SocketAddr) -> bool {
        self.banned.contains_key(&ban_key(addr))
    }

    /// Number of addresses known.
    pub(super) fn len(&self) -> usize {
        self.by_addr.len()
    }

    fn enqueue(&mut self, addr: SocketAddr, due: Instant) {
        let Some(candidate) = self.by_addr.get_mut(&addr) else { return };
        if let Some(old) = candidate.due.replace(due) {
            self.queue.remove(&(old, candidate.promise, addr));
        }
        self.queue.insert((due, candidate.promise, addr));
    }
}

/// What is dialled first: what the user named, what worked before, then what strangers named.
fn promise(source: PeerSource) -> u8 {
    match source {
        PeerSource::User => 0,
        PeerSource::Resume => 1,
        PeerSource::Dht => 2,
        PeerSource::Incoming => 3,
    }
}

fn ban_key(addr: &SocketAddr) -> BanKey {
    (addr.ip(), addr.ip().is_loopback().then_some(addr.port()))
}

fn is_dialable(addr: &SocketAddr) -> bool {
    let ip = addr.ip();
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::from([255, 255, 255, 255])
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;

    fn addr(last: u8, port: u16) -> SocketAddr {
        ([10, 0, 0, last], port).into()
    }

    #[test]
    fn each_address_is_offered_once_and_the_most_promising_first() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        assert!(candidates.add(now, addr(1, 1), PeerSource::Dht));
        assert!(candidates.add(now, addr(2, 1), PeerSource::User));
        assert!(!candidates.add(now, addr(1, 1), PeerSource::User), "known");
        assert!(!candidates.add(now, addr(3, 0), PeerSource::User), "port 0");
        assert_eq!(candidates.next(now), Some(addr(2, 1)));
        assert_eq!(candidates.next(now), Some(addr(1, 1)));
        assert_eq!(candidates.next(now), None);
    }

    #[test]
    fn an_adopted_address_waits_for_the_end_of_its_connection() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.add(now, addr(1, 1), PeerSource::Dht);
        assert!(candidates.adopt(addr(1, 1)) && candidates.adopt(addr(2, 1)));
        assert!(!candidates.adopt(addr(3, 0)), "port 0");
        assert!(!candidates.add(now, addr(2, 1), PeerSource::Dht), "known");
        assert_eq!(candidates.next(now), None);
        candidates.handle_ended(now, addr(2, 1));
        assert_eq!(candidates.next(now + RECONNECT), Some(addr(2, 1)));
    }

    #[test]
    fn failures_back_off_and_at_last_forget() {
        let mut now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.add(now, addr(1, 1), PeerSource::Dht);
        let mut pauses = Vec::new();
        while let Some(dialled) = candidates.next(now) {
            candidates.handle_failed(now, dialled);
            let Some(due) = candidates.next_due() else { break };
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128]);
        assert_eq!(candidates.len(), 0);
    }

    #[test]
    fn a_ban_covers_every_port_and_stays() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.add(now, addr(1, 1), PeerSource::Dht);
        candidates.add(now, addr(1, 2), PeerSource::Dht);
        candidates.add(now, addr(2, 1), PeerSource::Dht);
        candidates.ban(now, addr(1, 1));
        assert_eq!(candidates.len(), 1);
        assert!(!candidates.add(now, addr(1, 3), PeerSource::User));
        assert!(candidates.is_banned(&addr(1, 9)));
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        candidates.ban(now, local(1));
        assert!(candidates.is_banned(&local(1)) && !candidates.is_banned(&local(2)));
    }

    #[test]
    fn floods_are_bounded() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        for number in 0..2 * CANDIDATES_MAX as u32 {
            candidates.add(now, (std::net::Ipv4Addr::from(0x0a00_0000 + number), 1).into(), PeerSource::Dht);
            candidates.ban(now, (std::net::Ipv4Addr::from(0x0b00_0000 + number), 1).into());
        }
        assert_eq!((candidates.len(), candidates.banned.len()), (CANDIDATES_MAX, BANNED_MAX));
    }
}
