use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use magnes::model::{Bitfield, Block, PeerId};
use magnes::swarm::{Contacts, PeerKey};
use magnes::torrent::{TorrentConfig, TorrentEvent};
use magnes_testnet::{Client, ClientConfig, HostIndex, Line, Manners, Nat, Network, Payload, Remains, Vice};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Things that may happen at one instant: more is a loop without end.
const STEPS_PER_INSTANT_MAX: u32 = 100_000;

/// One host by its place in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostId(usize);

/// What a host is made with.
#[derive(Debug, Clone)]
pub(crate) struct Traits {
    /// The pieces it begins with; `None`: it has not even the metadata.
    pub(crate) have: Option<Bitfield>,
    /// What it sends at most, in bytes per second.
    pub(crate) up_bps: u64,
    /// What it receives at most, in bytes per second.
    pub(crate) down_bps: u64,
    /// One way from it to the middle of the network.
    pub(crate) latency: Duration,
    pub(crate) vice: Vice,
    /// Whether it has the Fast extension.
    pub(crate) fast: bool,
    /// The requests it keeps queued, as it says.
    pub(crate) reqq: Option<u32>,
    /// Whether it says from the start that it will not download.
    pub(crate) upload_only: bool,
    /// Its torrent's limits.
    pub(crate) limit: fn(&mut TorrentConfig),
}

impl Traits {
    /// Fast in all, without vices.
    pub(crate) fn new(have: Option<Bitfield>) -> Self {
        Self {
            have,
            up_bps: 200 << 20,
            down_bps: 200 << 20,
            latency: Duration::from_millis(10),
            vice: Vice::Honest,
            fast: true,
            reqq: Some(2000),
            upload_only: false,
            limit: |_| {},
        }
    }
}

/// Clients of one torrent without a DHT: they know each other when they are introduced.
pub(crate) struct World {
    world: magnes_testnet::World<Client>,
    pub(crate) payload: Payload,
    pub(crate) start: Instant,
    seed: u64,
    /// The invariants of a client are checked after every so many of its steps.
    pub(crate) check_every: u64,
    hosts: Vec<HostIndex>,
}

/// Building and asking.
impl World {
    pub(crate) fn new(payload: Payload, seed: u64) -> Self {
        let start = Instant::now();
        let world = magnes_testnet::World::new(start, Network::exact(Duration::ZERO), seed);
        Self { world, payload, start, seed, check_every: 1, hosts: Vec::new() }
    }

    pub(crate) fn add(&mut self, traits: Traits) -> HostId {
        let number = self.hosts.len() as u8;
        let addr = SocketAddr::from(([10, 0, 0, number + 1], 6881));
        let mut peer_id = [0; 12];
        // Drawn, so that their order is not that of the hosts.
        ChaCha8Rng::seed_from_u64(self.seed << 8 | u64::from(number)).fill_bytes(&mut peer_id);
        let info = self.payload.info();
        let mut torrent = TorrentConfig {
            info: traits.have.as_ref().map(|_| info.clone()),
            listen_port: Some(addr.port()),
            // They are introduced as by the DHT.
            has_dht: true,
            ..TorrentConfig::new(info.hash(), PeerId::ours(peer_id))
        };
        (traits.limit)(&mut torrent);
        let remains = traits.have.map_or_else(Remains::default, |have| Remains::with(info, have, self.payload.bytes()));
        let config = ClientConfig {
            addr,
            torrent,
            node: None,
            disk_latency: Duration::from_millis(1),
            manners: Manners {
                vice: traits.vice,
                has_fast: traits.fast,
                reqq: Some(traits.reqq),
                upload_only: traits.upload_only,
            },
            check_every: self.check_every,
            seed: self.seed << 8 | u64::from(number),
        };
        let client = Client::new(self.world.now(), config, remains);
        // A path takes the mean of what its two ends contribute.
        let host = self.world.add_host_with_delay(addr, Nat::Open, traits.latency * 2, client);
        self.world.set_line(host, Line { up_bps: traits.up_bps, down_bps: traits.down_bps });
        // It starts now.
        self.world.run_until(self.world.now());
        self.hosts.push(host);
        HostId(usize::from(number))
    }

    /// What a host is made with that has everything.
    pub(crate) fn full(&self) -> Traits {
        Traits::new(Some(Bitfield::full(self.payload.geometry().piece_count())))
    }

    /// What a host is made with that has the metadata and nothing else.
    pub(crate) fn empty(&self) -> Traits {
        Traits::new(Some(Bitfield::empty(self.payload.geometry().piece_count())))
    }

    pub(crate) fn host(&self, id: HostId) -> &Client {
        self.world.host(self.hosts[id.0])
    }

    pub(crate) fn addr(&self, id: HostId) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, id.0 as u8 + 1], 6881))
    }

    fn at(ip: IpAddr) -> HostId {
        match ip {
            IpAddr::V4(ip) => HostId(usize::from(ip.octets()[3]) - 1),
            IpAddr::V6(_) => panic!("{ip} is nobody's"),
        }
    }

    /// Tells a host of the addresses of others.
    pub(crate) fn introduce(&mut self, id: HostId, others: &[HostId]) {
        let addrs: Vec<SocketAddr> = others.iter().map(|other| self.addr(*other)).collect();
        self.introduce_addrs(id, &addrs);
    }

    pub(crate) fn introduce_addrs(&mut self, id: HostId, addrs: &[SocketAddr]) {
        let host = self.hosts[id.0];
        self.world.drive(host, |client, now, out| {
            client.command(now, out, |torrent, now| torrent.handle_found(now, addrs));
        });
    }

    /// A host falls silent for ever.
    pub(crate) fn vanish(&mut self, id: HostId) {
        self.world.cut_off(self.hosts[id.0], true);
    }

    /// A host closes every connection.
    pub(crate) fn hang_up(&mut self, id: HostId) {
        let host = self.hosts[id.0];
        self.world.drive(host, |client, now, out| client.command(now, out, |torrent, now| torrent.pause(now)));
    }

    /// What a host told of bans.
    pub(crate) fn bans(&self, id: HostId) -> impl Iterator<Item = &TorrentEvent> {
        let events = self.host(id).events().iter().map(|(_, event)| event);
        events.filter(|event| matches!(event, TorrentEvent::PeerBanned { .. }))
    }

    /// Lets time pass until `done`; whether that came before `limit` was over.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&World) -> bool) -> bool {
        let end = self.world.now() + limit;
        let mut at_once = 0;
        while !done(self) {
            let before = self.world.now();
            if !self.world.step_before(end) {
                return false;
            }
            at_once = if before == self.world.now() { at_once + 1 } else { 0 };
            assert!(at_once < STEPS_PER_INSTANT_MAX, "time stands still");
        }
        true
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    pub(crate) fn is_complete(&self, id: HostId) -> bool {
        self.host(id).torrent().swarm().is_complete()
    }

    /// Seconds since the world began.
    pub(crate) fn elapsed_s(&self) -> f64 {
        (self.world.now() - self.start).as_secs_f64()
    }

    /// How often a host sent the whole payload.
    pub(crate) fn copies_sent(&self, id: HostId) -> f64 {
        self.host(id).seen().payload_sent as f64 / self.payload.geometry().total_len() as f64
    }

    /// How often the whole payload reached a host.
    pub(crate) fn copies_received(&self, id: HostId) -> f64 {
        self.host(id).seen().payload_received as f64 / self.payload.geometry().total_len() as f64
    }

    /// The hosts that a host is connected with, once a connection.
    pub(crate) fn connections(&self, id: HostId) -> Vec<HostId> {
        self.host(id).connections().map(|(_, addr)| Self::at(addr.ip())).collect()
    }

    /// When a host choked and unchoked which other.
    pub(crate) fn chokes(&self, id: HostId) -> impl Iterator<Item = (Instant, HostId, bool)> {
        self.host(id).seen().chokes.iter().map(|(at, addr, choke)| (*at, Self::at(addr.ip()), *choke))
    }

    /// The blocks that wait to leave a host, each with the host that it is for.
    pub(crate) fn blocks_waiting(&mut self, id: HostId) -> Vec<(HostId, PeerKey, Block)> {
        let host = self.hosts[id.0];
        let waiting = self.world.drive(host, |client, _, _| client.blocks_waiting());
        waiting.into_iter().map(|(key, addr, block)| (Self::at(addr.ip()), key, block)).collect()
    }
}

/// Counts of addresses, all of them 0 but for what is changed.
pub(crate) fn contacts(change: impl FnOnce(&mut Contacts)) -> Contacts {
    let mut contacts = Contacts::default();
    change(&mut contacts);
    contacts
}
