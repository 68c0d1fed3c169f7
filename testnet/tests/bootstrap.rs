//! How a real node finds into a virtual network, and back into it.
#![allow(clippy::disallowed_methods, reason = "a world begins at some instant")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use magnes_dht::{Event, InfoHash, NodeConfig, Readiness, Request, Stats};
use magnes_testnet::{
    HostIndex, Member, Nat, Network, Population, PopulationConfig, Searcher, Sought, World, percentile,
};

/// How often each is tried: in a debug build as often as takes a second.
const RUNS: u8 = if cfg!(debug_assertions) { 20 } else { 200 };

fn populated(info_hash: InfoHash, dead: f64) -> (Population, World<Member>) {
    let mut population = Population::new(&PopulationConfig { nodes: 1000, dead, ..PopulationConfig::default() });
    let mut world = World::new(Instant::now() + Duration::from_secs(24 * 3600), Network::default(), 1);
    for (contact, nat, responder) in
        population.responders(&[Sought::Peers(info_hash, vec![([8, 8, 4, 4], 7000).into()])])
    {
        world.add_host(contact.addr, nat, Member::Responder(Box::new(responder)));
    }
    (population, world)
}

fn drive<T>(
    world: &mut World<Member>,
    host: HostIndex,
    command: impl FnOnce(&mut magnes_dht::Node, Instant) -> T,
) -> T {
    world.drive(host, |member, now, out| match member {
        Member::Searcher(searcher) => searcher.command(now, out, command),
        _ => panic!("a searcher"),
    })
}

fn stats(member: &Member, now: Instant) -> Stats {
    match member {
        Member::Searcher(searcher) => searcher.node().stats(now),
        _ => Stats::default(),
    }
}

#[test]
fn one_router_leads_into_the_network_within_three_seconds() {
    let (population, mut world) = populated(InfoHash::new([1; 20]), 0.5);
    let (mut times, mut packets) = (Vec::new(), Vec::new());
    for number in 0..RUNS {
        let own = SocketAddr::from(([96, 1, number, 1], 6881));
        let searcher = Searcher::new(world.now(), own, NodeConfig::default(), number.into());
        let host = world.add_host(own, Nat::Open, Member::Searcher(Box::new(searcher)));
        let start = world.now();
        let router = population.nodes()[usize::from(number) * 4].addr;
        drive(&mut world, host, |node, now| node.add_bootstrap(now, &[router]));
        let now = world.now();
        let is_in = |member: &Member| stats(member, now).contacts >= 8;
        assert!(world.run_until_host(host, Duration::from_secs(60), is_in), "number {number}");
        times.push(world.now() - start);
        packets.push(stats(world.host(host), now).traffic.queries_out.total());
    }
    println!("p50 {:?}, p95 {:?}", percentile(&times, 50), percentile(&times, 95));
    println!("queries: p50 {}, p95 {}", percentile(&packets, 50), percentile(&packets, 95));
    assert!(percentile(&times, 95) <= Duration::from_secs(3), "{times:?}");
    assert!(percentile(&packets, 95) <= 60, "{packets:?}");
}

#[test]
fn a_saved_table_finds_peers_within_a_second_while_every_router_is_dead() {
    let info_hash = InfoHash::new([1; 20]);
    let (mut population, mut world) = populated(info_hash, 0.5);
    let mut times = Vec::new();
    for number in 0..RUNS {
        let own = SocketAddr::from(([96, 2, number, 1], 6881));
        let (start, config) = (world.now(), NodeConfig::default());
        let draw_table = |id: &_| population.draw_table(id);
        let (network, delay) = (Network::default(), world.draw_host_delay());
        let before = Searcher::warm(start, own, config.clone(), &network, delay, number.into(), draw_table);
        let searcher = Searcher::new(start, own, config, 100 + u64::from(number));
        let host = world.add_host_with_delay(own, Nat::Open, delay, Member::Searcher(Box::new(searcher)));
        drive(&mut world, host, |node, now| node.add_bootstrap(now, &[([80, 1, 1, 1], 6881).into()]));
        drive(&mut world, host, |node, now| node.restore(now, &before.node().snapshot())).expect("its own snapshot");
        drive(&mut world, host, |node, now| node.start(now, Request::GetPeers(info_hash)).expect("it is begun"));
        let has_peers = |member: &Member| match member {
            Member::Searcher(searcher) => {
                searcher.events().iter().any(|(_, event)| matches!(event, Event::Peers { .. }))
            }
            _ => false,
        };
        assert!(world.run_until_host(host, Duration::from_secs(60), has_peers), "number {number}");
        times.push(world.now() - start);
    }
    println!("p50 {:?}, p95 {:?}", percentile(&times, 50), percentile(&times, 95));
    assert!(percentile(&times, 50) <= Duration::from_secs(1), "{times:?}");
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What a node does after an outage.
#[derive(Default)]
struct Returns {
    /// From the network's return until the node says that it is ready.
    ready: Vec<Duration>,
    /// Until a lookup has ended with eight nodes.
    lookup: Vec<Duration>,
    /// Queries until then.
    queries: Vec<u64>,
}

/// Nodes that are cut off for a time, during which one in `gone_one_in` of all whom they ever heard of leaves for ever,
/// but for the router.
fn outages(outage: Duration, gone_one_in: Option<usize>, runs: u8) -> Returns {
    // Where everybody leaves, who left is dead to the others too, and that is as many as else.
    let dead = if gone_one_in == Some(1) { 0.0 } else { 0.5 };
    let (population, mut world) = populated(InfoHash::new([1; 20]), dead);
    let hosts: BTreeMap<SocketAddr, HostIndex> = world.hosts().map(|(index, addr)| (addr, index)).collect();
    let mut returns = Returns::default();
    for number in 0..runs {
        let own = SocketAddr::from(([96, 3, number, 1], 6881));
        let searcher = Searcher::new(world.now(), own, NodeConfig::default(), number.into());
        let host = world.add_host(own, Nat::Open, Member::Searcher(Box::new(searcher)));
        let router = population.nodes()[usize::from(number) * 4].addr;
        drive(&mut world, host, |node, now| node.add_bootstrap(now, &[router]));
        world.run_until(world.now() + 20 * MINUTE);
        world.cut_off(host, true);
        world.run_until(world.now() + outage);
        let heard = searcher_at(&world, host).heard().iter().filter(|addr| **addr != router);
        let leaves = |(place, _): &(usize, _)| gone_one_in.is_some_and(|one_in| place % one_in == 0);
        let gone: Vec<HostIndex> = heard.enumerate().filter(leaves).map(|(_, addr)| hosts[addr]).collect();
        gone.iter().for_each(|host| world.cut_off(*host, true));
        world.cut_off(host, false);
        let (start, before) = (world.now(), stats(world.host(host), world.now()).traffic.queries_out.total());
        let is_ready = |member: &Member| match member {
            Member::Searcher(searcher) => searcher.node().readiness() == Readiness::Ready,
            _ => false,
        };
        assert!(world.run_until_host(host, 10 * MINUTE, is_ready), "number {number}");
        returns.ready.push(world.now() - start);
        // As a program does that has found nobody yet: it looks again.
        let is_found = (0..60).any(|_| looks_up(&mut world, host, InfoHash::new([number; 20])) >= 8);
        assert!(is_found, "number {number}");
        returns.lookup.push(world.now() - start);
        returns.queries.push(stats(world.host(host), world.now()).traffic.queries_out.total() - before);
        world.drive(host, |member, _, _| *member = Member::Gone);
        gone.iter().for_each(|host| world.cut_off(*host, false));
    }
    returns
}

/// Carries a lookup out, and tells with how many nodes it ended.
fn looks_up(world: &mut World<Member>, host: HostIndex, info_hash: InfoHash) -> usize {
    let lookup = drive(world, host, |node, now| node.start(now, Request::GetPeers(info_hash)).expect("it is begun"));
    let found = |member: &Member| match member {
        Member::Searcher(searcher) => searcher.events().iter().find_map(|(_, event)| match event {
            Event::LookupDone { operation, outcome } if *operation == lookup => Some(outcome.closest.len()),
            _ => None,
        }),
        _ => None,
    };
    world.run_until_host(host, MINUTE, |member| found(member).is_some());
    found(world.host(host)).unwrap_or(0)
}

fn searcher_at(world: &World<Member>, host: HostIndex) -> &Searcher {
    match world.host(host) {
        Member::Searcher(searcher) => searcher,
        _ => panic!("a searcher"),
    }
}

#[allow(clippy::print_stdout, reason = "figures for whoever asks for them with --nocapture")]
fn check_outages(outage: Duration, gone_one_in: Option<usize>) {
    let Returns { ready, lookup, queries } = outages(outage, gone_one_in, if cfg!(debug_assertions) { 2 } else { 20 });
    println!("cut off for {outage:?}, of the others one in {gone_one_in:?} gone:");
    println!("  ready p50 {:?}, p95 {:?}", percentile(&ready, 50), percentile(&ready, 95));
    println!("  a lookup done p50 {:?}, p95 {:?}", percentile(&lookup, 50), percentile(&lookup, 95));
    println!("  queries p50 {}, p95 {}", percentile(&queries, 50), percentile(&queries, 95));
    assert!(percentile(&lookup, 95) <= Duration::from_secs(15), "{lookup:?}");
}

/// Three days, for which a debug build would take minutes: there, an hour is the longest.
const LONG: Duration = if cfg!(debug_assertions) { HOUR } else { Duration::from_secs(3 * 24 * 3600) };

#[test]
fn a_network_that_comes_back_after_a_minute_is_used_within_fifteen_seconds() {
    check_outages(MINUTE, None);
}

#[test]
fn a_network_that_comes_back_after_an_hour_or_days_is_used_within_fifteen_seconds() {
    check_outages(HOUR, None);
    if LONG > HOUR {
        check_outages(LONG, None);
    }
}

#[test]
fn a_network_that_half_of_all_contacts_have_left_is_used_within_fifteen_seconds() {
    check_outages(LONG, Some(2));
}

#[test]
fn a_network_that_all_contacts_but_the_router_have_left_is_used_within_fifteen_seconds() {
    check_outages(LONG, Some(1));
}
