//! What a node hands out when three of ten of those who talk to it are hostile.
#![allow(clippy::disallowed_methods, reason = "virtual time begins at some instant")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use magnes_dht::krpc::{Body, Message, Method, Query, Response, Want};
use magnes_dht::{Contact, Family, NodeConfig, NodeId, Target, compact};
use magnes_testnet::{Datagram, Host, HostIndex, Nat, Network, Searcher, World};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

const STRANGERS: u32 = 120;
const PAUSE: Duration = Duration::from_secs(120);
const TIME: Duration = Duration::from_secs(45 * 60);

/// What a stranger does besides querying the node every two minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conduct {
    Honest,
    /// Answers with made-up nodes near what it is asked for, and sends such answers unasked.
    Polluting,
    /// Answers until it is in the table, and never again; queries on, to look alive.
    Silent,
    /// Queries and answers under another id each time, to take many places.
    Changing,
}

struct Stranger {
    server: SocketAddr,
    contact: Contact,
    conduct: Conduct,
    answers: u32,
    next: Instant,
    chance: ChaCha8Rng,
}

enum Member {
    Server(Box<Searcher>),
    Stranger(Box<Stranger>),
}

fn encoded(transaction: &[u8], body: Body<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    Message { transaction, version: None, ip: None, body }.encode(&mut payload);
    payload
}

fn find_node(id: NodeId, target: Target) -> Vec<u8> {
    let method = Method::FindNode { target };
    encoded(b"aaaa", Body::Query(Query { id, read_only: false, want: Want::default(), method }))
}

impl Stranger {
    fn id(&mut self) -> NodeId {
        if self.conduct == Conduct::Changing { NodeId::random(&mut self.chance) } else { self.contact.id }
    }

    /// Nodes that are not there, at addresses of every kind.
    fn made_up(&mut self, near: NodeId) -> Vec<u8> {
        let mut nodes = Vec::new();
        for _ in 0..8 {
            let id = near.random_sharing(30, &mut self.chance);
            let [first, ..] = self.chance.next_u32().to_be_bytes();
            let ip = [[99, first, 1, 1], [10, 0, 0, first], [127, 0, 0, 1], [224, 0, 0, first]][usize::from(first % 4)];
            let port = if first.is_multiple_of(5) { 0 } else { 6881 };
            compact::push_node(&mut nodes, &Contact { id, addr: SocketAddr::from((ip, port)) });
        }
        nodes
    }

    fn handle_datagram(&mut self, from: SocketAddr, datagram: &[u8], out: &mut Vec<Datagram>) {
        let Ok(Message { transaction, body: Body::Query(query), .. }) = Message::decode(datagram) else { return };
        self.answers += 1;
        if self.conduct == Conduct::Silent && self.answers > 1 {
            return;
        }
        let id = self.id();
        let made_up = match query.method {
            Method::FindNode { target } if self.conduct == Conduct::Polluting => {
                self.made_up(NodeId::new(*target.as_bytes()))
            }
            _ => Vec::new(),
        };
        let response = Response { nodes: Some(&made_up), ..Response::new(id) };
        out.push(Datagram { to: from, payload: encoded(transaction, Body::Response(response)) });
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Datagram>) {
        if now < self.next {
            return;
        }
        self.next = now + PAUSE;
        let (id, target) = (self.id(), NodeId::random(&mut self.chance));
        out.push(Datagram { to: self.server, payload: find_node(id, target.into()) });
        if self.conduct == Conduct::Polluting {
            let made_up = self.made_up(target);
            let response = Response { nodes: Some(&made_up), ..Response::new(target) };
            let transaction = self.chance.next_u32().to_be_bytes();
            out.push(Datagram { to: self.server, payload: encoded(&transaction, Body::Response(response)) });
        }
    }
}

impl Host for Member {
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], out: &mut Vec<Datagram>) {
        match self {
            Member::Server(server) => server.handle_datagram(now, from, datagram, out),
            Member::Stranger(stranger) => stranger.handle_datagram(from, datagram, out),
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Datagram>) {
        match self {
            Member::Server(server) => server.handle_timeout(now, out),
            Member::Stranger(stranger) => stranger.handle_timeout(now, out),
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self {
            Member::Server(server) => server.next_timeout(),
            Member::Stranger(stranger) => Some(stranger.next),
        }
    }
}

/// What a host answers to a query, without the network between.
fn answers(world: &mut World<Member>, index: HostIndex, network: u8, datagram: &[u8]) -> Vec<(NodeId, Vec<Contact>)> {
    let asker = SocketAddr::from(([98, 7, network, 5], 6881));
    world.drive(index, |member, now, out| {
        member.handle_datagram(now, asker, datagram, out);
        let to_asker: Vec<Datagram> = out.extract_if(.., |datagram| datagram.to == asker).collect();
        let answer = |datagram: &Datagram| match Message::decode(&datagram.payload).ok()?.body {
            Body::Response(response) => Some((response.id, response.nodes_of(Family::V4).collect())),
            _ => None,
        };
        to_asker.iter().filter_map(answer).collect()
    })
}

#[test]
fn of_the_contacts_that_are_handed_out_nineteen_of_twenty_answer_although_three_of_ten_are_hostile() {
    let start = Instant::now();
    let server = SocketAddr::from(([80, 1, 2, 3], 6881));
    let mut world = World::new(start, Network::default(), 1);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let node = Searcher::new(start, server, NodeConfig::default(), 3);
    let server_index = world.add_host(server, Nat::Open, Member::Server(Box::new(node)));
    let mut strangers = BTreeMap::new();
    for number in 0..STRANGERS {
        let addr = SocketAddr::new(Ipv4Addr::from_bits(0x1000_0001 + (number << 16)).into(), 6881);
        let contact = Contact { id: NodeId::for_address(addr.ip(), &mut rng), addr };
        let conduct = match number % 10 {
            0 => Conduct::Polluting,
            1 => Conduct::Silent,
            2 => Conduct::Changing,
            _ => Conduct::Honest,
        };
        let next = start + PAUSE * (rng.next_u32() % 1000) / 1000;
        let chance = ChaCha8Rng::seed_from_u64(number.into());
        let stranger = Stranger { server, contact, conduct, answers: 0, next, chance };
        let index = world.add_host(addr, Nat::Open, Member::Stranger(Box::new(stranger)));
        strangers.insert(addr, (index, conduct));
    }
    world.run_until(start + TIME);

    let (mut handed_out, mut answered) = (0, 0);
    for round in 0..200u8 {
        let target = NodeId::random(&mut rng);
        let found = answers(&mut world, server_index, round, &find_node(NodeId::new([1; 20]), target.into()));
        for contact in found.iter().flat_map(|(_, nodes)| nodes) {
            let (index, conduct) = strangers.get(&contact.addr).expect("whoever is handed out exists");
            let ids = answers(&mut world, *index, round, &find_node(NodeId::new([1; 20]), target.into()));
            handed_out += 1;
            // Who answers under another id is there, and not who was handed out.
            answered += u32::from(ids.iter().any(|(id, _)| *id == contact.id) && *conduct != Conduct::Silent);
        }
    }
    println!("{answered} of {handed_out} handed-out contacts answer");
    assert!(handed_out >= 200 * 6, "{handed_out}");
    assert!(answered * 100 >= handed_out * 95, "{answered} of {handed_out}");
}
