//! How a real node finds into a virtual network, and back into it.
#![allow(clippy::disallowed_methods, reason = "a world begins at some instant")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use magnes_dht::{Event, InfoHash, NodeConfig, Stats};
use magnes_testnet::{
    Datagram, Host, HostIndex, Nat, Network, Population, PopulationConfig, Responder, Searcher, World, percentile,
};

/// A node of the population, or a real one.
enum Someone {
    Responder(Box<Responder>),
    Searcher(Box<Searcher>),
}

impl Host for Someone {
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], out: &mut Vec<Datagram>) {
        match self {
            Self::Responder(responder) => responder.handle_datagram(now, from, datagram, out),
            Self::Searcher(searcher) => searcher.handle_datagram(now, from, datagram, out),
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Datagram>) {
        if let Self::Searcher(searcher) = self {
            searcher.handle_timeout(now, out);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Responder(_) => None,
            Self::Searcher(searcher) => searcher.next_timeout(),
        }
    }
}

fn populated(info_hash: InfoHash) -> (Population, World<Someone>) {
    let mut population = Population::new(&PopulationConfig { nodes: 1000, dead: 0.5, ..PopulationConfig::default() });
    let mut world = World::new(Instant::now() + Duration::from_secs(24 * 3600), Network::default(), 1);
    for (contact, nat, responder) in population.responders(&[(info_hash, vec![([8, 8, 4, 4], 7000).into()])]) {
        world.add_host(contact.addr, nat, Someone::Responder(Box::new(responder)));
    }
    (population, world)
}

fn drive<T>(
    world: &mut World<Someone>,
    host: HostIndex,
    command: impl FnOnce(&mut magnes_dht::Node, Instant) -> T,
) -> T {
    world.drive(host, |someone, now, out| match someone {
        Someone::Searcher(searcher) => searcher.command(now, out, command),
        Someone::Responder(_) => panic!("a searcher"),
    })
}

fn stats(someone: &Someone, now: Instant) -> Stats {
    match someone {
        Someone::Searcher(searcher) => searcher.node().stats(now),
        Someone::Responder(_) => Stats::default(),
    }
}

#[test]
fn one_router_leads_into_the_network_within_three_seconds() {
    let (population, mut world) = populated(InfoHash::new([1; 20]));
    let (mut times, mut packets) = (Vec::new(), Vec::new());
    for number in 0..40u8 {
        let own = SocketAddr::from(([96, 1, number, 1], 6881));
        let searcher = Searcher::new(world.now(), own, NodeConfig::default(), number.into());
        let host = world.add_host(own, Nat::Open, Someone::Searcher(Box::new(searcher)));
        let start = world.now();
        let router = population.nodes()[usize::from(number) * 20].addr;
        drive(&mut world, host, |node, now| node.add_bootstrap(now, &[router]));
        let now = world.now();
        let is_in = |someone: &Someone| stats(someone, now).contacts >= 8;
        assert!(world.run_until_host(host, Duration::from_secs(60), is_in), "number {number}");
        times.push(world.now() - start);
        packets.push(stats(world.host(host), now).queries_sent);
    }
    println!("p50 {:?}, p95 {:?}", percentile(&times, 50), percentile(&times, 95));
    println!("queries: p50 {}, p95 {}", percentile(&packets, 50), percentile(&packets, 95));
    assert!(percentile(&times, 95) <= Duration::from_secs(3), "{times:?}");
    assert!(percentile(&packets, 95) <= 60, "{packets:?}");
}

#[test]
fn a_saved_table_finds_peers_within_a_second_while_every_router_is_dead() {
    let info_hash = InfoHash::new([1; 20]);
    let (mut population, mut world) = populated(info_hash);
    let mut times = Vec::new();
    for number in 0..20u8 {
        let own = SocketAddr::from(([96, 2, number, 1], 6881));
        let (start, config) = (world.now(), NodeConfig::default());
        let draw_table = |id: &_| population.draw_table(id);
        let (network, delay) = (Network::default(), world.draw_host_delay());
        let before = Searcher::warm(start, own, config.clone(), &network, delay, number.into(), draw_table);
        let searcher = Searcher::new(start, own, config, 100 + u64::from(number));
        let host = world.add_host_with_delay(own, Nat::Open, delay, Someone::Searcher(Box::new(searcher)));
        drive(&mut world, host, |node, now| node.add_bootstrap(now, &[([80, 1, 1, 1], 6881).into()]));
        drive(&mut world, host, |node, now| node.restore(now, &before.node().snapshot())).expect("its own snapshot");
        drive(&mut world, host, |node, now| node.get_peers(now, info_hash));
        let has_peers = |someone: &Someone| match someone {
            Someone::Searcher(searcher) => {
                searcher.events().iter().any(|(_, event)| matches!(event, Event::Peers { .. }))
            }
            Someone::Responder(_) => false,
        };
        assert!(world.run_until_host(host, Duration::from_secs(60), has_peers), "number {number}");
        times.push(world.now() - start);
    }
    println!("p50 {:?}, p95 {:?}", percentile(&times, 50), percentile(&times, 95));
    assert!(percentile(&times, 50) <= Duration::from_secs(1), "{times:?}");
}
