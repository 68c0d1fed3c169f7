use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::host::{End, Host, HostId, Traits};
use super::payload::Payload;
use super::uplink::Item;
use super::vice::Vice;
use crate::disk::Done;
use crate::model::Bitfield;
use crate::swarm::event::{CloseCause, Event, Output, PeerKey, PeerSource};
use crate::wire::{Message, PeerFault, PeerHello};

/// How long a connection to an address that is gone is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
/// How long a link bears with the silence of the other end.
const IDLE_TIMEOUT: Duration = Duration::from_secs(130);
/// Things that may happen at one instant: more is a loop without end.
const STEPS_PER_INSTANT_MAX: u32 = 100_000;

/// What happens at a time.
#[derive(Debug)]
enum Step {
    Timer(HostId),
    /// A connection and its handshake reach an address.
    Knock {
        from: End,
        addr: SocketAddr,
        hello: PeerHello,
    },
    DialFailed {
        to: End,
        kind: std::io::ErrorKind,
    },
    /// An item left its host; its line is free.
    Sent {
        from: HostId,
        key: PeerKey,
        payload_bytes: u32,
    },
    /// An item reached the line of its receiver.
    Reached {
        at: End,
        item: Item,
    },
    Arrived {
        at: End,
        item: Item,
    },
    Disk {
        host: HostId,
        event: Done,
    },
}

/// Hosts, lines between them, and a clock that jumps from one step to the next.
#[derive(Debug)]
pub(super) struct World {
    pub(super) payload: Payload,
    pub(super) start: Instant,
    pub(super) now: Instant,
    seed: u64,
    steps: BTreeMap<(Instant, u64), Step>,
    steps_made: u64,
    /// The invariants of a machine are checked after every so many steps.
    pub(super) check_every: u64,
    hosts: Vec<Host>,
}

/// Building and asking.
impl World {
    pub(super) fn new(payload: Payload, seed: u64) -> Self {
        let start = Instant::now();
        Self {
            payload,
            start,
            now: start,
            seed,
            steps: BTreeMap::new(),
            steps_made: 0,
            check_every: 1,
            hosts: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, traits: Traits) -> HostId {
        let id = HostId(self.hosts.len());
        self.hosts.push(Host::new(id, traits, &self.payload, self.seed, self.now));
        self.drain(id);
        id
    }

    /// What a host is made with that has everything.
    pub(super) fn full(&self) -> Traits {
        Traits::new(Some(Bitfield::full(self.payload.geometry.piece_count())))
    }

    /// What a host is made with that has the metadata and nothing else.
    pub(super) fn empty(&self) -> Traits {
        Traits::new(Some(Bitfield::empty(self.payload.geometry.piece_count())))
    }

    pub(super) fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.0]
    }

    /// Tells a host of the addresses of others.
    pub(super) fn introduce(&mut self, id: HostId, others: &[HostId]) {
        let addrs: Vec<SocketAddr> = others.iter().map(|other| self.host(*other).addr).collect();
        self.introduce_addrs(id, &addrs);
    }

    pub(super) fn introduce_addrs(&mut self, id: HostId, addrs: &[SocketAddr]) {
        let now = self.now;
        self.hosts[id.0].torrent.handle_candidates(now, PeerSource::Dht, addrs);
        self.drain(id);
    }

    /// A host falls silent for ever.
    pub(super) fn vanish(&mut self, id: HostId) {
        let host = &mut self.hosts[id.0];
        host.vanished = true;
        host.uplink.clear();
        let ends: Vec<End> = std::mem::take(&mut host.ends).into_values().collect();
        for at in ends {
            self.at(self.now + IDLE_TIMEOUT, Step::Arrived { at, item: Item::Fault(PeerFault::IdleTimeout) });
        }
    }

    /// A host closes every connection.
    pub(super) fn hang_up(&mut self, id: HostId) {
        let now = self.now;
        self.hosts[id.0].torrent.pause(now);
        self.drain(id);
    }

    /// What a host told of bans.
    pub(super) fn bans(&self, id: HostId) -> impl Iterator<Item = &Event> {
        let events = self.host(id).seen.events.iter().map(|(_, event)| event);
        events.filter(|event| matches!(event, Event::PeerBanned { .. }))
    }

    /// Lets time pass until `done`; whether that came before `limit` was over.
    pub(super) fn run_until(&mut self, limit: Duration, done: impl Fn(&World) -> bool) -> bool {
        let end = self.now + limit;
        let mut at_once = 0;
        while !done(self) {
            let Some(entry) = self.steps.first_entry().filter(|entry| entry.key().0 <= end) else {
                self.now = end;
                return false;
            };
            let ((at, _), step) = entry.remove_entry();
            at_once = if at == self.now { at_once + 1 } else { 0 };
            assert!(at_once < STEPS_PER_INSTANT_MAX, "time stands still: {step:?}");
            self.now = at;
            self.take(step);
        }
        true
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    pub(super) fn is_complete(&self, id: HostId) -> bool {
        self.host(id).torrent.is_complete()
    }

    /// Seconds since the world began.
    pub(super) fn elapsed_s(&self) -> f64 {
        (self.now - self.start).as_secs_f64()
    }

    /// How often a host sent the whole payload.
    pub(super) fn copies_sent(&self, id: HostId) -> f64 {
        self.host(id).seen.payload_sent as f64 / self.payload.geometry.total_len() as f64
    }

    /// How often the whole payload reached a host.
    pub(super) fn copies_received(&self, id: HostId) -> f64 {
        self.host(id).seen.payload_received as f64 / self.payload.geometry.total_len() as f64
    }

    /// The hosts that a host is connected with, once a connection.
    pub(super) fn connections(&self, id: HostId) -> Vec<HostId> {
        self.host(id).ends.values().map(|end| end.host).collect()
    }
}

/// What happens.
impl World {
    fn at(&mut self, at: Instant, step: Step) {
        self.steps_made += 1;
        self.steps.insert((at, self.steps_made), step);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Timer(id) => self.handle_timer(id),
            Step::Knock { from, addr, hello } => self.handle_knock(from, addr, hello),
            Step::DialFailed { to, kind } => {
                let now = self.now;
                self.hosts[to.host.0].torrent.handle_closed(now, to.key, CloseCause::DialFailed(kind));
                self.drain(to.host);
            }
            Step::Sent { from, key, payload_bytes } => {
                let host = &mut self.hosts[from.0];
                host.uplink.busy = false;
                if payload_bytes > 0 && !host.vanished {
                    host.torrent.handle_sent(self.now, key, payload_bytes);
                }
                self.drain(from);
            }
            Step::Reached { at, item } => self.handle_reached(at, item),
            Step::Arrived { at, item } => self.handle_arrived(at, item),
            Step::Disk { host, event } => {
                if !self.hosts[host.0].vanished {
                    self.hosts[host.0].torrent.handle_disk(self.now, event);
                    self.drain(host);
                }
            }
        }
    }

    fn handle_timer(&mut self, id: HostId) {
        let host = &mut self.hosts[id.0];
        // A timer that was set anew has its own step.
        if host.timer == Some(self.now) && !host.vanished {
            host.timer = None;
            host.torrent.handle_timeout(self.now);
            self.drain(id);
        }
    }

    fn handle_knock(&mut self, from: End, addr: SocketAddr, hello: PeerHello) {
        let dialer = &self.hosts[from.host.0];
        let seen_addr = SocketAddr::new(dialer.addr.ip(), 50_000 + (from.key.get() % 10_000) as u16);
        if !dialer.ends.contains_key(&from.key) {
            // It hung up meanwhile.
            return;
        }
        let back = self.now + self.latency(from.host, from.host);
        let target = (0..self.hosts.len()).map(HostId).find(|id| self.host(*id).addr == addr);
        let Some(id) = target else {
            let kind = std::io::ErrorKind::ConnectionRefused;
            return self.at(back, Step::DialFailed { to: from, kind });
        };
        if self.host(id).vanished {
            let kind = std::io::ErrorKind::TimedOut;
            return self.at(self.now + CONNECT_TIMEOUT, Step::DialFailed { to: from, kind });
        }
        let now = self.now;
        if self.host(id).traits.vice == Vice::HangsUp {
            return self.at(back, Step::Arrived { at: from, item: Item::Close });
        }
        match self.hosts[id.0].torrent.handle_incoming(now, seen_addr) {
            Some(key) => {
                let at = End { host: id, key };
                let answer = self.host(id).hello_to(self.host(from.host));
                self.hosts[id.0].ends.insert(key, from);
                if let Some(end) = self.hosts[from.host.0].ends.get_mut(&from.key) {
                    *end = at;
                }
                let extended = self.host(id).extended(&self.payload);
                let host = &mut self.hosts[id.0];
                host.uplink.push(key, Item::Hello(answer));
                host.uplink.push(key, Item::Message(extended));
                host.torrent.handle_connected(now, key, hello);
            }
            None => {
                let at = self.now + self.latency(from.host, id);
                self.at(at, Step::Arrived { at: from, item: Item::Close });
            }
        }
        self.drain(id);
    }

    fn handle_arrived(&mut self, at: End, item: Item) {
        let now = self.now;
        let host = &mut self.hosts[at.host.0];
        if host.vanished || !host.ends.contains_key(&at.key) {
            return;
        }
        match item {
            Item::Hello(hello) => {
                let extended = host.extended(&self.payload);
                host.uplink.push(at.key, Item::Message(extended));
                host.torrent.handle_connected(now, at.key, hello);
            }
            Item::Message(message) => {
                let passed = host.receive(at.key, message);
                host.torrent.handle_messages(now, at.key, passed);
            }
            Item::Close => {
                host.ends.remove(&at.key);
                host.torrent.handle_closed(now, at.key, CloseCause::Eof);
            }
            Item::Fault(fault) => {
                host.ends.remove(&at.key);
                host.torrent.handle_closed(now, at.key, CloseCause::Fault(fault));
            }
        }
        self.drain(at.host);
    }

    /// Does what a machine says, keeps its line busy and its timer set.
    fn drain(&mut self, id: HostId) {
        while let Some(output) = self.hosts[id.0].torrent.poll_output() {
            self.carry_out(id, output);
        }
        self.transmit(id);
        let host = &mut self.hosts[id.0];
        if self.steps_made.is_multiple_of(self.check_every) {
            host.torrent.check_invariants();
        }
        let timer = host.torrent.next_timeout().map(|at| at.max(self.now));
        if host.timer != timer {
            host.timer = timer;
            if let Some(at) = timer {
                self.at(at, Step::Timer(id));
            }
        }
    }

    fn carry_out(&mut self, id: HostId, output: Output) {
        let now = self.now;
        match output {
            Output::Send { peer, message } => {
                let host = &mut self.hosts[id.0];
                let Some(to) = host.ends.get(&peer).copied() else { return };
                match &message {
                    Message::Request(_) => host.seen.requests += 1,
                    Message::Cancel(_) => host.seen.cancels += 1,
                    Message::Choke => host.seen.chokes.push((now, to.host, true)),
                    Message::Unchoke => host.seen.chokes.push((now, to.host, false)),
                    _ => {}
                }
                host.post(peer, message);
            }
            Output::TakeBack { peer, blocks } => {
                let host = &mut self.hosts[id.0];
                let taken = host.uplink.take_back(peer, &blocks);
                host.seen.payload_sent -= taken.iter().map(|block| u64::from(block.len)).sum::<u64>();
                host.seen.taken_back += taken.len();
                host.torrent.handle_taken_back(peer, &taken);
            }
            Output::Dial { peer, addr } => self.dial(End { host: id, key: peer }, addr),
            Output::Close { peer, .. } => {
                let host = &mut self.hosts[id.0];
                host.uplink.push(peer, Item::Close);
                // The way out stays until everything before has left.
            }
            Output::Metadata(raw) => {
                assert_eq!(raw, self.payload.info_raw, "the metadata that were fetched");
                let geometry = self.payload.geometry;
                let have = Bitfield::empty(geometry.piece_count());
                self.hosts[id.0].torrent.handle_opened(now, geometry, have, None);
            }
            Output::Write { piece, begin, blocks } => {
                let host = &mut self.hosts[id.0];
                let at = now + host.traits.disk_latency;
                for event in host.disk.write(piece, begin, blocks) {
                    self.at(at, Step::Disk { host: id, event });
                }
            }
            Output::Read { peer, run } => {
                let host = &self.hosts[id.0];
                let (at, data) = (now + host.traits.disk_latency, host.disk.read(&run));
                let event = Done::Read { tag: peer.get(), block: run, data };
                self.at(at, Step::Disk { host: id, event });
            }
            Output::DhtNode(_) => {}
            Output::Event(event) => {
                let seen = &mut self.hosts[id.0].seen;
                if event == Event::Completed {
                    seen.completed_at = Some(now);
                }
                seen.events.push((now, event));
            }
        }
    }

    /// A connection takes a round trip before the handshake can go.
    fn dial(&mut self, from: End, addr: SocketAddr) {
        let target = self.hosts.iter().position(|host| host.addr == addr).map(HostId);
        let latency = self.latency(from.host, target.unwrap_or(from.host));
        let dialer = &self.hosts[from.host.0];
        let hello = dialer.hello_to(self.host(target.unwrap_or(from.host)));
        let host = &mut self.hosts[from.host.0];
        host.seen.dials.push((self.now, addr));
        // Until the other side answers nobody knows the other end: its own place stands for it.
        host.ends.insert(from.key, from);
        self.at(self.now + latency * 3, Step::Knock { from, addr, hello });
    }

    /// Sends the next item of a host whose line is free.
    fn transmit(&mut self, id: HostId) {
        let host = &mut self.hosts[id.0];
        if host.uplink.busy || host.vanished {
            return;
        }
        let Some((key, item, takes)) = host.uplink.next() else { return };
        host.uplink.busy = true;
        let to = host.ends.get(&key).copied().filter(|end| (end.host, end.key) != (id, key));
        if matches!(item, Item::Close) {
            host.ends.remove(&key);
        }
        let payload_bytes = item.payload_bytes();
        let sent_at = self.now + takes;
        self.at(sent_at, Step::Sent { from: id, key, payload_bytes });
        if let Some(at) = to {
            let arrives = sent_at + self.latency(id, at.host);
            self.at(arrives, Step::Reached { at, item });
        }
    }

    /// What reaches a busy line waits its turn.
    fn handle_reached(&mut self, at: End, item: Item) {
        let receiver = &mut self.hosts[at.host.0];
        let takes = Duration::from_nanos(item.len() * 1_000_000_000 / receiver.traits.down_bps);
        receiver.inbound_until = receiver.inbound_until.max(self.now) + takes;
        let arrives = receiver.inbound_until;
        self.at(arrives, Step::Arrived { at, item });
    }

    fn latency(&self, a: HostId, b: HostId) -> Duration {
        self.host(a).traits.latency + self.host(b).traits.latency
    }
}
