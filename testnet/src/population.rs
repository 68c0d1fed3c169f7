use std::rc::Rc;

use magnes_dht::internals::K;
use magnes_dht::{Contact, NodeId, Target};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::census::{Census, Conduct, DEAD_IP_FIRST, DEAD_IPS, IP_FIRST, IPS, draw_crowd, draw_nodes};
use crate::errand::Sought;
use crate::nat::Nat;
use crate::network::unit;
use crate::responder::Responder;

/// Dead nodes that there are to choose from for each live one, where they are scattered.
const GHOSTS_PER_NODE: usize = 64;
/// And at most: about 100 MB of them.
const GHOSTS_MAX: usize = 2_000_000;

/// Who can be reached, after Jimenez, Osmani and Knutsson 2009: 31 % sit behind a router that lets in only who was
/// asked, 11 % behind one that lets in nobody who comes unasked and gives everyone another port.
const RESTRICTED_SHARE: f64 = 0.31;
const FIREWALLED_SHARE: f64 = 0.11;

/// What a population is like.
#[derive(Debug, Clone)]
pub struct PopulationConfig {
    /// Live nodes.
    pub nodes: usize,
    /// Share of all entries of all tables that lead nowhere.
    pub dead: f64,
    /// Whether hardly two tables name the same dead node. Else the dead are as many nodes that once were as their share
    /// says, and tables are drawn from the live and the dead alike.
    pub dead_are_scattered: bool,
    /// Share of the live nodes that name only made-up nodes near whatever they are asked for, and never a peer.
    pub hostile: f64,
    /// Whether a part of the nodes is behind routers that let nobody in.
    pub nat_mix: bool,
    /// Targets that a crowd gathers around.
    pub crowded: Vec<Target>,
    /// Nodes of each crowd, nearer than most others.
    pub crowd: usize,
    /// Whether their ids fit their addresses (BEP 42), which takes an attacker many addresses.
    pub crowd_fits: bool,
    /// Repeats it.
    pub seed: u64,
}

impl Default for PopulationConfig {
    /// A thousand nodes, all of them honest and reachable, and every entry of every table one of them.
    fn default() -> Self {
        Self {
            nodes: 1000,
            dead: 0.0,
            dead_are_scattered: false,
            hostile: 0.0,
            nat_mix: false,
            crowded: Vec::new(),
            crowd: 64,
            crowd_fits: false,
            seed: 1,
        }
    }
}

/// The nodes of a whole DHT, each with the table that it would have after a long time.
///
/// The table of a node has up to eight entries for each length of prefix shared with its node's id, as long as there are nodes that
/// share as much. Of the entries, a share is dead: ids of the right prefix at addresses where nobody is.
#[derive(Debug)]
pub struct Population {
    census: Rc<Census>,
    rng: ChaCha8Rng,
}

impl Population {
    /// Draws ids that fit their addresses (BEP 42).
    pub fn new(config: &PopulationConfig) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let honest = draw_nodes(config.nodes, IP_FIRST, IPS, &mut rng);
        let traits = honest.iter().map(|_| draw_traits(config, &mut rng)).collect::<Vec<_>>();
        // The eight nearest of all share three bits less on average.
        let bits = config.nodes.ilog2() + 1;
        let crowd = |target| draw_crowd(target, config.crowd, bits, config.crowd_fits, &mut rng);
        let crowds: Vec<Contact> = config.crowded.iter().flat_map(crowd).collect();
        let crowds = crowds.into_iter().map(|node| (node, (Conduct::Crowding, Nat::Open)));
        let mut all: Vec<(Contact, (Conduct, Nat))> = honest.into_iter().zip(traits).chain(crowds).collect();
        all.sort_unstable_by_key(|(node, _)| *node);
        let (nodes, traits) = all.into_iter().unzip();
        let ghosts = match config.dead {
            0.0 => 0,
            _ if config.dead_are_scattered => (config.nodes * GHOSTS_PER_NODE).min(GHOSTS_MAX),
            dead => (config.nodes as f64 * dead / (1.0 - dead).max(0.01)) as usize,
        };
        let ghosts = draw_nodes(ghosts, DEAD_IP_FIRST, DEAD_IPS, &mut rng);
        let (dead_are_scattered, dead, seed) = (config.dead_are_scattered, config.dead, config.seed);
        Self { census: Rc::new(Census { nodes, traits, ghosts, dead_are_scattered, dead, seed }), rng }
    }

    /// The live nodes, in ascending order of ids.
    pub fn nodes(&self) -> &[Contact] {
        &self.census.nodes
    }

    /// The live nodes nearest to a point, nearest first.
    pub fn closest(&self, target: &Target, count: usize) -> Vec<Contact> {
        self.census.closest(target, count, |_, _| true)
    }

    /// The nodes nearest to a point that a stranger can reach and that are honest, nearest first.
    pub fn closest_of_use(&self, target: &Target, count: usize) -> Vec<Contact> {
        self.census.closest(target, count, |conduct, nat| conduct == Conduct::Honest && nat == Nat::Open)
    }

    /// The table of a newcomer with this id that has been there for long. Its shallow buckets are as large as those of
    /// [`magnes_dht::Node`]: 128, 64, 32, 16 entries, and eight in each further one.
    pub fn draw_table(&mut self, own: &NodeId) -> Vec<Contact> {
        self.census.draw_table(own, |depth| (128 >> depth).max(K), &mut self.rng)
    }

    /// A responder for every node, with where it is and what stands before it. The honest and reachable ones nearest to
    /// what is sought have it.
    pub fn responders(&mut self, sought: &[Sought]) -> Vec<(Contact, Nat, Responder)> {
        let each = self.census.nodes.iter().zip(&self.census.traits).enumerate();
        let mut responders: Vec<(Contact, Nat, Responder)> = each
            .map(|(index, (own, (conduct, nat)))| (*own, *nat, Responder::new(&self.census, index, *own, *conduct)))
            .collect();
        for sought in sought {
            for holder in self.closest_of_use(&sought.target(), K) {
                if let Ok(index) = self.census.nodes.binary_search(&holder) {
                    responders[index].2.add(sought.clone());
                }
            }
        }
        responders
    }
}

fn draw_traits(config: &PopulationConfig, rng: &mut impl Rng) -> (Conduct, Nat) {
    let conduct = if unit(rng) < config.hostile { Conduct::Polluting } else { Conduct::Honest };
    let place = unit(rng);
    let nat = match config.nat_mix {
        true if place < FIREWALLED_SHARE => Nat::Symmetric,
        true if place < FIREWALLED_SHARE + RESTRICTED_SHARE => Nat::Restricted,
        _ => Nat::Open,
    };
    (conduct, nat)
}
