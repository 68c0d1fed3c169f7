//! Whether the network is there, whether it reaches us, and as whom, in virtual time.

use std::time::Duration;

use super::socket_state::ID_LIFETIME_MIN;
use super::tests::{World, addr};
use super::*;
use crate::krpc::Want;

const SECOND: Duration = Duration::from_secs(1);

fn public(network: u8) -> SocketAddr {
    ([80, 0, network, 1], 6881).into()
}

fn ping() -> Vec<u8> {
    query(Method::Ping)
}

fn query(method: Method<'_>) -> Vec<u8> {
    let query = Query { id: NodeId::new([9; 20]), read_only: false, want: Want::default(), method };
    let mut datagram = Vec::new();
    Message { transaction: b"aa", version: None, ip: None, body: Body::Query(query) }.encode(&mut datagram);
    datagram
}

/// Drains a node: how many responses it sends, and how many queries that say `ro`.
fn drained(node: &mut Node) -> (usize, usize) {
    let mut counts = (0, 0);
    while let Some(output) = node.poll_output() {
        let Output::Transmit { payload, .. } = output else { continue };
        match Message::decode(payload).unwrap().body {
            Body::Response(_) => counts.0 += 1,
            Body::Query(query) if query.read_only => counts.1 += 1,
            _ => {}
        }
    }
    counts
}

impl World {
    /// What a node told of its readiness: seconds from `start`, and whether it was ready.
    fn told(&self, number: u8, start: Instant) -> Vec<(u64, bool)> {
        let of_node = self.events.iter().filter(|(at, when, _)| *at == addr(number) && *when >= start);
        let readiness = of_node.filter_map(|(_, when, event)| match event {
            Event::Ready => Some(((*when - start).as_secs(), true)),
            Event::NotReady(_) => Some(((*when - start).as_secs(), false)),
            _ => None,
        });
        readiness.collect()
    }

    /// Cuts a node off from all others for a time, then lets all but the router be there again. Returns when.
    fn cut_off(&mut self, number: u8, time: Duration) -> Instant {
        let mut others = std::mem::take(&mut self.nodes);
        let node = others.remove(&addr(number)).unwrap();
        self.nodes.insert(addr(number), node);
        self.run(time);
        others.remove(&addr(1));
        self.nodes.append(&mut others);
        self.now
    }
}

#[test]
fn a_client_becomes_a_server_when_a_stranger_reaches_it_and_no_sooner() {
    let now = Instant::now();
    let config = NodeConfig { mode: NodeMode::Adaptive, ..NodeConfig::default() };
    let mut node = Node::new(config, [1; 32], now);
    let socket = node.add_socket(now, public(1));
    node.add_node(now, public(2));
    assert_eq!(drained(&mut node), (0, 1), "it says that it answers nothing");
    node.handle_datagram(now, socket, public(2), &ping());
    assert_eq!(drained(&mut node), (0, 0), "a router that lets answers in proves nothing");
    node.handle_datagram(now, socket, ([192, 168, 1, 1], 6881).into(), &ping());
    assert_eq!(drained(&mut node), (0, 0), "nor does somebody at home");
    node.handle_datagram(now, socket, public(3), &ping());
    assert_eq!(node.poll_output(), Some(Output::Event(Event::Reachable { socket })));
    assert_eq!(drained(&mut node).0, 1);
    node.handle_datagram(now, socket, public(2), &ping());
    node.add_node(now, public(4));
    assert_eq!(drained(&mut node), (1, 0), "from here on it answers everybody");
}

#[test]
fn on_a_local_network_an_adaptive_node_serves_from_the_start() {
    let now = Instant::now();
    let config = NodeConfig { mode: NodeMode::Adaptive, ..NodeConfig::default() };
    let mut node = Node::new(config, [1; 32], now);
    let socket = node.add_socket(now, ([0, 0, 0, 0], 6881).into());
    let neighbour = |last: u8| SocketAddr::from(([192, 168, 1, last], 6881));
    node.handle_datagram(now, socket, neighbour(2), &ping());
    assert_eq!(drained(&mut node), (0, 0), "nobody said that it is part of such a network");
    node.add_bootstrap(now, &[neighbour(1)]);
    node.handle_timeout(now);
    assert_eq!(node.stats(now).traffic.queries_out.total(), 1);
    assert_eq!(drained(&mut node), (0, 0), "it asks as one that answers");
    node.handle_datagram(now, socket, neighbour(2), &ping());
    assert_eq!(drained(&mut node).0, 1);
    node.add_node(now, public(2));
    assert_eq!(drained(&mut node), (0, 1), "that a neighbour reaches it says nothing to the others");
    node.handle_datagram(now, socket, public(3), &ping());
    assert_eq!(drained(&mut node).0, 1, "a stranger reached it");
}

#[test]
fn a_node_of_the_public_network_tells_its_own_machine_that_it_lives_and_no_more() {
    let now = Instant::now();
    let mut node = Node::new(NodeConfig::default(), [1; 32], now);
    let socket = node.add_socket(now, ([0, 0, 0, 0], 6881).into());
    let (here, neighbour) = (([127, 0, 0, 1], 4000).into(), ([192, 168, 1, 2], 4000).into());
    let find_node = query(Method::FindNode { target: NodeId::new([3; 20]).into() });
    for (from, datagram, answers) in [(here, ping(), 1), (here, find_node, 0), (neighbour, ping(), 0)] {
        node.handle_datagram(now, socket, from, &datagram);
        assert_eq!(drained(&mut node).0, answers, "{from}");
    }
    assert_eq!((node.stats(now).contacts, node.stats(now).traffic.queries_out.total()), (0, 0), "it is met by nobody");
}

#[test]
fn the_modes_that_are_fixed_stay() {
    for (mode, answers) in [(NodeMode::Client, 0), (NodeMode::Server, 1)] {
        let now = Instant::now();
        let mut node = Node::new(NodeConfig { mode, ..NodeConfig::default() }, [1; 32], now);
        let socket = node.add_socket(now, public(1));
        for datagram in [&ping()[..], b"d1:ade1:q4:ping1:t2:aa1:y1:qe"] {
            node.handle_datagram(now, socket, public(3), datagram);
            let sent =
                std::iter::from_fn(|| node.poll_output().map(|output| matches!(output, Output::Transmit { .. })));
            assert_eq!(usize::from(sent.take(1).any(|sent| sent)), answers, "{mode:?}");
            drained(&mut node);
        }
    }
}

#[test]
fn the_id_follows_the_address_that_eight_networks_see_and_changes_every_half_hour_at_most() {
    let start = Instant::now();
    let mut node = Node::new(NodeConfig::default(), [1; 32], start);
    let socket = node.add_socket(start, ([0, 0, 0, 0], 6881).into());
    let seen = |last: u8| SocketAddr::from(([81, 2, 3, last], 6881));
    let vote = |node: &mut Node, now, voters: std::ops::Range<u8>, last: u8| {
        voters.for_each(|network| node.handle_vote(now, socket, public(network), seen(last)));
        node.node_ids()[0]
    };
    let first = node.node_ids()[0];
    assert_eq!(vote(&mut node, start, 0..7, 1), first);
    let second = vote(&mut node, start, 7..8, 1);
    assert!(second != first && second.is_valid_for(seen(1).ip()));
    // Three quarters of the networks change their mind, at once and again.
    let later = start + Duration::from_secs(60);
    assert_eq!(vote(&mut node, later, 0..30, 2), second, "too early for another id");
    node.handle_timeout(later + ID_LIFETIME_MIN - 2 * 60 * SECOND);
    assert_eq!(node.node_ids()[0], second);
    node.handle_timeout(start + ID_LIFETIME_MIN);
    let third = node.node_ids()[0];
    assert!(third.is_valid_for(seen(2).ip()), "then it is taken");
    let events: Vec<Event> = std::iter::from_fn(|| match node.poll_output()? {
        Output::Event(event) => Some(event),
        Output::Transmit { .. } => None,
    })
    .collect();
    assert_eq!(events, [1, 2].map(|last| Event::ExternalAddress { socket, addr: seen(last) }));
}

#[test]
fn readiness_is_told_when_it_changes_and_a_network_that_comes_back_is_noticed_within_15_seconds() {
    for (size, outage_s) in [(3, 100), (12, 100), (12, 3600), (40, 400)] {
        let mut world = World::of(size);
        let start = world.now;
        assert_eq!(world.node(2).readiness(), Readiness::Ready);
        let back = world.cut_off(2, outage_s * SECOND);
        assert!(
            matches!(world.node(2).readiness(), Readiness::NotReady(NotReady::NetworkLost { unanswered: 8.. })),
            "{size} nodes: {:?}",
            world.node(2).readiness()
        );
        world.run(15 * SECOND);
        let told = world.told(2, start);
        assert!(matches!(told[..], [(0..=90, false), (_, true)]), "{size} nodes, {outage_s} s: {told:?}");
        assert_eq!(world.told(2, back).len(), 1);
        assert_eq!(world.node(2).readiness(), Readiness::Ready);
    }
}

#[test]
fn a_network_that_was_never_there_is_looked_for_ever_less_often_and_for_ever() {
    let mut world = World::new();
    world.add(2, NodeConfig::default(), &[addr(1)]);
    let mut asked = Vec::new();
    for second in 0..3600 {
        let before = world.sent;
        world.run(SECOND);
        if world.sent > before {
            asked.push(second);
        }
    }
    let pauses: Vec<i32> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses[..6], [2, 4, 8, 16, 32, 60], "after the first second: {pauses:?}");
    assert!(pauses.len() > 55 && pauses[6..].iter().all(|pause| (59..=61).contains(pause)), "{pauses:?}");
    assert!(matches!(world.node(2).readiness(), Readiness::NotReady(NotReady::NoAnswer { sent: 60.. })));
    assert_eq!(world.told(2, world.now - 3600 * SECOND), []);
}

#[test]
fn the_search_begins_anew_once_the_table_was_healthy() {
    let mut world = World::new();
    world.add(2, NodeConfig::default(), &[addr(1)]);
    world.run(100 * SECOND);
    assert_eq!(world.node(2).sockets[0].bootstrap_pause, super::socket_state::BOOTSTRAP_MAX);
    for number in [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] {
        world.add(number, NodeConfig::default(), &[addr(1)]);
    }
    world.run(120 * SECOND);
    assert!(world.stats(2).contacts >= 8);
    assert_eq!(world.node(2).sockets[0].bootstrap_pause, super::socket_state::BOOTSTRAP_MIN);
}

#[test]
fn a_contact_that_is_named_as_a_router_leaves_the_table() {
    let mut world = World::of(5);
    let contacts = world.stats(2).contacts;
    world.command(2, |node, now| node.add_bootstrap(now, &[addr(3)]));
    assert_eq!(world.stats(2).contacts, contacts - 1);
    world.run(10 * SECOND);
    assert!(world.node(2).sockets[0].table.contacts().all(|contact| contact.addr != addr(3)));
}
