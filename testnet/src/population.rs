use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use magnes_dht::krpc::{Body, Message, Method, Response, Values};
use magnes_dht::{Contact, InfoHash, NodeId, Target, compact};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::network::unit;
use crate::world::{Datagram, Host};

/// Contacts in a bucket, and nodes in a reply (BEP 5).
const K: usize = 8;

const ID_BITS: usize = 160;

/// Every address of the population is from here up: 16.0.0.0 to 79.255.255.255, public and free of special networks.
const IP_FIRST: u32 = 0x1000_0000;
const IPS: u64 = 0x4000_0000;

/// Addresses where nobody is: 80.0.0.0 to 95.255.255.255.
const DEAD_IP_FIRST: u32 = 0x5000_0000;
const DEAD_IPS: u64 = 0x1000_0000;

/// A token that every responder gives and takes.
const TOKEN: &[u8] = b"modeltok";

/// What a population is like.
#[derive(Debug, Clone)]
pub struct PopulationConfig {
    /// Live nodes.
    pub nodes: usize,
    /// Share of all entries of all tables that lead nowhere.
    pub dead: f64,
    /// Repeats it.
    pub seed: u64,
}

/// The nodes of a whole DHT, each with the table that it would have after a long time.
///
/// A table has up to eight entries for each length of prefix shared with its node's id, as long as there are nodes that
/// share as much. Of the entries, a share is dead: ids of the right prefix at addresses where nobody is.
#[derive(Debug)]
pub struct Population {
    /// In ascending order of ids.
    nodes: Vec<Contact>,
    dead: f64,
    rng: ChaCha8Rng,
}

impl Population {
    /// Draws ids that fit their addresses (BEP 42).
    pub fn new(config: &PopulationConfig) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let mut nodes: Vec<Contact> = (0..config.nodes)
            .map(|_| {
                let addr = draw_addr(IP_FIRST, IPS, &mut rng);
                Contact { id: NodeId::for_address(addr.ip(), &mut rng), addr }
            })
            .collect();
        nodes.sort_unstable();
        nodes.dedup_by_key(|node| node.addr.ip());
        Self { nodes, dead: config.dead, rng }
    }

    /// The live nodes, in ascending order of ids.
    pub fn nodes(&self) -> &[Contact] {
        &self.nodes
    }

    /// The live nodes nearest to a point, nearest first.
    pub fn closest(&self, target: &Target, count: usize) -> Vec<Contact> {
        let mut nodes = self.nodes.clone();
        nodes.sort_unstable_by_key(|node| target.distance(&node.id));
        nodes.truncate(count);
        nodes
    }

    /// The table of the node with this id, whether it is one of the population or a newcomer.
    pub fn draw_table(&mut self, own: &NodeId) -> Vec<Contact> {
        let mut table = Vec::new();
        for bit in 0..ID_BITS {
            let (low, high) = (sibling(own, bit, 0), sibling(own, bit, 0xff));
            let start = self.nodes.partition_point(|node| node.id < low);
            let end = self.nodes.partition_point(|node| node.id <= high);
            self.draw_bucket(start..end, own, bit, &mut table);
            if !self.has_company(own, bit) {
                break;
            }
        }
        table
    }

    /// A responder for every node. Those nearest to an info hash of `swarms` know its peers.
    pub fn responders(&mut self, swarms: &[(InfoHash, Vec<SocketAddr>)]) -> Vec<(Contact, Responder)> {
        let mut responders: Vec<(Contact, Responder)> = Vec::with_capacity(self.nodes.len());
        for index in 0..self.nodes.len() {
            let own = self.nodes[index];
            let table = self.draw_table(&own.id);
            responders.push((own, Responder { id: own.id, table, swarms: Vec::new(), announced: 0 }));
        }
        for (info_hash, peers) in swarms {
            for holder in self.closest(&Target::from(*info_hash), K) {
                if let Ok(index) = self.nodes.binary_search(&holder) {
                    responders[index].1.swarms.push((*info_hash, peers.clone()));
                }
            }
        }
        responders
    }

    /// Draws up to eight entries out of a range of nodes, dead ones among them.
    fn draw_bucket(&mut self, range: std::ops::Range<usize>, own: &NodeId, bit: usize, table: &mut Vec<Contact>) {
        let mut live = self.nodes[range].to_vec();
        for _ in 0..K {
            if live.is_empty() {
                break;
            }
            if unit(&mut self.rng) < self.dead {
                let id = own.random_sharing(bit as u32, &mut self.rng);
                table.push(Contact { id, addr: draw_addr(DEAD_IP_FIRST, DEAD_IPS, &mut self.rng) });
            } else {
                let chosen = self.rng.next_u64() as usize % live.len();
                table.push(live.swap_remove(chosen));
            }
        }
    }

    /// Whether any other node shares more than `bit` bits with `own`.
    fn has_company(&self, own: &NodeId, bit: usize) -> bool {
        let (low, high) = (bounded(own, bit + 1, 0), bounded(own, bit + 1, 0xff));
        let start = self.nodes.partition_point(|node| node.id < low);
        let end = self.nodes.partition_point(|node| node.id <= high);
        self.nodes[start..end].iter().any(|node| node.id != *own)
    }
}

fn draw_addr(ip_first: u32, ips: u64, rng: &mut impl Rng) -> SocketAddr {
    let ip = ip_first + (rng.next_u64() % ips) as u32;
    SocketAddr::new(Ipv4Addr::from_bits(ip).into(), 1024 + (rng.next_u64() % 60_000) as u16)
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

/// A node that answers queries out of a table that never changes, and asks nothing.
#[derive(Debug)]
pub struct Responder {
    id: NodeId,
    table: Vec<Contact>,
    swarms: Vec<(InfoHash, Vec<SocketAddr>)>,
    announced: usize,
}

impl Responder {
    /// How many announces it took.
    pub fn announced(&self) -> usize {
        self.announced
    }

    /// The table.
    pub fn table(&self) -> &[Contact] {
        &self.table
    }

    fn closest(&self, target: &Target) -> Vec<u8> {
        let mut nodes: Vec<&Contact> = self.table.iter().collect();
        if nodes.len() > K {
            nodes.select_nth_unstable_by_key(K, |node| target.distance(&node.id));
            nodes.truncate(K);
        }
        nodes.sort_unstable_by_key(|node| target.distance(&node.id));
        let mut encoded = Vec::new();
        nodes.iter().for_each(|node| compact::push_node(&mut encoded, node));
        encoded
    }
}

impl Host for Responder {
    fn handle_datagram(&mut self, _now: Instant, from: SocketAddr, datagram: &[u8], out: &mut Vec<Datagram>) {
        let Ok(Message { transaction, body: Body::Query(query), .. }) = Message::decode(datagram) else {
            return;
        };
        let mut response = Response::new(self.id);
        let (nodes, peers);
        match query.method {
            Method::Ping | Method::Unknown { target: None, .. } | Method::Put { .. } => {}
            Method::FindNode { target }
            | Method::SampleInfohashes { target }
            | Method::Unknown { target: Some(target), .. } => {
                nodes = self.closest(&target);
                response.nodes = Some(&nodes);
            }
            Method::Get { target, .. } => {
                nodes = self.closest(&target);
                response.nodes = Some(&nodes);
                response.token = Some(TOKEN);
            }
            Method::GetPeers { info_hash, .. } => {
                nodes = self.closest(&Target::from(info_hash));
                response.nodes = Some(&nodes);
                response.token = Some(TOKEN);
                if let Some((_, known)) = self.swarms.iter().find(|(swarm, _)| *swarm == info_hash) {
                    peers = known;
                    response.values = Values::of(peers);
                }
            }
            Method::AnnouncePeer { token, .. } => {
                if token != TOKEN {
                    return;
                }
                self.announced += 1;
            }
        }
        let mut payload = Vec::new();
        let body = Body::Response(response);
        Message { transaction, version: None, ip: Some(from), body }.encode(&mut payload);
        out.push(Datagram { to: from, payload });
    }

    fn handle_timeout(&mut self, _now: Instant, _out: &mut Vec<Datagram>) {}

    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}
