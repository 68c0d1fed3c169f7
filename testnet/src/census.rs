use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};

use magnes_dht::internals::K;
use magnes_dht::{Contact, NodeId, Target};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::nat::Nat;
use crate::network::unit;

const ID_BITS: usize = 160;

/// Of its crowd, a node knows as many.
const CROWD_NAMED: usize = 32;

/// Every address of the population is from here up: 16.0.0.0 to 79.255.255.255, public and free of special networks.
pub(crate) const IP_FIRST: u32 = 0x1000_0000;
pub(crate) const IPS: u64 = 0x4000_0000;

/// Addresses where nobody is: 80.0.0.0 to 95.255.255.255.
pub(crate) const DEAD_IP_FIRST: u32 = 0x5000_0000;
pub(crate) const DEAD_IPS: u64 = 0x1000_0000;

/// How a node behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// It answers as well as it can.
    Honest,
    /// It names only nodes that it makes up, nearer to the target than any that exists, and knows no peers.
    Polluting,
    /// It placed itself beside a target and names only others that did.
    Crowding,
}

/// Who there is. Tables are drawn from it when they are first looked at.
#[derive(Debug)]
pub(crate) struct Census {
    /// In ascending order of ids.
    pub(crate) nodes: Vec<Contact>,
    /// What each of `nodes` is like.
    pub(crate) traits: Vec<(Conduct, Nat)>,
    /// Nodes that once were, in ascending order of ids.
    pub(crate) ghosts: Vec<Contact>,
    pub(crate) dead_are_scattered: bool,
    pub(crate) dead: f64,
    pub(crate) seed: u64,
}

impl Census {
    /// The table of the node with this number.
    pub(crate) fn table_of(&self, index: usize) -> Vec<Contact> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index as u64 + 1);
        let own = self.nodes[index].id;
        if self.traits[index].0 == Conduct::Crowding {
            return self.closest(&own.into(), CROWD_NAMED, |conduct, _| conduct == Conduct::Crowding);
        }
        self.draw_table(&own, |_| K, &mut rng)
    }

    pub(crate) fn closest(&self, target: &Target, count: usize, accept: impl Fn(Conduct, Nat) -> bool) -> Vec<Contact> {
        let traits = self.traits.iter();
        let accepted = self.nodes.iter().zip(traits).filter(|(_, (conduct, nat))| accept(*conduct, *nat));
        let mut nodes: Vec<Contact> = accepted.map(|(node, _)| *node).collect();
        if count < nodes.len() {
            nodes.select_nth_unstable_by_key(count, |node| target.distance(&node.id));
            nodes.truncate(count);
        }
        nodes.sort_unstable_by_key(|node| target.distance(&node.id));
        nodes
    }

    pub(crate) fn draw_table(
        &self,
        own: &NodeId,
        capacity: impl Fn(usize) -> usize,
        rng: &mut ChaCha8Rng,
    ) -> Vec<Contact> {
        let mut table = Vec::new();
        for bit in 0..ID_BITS {
            let (low, high) = (sibling(own, bit, 0), sibling(own, bit, 0xff));
            self.draw_bucket(low..=high, capacity(bit), rng, &mut table);
            if !self.has_company(own, bit) {
                break;
            }
        }
        table
    }

    /// Draws up to `capacity` entries out of a range of ids, dead ones among them.
    fn draw_bucket(
        &self,
        ids: RangeInclusive<NodeId>,
        capacity: usize,
        rng: &mut ChaCha8Rng,
        table: &mut Vec<Contact>,
    ) {
        let (live, ghosts) = (range_of(&self.nodes, &ids), range_of(&self.ghosts, &ids));
        let start = table.len();
        let (mut live_left, mut ghosts_left) = (live.len(), ghosts.len());
        while table.len() - start < capacity && live_left + ghosts_left > 0 {
            let all_left = live_left + ghosts_left;
            let dead = if self.dead_are_scattered { self.dead } else { ghosts_left as f64 / all_left as f64 };
            if ghosts_left > 0 && (live_left == 0 || unit(rng) < dead) {
                ghosts_left -= 1;
                table
                    .push(self.ghosts[draw(ghosts.clone(), |index| table[start..].contains(&self.ghosts[index]), rng)]);
            } else {
                live_left -= 1;
                table.push(self.nodes[draw(live.clone(), |index| table[start..].contains(&self.nodes[index]), rng)]);
            }
        }
    }

    /// Whether any other node shares more than `bit` bits with `own`.
    fn has_company(&self, own: &NodeId, bit: usize) -> bool {
        let range = range_of(&self.nodes, &(bounded(own, bit + 1, 0)..=bounded(own, bit + 1, 0xff)));
        self.nodes[range].iter().any(|node| node.id != *own)
    }
}

/// Nodes that share at least `bits` bits with a target, with ids that fit their addresses (BEP 42) or not.
pub(crate) fn draw_crowd(target: &Target, count: usize, bits: u32, fits: bool, rng: &mut impl Rng) -> Vec<Contact> {
    let draw = |rng: &mut _| loop {
        let addr = draw_addr(IP_FIRST, IPS, rng);
        let mut id = *NodeId::for_address(addr.ip(), rng).as_bytes();
        // Behind the bits that the address prescribes, the target's; the last byte tells them apart.
        id[2] = (id[2] & 0xf8) | (target.as_bytes()[2] & 0x07);
        id[3..19].copy_from_slice(&target.as_bytes()[3..19]);
        if !fits {
            id[..3].copy_from_slice(&target.as_bytes()[..3]);
        }
        let id = NodeId::new(id);
        if target.distance(&id).common_bits() >= bits {
            return Contact { id, addr };
        }
    };
    (0..count).map(|_| draw(rng)).collect()
}

/// A number out of `range` that was not taken yet; there must be one.
fn draw(range: Range<usize>, is_taken: impl Fn(usize) -> bool, rng: &mut impl Rng) -> usize {
    let mut index = range.start + rng.next_u64() as usize % range.len();
    while is_taken(index) {
        index = if index + 1 < range.end { index + 1 } else { range.start };
    }
    index
}

/// Nodes with ids that fit their addresses, in ascending order of ids.
pub(crate) fn draw_nodes(count: usize, ip_first: u32, ips: u64, rng: &mut impl Rng) -> Vec<Contact> {
    let draw = |rng: &mut _| {
        let addr = draw_addr(ip_first, ips, rng);
        Contact { id: NodeId::for_address(addr.ip(), rng), addr }
    };
    let mut nodes: Vec<Contact> = (0..count).map(|_| draw(rng)).collect();
    nodes.sort_unstable_by_key(|node| node.addr.ip());
    nodes.dedup_by_key(|node| node.addr.ip());
    nodes.sort_unstable();
    nodes
}

pub(crate) fn draw_dead_addr(rng: &mut impl Rng) -> SocketAddr {
    draw_addr(DEAD_IP_FIRST, DEAD_IPS, rng)
}

fn draw_addr(ip_first: u32, ips: u64, rng: &mut impl Rng) -> SocketAddr {
    let ip = ip_first + (rng.next_u64() % ips) as u32;
    SocketAddr::new(Ipv4Addr::from_bits(ip).into(), 1024 + (rng.next_u64() % 60_000) as u16)
}

/// The places of the nodes with these ids.
fn range_of(nodes: &[Contact], ids: &RangeInclusive<NodeId>) -> Range<usize> {
    nodes.partition_point(|node| node.id < *ids.start())..nodes.partition_point(|node| node.id <= *ids.end())
}

/// The lowest or highest id that shares exactly `bit` bits with `own`.
fn sibling(own: &NodeId, bit: usize, rest: u8) -> NodeId {
    let mut bytes = *own.as_bytes();
    bytes[bit / 8] ^= 0x80 >> (bit % 8);
    bounded(&NodeId::new(bytes), bit + 1, rest)
}

/// `id` with every bit behind the first `bits` set as in `rest`.
fn bounded(id: &NodeId, bits: usize, rest: u8) -> NodeId {
    let mut bytes = *id.as_bytes();
    for (index, byte) in bytes.iter_mut().enumerate() {
        let kept = bits.saturating_sub(8 * index).min(8);
        let mask = !(0xffu16 >> kept) as u8;
        *byte = (*byte & mask) | (rest & !mask);
    }
    NodeId::new(bytes)
}
