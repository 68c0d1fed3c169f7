//! The world itself: what is said about delays, routers, populations and repetition holds.
#![allow(clippy::disallowed_methods, reason = "a world begins at some instant")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use magnes_dht::krpc::{Body, Message, Method, Query, Want};
use magnes_dht::{Contact, Family, InfoHash, NodeId, Target};
use magnes_testnet::{
    Datagram, Host, HostIndex, Nat, Network, Population, PopulationConfig, Responder, Sought, World, WorldStats,
};

/// Either a node of the population, or somebody who asks one question at a time and keeps what comes.
enum Someone {
    Responder(Box<Responder>),
    Asker(Vec<(SocketAddr, Vec<u8>)>),
}

impl Host for Someone {
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], out: &mut Vec<Datagram>) {
        match self {
            Someone::Responder(responder) => responder.handle_datagram(now, from, datagram, out),
            Someone::Asker(received) => received.push((from, datagram.to_vec())),
        }
    }

    fn handle_timeout(&mut self, _now: Instant, _out: &mut Vec<Datagram>) {}

    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}

const OWN_ID: NodeId = NodeId::new([0x55; 20]);

fn query(method: Method<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    let query = Query { id: OWN_ID, read_only: false, want: Want::default(), method };
    Message { transaction: b"abcd", version: None, ip: None, body: Body::Query(query) }.encode(&mut payload);
    payload
}

/// Sends one query and returns the nodes and peers of the reply, if one comes within five seconds.
fn ask(
    world: &mut World<Someone>,
    asker: HostIndex,
    to: SocketAddr,
    method: Method<'_>,
) -> Option<(Vec<Contact>, Vec<SocketAddr>)> {
    world.drive(asker, |someone, _, out| {
        *someone = Someone::Asker(Vec::new());
        out.push(Datagram { to, payload: query(method) });
    });
    let answered = |someone: &Someone| matches!(someone, Someone::Asker(received) if !received.is_empty());
    if !world.run_until_host(asker, Duration::from_secs(5), answered) {
        return None;
    }
    let Someone::Asker(received) = world.host(asker) else { return None };
    let Ok(Message { body: Body::Response(response), .. }) = Message::decode(&received[0].1) else { return None };
    Some((response.nodes_of(Family::V4).collect(), response.values.iter().collect()))
}

/// A world of responders that know a swarm, and an asker at the end.
fn populated(dead: f64, network: Network, seed: u64) -> (Population, World<Someone>, HostIndex) {
    let mut population = Population::new(&PopulationConfig { nodes: 500, dead, seed, ..PopulationConfig::default() });
    let mut world = World::new(Instant::now(), network, seed);
    for (contact, _, responder) in population.responders(&[Sought::Peers(swarm(), vec![peer()])]) {
        world.add_host(contact.addr, Nat::Open, Someone::Responder(Box::new(responder)));
    }
    let asker = world.add_host("9.9.9.9:6881".parse().expect("an address"), Nat::Open, Someone::Asker(Vec::new()));
    (population, world, asker)
}

fn swarm() -> InfoHash {
    InfoHash::new([0xa7; 20])
}

fn peer() -> SocketAddr {
    "8.8.4.4:7000".parse().expect("an address")
}

/// The plainest lookup there is: asks the nearest one not asked yet, until the nearest eight that answered stay.
fn walk(population: &Population, world: &mut World<Someone>, asker: HostIndex) -> (Vec<Contact>, usize) {
    let target = Target::from(swarm());
    let mut known = vec![population.nodes()[0]];
    let (mut asked, mut answered, mut with_peers) = (Vec::new(), Vec::new(), 0);
    loop {
        known.sort_unstable_by_key(|node| target.distance(&node.id));
        known.dedup();
        let next = known.iter().filter(|node| !asked.contains(*node)).copied().next();
        let Some(next) = next else { break };
        let is_near = |node: &Contact| target.distance(&node.id) < target.distance(&next.id);
        if answered.iter().copied().filter(is_near).count() >= 8 {
            break;
        }
        asked.push(next);
        let method = Method::GetPeers { info_hash: swarm(), noseed: false, scrape: false };
        if let Some((nodes, peers)) = ask(world, asker, next.addr, method) {
            answered.push(next);
            known.extend(nodes);
            with_peers += usize::from(peers == [peer()]);
        }
    }
    answered.sort_unstable_by_key(|node| target.distance(&node.id));
    answered.truncate(8);
    (answered, with_peers)
}

#[test]
fn a_plain_lookup_reaches_the_nearest_nodes_of_a_healthy_population() {
    let (population, mut world, asker) = populated(0.0, Network::exact(Duration::from_millis(50)), 1);
    let (found, with_peers) = walk(&population, &mut world, asker);
    assert_eq!(found, population.closest(&Target::from(swarm()), 8));
    assert_eq!(with_peers, 8, "the nearest eight know the swarm");
}

#[test]
fn half_of_the_entries_of_a_population_can_be_dead() {
    let mut population =
        Population::new(&PopulationConfig { nodes: 2000, dead: 0.5, seed: 7, ..PopulationConfig::default() });
    let (mut live, mut all) = (0, 0);
    for (contact, _, responder) in population.responders(&[]) {
        assert!(contact.id.is_valid_for(contact.addr.ip()), "ids fit their addresses");
        all += responder.table().len();
        live += responder.table().iter().filter(|entry| population.nodes().binary_search(entry).is_ok()).count();
        assert!(responder.table().iter().all(|entry| *entry != contact), "nobody knows itself");
    }
    let share = live as f64 / all as f64;
    assert!((0.45..0.55).contains(&share), "{share} of the entries are live");
    assert!((60..100).contains(&(all / 2000)), "{} entries in a table", all / 2000);
}

#[test]
fn one_seed_repeats_everything_and_another_does_not() {
    let run = |seed: u64| -> (Vec<Contact>, WorldStats, Duration) {
        let (population, mut world, asker) = populated(0.5, Network::default(), seed);
        let start = world.now();
        let (found, _) = walk(&population, &mut world, asker);
        (found, world.stats(), world.now() - start)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).2, run(4).2);
}

#[test]
fn an_exact_network_takes_exactly_its_time() {
    let (population, mut world, asker) = populated(0.0, Network::exact(Duration::from_millis(50)), 1);
    let start = world.now();
    assert!(ask(&mut world, asker, population.nodes()[9].addr, Method::Ping).is_some());
    assert_eq!(world.now() - start, Duration::from_millis(100));
    assert!(ask(&mut world, asker, "80.1.1.1:1".parse().unwrap(), Method::Ping).is_none());
    assert_eq!(world.stats(), WorldStats { sent: 3, delivered: 2, lost: 0, unreachable: 1 });
}

#[test]
fn behind_a_router_only_those_who_were_asked_come_through() {
    let mut world: World<Someone> = World::new(Instant::now(), Network::exact(Duration::from_millis(10)), 1);
    let [open, hidden] = ["5.0.0.1:1000", "5.0.0.2:1000"].map(|text| text.parse::<SocketAddr>().unwrap());
    let open_host = world.add_host(open, Nat::Open, Someone::Asker(Vec::new()));
    let hidden_host = world.add_host(hidden, Nat::Symmetric, Someone::Asker(Vec::new()));
    let send = |world: &mut World<Someone>, from, to| {
        world.drive(from, |_, _, out| out.push(Datagram { to, payload: b"x".to_vec() }));
        world.run_until(world.now() + Duration::from_millis(10));
    };
    send(&mut world, open_host, hidden);
    assert_eq!(world.stats().unreachable, 1);
    send(&mut world, hidden_host, open);
    let Someone::Asker(received) = world.host(open_host) else { panic!("an asker") };
    let seen = received[0].0;
    assert_ne!(seen, hidden, "a symmetric router gives another port");
    send(&mut world, open_host, seen);
    assert_eq!(world.stats().delivered, 2);
}
