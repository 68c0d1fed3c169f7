use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use magnes_dht::internals::K;
use magnes_dht::{Contact, Event, InfoHash, NodeConfig, NodeId, OperationId, Request};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::errand::{Errand, Sought};
use crate::figures::LookupFigures;
use crate::member::Member;
use crate::nat::Nat;
use crate::network::Network;
use crate::population::{Population, PopulationConfig};
use crate::searcher::Searcher;
use crate::world::{HostIndex, World};

/// A lookup that takes longer has failed.
const LOOKUP_MAX: Duration = Duration::from_secs(60);

/// Between the lookups of one searcher.
const LOOKUP_PAUSE: Duration = Duration::from_secs(10);

/// Targets with crowds share fewer bits: a lookup is to meet one crowd.
const CROWDS_BITS: u32 = 6;

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
    /// Targets that the lookups share, each with a crowd around it ([`PopulationConfig::crowd`]), at most 32; 0: each has its
    /// own, and no crowd.
    pub crowded: usize,
    /// What is looked for.
    pub errand: Errand,
    /// Whether each searcher has the nodes nearest to the target store something after its lookup: it announces or puts.
    pub stores: bool,
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
            errand: Errand::Peers,
            stores: false,
        }
    }
}

impl LookupStudy {
    /// Runs it. The same study gives the same figures.
    #[allow(clippy::disallowed_methods, reason = "virtual time begins at some instant")]
    pub fn run(&self) -> LookupFigures {
        let mut rng = ChaCha8Rng::seed_from_u64(self.population.seed);
        let targets = if self.crowded == 0 { self.lookups } else { self.crowded };
        let mut sought: Vec<Sought> = Vec::new();
        while sought.len() < targets {
            let another = self.errand.draw(&mut rng);
            let is_apart = sought.iter().all(|other| common_bits(other, &another) < CROWDS_BITS);
            if self.crowded == 0 || is_apart {
                sought.push(another);
            }
        }
        let crowded = sought.iter().take(self.crowded).map(Sought::target).collect();
        let mut population = Population::new(&PopulationConfig { crowded, ..self.population.clone() });
        let start = Instant::now() + Duration::from_secs(24 * 3600);
        let mut world = World::new(start, self.network.clone(), self.population.seed);
        let mut hosts = BTreeMap::new();
        for (contact, nat, responder) in population.responders(&sought) {
            hosts.insert(contact, world.add_host(contact.addr, nat, Member::Responder(Box::new(responder))));
        }
        let mut figures = LookupFigures::default();
        for number in 0..self.lookups {
            let sought = &sought[number % sought.len()];
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
                carry_out(&mut world, host, Request::GetPeers(info_hash));
                // As if a user had asked: not all at once.
                world.run_until(world.now() + LOOKUP_PAUSE);
            }
            if let Member::Searcher(searcher) = world.host(host) {
                figures.size.push(searcher.node().stats(world.now()).network_nodes);
            }
            let truth = population.closest_of_use(&sought.target(), K);
            measure(&mut world, host, &truth, sought, &mut figures);
            if self.stores {
                let taken = |world: &World<Member>| -> Vec<usize> {
                    truth.iter().map(|node| stored(world, &hosts, node)).collect()
                };
                let before = taken(&world);
                carry_out(&mut world, host, sought.store());
                figures.told.push(taken(&world).iter().zip(before).filter(|(after, before)| *after > before).count());
            }
            world.drive(host, |member, _, _| *member = Member::Gone);
        }
        figures
    }
}

fn common_bits(left: &Sought, right: &Sought) -> u32 {
    left.target().distance(&NodeId::new(*right.target().as_bytes())).common_bits()
}

fn draw_info_hash(rng: &mut impl Rng) -> InfoHash {
    let mut info_hash = [0; 20];
    rng.fill_bytes(&mut info_hash);
    InfoHash::new(info_hash)
}

fn stored(world: &World<Member>, hosts: &BTreeMap<Contact, HostIndex>, node: &Contact) -> usize {
    match hosts.get(node).map(|host| world.host(*host)) {
        Some(Member::Responder(responder)) => responder.stored(),
        _ => 0,
    }
}

/// Has a searcher do something and waits for its end. Returns when each of its events happened.
fn carry_out(world: &mut World<Member>, host: HostIndex, request: Request) -> Vec<(Instant, Event)> {
    let operation = world.drive(host, |member, now, out| match member {
        Member::Searcher(searcher) => searcher.command(now, out, |node, now| node.start(now, request)).ok(),
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
    sought: &Sought,
    figures: &mut LookupFigures,
) {
    let start = world.now();
    let mut first = None;
    for (at, event) in carry_out(world, host, sought.search()) {
        match event {
            Event::Peers { .. } | Event::Item { .. } => first = first.or(Some(at - start)),
            Event::GetDone { outcome, .. } => {
                figures.packets.push(outcome.asked);
                figures.complete.push(at - start);
            }
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
