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
/// Failures in a row after which an address is forgotten until somebody names it again. What the user named is dialled for
/// ever.
const FAILURES_MAX: u8 = 8;
/// The longest pause before an address is dialled that the user named.
const NAMED_RETRY_MAX: Duration = Duration::from_secs(60);
/// Pause before a peer that closed a working connection is dialled again.
const RECONNECT: Duration = Duration::from_secs(20);
/// Pause before a peer is dialled again that had to make room because it was of no use.
const USELESS_RETRY: Duration = Duration::from_secs(5 * 60);

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
    was_useless: bool,
    /// Its place in the queue; `None` while it is dialled or connected.
    due: Option<Instant>,
}

/// An address that is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) addr: SocketAddr,
    /// Whether the user named it.
    pub(super) is_named: bool,
    /// Whether it made room for others because nothing came of it.
    pub(super) was_useless: bool,
}

impl Candidates {
    /// Takes an address in; returns whether it may be dialled and was not known.
    pub(super) fn add(&mut self, now: Instant, addr: SocketAddr, source: PeerSource) -> bool {
        if !is_dialable(&addr) || self.is_banned(&addr) {
            return false;
        }
        let promise = promise(source);
        if let Some(known) = self.by_addr.get(&addr).copied() {
            self.raise(addr, known, promise);
            return false;
        }
        if self.by_addr.len() >= CANDIDATES_MAX && !self.drop_worst(promise) {
            return false;
        }
        self.by_addr.insert(addr, Candidate { promise, failures: 0, was_useless: false, due: Some(now) });
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
            self.by_addr.insert(addr, Candidate { promise, failures: 0, was_useless: false, due: None });
        }
        true
    }

    /// A better source names a known address: it counts as that one's from here on.
    fn raise(&mut self, addr: SocketAddr, known: Candidate, promise: u8) {
        if promise >= known.promise {
            return;
        }
        if let Some(due) = known.due {
            self.queue.remove(&(due, known.promise, addr));
            self.queue.insert((due, promise, addr));
        }
        self.by_addr.insert(addr, Candidate { promise, ..known });
    }

    /// Forgets the address of least promise, most failures first, if it is no better than `promise`.
    fn drop_worst(&mut self, promise: u8) -> bool {
        let waiting = self.by_addr.iter().filter(|(_, candidate)| candidate.due.is_some());
        let worst = waiting.max_by_key(|(addr, candidate)| (candidate.promise, candidate.failures, **addr));
        match worst.map(|(addr, candidate)| (*addr, *candidate)) {
            Some((addr, worst)) if worst.promise > promise || (worst.promise == promise && worst.failures > 0) => {
                self.forget(&addr);
                true
            }
            _ => false,
        }
    }

    /// The next address to dial, if one is due.
    pub(super) fn peek(&self, now: Instant) -> Option<Due> {
        let (_, _, addr) = *self.queue.first().filter(|(due, _, _)| *due <= now)?;
        let candidate = self.by_addr.get(&addr)?;
        let is_named = candidate.promise == promise(PeerSource::User);
        Some(Due { addr, is_named, was_useless: candidate.was_useless })
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
        candidate.failures = candidate.failures.saturating_add(1).min(FAILURES_MAX);
        let is_named = candidate.promise == promise(PeerSource::User);
        if candidate.failures >= FAILURES_MAX && !is_named {
            self.forget(&addr);
            return;
        }
        let pause = RETRY_MIN * 2u32.pow(u32::from(candidate.failures) - 1);
        self.enqueue(addr, now + if is_named { pause.min(NAMED_RETRY_MAX) } else { pause });
    }

    /// A connection that worked has ended.
    pub(super) fn handle_ended(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(candidate) = self.by_addr.get_mut(&addr) {
            candidate.failures = 0;
        }
        self.enqueue(addr, now + RECONNECT);
    }

    /// A connection had to make room because nothing came of it.
    pub(super) fn handle_useless(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(candidate) = self.by_addr.get_mut(&addr) {
            candidate.was_useless = true;
        }
        self.enqueue(addr, now + USELESS_RETRY);
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
        assert!(!candidates.add(now, addr(1, 1), PeerSource::Resume), "known");
        assert!(!candidates.add(now, addr(3, 0), PeerSource::User), "port 0");
        assert_eq!(candidates.next(now), Some(addr(2, 1)));
        assert_eq!(candidates.next(now), Some(addr(1, 1)));
        assert_eq!(candidates.next(now), None);
    }

    #[test]
    fn what_the_user_names_is_dialled_for_ever_and_pauses_for_a_minute_at_most() {
        let mut now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.add(now, addr(1, 1), PeerSource::Dht);
        candidates.add(now, addr(1, 1), PeerSource::User);
        for _ in 0..1000 {
            let due = candidates.peek(now).expect("it is due");
            assert!(due.is_named);
            candidates.next(now);
            candidates.handle_failed(now, due.addr);
            let next = candidates.next_due().unwrap();
            assert!(next - now <= NAMED_RETRY_MAX);
            now = next;
        }
    }

    #[test]
    fn a_flood_of_addresses_does_not_keep_out_better_sources() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        for number in 0..2 * CANDIDATES_MAX as u32 {
            candidates.adopt((std::net::Ipv4Addr::from(0x0a00_0000 + number), 1).into());
            candidates.handle_ended(now, (std::net::Ipv4Addr::from(0x0a00_0000 + number), 1).into());
        }
        let good = ([11, 0, 0, 1], 1).into();
        assert!(candidates.add(now, good, PeerSource::Dht) && !candidates.add(now, good, PeerSource::User));
        assert_eq!(candidates.next(now), Some(good));
        assert_eq!(candidates.len(), CANDIDATES_MAX);
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
