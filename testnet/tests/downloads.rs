//! Whole downloads: every host a DHT node, a torrent, its connections and a disk.
#![allow(clippy::disallowed_methods, reason = "a world begins at some instant")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use magnes::model::{Bitfield, PeerId, PieceIndex};
use magnes::torrent::{Phase, TorrentConfig};
use magnes_dht::{NodeConfig, NodeMode};
use magnes_testnet::{
    Client, ClientConfig, HostIndex, Line, Manners, Member, Nat, Network, Payload, Remains, Searcher, World,
};

/// Nodes that are nothing but the DHT.
const NODES: u8 = 8;
const LEECHERS: u8 = 8;
const PIECES: usize = 64;
const PIECE_KIB: usize = 32;

fn node_addr(number: u8) -> SocketAddr {
    SocketAddr::from(([60 + number, 1, 1, 1], 6881))
}

/// A DHT, a swarm, and what they download.
struct Swarm {
    world: World<Member>,
    payload: Payload,
    seed: u64,
}

impl Swarm {
    fn new(seed: u64) -> Self {
        let mut world = World::new(Instant::now() + Duration::from_secs(24 * 3600), Network::default(), seed);
        for number in 0..NODES {
            let chance = seed << 8 | u64::from(number);
            let node = Searcher::new(world.now(), node_addr(number), NodeConfig::default(), chance);
            let host = world.add_host(node_addr(number), Nat::Open, Member::Searcher(Box::new(node)));
            let bootstrap = [node_addr(0)];
            world.drive(host, |member, now, out| match member {
                Member::Searcher(node) if number > 0 => {
                    node.command(now, out, |node, now| node.add_bootstrap(now, &bootstrap))
                }
                _ => {}
            });
        }
        world.run_until(world.now() + Duration::from_secs(60));
        Self { world, payload: Payload::new(PIECES, PIECE_KIB), seed }
    }

    /// A client that knows the info hash and nothing else.
    fn client(&self, number: u8, remains: Remains) -> (SocketAddr, Member) {
        let addr = SocketAddr::from(([80 + number, 2, 2, 2], 6881));
        let mut id = [number; 12];
        id[..8].copy_from_slice(&self.seed.to_be_bytes());
        let torrent = TorrentConfig {
            listen_port: Some(addr.port()),
            has_dht: true,
            is_kept: true,
            disk_threads: 2,
            ..TorrentConfig::new(self.payload.info_hash(), PeerId::ours(id))
        };
        let node = NodeConfig::default().mode(NodeMode::Adaptive);
        let config = ClientConfig {
            addr,
            torrent,
            node: Some((node, vec![node_addr(0), node_addr(1)])),
            disk_latency: Duration::from_millis(2),
            manners: Manners::default(),
            check_every: 64,
            seed: self.seed << 8 | u64::from(number),
        };
        (addr, Member::Client(Box::new(Client::new(self.world.now(), config, remains))))
    }

    fn add(&mut self, number: u8, line: Line, remains: Remains) -> HostIndex {
        let (addr, client) = self.client(number, remains);
        let host = self.world.add_host(addr, Nat::Open, client);
        self.world.set_line(host, line);
        host
    }

    fn of(&self, host: HostIndex) -> &Client {
        match self.world.host(host) {
            Member::Client(client) => client,
            _ => panic!("a client"),
        }
    }

    fn is_complete(member: &Member) -> bool {
        matches!(member, Member::Client(client)
            if client.state().is_some_and(|state| state.progress.phase == Phase::Seeding))
    }

    /// Ends a client without a word, as `kill -9` does.
    fn kill(&mut self, host: HostIndex) -> Remains {
        self.world.hang_up(host);
        let member = self.world.drive(host, |member, _, _| std::mem::replace(member, Member::Gone));
        match member {
            Member::Client(client) => client.kill(),
            _ => panic!("a client"),
        }
    }

    /// Whether a piece stands on a disk as it should.
    fn stands_on(&self, remains: &Remains, piece: PieceIndex) -> bool {
        let start = self.payload.geometry().piece_offset(piece) as usize;
        let right = self.payload.piece(piece);
        remains.content(self.payload.info()).is_some_and(|bytes| bytes[start..start + right.len()] == right[..])
    }

    /// The whole content, as it stands on a host's disk.
    fn has_everything(&self, host: HostIndex) -> bool {
        self.of(host).remains().content(self.payload.info()) == Some(&self.payload.bytes()[..])
    }
}

/// A seed and eight leechers, of which one is killed on the way. Returns what the world was like, and how long it took.
fn download(seed: u64) -> ([u8; 20], Duration) {
    let mut swarm = Swarm::new(seed);
    let piece_count = swarm.payload.geometry().piece_count();
    let full = Remains::with(swarm.payload.info(), Bitfield::full(piece_count), swarm.payload.bytes());
    let slow = Line { up_bps: 48 << 10, ..Line::default() };
    let source = swarm.add(0, slow, full);
    let line = Line { up_bps: 1 << 20, down_bps: 4 << 20 };
    let leechers: Vec<HostIndex> = (1..=LEECHERS).map(|number| swarm.add(number, line, Remains::default())).collect();
    let start = swarm.world.now();

    // Thirty seconds after the first piece was verified, what there is is saved.
    let killed = leechers[3];
    let has_saved = |member: &Member| {
        matches!(member, Member::Client(client)
            if client.remains().kept.as_ref().is_some_and(|kept| !kept.have.is_empty()))
    };
    assert!(swarm.world.run_until_host(killed, Duration::from_secs(60), has_saved), "nothing was saved");
    swarm.world.run_until(swarm.world.now() + Duration::from_secs(2));
    assert!(!Swarm::is_complete(swarm.world.host(killed)));
    assert!(swarm.of(killed).seen().metadata_asked > 0, "the metadata came from peers (BEP 9)");
    let remains = swarm.kill(killed);
    let saved = remains.kept.as_ref().map(|kept| kept.have.clone()).expect("it was saved");
    let mut there = Bitfield::empty(piece_count);
    for piece in swarm.payload.geometry().pieces().filter(|piece| swarm.stands_on(&remains, *piece)) {
        there.insert(piece);
    }
    assert!(saved.count() > 20 && !there.is_full() && !there.lacks_any_of(&saved), "{saved:?} {there:?}");
    swarm.world.run_until(swarm.world.now() + Duration::from_secs(3));
    let (_, again) = swarm.client(4, remains);
    swarm.world.drive(killed, |member, _, _| *member = again);

    for leecher in &leechers {
        assert!(swarm.world.run_until_host(*leecher, Duration::from_secs(240), Swarm::is_complete), "{leecher:?}");
    }
    let elapsed = swarm.world.now() - start;
    for host in leechers.iter().chain([&source]) {
        assert!(swarm.has_everything(*host), "{host:?}");
        swarm.of(*host).check_invariants();
    }
    let seen = swarm.of(killed).seen();
    let again: Vec<_> = seen.requests.keys().filter(|piece| there.contains(**piece)).collect();
    assert!(again.is_empty(), "{again:?} stood on the disk");
    assert_eq!(seen.metadata_asked, 0, "the metadata had been saved too");
    let missing = u64::from(piece_count - there.count()) * (PIECE_KIB as u64 * 1024);
    assert!(seen.payload_received >= missing, "{} bytes of {missing}", seen.payload_received);
    (swarm.world.digest(), elapsed)
}

#[test]
fn by_info_hash_alone_a_swarm_completes_though_one_of_it_is_killed_and_resumes_and_one_seed_repeats_it_to_the_byte() {
    let [once, again, other] = std::thread::scope(|scope| {
        [1, 1, 2].map(|seed| scope.spawn(move || download(seed))).map(|run| run.join().expect("the download"))
    });
    assert!(once.1 < Duration::from_secs(120), "{:?}", once.1);
    assert_eq!(once, again);
    assert_ne!(once.0, other.0);
}
