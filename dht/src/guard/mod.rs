//! Whom a node answers, and how much.

mod addresses;
mod prefix;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use rand_core::Rng;
use siphasher::sip::SipHasher13;

pub use addresses::{AddressFilter, Bogon};
pub use prefix::{ParsePrefixError, Prefix};

use crate::{Network, is_local};

/// Budgets for answering queries.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GuardConfig {
    /// Queries per second that one IPv4 /24 or IPv6 /64 may have looked at. An IPv6 /48 has four times as many.
    pub prefix_packets_per_s: u32,
    /// Bytes of replies per second that one such prefix is sent, averaged over some seconds.
    pub prefix_bytes_per_s: u32,
    /// Bytes of replies per second to everyone together.
    pub total_bytes_per_s: u32,
    /// Networks that no budget applies to: load generators, one's own machines. Loopback and private ones always are.
    pub exempt: Vec<Prefix>,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            prefix_packets_per_s: 50,
            // A little under 4 KB/s, so that the burst below keeps the sum of any minute under it.
            prefix_bytes_per_s: 3_800,
            total_bytes_per_s: 1 << 20,
            exempt: Vec::new(),
        }
    }
}

impl GuardConfig {
    /// With this many [queries per second and prefix](Self::prefix_packets_per_s).
    #[must_use]
    pub fn prefix_packets_per_s(mut self, packets: u32) -> Self {
        self.prefix_packets_per_s = packets;
        self
    }

    /// With this many [bytes of replies per second and prefix](Self::prefix_bytes_per_s).
    #[must_use]
    pub fn prefix_bytes_per_s(mut self, bytes: u32) -> Self {
        self.prefix_bytes_per_s = bytes;
        self
    }

    /// With this many [bytes of replies per second](Self::total_bytes_per_s) to everyone together.
    #[must_use]
    pub fn total_bytes_per_s(mut self, bytes: u32) -> Self {
        self.total_bytes_per_s = bytes;
        self
    }

    /// With these [networks without a budget](Self::exempt).
    #[must_use]
    pub fn exempt(mut self, networks: Vec<Prefix>) -> Self {
        self.exempt = networks;
        self
    }
}

/// Whether a query is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer it, and tell [`Guard::charge_reply`] how long the reply was.
    Admit,
    /// Say nothing.
    Drop(DropReason),
}

/// Why a query gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The source cannot be another node.
    Bogon(Bogon),
    /// The prefix sent more queries than its share.
    PrefixPackets,
    /// The prefix was sent more bytes than its share.
    PrefixBytes,
    /// Everyone together was sent more bytes than the quota.
    TotalBytes,
}

/// Sets of the prefix table: as many as an idle node needs, 2 KiB with four entries of 16 bytes each, and as many as
/// there ever are, 1 MiB, whoever sends what. Powers of two.
const SETS_MIN: usize = 1 << 5;
const SETS_MAX: usize = 1 << 14;
const WAYS: usize = 4;

/// Seconds' worth of budget that may be saved up.
const BURST_S: i64 = 2;

/// How often a bucket is filled up at most. Whole bytes are added: finer steps would round a slow rate away.
const FILL_STEP_MS: i64 = 50;

/// An IPv6 /48 is often one site with many /64.
const SITE_FACTOR: i64 = 4;

const TAG_USED: u32 = 1;
const TAG_SITE: u32 = 2;

/// Decides which queries are answered, in memory that has a bound.
///
/// Source addresses of UDP are easily forged. So each prefix, and everyone together, has a budget of reply bytes that
/// bounds what this node can be made to throw at a victim, and each prefix has a budget of queries that bounds the work
/// it can cause. Token buckets live in a set-associative table under a keyed hash. A bucket that filled up again is as
/// good as none; when a set has no such place, the table doubles, and at its largest the fullest bucket goes, because
/// forgetting it forgives least.
#[derive(Debug)]
pub struct Guard {
    config: GuardConfig,
    filter: AddressFilter,
    key: SipHasher13,
    start: Instant,
    sets: Vec<[Bucket; WAYS]>,
    /// The networks asked for last, and the parts of their hashes: a reply is charged right after its query was admitted.
    recent: [(Network, u64); 2],
    /// Bytes left of the quota of all, and when it was last filled up.
    total: Bucket,
}

/// A token bucket for queries and bytes. All zero is a free place.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(16))]
struct Bucket {
    /// What of the keyed hash does not choose the set, with [`TAG_USED`] and, for a /48, [`TAG_SITE`]; 0 is no prefix.
    tag: u32,
    /// Milliseconds since the start at which it was last filled up. Wraps after 49 days.
    filled_ms: u32,
    /// Bytes of replies left. A reply may take it below zero.
    bytes: i32,
    /// Queries left, in thousandths.
    packets_milli: i32,
}

/// What fills a bucket.
#[derive(Clone, Copy)]
struct Rate {
    bytes_per_s: i64,
    packets_per_s: i64,
}

/// What fills the buckets of a /24 or /64, and of a /48.
struct Rates {
    network: Rate,
    site: Rate,
}

impl Rates {
    fn of(&self, tag: u32) -> Rate {
        if tag & TAG_SITE == 0 { self.network } else { self.site }
    }
}

impl Rate {
    fn bytes_max(self) -> i64 {
        (self.bytes_per_s * BURST_S).min(i64::from(i32::MAX))
    }

    fn packets_milli_max(self) -> i64 {
        (self.packets_per_s * BURST_S * 1000).min(i64::from(i32::MAX))
    }
}

impl Bucket {
    fn full(tag: u32, now_ms: u32, rate: Rate) -> Self {
        Self { tag, filled_ms: now_ms, bytes: rate.bytes_max() as i32, packets_milli: rate.packets_milli_max() as i32 }
    }

    fn fill(&mut self, now_ms: u32, rate: Rate) {
        let elapsed_ms = i64::from(now_ms.wrapping_sub(self.filled_ms));
        if elapsed_ms < FILL_STEP_MS {
            return;
        }
        self.filled_ms = now_ms;
        let bytes = rate.bytes_per_s.saturating_mul(elapsed_ms) / 1000;
        let bytes = i64::from(self.bytes).saturating_add(bytes).min(rate.bytes_max());
        let packets = i64::from(self.packets_milli).saturating_add(rate.packets_per_s.saturating_mul(elapsed_ms));
        self.bytes = bytes as i32;
        self.packets_milli = packets.min(rate.packets_milli_max()) as i32;
    }
}

impl Guard {
    /// A guard for one socket, whose addresses `filter` knows.
    pub fn new(config: GuardConfig, filter: AddressFilter, start: Instant, rng: &mut impl Rng) -> Self {
        let key = SipHasher13::new_with_keys(rng.next_u64(), rng.next_u64());
        let sets = vec![[Bucket::default(); WAYS]; SETS_MIN];
        let total = Bucket::full(1, 0, total_rate(&config));
        let nowhere = Network::subnet(Ipv4Addr::UNSPECIFIED.into());
        let recent = [(nowhere, key.hash(&nowhere.number().to_le_bytes())); 2];
        Self { config, filter, key, start, sets, recent, total }
    }

    /// The rule about addresses, for contacts and peers too.
    pub fn filter(&self) -> &AddressFilter {
        &self.filter
    }

    /// The rule about addresses, to be told of own and bootstrap addresses.
    pub fn filter_mut(&mut self) -> &mut AddressFilter {
        &mut self.filter
    }

    /// Bytes that the budgets of the prefixes take: 2 KiB at first, 1 MiB at most.
    pub fn used_bytes(&self) -> usize {
        self.sets.capacity() * size_of::<[Bucket; WAYS]>()
    }

    /// Whether a query that came from `from` is to be answered.
    pub fn admit_query(&mut self, now: Instant, from: SocketAddr) -> Verdict {
        match self.refuse(now, from) {
            None => Verdict::Admit,
            Some(reason) => Verdict::Drop(reason),
        }
    }

    /// Takes a reply of `bytes` to `to` off the budgets.
    pub fn charge_reply(&mut self, now: Instant, to: SocketAddr, bytes: usize) {
        if self.is_exempt(to.ip()) {
            return;
        }
        let now_ms = self.now_ms(now);
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        self.total.bytes = self.total.bytes.saturating_sub(bytes);
        for network in networks(to.ip()).into_iter().flatten() {
            let bucket = self.bucket(network, now_ms);
            bucket.bytes = bucket.bytes.saturating_sub(bytes);
        }
    }

    fn refuse(&mut self, now: Instant, from: SocketAddr) -> Option<DropReason> {
        if let Err(bogon) = self.filter.check(from) {
            return Some(DropReason::Bogon(bogon));
        }
        if self.is_exempt(from.ip()) {
            return None;
        }
        let now_ms = self.now_ms(now);
        for network in networks(from.ip()).into_iter().flatten() {
            let bucket = self.bucket(network, now_ms);
            if bucket.packets_milli < 1000 {
                return Some(DropReason::PrefixPackets);
            }
            bucket.packets_milli -= 1000;
            if bucket.bytes <= 0 {
                return Some(DropReason::PrefixBytes);
            }
        }
        self.total.fill(now_ms, total_rate(&self.config));
        (self.total.bytes <= 0).then_some(DropReason::TotalBytes)
    }

    /// Nobody can forge loopback or private sources from outside, and whole testnets live in one of their prefixes.
    fn is_exempt(&self, ip: IpAddr) -> bool {
        is_local(ip) || self.config.exempt.iter().any(|prefix| prefix.contains(ip))
    }

    fn now_ms(&self, now: Instant) -> u32 {
        // Wraps on purpose: only differences count.
        now.saturating_duration_since(self.start).as_millis() as u32
    }

    fn rates(&self) -> Rates {
        let bytes_per_s = i64::from(self.config.prefix_bytes_per_s);
        let packets_per_s = i64::from(self.config.prefix_packets_per_s);
        Rates {
            network: Rate { bytes_per_s, packets_per_s },
            site: Rate { bytes_per_s: bytes_per_s * SITE_FACTOR, packets_per_s: packets_per_s * SITE_FACTOR },
        }
    }

    /// The bucket of a network, filled up to `now_ms`.
    fn bucket(&mut self, network: Budgeted, now_ms: u32) -> &mut Bucket {
        let hash = self.hash(network);
        let tag = (hash >> 32) as u32 & !TAG_SITE | TAG_USED | if network.is_site { TAG_SITE } else { 0 };
        let rates = self.rates();
        let (set, way) = self.place(hash as usize, tag, now_ms, &rates);
        let bucket = &mut self.sets[set][way];
        bucket.fill(now_ms, rates.of(tag));
        bucket
    }

    fn hash(&mut self, Budgeted { network, is_site }: Budgeted) -> u64 {
        let recent = &mut self.recent[usize::from(is_site)];
        if recent.0 != network {
            *recent = (network, self.key.hash(&network.number().to_le_bytes()));
        }
        recent.1
    }

    /// Where the bucket of a network is, made there if there is none.
    fn place(&mut self, hash: usize, tag: u32, now_ms: u32, rates: &Rates) -> (usize, usize) {
        loop {
            let set = hash & (self.sets.len() - 1);
            if let Some(way) = self.sets[set].iter().position(|bucket| bucket.tag == tag) {
                return (set, way);
            }
            let (way, is_spare) = roomiest(&self.sets[set], now_ms, rates);
            if is_spare || self.sets.len() >= SETS_MAX {
                self.sets[set][way] = Bucket::full(tag, now_ms, rates.of(tag));
                return (set, way);
            }
            // Each bucket belongs to one of two sets from here on, and its tag does not say to which. In the other one
            // nobody asks for it, so that it fills up and makes room.
            self.sets.reserve_exact(self.sets.len());
            self.sets.extend_from_within(..);
        }
    }
}

/// A free place of the set, or the bucket that has most left; and whether forgetting it forgives nothing.
fn roomiest(set: &[Bucket; WAYS], now_ms: u32, rates: &Rates) -> (usize, bool) {
    let left = |bucket: &Bucket| {
        let mut bucket = *bucket;
        let rate = rates.of(bucket.tag);
        bucket.fill(now_ms, rate);
        let is_full =
            i64::from(bucket.bytes) >= rate.bytes_max() && i64::from(bucket.packets_milli) >= rate.packets_milli_max();
        (bucket.tag == 0 || is_full, bucket.bytes)
    };
    let lefts = set.each_ref().map(left);
    let way = (0..WAYS).max_by_key(|&way| lefts[way]).unwrap_or(0);
    (way, lefts[way].0)
}

fn total_rate(config: &GuardConfig) -> Rate {
    Rate { bytes_per_s: i64::from(config.total_bytes_per_s), packets_per_s: 0 }
}

/// A network that has a budget.
#[derive(Debug, Clone, Copy)]
struct Budgeted {
    network: Network,
    /// An IPv6 /48, which has the budget of several networks.
    is_site: bool,
}

/// The networks whose budgets an address draws on.
fn networks(ip: IpAddr) -> [Option<Budgeted>; 2] {
    let subnet = Budgeted { network: Network::subnet(ip), is_site: false };
    [Some(subnet), ip.is_ipv6().then(|| Budgeted { network: Network::site(ip), is_site: true })]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;
    use std::time::Duration;

    const REPLY_BYTES: usize = 719;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn guard(config: GuardConfig, local: &str, start: Instant) -> Guard {
        let rng = &mut ChaCha8Rng::from_seed([3; 32]);
        Guard::new(config, AddressFilter::new(addr(local)), start, rng)
    }

    /// One query and, if admitted, its reply.
    fn exchange(guard: &mut Guard, now: Instant, from: SocketAddr) -> bool {
        let admitted = guard.admit_query(now, from) == Verdict::Admit;
        if admitted {
            guard.charge_reply(now, from, REPLY_BYTES);
        }
        admitted
    }

    /// Floods from `flooder` at 50,000 queries per second for `seconds`, with one honest query a second from each of
    /// 256 other prefixes. Returns the bytes sent to the flooder and the share of honest queries answered.
    fn flood(guard: &mut Guard, start: Instant, seconds: u64, flooder: impl Fn(u64) -> SocketAddr) -> (usize, f64) {
        let (mut bytes, mut honest, mut answered) = (0, 0u32, 0u32);
        for tick in 0..seconds * 50_000 {
            let now = start + Duration::from_micros(tick * 20);
            if exchange(guard, now, flooder(tick)) {
                bytes += REPLY_BYTES;
            }
            if tick % 195 == 0 {
                let network = (tick / 195) % 256;
                honest += 1;
                answered += u32::from(exchange(guard, now, addr(&format!("81.{network}.7.7:6881"))));
            }
        }
        (bytes, f64::from(answered) / f64::from(honest))
    }

    #[test]
    fn a_flooding_slash_24_gets_4_kb_a_second_and_the_others_do_not_notice() {
        let start = Instant::now();
        let mut guard = guard(GuardConfig::default(), "0.0.0.0:6881", start);
        let (bytes, answered) = flood(&mut guard, start, 20, |tick| addr(&format!("66.6.6.{}:6881", tick % 256)));
        assert!(bytes <= 20 * 4000 + 7600, "{bytes} bytes to the victim");
        assert!(bytes >= 20 * 3500, "{bytes} bytes: the share itself is granted");
        assert!(answered >= 0.99, "{answered} of the honest queries answered");
    }

    #[test]
    fn an_ipv6_site_cannot_multiply_its_share_by_its_networks() {
        let start = Instant::now();
        let mut guard = guard(GuardConfig::default(), "[::]:6881", start);
        let mut bytes = 0;
        for tick in 0..50_000u64 {
            let from = addr(&format!("[2a01:1:1:{:x}::1]:6881", tick % 65_536));
            if exchange(&mut guard, start + Duration::from_micros(tick * 200), from) {
                bytes += REPLY_BYTES;
            }
        }
        assert!(bytes <= 12 * 4 * 3_800, "{bytes} bytes to one /48 in 10 s");
        let (bytes, _) = flood(&mut guard, start + Duration::from_secs(20), 2, |_| addr("[2a01:2:2:2::1]:1"));
        assert!(bytes <= 4 * 3_800 + REPLY_BYTES, "{bytes} bytes to one /64 in 2 s");
    }

    #[test]
    fn forged_sources_everywhere_are_held_by_the_quota_of_all() {
        let start = Instant::now();
        let config = GuardConfig { total_bytes_per_s: 100_000, ..GuardConfig::default() };
        let mut guard = guard(config, "0.0.0.0:6881", start);
        let (mut bytes, mut dropped) = (0, 0);
        for tick in 0..200_000u32 {
            let now = start + Duration::from_micros(u64::from(tick) * 20);
            let ip = std::net::Ipv4Addr::from_bits(0x0400_0000 + tick * 251);
            let from = SocketAddr::new(ip.into(), 6881);
            match guard.admit_query(now, from) {
                Verdict::Admit => {
                    guard.charge_reply(now, from, REPLY_BYTES);
                    bytes += REPLY_BYTES;
                }
                Verdict::Drop(reason) => dropped += usize::from(reason == DropReason::TotalBytes),
            }
        }
        assert!(bytes <= 6 * 100_000 + 1000, "{bytes} bytes in 4 s");
        assert!(dropped > 100_000);
    }

    #[test]
    fn the_table_grows_with_the_prefixes_that_are_busy_and_no_further() {
        let start = Instant::now();
        let config = GuardConfig { total_bytes_per_s: u32::MAX, ..GuardConfig::default() };
        let mut guard = guard(config, "0.0.0.0:6881", start);
        let before = guard.used_bytes();
        // A query a second from each of 30 networks, for ten minutes: an ordinary node.
        for tick in 0..18_000u32 {
            let now = start + Duration::from_millis(u64::from(tick) * 33);
            let from = SocketAddr::new(std::net::Ipv4Addr::from_bits(0x5000_0000 + (tick % 30) * 256).into(), 6881);
            assert!(exchange(&mut guard, now, from));
        }
        assert_eq!((before, guard.used_bytes()), (2048, 2048));
        let late = start + Duration::from_secs(601);
        for number in 0..150_000u32 {
            let from = SocketAddr::new(std::net::Ipv4Addr::from_bits(0x0400_0000 + number * 256).into(), 6881);
            exchange(&mut guard, late, from);
        }
        assert_eq!(guard.used_bytes(), 1 << 20);
    }

    #[test]
    fn a_flooder_keeps_its_empty_budget_while_the_table_grows() {
        let start = Instant::now();
        let config = GuardConfig { total_bytes_per_s: u32::MAX, ..GuardConfig::default() };
        let mut guard = guard(config, "0.0.0.0:6881", start);
        let flooder = addr("66.6.6.6:6881");
        while exchange(&mut guard, start, flooder) {}
        for number in 0..50_000u32 {
            let from = SocketAddr::new(std::net::Ipv4Addr::from_bits(0x0500_0000 + number * 256).into(), 6881);
            exchange(&mut guard, start, from);
            assert!(!exchange(&mut guard, start, flooder), "after {number} others, {} bytes", guard.used_bytes());
        }
    }

    #[test]
    fn bogons_get_no_answer_and_local_networks_no_budget() {
        let start = Instant::now();
        let mut public = guard(GuardConfig::default(), "0.0.0.0:6881", start);
        assert_eq!(public.admit_query(start, addr("127.0.0.1:9")), Verdict::Drop(DropReason::Bogon(Bogon::Loopback)));
        let mut local = guard(GuardConfig::default(), "127.0.0.1:6881", start);
        for _ in 0..10_000 {
            assert!(exchange(&mut local, start, addr("127.0.0.1:9")));
        }
    }

    #[test]
    fn exempt_prefixes_have_no_budget() {
        let start = Instant::now();
        let exempt = vec![Prefix::new(addr("66.6.0.0:1").ip(), 16)];
        let mut guard = guard(GuardConfig { exempt, ..GuardConfig::default() }, "0.0.0.0:6881", start);
        for _ in 0..10_000 {
            assert!(exchange(&mut guard, start, addr("66.6.77.1:9")));
        }
        let admitted = (0..10_000).filter(|_| exchange(&mut guard, start, addr("66.7.77.1:9"))).count();
        assert!(admitted < 20, "{admitted} answers to a prefix that is not exempt");
    }

    #[test]
    fn a_prefix_holds_the_addresses_that_share_its_bits() {
        let prefix = Prefix::new(addr("10.20.30.40:1").ip(), 20);
        assert!(prefix.contains(addr("10.20.16.1:1").ip()) && !prefix.contains(addr("10.20.32.1:1").ip()));
        assert!(!prefix.contains(addr("[::1]:1").ip()));
        assert!(Prefix::new(addr("1.2.3.4:1").ip(), 0).contains(addr("200.1.1.1:1").ip()));
        let host = Prefix::new(addr("[2a01::1]:1").ip(), 200);
        assert!(host.contains(addr("[2a01::1]:1").ip()) && !host.contains(addr("[2a01::2]:1").ip()));
    }
}
