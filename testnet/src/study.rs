use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use magnes_dht::{AnnouncePort, Contact, Event, InfoHash, Node, NodeConfig, OperationId, Target};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::census::K;
use crate::nat::Nat;
use crate::network::Network;
use crate::population::{Population, PopulationConfig};
use crate::responder::Responder;
use crate::searcher::Searcher;
use crate::world::{Datagram, Host, HostIndex, World};

/// A lookup that takes longer has failed.
const LOOKUP_MAX: Duration = Duration::from_secs(60);

/// Between the lookups of one searcher.
const LOOKUP_PAUSE: Duration = Duration::from_secs(10);

/// The first address of the searchers: 96.0.0.0 and up, outside of the population.
const SEARCHER_IP_FIRST: u32 = 0x6000_0000;

/// Lookups in a population, each by a node of its own whose table is like that of the others.
#[derive(Debug, Clone)]
pub struct LookupStudy {
    /// Whom the searchers ask.
    pub population: PopulationConfig,
    /// How datagrams travel.
    pub network: Network,
    /// How the searchers behave.
    pub node: NodeConfig,
    /// How many lookups.
    pub lookups: usize,
    /// Lookups of each searcher before the one that is measured, for points drawn by lot.
    pub lookups_before: usize,
    /// Targets that the lookups share, each with a crowd around it ([`PopulationConfig::crowd`]); 0: each has its own, and
    /// no crowd.
    pub crowded: usize,
    /// Whether each searcher announces after its lookup.
    pub announces: bool,
}

impl Default for LookupStudy {
    /// Twenty lookups in a population of a thousand nodes.
    fn default() -> Self {
        Self {
            population: PopulationConfig::default(),
            network: Network::default(),
            node: NodeConfig::default(),
            lookups: 20,
            lookups_before: 0,
            crowded: 0,
            announces: false,
        }
    }
}

/// What the lookups came to, a value for each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LookupFigures {
    /// From the command to the first peer. Lookups that found none have no value here.
    pub first: Vec<Duration>,
    /// From the command to the end: from then on the nearest nodes can be told something.
    pub complete: Vec<Duration>,
    /// Datagrams that were sent for it.
    pub packets: Vec<usize>,
    /// Share of the eight nearest honest and reachable nodes in the result.
    pub recall: Vec<f64>,
    /// How many of those eight took the announce that followed.
    pub told: Vec<usize>,
    /// How many nodes the searcher took the network to have before its lookup; `None` where it could not know.
    pub size: Vec<Option<u64>>,
}

/// What is written of a value that differs from lookup to lookup.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread<T> {
    /// Half are below.
    pub p50: T,
    /// One of a hundred is above.
    pub p99: T,
}

/// Whoever is in the world of a study.
enum Member {
    Responder(Box<Responder>),
    Searcher(Box<Searcher>),
    /// A searcher that is done.
    Gone,
}

impl LookupStudy {
    /// Runs it. The same study gives the same figures.
    #[allow(clippy::disallowed_methods, reason = "virtual time begins at some instant")]
    pub fn run(&self) -> LookupFigures {
        let mut rng = ChaCha8Rng::seed_from_u64(self.population.seed);
        let peers = vec![SocketAddr::from(([8, 8, 4, 4], 7000))];
        let targets = if self.crowded == 0 { self.lookups } else { self.crowded };
        let swarms: Vec<(InfoHash, Vec<SocketAddr>)> =
            (0..targets).map(|_| (draw_info_hash(&mut rng), peers.clone())).collect();
        let crowded = swarms.iter().take(self.crowded).map(|(info_hash, _)| Target::from(*info_hash)).collect();
        let mut population = Population::new(&PopulationConfig { crowded, ..self.population.clone() });
        let start = Instant::now() + Duration::from_secs(24 * 3600);
        let mut world = World::new(start, self.network.clone(), self.population.seed);
        let mut hosts = BTreeMap::new();
        for (contact, nat, responder) in population.responders(&swarms) {
            hosts.insert(contact, world.add_host(contact.addr, nat, Member::Responder(Box::new(responder))));
        }
        let mut figures = LookupFigures::default();
        for number in 0..self.lookups {
            let info_hash = swarms[number % swarms.len()].0;
            let ip = Ipv4Addr::from_bits(SEARCHER_IP_FIRST + number as u32);
            let own = SocketAddr::from((ip, 6881));
            let config = self.node.clone();
            let seed = rng.next_u64();
            let draw_table = |id: &_| population.draw_table(id);
            let delay = world.draw_host_delay();
            let searcher = Searcher::warm(world.now(), own, config, &self.network, delay, seed, draw_table);
            let host = world.add_host_with_delay(own, Nat::Open, delay, Member::Searcher(Box::new(searcher)));
            for _ in 0..self.lookups_before {
                let info_hash = draw_info_hash(&mut rng);
                carry_out(&mut world, host, |node, now| node.get_peers(now, info_hash));
                // As if a user had asked: not all at once.
                world.run_until(world.now() + LOOKUP_PAUSE);
            }
            if let Member::Searcher(searcher) = world.host(host) {
                figures.size.push(searcher.node().stats(world.now()).network_nodes);
            }
            let truth = population.closest_of_use(&Target::from(info_hash), K);
            measure(&mut world, host, &truth, info_hash, &mut figures);
            if self.announces {
                let taken = |world: &World<Member>| -> Vec<usize> {
                    truth.iter().map(|node| announced(world, &hosts, node)).collect()
                };
                let before = taken(&world);
                let port = AnnouncePort::Implied;
                carry_out(&mut world, host, |node, now| node.announce(now, info_hash, port, false));
                figures.told.push(taken(&world).iter().zip(before).filter(|(after, before)| *after > before).count());
            }
            world.drive(host, |member, _, _| *member = Member::Gone);
        }
        figures
    }
}

fn draw_info_hash(rng: &mut impl Rng) -> InfoHash {
    let mut info_hash = [0; 20];
    rng.fill_bytes(&mut info_hash);
    InfoHash::new(info_hash)
}

fn announced(world: &World<Member>, hosts: &BTreeMap<Contact, HostIndex>, node: &Contact) -> usize {
    match hosts.get(node).map(|host| world.host(*host)) {
        Some(Member::Responder(responder)) => responder.announced(),
        _ => 0,
    }
}

/// Has a searcher do something and waits for its end. Returns when each of its events happened.
fn carry_out(
    world: &mut World<Member>,
    host: HostIndex,
    begin: impl FnOnce(&mut Node, Instant) -> OperationId,
) -> Vec<(Instant, Event)> {
    let operation = world.drive(host, |member, now, out| match member {
        Member::Searcher(searcher) => Some(searcher.command(now, out, begin)),
        _ => None,
    });
    let is_done = |member: &Member| match member {
        Member::Searcher(searcher) => searcher.events().iter().any(|(_, event)| is_end(event, operation)),
        _ => true,
    };
    world.run_until_host(host, LOOKUP_MAX, is_done);
    let Member::Searcher(searcher) = world.host(host) else { return Vec::new() };
    searcher.events().iter().filter(|(_, event)| event.operation() == operation).cloned().collect()
}

fn measure(
    world: &mut World<Member>,
    host: HostIndex,
    truth: &[Contact],
    info_hash: InfoHash,
    figures: &mut LookupFigures,
) {
    let start = world.now();
    let mut first = None;
    for (at, event) in carry_out(world, host, |node, now| node.get_peers(now, info_hash)) {
        match event {
            Event::Peers { .. } => first = first.or(Some(at - start)),
            Event::LookupDone { outcome, .. } => {
                let found = truth.iter().filter(|node| outcome.closest.contains(node)).count();
                figures.recall.push(found as f64 / truth.len().max(1) as f64);
                figures.packets.push(outcome.asked);
                figures.complete.push(at - start);
            }
            _ => {}
        }
    }
    figures.first.extend(first);
}

fn is_end(event: &Event, operation: Option<OperationId>) -> bool {
    event.is_final() && event.operation() == operation
}

impl LookupFigures {
    /// Time to the first peer.
    pub fn first(&self) -> Spread<Duration> {
        Spread { p50: percentile(&self.first, 50), p99: percentile(&self.first, 99) }
    }

    /// Time to the end.
    pub fn complete(&self) -> Spread<Duration> {
        Spread { p50: percentile(&self.complete, 50), p99: percentile(&self.complete, 99) }
    }

    /// Datagrams a lookup, on average.
    pub fn packets_mean(&self) -> f64 {
        self.packets.iter().sum::<usize>() as f64 / self.packets.len().max(1) as f64
    }

    /// How far off the searchers were with the size of the network, as a share of it; at least `percent` were nearer.
    pub fn size_error(&self, nodes: usize, percent: usize) -> f64 {
        let off = |size: &Option<u64>| size.map_or(1.0, |size| (size as f64 / nodes as f64 - 1.0).abs());
        percentile(&self.size.iter().map(|size| (off(size) * 1e6) as u64).collect::<Vec<_>>(), percent) as f64 / 1e6
    }

    /// The size of the network as the searchers estimated it, on average.
    pub fn size_mean(&self) -> f64 {
        self.size.iter().flatten().sum::<u64>() as f64 / self.size.len().max(1) as f64
    }

    /// Share of the nearest nodes that were found, on average.
    pub fn recall_mean(&self) -> f64 {
        self.recall.iter().sum::<f64>() / self.recall.len().max(1) as f64
    }
}

/// The value that `percent` of all do not exceed; the least there is where there are none.
pub fn percentile<T: Copy + Ord + Default>(values: &[T], percent: usize) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

impl Host for Member {
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], out: &mut Vec<Datagram>) {
        match self {
            Self::Responder(responder) => responder.handle_datagram(now, from, datagram, out),
            Self::Searcher(searcher) => searcher.handle_datagram(now, from, datagram, out),
            Self::Gone => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Datagram>) {
        if let Self::Searcher(searcher) = self {
            searcher.handle_timeout(now, out);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Searcher(searcher) => searcher.next_timeout(),
            Self::Responder(_) | Self::Gone => None,
        }
    }
}
