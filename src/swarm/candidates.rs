use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::bans::Bans;
use super::event::{BanReason, CloseCause, PeerSource};
use super::status::Contacts;

/// Addresses kept at most. A DHT search of a large swarm yields a few hundred; more than this is flooding.
const CANDIDATES_MAX: usize = 4000;
/// Pause before an address that failed once is dialled again; it doubles with every further failure.
const RETRY_MIN: Duration = Duration::from_secs(2);
/// The longest of these pauses. An address is dialled forever, as it may be the only one; when there is no room for a
/// better one, those with the most failures go.
const RETRY_MAX: Duration = Duration::from_secs(10 * 60);
/// The longest pause before an address is dialled that the user named.
const NAMED_RETRY_MAX: Duration = Duration::from_secs(60);
/// Failures that are counted at most.
const FAILURES_MAX: u8 = 16;
/// Pause before a peer that closed a working connection is dialled again.
const RECONNECT: Duration = Duration::from_secs(20);
/// Pause before a peer is dialled again that had to make room because it was useless.
const USELESS_RETRY: Duration = Duration::from_secs(5 * 60);

/// Pause before a peer is dialled again that lacked nothing, as we did: pieces may get lost, or be selected later.
const BOTH_COMPLETE_RETRY: Duration = Duration::from_secs(30 * 60);
/// Pause before an address is dialled again at which we met ourselves: others may have it by then.
const OWN_RETRY: Duration = Duration::from_secs(60 * 60);

/// The addresses that may be dialled: each once, in the order of their promise, with back-off.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    by_addr: BTreeMap<SocketAddr, Candidate>,
    /// Those that may be dialled, by the time from which on and then by promise. The first is the next.
    queue: std::collections::BTreeSet<(Instant, u8, SocketAddr)>,
    /// How many have failed since they worked last.
    failing: usize,
    bans: Bans,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    promise: u8,
    failures: u8,
    was_useless: bool,
    /// How its last connection ended, if it had one.
    end: Option<End>,
    /// Its place in the queue; `None` while it is dialled or connected.
    due: Option<Instant>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Refused,
    TimedOut,
    Unreachable,
    /// The peer closed it before its handshake was complete.
    HungUp,
    /// It ended for another reason before that.
    Faulty,
    /// Later.
    Left,
}

impl End {
    /// By the cause, and whether both handshakes were done.
    pub(super) fn new(cause: &CloseCause, worked: bool) -> Self {
        use std::io::ErrorKind;
        match cause {
            _ if worked => Self::Left,
            CloseCause::DialFailed(ErrorKind::ConnectionRefused) => Self::Refused,
            CloseCause::DialFailed(ErrorKind::TimedOut) => Self::TimedOut,
            CloseCause::DialFailed(_) => Self::Unreachable,
            CloseCause::Eof | CloseCause::Io(_) => Self::HungUp,
            CloseCause::ByUs | CloseCause::Fault(_) | CloseCause::TooSlow => Self::Faulty,
        }
    }
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

impl Candidate {
    fn new(promise: u8, due: Option<Instant>) -> Self {
        Self { promise, failures: 0, was_useless: false, end: None, due }
    }

    fn is_named(&self) -> bool {
        self.promise == promise(PeerSource::User)
    }
}

impl Candidates {
    /// Takes an address in; returns whether it may be dialled and was not known. What the user names is known, whatever others
    /// at its IP address did.
    pub(super) fn add(&mut self, now: Instant, addr: SocketAddr, source: PeerSource) -> bool {
        let is_kept_out = self.is_banned(&addr) && (source != PeerSource::User || self.bans.is_offender(&addr));
        if !is_dialable(&addr) || (is_kept_out && !self.by_addr.contains_key(&addr)) {
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
        self.by_addr.insert(addr, Candidate::new(promise, Some(now)));
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
            self.by_addr.insert(addr, Candidate::new(promise, None));
        }
        true
    }

    /// A better source names a known address: it counts as that one's from now on.
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
        Some(Due { addr, is_named: candidate.is_named(), was_useless: candidate.was_useless })
    }

    /// The next address to dial, if one is due; it counts as being dialled from now on.
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
    pub(super) fn handle_failed(&mut self, now: Instant, addr: SocketAddr, end: End) {
        self.back_off(now, addr, RETRY_MIN, end);
    }

    /// A connection has ended on which nothing was exchanged.
    pub(super) fn handle_ended_early(&mut self, now: Instant, addr: SocketAddr) {
        self.back_off(now, addr, RECONNECT, End::Left);
    }

    fn back_off(&mut self, now: Instant, addr: SocketAddr, pause_min: Duration, end: End) {
        let Some(candidate) = self.by_addr.get_mut(&addr) else { return };
        self.failing += usize::from(candidate.failures == 0);
        candidate.failures = candidate.failures.saturating_add(1).min(FAILURES_MAX);
        candidate.end = Some(end);
        let pause = pause_min * 2u32.pow(u32::from(candidate.failures) - 1);
        let pause_max = if candidate.is_named() { NAMED_RETRY_MAX } else { RETRY_MAX };
        self.enqueue(addr, now + pause.min(pause_max));
    }

    /// A connection that worked has ended.
    pub(super) fn handle_ended(&mut self, now: Instant, addr: SocketAddr) {
        self.handle_left(now, addr, RECONNECT);
    }

    /// Neither side wants anything of the other.
    pub(super) fn handle_both_complete(&mut self, now: Instant, addr: SocketAddr) {
        self.handle_left(now, addr, BOTH_COMPLETE_RETRY);
    }

    /// It is ourselves. The address stays known, so that nobody can name it to us again at once.
    pub(super) fn handle_own(&mut self, now: Instant, addr: SocketAddr) {
        self.handle_left(now, addr, OWN_RETRY);
    }

    fn handle_left(&mut self, now: Instant, addr: SocketAddr, pause: Duration) {
        if let Some(candidate) = self.by_addr.get_mut(&addr) {
            self.failing -= usize::from(candidate.failures > 0);
            (candidate.failures, candidate.end) = (0, Some(End::Left));
        }
        self.enqueue(addr, now + pause);
    }

    /// Something is wanted that was not: whoever worked is dialled soon.
    pub(super) fn recall(&mut self, now: Instant) {
        let soon = now + RECONNECT;
        let worked = |candidate: &Candidate| candidate.failures == 0 && candidate.due.is_some_and(|due| due > soon);
        let addrs: Vec<SocketAddr> =
            self.by_addr.iter().filter(|(_, candidate)| worked(candidate)).map(|(addr, _)| *addr).collect();
        for addr in addrs.into_iter().filter(|addr| !self.is_banned(addr)).collect::<Vec<_>>() {
            self.enqueue(addr, soon);
        }
    }

    /// A connection had to make room because nothing came of it.
    pub(super) fn handle_useless(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(candidate) = self.by_addr.get_mut(&addr) {
            candidate.was_useless = true;
        }
        self.postpone(now, addr);
    }

    /// There is no place for an address before others had theirs.
    pub(super) fn postpone(&mut self, now: Instant, addr: SocketAddr) {
        self.enqueue(addr, now + USELESS_RETRY);
    }

    /// Forgets an address, until it is added again.
    fn forget(&mut self, addr: &SocketAddr) {
        let Some(gone) = self.by_addr.remove(addr) else { return };
        self.failing -= usize::from(gone.failures > 0);
        if let Some(due) = gone.due {
            self.queue.remove(&(due, gone.promise, *addr));
        }
    }

    /// Whether a peer that nobody can replace is forgiven that it did harm: the first time it is.
    pub(super) fn forgives(&mut self, now: Instant, addr: SocketAddr, reason: BanReason) -> bool {
        self.bans.forgives(now, addr, reason)
    }

    /// Bans a peer for a while; it is dialled again when that is over. `was_source`: it had something that we lack.
    pub(super) fn ban(&mut self, now: Instant, addr: SocketAddr, reason: BanReason, was_source: bool) {
        let until = self.bans.ban(now, addr, reason, was_source);
        let key = Bans::key_of(&addr);
        let meant = |other: &SocketAddr| Bans::key_of(other) == key && self.is_banned(other);
        let banned: Vec<SocketAddr> = self.by_addr.keys().filter(|other| meant(other)).copied().collect();
        for addr in banned {
            self.enqueue(addr, until);
        }
    }

    /// Ends bans whose time is over.
    pub(super) fn expire_bans(&mut self, now: Instant) {
        self.bans.expire(now);
    }

    /// Whether the peer is banned. What the user named is for what it did itself, and not for what another peer at its IP
    /// address did.
    pub(super) fn is_banned(&self, addr: &SocketAddr) -> bool {
        let is_named = self.by_addr.get(addr).is_some_and(Candidate::is_named);
        if is_named { self.bans.is_offender(addr) } else { self.bans.covers(addr) }
    }

    /// How many peers that had something we lack are banned, and what the last of them did.
    pub(super) fn banned_sources(&self) -> Option<(usize, BanReason)> {
        self.bans.sources()
    }

    /// What became of the addresses.
    pub(super) fn contacts(&self) -> Contacts {
        let count = |end| self.by_addr.values().filter(|candidate| candidate.end == Some(end)).count();
        Contacts {
            known: self.by_addr.len(),
            refused: count(End::Refused),
            timed_out: count(End::TimedOut),
            hung_up: count(End::HungUp),
            faulty: count(End::Faulty),
            left: count(End::Left),
        }
    }

    /// Number of addresses that have not failed since they worked last.
    pub(super) fn hopeful(&self) -> usize {
        self.by_addr.len() - self.failing
    }

    /// Panics when the counts disagree or a bound is exceeded.
    pub(super) fn check_invariants(&self) {
        assert!(self.by_addr.len() <= CANDIDATES_MAX, "too many addresses");
        let due = |(addr, candidate): (&SocketAddr, &Candidate)| Some((candidate.due?, candidate.promise, *addr));
        assert!(self.by_addr.iter().filter_map(due).all(|place| self.queue.contains(&place)), "a place is lost");
        let waiting = self.by_addr.values().filter(|candidate| candidate.due.is_some()).count();
        assert_eq!(self.queue.len(), waiting, "addresses that may be dialled");
        let failing = self.by_addr.values().filter(|candidate| candidate.failures > 0).count();
        assert_eq!(self.failing, failing, "addresses that failed");
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
            candidates.handle_failed(now, due.addr, End::Refused);
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
    fn what_fails_is_dialled_ever_less_often_and_for_ever() {
        let mut now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.add(now, addr(1, 1), PeerSource::Dht);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let dialled = candidates.next(now).expect("it is due");
            candidates.handle_failed(now, dialled, End::TimedOut);
            let due = candidates.next_due().unwrap();
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        assert_eq!((candidates.len(), candidates.hopeful()), (1, 0));
        let contacts = Contacts { known: 1, timed_out: 1, ..Contacts::default() };
        assert_eq!(candidates.contacts(), contacts);
        candidates.handle_ended(now, addr(1, 1));
        assert_eq!(candidates.hopeful(), 1, "it works");
    }

    #[test]
    fn who_connects_and_leaves_at_once_is_dialled_ever_less_often() {
        let mut now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.add(now, addr(1, 1), PeerSource::Dht);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let dialled = candidates.next(now).expect("it is due");
            candidates.handle_ended_early(now, dialled);
            let due = candidates.next_due().unwrap();
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 600, 600]);
    }

    #[test]
    fn who_needs_nothing_of_us_is_recalled_when_something_is_wanted() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.add(now, addr(1, 1), PeerSource::Dht);
        candidates.next(now);
        candidates.handle_both_complete(now, addr(1, 1));
        assert_eq!(candidates.next_due(), Some(now + BOTH_COMPLETE_RETRY));
        candidates.recall(now);
        assert_eq!(candidates.next_due(), Some(now + RECONNECT));
    }

    #[test]
    fn a_banned_address_is_dialled_when_the_ban_is_over_and_what_the_user_named_answers_for_itself() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        for (addr, source) in
            [(addr(1, 1), PeerSource::Dht), (addr(1, 2), PeerSource::User), (addr(2, 1), PeerSource::Dht)]
        {
            candidates.add(now, addr, source);
        }
        candidates.ban(now, addr(1, 9), BanReason::CorruptBlocks, true);
        assert!(candidates.is_banned(&addr(1, 1)) && candidates.is_banned(&addr(1, 9)));
        assert!(!candidates.is_banned(&addr(1, 2)) && !candidates.is_banned(&addr(2, 1)));
        assert!(!candidates.add(now, addr(1, 3), PeerSource::Dht));
        assert!(candidates.add(now, addr(1, 4), PeerSource::User));
        assert_eq!([(); 3].map(|()| candidates.next(now)), [addr(1, 2), addr(1, 4), addr(2, 1)].map(Some));
        assert_eq!(candidates.next(now), None);
        candidates.ban(now, addr(1, 2), BanReason::CorruptBlocks, true);
        assert!(candidates.is_banned(&addr(1, 2)), "for what it did itself");
        let over = candidates.next_due().unwrap();
        candidates.expire_bans(over);
        assert!(!candidates.is_banned(&addr(1, 1)) && candidates.next(over).is_some());
    }

    #[test]
    fn floods_are_bounded() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        for number in 0..2 * CANDIDATES_MAX as u32 {
            candidates.add(now, (std::net::Ipv4Addr::from(0x0a00_0000 + number), 1).into(), PeerSource::Dht);
        }
        assert_eq!(candidates.len(), CANDIDATES_MAX);
    }
}
