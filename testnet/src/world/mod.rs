mod streams;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use crate::host::{Datagram, Host};
use crate::nat::{Nat, Router};
use crate::network::Network;
use crate::queue::Queue;
use crate::trace::Trace;
use streams::{LineState, Streams, Travelling};

pub use streams::Line;

/// Names a host of a [`World`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostIndex(usize);

/// What became of the datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorldStats {
    /// Sent by hosts.
    pub sent: u64,
    /// Handed to hosts.
    pub delivered: u64,
    /// Lost on the way.
    pub lost: u64,
    /// Sent to where nobody is, or kept out by a router.
    pub unreachable: u64,
}

/// Hosts, what is on its way between them, and the time.
#[derive(Debug)]
pub struct World<H> {
    now: Instant,
    network: Network,
    rng: ChaCha8Rng,
    hosts: Vec<Slot<H>>,
    by_ip: BTreeMap<IpAddr, Vec<usize>>,
    queue: Queue<Happening>,
    outgoing: Vec<Datagram>,
    streams: Streams,
    trace: Trace,
    stats: WorldStats,
}

#[derive(Debug)]
struct Slot<H> {
    host: H,
    router: Router,
    delay: Duration,
    line: LineState,
    /// Whether nothing gets from it or to it.
    is_cut_off: bool,
    /// The earliest timer in the queue.
    timer: Option<Instant>,
}

#[derive(Debug)]
enum Happening {
    Arrival { from: SocketAddr, to: SocketAddr, payload: Vec<u8> },
    Timer(usize),
    Stream(Travelling),
}

impl<H: Host> World<H> {
    /// An empty world whose time begins at `start` and whose chance is `seed`.
    pub fn new(start: Instant, network: Network, seed: u64) -> Self {
        Self {
            now: start,
            network,
            rng: ChaCha8Rng::seed_from_u64(seed),
            hosts: Vec::new(),
            by_ip: BTreeMap::new(),
            queue: Queue::new(),
            outgoing: Vec::new(),
            streams: Streams::default(),
            trace: Trace::new(start),
            stats: WorldStats::default(),
        }
    }

    /// Puts a host at an address. Several hosts may share an IP address, each with its own port.
    pub fn add_host(&mut self, addr: SocketAddr, nat: Nat, host: H) -> HostIndex {
        let delay = self.draw_host_delay();
        self.add_host_with_delay(addr, nat, delay, host)
    }

    /// Draws what some host contributes to the delays of its datagrams.
    pub fn draw_host_delay(&mut self) -> Duration {
        self.network.draw_host_delay(&mut self.rng)
    }

    /// As [`World::add_host`], with a delay that was drawn before.
    pub fn add_host_with_delay(&mut self, addr: SocketAddr, nat: Nat, delay: Duration, host: H) -> HostIndex {
        let index = self.hosts.len();
        let line = LineState::new(Line::default(), self.now);
        self.hosts.push(Slot { host, router: Router::new(nat, addr), delay, line, is_cut_off: false, timer: None });
        self.by_ip.entry(addr.ip()).or_default().push(index);
        self.settle(index);
        HostIndex(index)
    }

    /// Cuts a host off from all others, or connects it again. What is on its way while it is cut off gets lost, and a stream
    /// that lost something brings nothing more.
    pub fn cut_off(&mut self, index: HostIndex, is_cut_off: bool) {
        self.hosts[index.0].is_cut_off = is_cut_off;
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// What became of the datagrams so far.
    pub fn stats(&self) -> WorldStats {
        self.stats
    }

    /// A digest of everything that reached a host so far, and when: two runs of one seed have the same.
    pub fn digest(&self) -> [u8; 20] {
        self.trace.digest()
    }

    /// Every host, and its address as it knows it itself.
    pub fn hosts(&self) -> impl Iterator<Item = (HostIndex, SocketAddr)> {
        self.hosts.iter().enumerate().map(|(index, slot)| (HostIndex(index), slot.router.addr()))
    }

    /// A host, to be looked at.
    pub fn host(&self, index: HostIndex) -> &H {
        &self.hosts[index.0].host
    }

    /// Has a host do something of its own accord.
    pub fn drive<T>(&mut self, index: HostIndex, act: impl FnOnce(&mut H, Instant, &mut Vec<Datagram>) -> T) -> T {
        let result = act(&mut self.hosts[index.0].host, self.now, &mut self.outgoing);
        self.settle(index.0);
        result
    }

    /// Continues to the next thing that happens until `end`, then lets the time be `end`.
    pub fn run_until(&mut self, end: Instant) {
        while self.queue.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Continues until `is_done` says so of a host, for at most `limit`. Returns whether it did.
    pub fn run_until_host(&mut self, index: HostIndex, limit: Duration, is_done: impl Fn(&H) -> bool) -> bool {
        let end = self.now + limit;
        while !is_done(&self.hosts[index.0].host) {
            if self.queue.next_at().is_none_or(|at| at > end) {
                return false;
            }
            self.step();
        }
        true
    }

    /// Continues to the next thing that happens, if that is by `end`; otherwise lets the time be `end`. Returns whether
    /// something happened.
    pub fn step_before(&mut self, end: Instant) -> bool {
        let happens = self.queue.next_at().is_some_and(|at| at <= end);
        if happens {
            self.step();
        } else {
            self.now = self.now.max(end);
        }
        happens
    }

    fn step(&mut self) {
        let Some((at, happening)) = self.queue.pop() else {
            return;
        };
        self.now = at;
        match happening {
            // A timer that was set anew has its own place in the queue.
            Happening::Timer(index) if self.hosts[index].timer != Some(at) => {}
            Happening::Timer(index) => {
                self.hosts[index].timer = None;
                self.hosts[index].host.handle_timeout(at, &mut self.outgoing);
                self.settle(index);
            }
            Happening::Arrival { from, to, payload } => match self.receiver(from, to) {
                Some(index) if self.hosts[index].is_cut_off => self.stats.lost += 1,
                Some(index) => {
                    self.stats.delivered += 1;
                    self.trace.note(at, index, &payload);
                    self.hosts[index].host.handle_datagram(at, from, &payload, &mut self.outgoing);
                    self.settle(index);
                }
                None => self.stats.unreachable += 1,
            },
            Happening::Stream(travelled) => self.handle_travelled(travelled),
        }
    }

    fn receiver(&self, from: SocketAddr, to: SocketAddr) -> Option<usize> {
        let candidates = self.by_ip.get(&to.ip())?;
        candidates.iter().copied().find(|&index| self.hosts[index].router.admits(self.now, from, to))
    }

    /// What the first host at an address contributes to a delay.
    fn delay_at(&self, ip: IpAddr) -> Option<Duration> {
        let index = *self.by_ip.get(&ip)?.first()?;
        Some(self.hosts[index].delay)
    }

    /// Sends what a host wants sent, and sees to its timer.
    fn settle(&mut self, index: usize) {
        loop {
            self.send(index);
            self.carry_out(index);
            if !self.pump(index) {
                break;
            }
        }
        let slot = &mut self.hosts[index];
        if let Some(timeout) = slot.host.next_timeout()
            && slot.timer.is_none_or(|timer| timeout < timer)
        {
            let at = timeout.max(self.now);
            slot.timer = Some(at);
            self.queue.push(at, Happening::Timer(index));
        }
    }

    fn send(&mut self, index: usize) {
        let mut outgoing = std::mem::take(&mut self.outgoing);
        for Datagram { to, payload } in outgoing.drain(..) {
            self.stats.sent += 1;
            let (there, slot) = (self.delay_at(to.ip()), &mut self.hosts[index]);
            let from = slot.router.handle_outgoing(self.now, to);
            if slot.is_cut_off {
                self.stats.lost += 1;
                continue;
            }
            // Where nobody is, the sender's own delay will do: nobody sees when it arrives.
            match self.network.draw_delay(slot.delay, there.unwrap_or(slot.delay), &mut self.rng) {
                Some(delay) => self.queue.push(self.now + delay, Happening::Arrival { from, to, payload }),
                None => self.stats.lost += 1,
            }
        }
        self.outgoing = outgoing;
    }
}
