use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::{AnnounceOutcome, InfoHash, NotReady};

/// Nodes that reach one another over a virtual network with a delay of 20 ms.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) nodes: BTreeMap<SocketAddr, Node>,
    /// Datagrams on their way, by arrival.
    pub(super) wire: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    pub(super) sent: u64,
    pub(super) events: Vec<(SocketAddr, Instant, Event)>,
}

const DELAY: Duration = Duration::from_millis(20);
pub(super) const SOCKET: SocketIndex = SocketIndex(0);

pub(super) fn addr(number: u8) -> SocketAddr {
    ([10, 0, number, 1], 6881).into()
}

fn info_hash() -> InfoHash {
    InfoHash::new([0x5a; 20])
}

impl World {
    pub(super) fn new() -> Self {
        Self { now: Instant::now(), nodes: BTreeMap::new(), wire: BTreeMap::new(), sent: 0, events: Vec::new() }
    }

    /// A network of `count` nodes that all began with the first.
    pub(super) fn of(count: u8) -> Self {
        let mut world = Self::new();
        for number in 1..=count {
            world.add(number, NodeConfig::default(), &[addr(1)]);
            world.run(Duration::from_millis(300));
        }
        world.run(Duration::from_secs(20));
        world
    }

    pub(super) fn add(&mut self, number: u8, config: NodeConfig, bootstrap: &[SocketAddr]) {
        let mut node = Node::new(config, [number; 32], self.now);
        node.add_socket(self.now, addr(number));
        let others: Vec<SocketAddr> = bootstrap.iter().copied().filter(|other| *other != addr(number)).collect();
        node.add_bootstrap(self.now, &others);
        self.nodes.insert(addr(number), node);
        self.drain(addr(number));
    }

    pub(super) fn node(&mut self, number: u8) -> &mut Node {
        self.nodes.get_mut(&addr(number)).unwrap()
    }

    pub(super) fn stats(&mut self, number: u8) -> Stats {
        let now = self.now;
        self.node(number).stats(now)
    }

    /// Gives a node a command and sends what follows from it.
    pub(super) fn command<T>(&mut self, number: u8, command: impl FnOnce(&mut Node, Instant) -> T) -> T {
        let now = self.now;
        let result = command(self.node(number), now);
        self.drain(addr(number));
        result
    }

    pub(super) fn drain(&mut self, at: SocketAddr) {
        let Some(node) = self.nodes.get_mut(&at) else { return };
        while let Some(output) = node.poll_output() {
            match output {
                Output::Transmit { to, payload, .. } => {
                    self.sent += 1;
                    self.wire.insert((self.now + DELAY, self.sent), (at, to, payload.to_vec()));
                }
                Output::Event(event) => self.events.push((at, self.now, event)),
            }
        }
        node.check_invariants();
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timer = self.nodes.iter().filter_map(|(at, node)| Some((node.next_timeout()?, *at))).min();
            let arrival = self.wire.first_key_value().map(|((due, _), _)| *due);
            let next = timer.map(|(due, _)| due).into_iter().chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            let now = self.now;
            if arrival == Some(next) {
                let (_, (from, to, datagram)) = self.wire.pop_first().unwrap();
                if let Some(node) = self.nodes.get_mut(&to) {
                    node.handle_datagram(now, SOCKET, from, &datagram);
                    self.drain(to);
                }
            } else if let Some((_, at)) = timer {
                self.nodes.get_mut(&at).unwrap().handle_timeout(now);
                self.drain(at);
            }
        }
        self.now = end;
    }

    pub(super) fn found(&self, number: u8) -> Vec<SocketAddr> {
        let mut found: Vec<SocketAddr> = self
            .events
            .iter()
            .filter(|(at, ..)| *at == addr(number))
            .filter_map(|(_, _, event)| if let Event::Peers { peers, .. } = event { Some(peers.clone()) } else { None })
            .flatten()
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[test]
fn what_one_node_announces_another_finds() {
    let mut world = World::of(30);
    let announced = world.command(7, |node, now| {
        node.start(
            now,
            Request::Announce {
                info_hash: info_hash(),
                port: AnnouncePort::Explicit(7000),
                role: PeerRole::Downloader,
            },
        )
        .unwrap()
    });
    world.run(Duration::from_secs(5));
    let outcome = world.events.iter().find(|(.., event)| event.operation() == Some(announced) && event.is_final());
    assert!(
        matches!(
            outcome,
            Some((.., Event::Announced { outcome: AnnounceOutcome { asked: 8, acknowledged: 8, .. }, .. }))
        ),
        "{outcome:?}"
    );
    world.command(23, |node, now| node.start(now, Request::GetPeers(info_hash())).unwrap());
    world.run(Duration::from_secs(5));
    assert_eq!(world.found(23), [([10, 0, 7, 1], 7000).into()]);
}

#[test]
fn a_newcomer_finds_peers_within_a_few_round_trips() {
    let mut world = World::of(30);
    world.command(7, |node, now| {
        node.start(
            now,
            Request::Announce { info_hash: info_hash(), port: AnnouncePort::Implied, role: PeerRole::Downloader },
        )
        .unwrap()
    });
    world.run(Duration::from_secs(5));
    let start = world.now;
    world.add(99, NodeConfig::default(), &[addr(1)]);
    world.command(99, |node, now| node.start(now, Request::GetPeers(info_hash())).unwrap());
    world.run(Duration::from_secs(5));
    assert_eq!(world.found(99), [addr(7)], "the implied port is that of the datagrams");
    let first = world.events.iter().find(|(at, _, event)| *at == addr(99) && matches!(event, Event::Peers { .. }));
    assert!(first.unwrap().1 - start <= 8 * DELAY, "{:?}", first.unwrap().1 - start);
}

#[test]
fn dead_nodes_do_not_hold_up_a_lookup() {
    let mut world = World::of(40);
    world.command(3, |node, now| {
        node.start(
            now,
            Request::Announce { info_hash: info_hash(), port: AnnouncePort::Implied, role: PeerRole::Downloader },
        )
        .unwrap()
    });
    world.run(Duration::from_secs(5));
    for dead in 11..=30 {
        world.nodes.remove(&addr(dead));
    }
    let lookup = world.command(40, |node, now| node.start(now, Request::GetPeers(info_hash())).unwrap());
    let start = world.now;
    world.run(Duration::from_secs(10));
    let done = world.events.iter().find(|(.., event)| event.operation() == Some(lookup) && event.is_final());
    let elapsed = done.unwrap().1 - start;
    assert!(elapsed < Duration::from_secs(2), "half of the nodes are dead, and it took {elapsed:?}");
    assert_eq!(world.found(40), [addr(3)]);
}

#[test]
fn a_kept_torrent_survives_the_forgetting_of_the_others() {
    let mut world = World::of(12);
    let kept = world.command(5, |node, now| {
        node.start(
            now,
            Request::KeepAnnounced { info_hash: info_hash(), port: AnnouncePort::Implied, role: PeerRole::Seed },
        )
        .unwrap()
    });
    world.run(Duration::from_secs(65 * 60));
    world.command(9, |node, now| node.start(now, Request::GetPeers(info_hash())).unwrap());
    world.run(Duration::from_secs(5));
    assert_eq!(world.found(9), [addr(5)]);
    world.command(5, |node, now| node.cancel(now, kept));
    world.run(Duration::from_secs(65 * 60));
    world.command(2, |node, now| node.start(now, Request::GetPeers(info_hash())).unwrap());
    world.run(Duration::from_secs(5));
    assert_eq!(world.found(2), []);
}

#[test]
fn a_torrent_is_announced_once_the_network_is_there() {
    let mut world = World::new();
    world.add(2, NodeConfig::default(), &[addr(1)]);
    world.command(2, |node, now| {
        node.start(
            now,
            Request::KeepAnnounced { info_hash: info_hash(), port: AnnouncePort::Implied, role: PeerRole::Downloader },
        )
        .unwrap()
    });
    assert!(matches!(world.node(2).readiness(), Readiness::NotReady(NotReady::NoAnswer { .. })));
    world.run(Duration::from_secs(10 * 60));
    world.add(1, NodeConfig::default(), &[]);
    world.run(Duration::from_secs(130));
    assert_eq!(world.node(2).readiness(), Readiness::Ready);
    assert_eq!(world.stats(1).stored_peers, 1);
}

#[test]
fn a_lookup_without_anybody_to_ask_says_so_in_the_end() {
    let mut world = World::new();
    world.add(1, NodeConfig::default(), &[]);
    let lookup = world.command(1, |node, now| node.start(now, Request::GetPeers(info_hash())).unwrap());
    assert_eq!(world.node(1).readiness(), Readiness::NotReady(NotReady::NoAddress));
    world.run(Duration::from_secs(60));
    let done = world.events.iter().find(|(.., event)| event.operation() == Some(lookup));
    assert!(matches!(done, Some((.., Event::LookupDone { outcome, .. })) if outcome.asked == 0), "{done:?}");
}

#[test]
fn routers_and_read_only_nodes_are_in_no_table() {
    let mut world = World::of(5);
    world.add(50, NodeConfig { mode: NodeMode::Client, ..NodeConfig::default() }, &[addr(1)]);
    world.run(Duration::from_secs(60));
    assert!(world.stats(50).contacts >= 3);
    for number in 1..=5 {
        let own = addr(number);
        let contacts: Vec<SocketAddr> = world.node(number).sockets[0].table.contacts().map(|c| c.addr).collect();
        assert!(!contacts.contains(&addr(50)) && !contacts.contains(&own), "{number}: {contacts:?}");
        assert!(number == 1 || !contacts.contains(&addr(1)), "the router of {number} is in its table");
    }
}

#[test]
fn a_saved_table_leads_back_without_a_router() {
    let mut world = World::of(12);
    let snapshot = world.node(6).snapshot();
    world.nodes.remove(&addr(1));
    world.nodes.remove(&addr(6));
    let mut node = Node::new(NodeConfig::default(), [77; 32], world.now);
    node.add_socket(world.now, addr(77));
    node.restore(world.now, &snapshot).unwrap();
    world.nodes.insert(addr(77), node);
    world.drain(addr(77));
    world.run(Duration::from_secs(2));
    assert!(world.stats(77).contacts >= 8, "{:?}", world.stats(77));
}

#[test]
fn damaged_snapshots_are_refused_and_never_panic() {
    let mut world = World::of(4);
    let snapshot = world.node(2).snapshot();
    let now = world.now;
    for end in 0..snapshot.len() {
        assert!(world.node(2).restore(now, &snapshot[..end]).is_err());
    }
    for at in 0..snapshot.len() {
        let mut changed = snapshot.clone();
        changed[at] ^= 0x10;
        assert!(world.node(2).restore(now, &changed).is_err(), "byte {at}");
    }
}

#[test]
fn answers_that_nobody_asked_for_count_for_nothing() {
    let mut world = World::of(2);
    let before = world.stats(2);
    let now = world.now;
    for number in 0..200u8 {
        let id = NodeId::new([number; 20]);
        let mut datagram = Vec::new();
        let body = Body::Response(Response::new(id));
        Message { transaction: &[number; 4], version: None, ip: None, body }.encode(&mut datagram);
        world.node(2).handle_datagram(now, SOCKET, addr(number), &datagram);
    }
    assert_eq!(world.stats(2).contacts, before.contacts);
    assert!(world.node(2).poll_output().is_none());
}

#[test]
fn an_announce_with_a_bad_token_is_refused() {
    let mut world = World::of(2);
    let now = world.now;
    let query = Query {
        id: NodeId::new([9; 20]),
        read_only: false,
        want: crate::krpc::Want::default(),
        method: crate::krpc::Method::AnnouncePeer {
            info_hash: info_hash(),
            port: Some(1),
            implied_port: false,
            seed: false,
            token: b"12345678",
        },
    };
    let mut datagram = Vec::new();
    Message { transaction: b"aa", version: None, ip: None, body: Body::Query(query) }.encode(&mut datagram);
    world.node(2).handle_datagram(now, SOCKET, addr(9), &datagram);
    let Some(Output::Transmit { payload, .. }) = world.node(2).poll_output() else { panic!("no answer") };
    let answer = Message::decode(payload).unwrap();
    assert!(matches!(answer.body, Body::Error { code: 203, .. }), "{answer:?}");
    assert_eq!(world.stats(2).stored_peers, 0);
}

#[test]
fn a_contact_that_refuses_queries_stays_in_the_table() {
    let mut world = World::of(2);
    assert_eq!(world.stats(1).contacts, 1);
    for _ in 0..3 {
        let now = world.now;
        world.node(1).start(now, Request::FindNode(info_hash().into())).unwrap();
        let Some(Output::Transmit { to, payload, .. }) = world.node(1).poll_output() else { panic!("no query") };
        let transaction = Message::decode(payload).unwrap().transaction.to_vec();
        let body = Body::Error { code: ErrorCode::Server.number(), text: b"busy" };
        let mut datagram = Vec::new();
        Message { transaction: &transaction, version: None, ip: None, body }.encode(&mut datagram);
        world.node(1).handle_datagram(now, SOCKET, to, &datagram);
        world.drain(addr(1));
    }
    assert_eq!(world.stats(1).contacts, 1);
}

#[test]
fn an_outage_of_any_length_costs_no_contacts_and_ends_within_seconds() {
    let mut world = World::of(12);
    let before = world.stats(5).contacts;
    assert!(before >= 8);
    let mut others = std::mem::take(&mut world.nodes);
    let node = others.remove(&addr(5)).unwrap();
    world.nodes.insert(addr(5), node);
    for _ in 0..30 {
        world.command(5, |node, now| node.start(now, Request::GetPeers(info_hash())).unwrap());
        world.run(Duration::from_secs(120));
    }
    assert_eq!(world.stats(5).contacts, before);
    others.remove(&addr(1));
    world.nodes.append(&mut others);
    world.run(Duration::from_secs(15));
    assert!(world.stats(5).good_contacts >= 1, "{:?}", world.stats(5));
    let lookup = world.command(5, |node, now| node.start(now, Request::GetPeers(info_hash())).unwrap());
    world.run(Duration::from_secs(5));
    let done = world.events.iter().find(|(.., event)| event.operation() == Some(lookup) && event.is_final());
    assert!(matches!(done, Some((.., Event::LookupDone { outcome, .. })) if outcome.answered >= 8), "{done:?}");
}

#[test]
fn in_a_small_network_searches_become_rare_at_once() {
    let mut world = World::new();
    for number in 1..=5 {
        world.add(number, NodeConfig::default(), &[addr(1)]);
    }
    world.run(Duration::from_secs(20));
    let sent: Vec<u64> = (1..=5).map(|number| world.stats(number).traffic.queries_out.total()).collect();
    // Four others, asked in five searches; and each was asked whether it is there.
    assert!(sent.iter().all(|sent| *sent <= 5 * 4 + 4), "{sent:?}");
}

#[test]
fn a_flood_of_strangers_leaves_room_for_our_own_queries() {
    let mut world = World::of(3);
    let now = world.now;
    for number in 0..20_000u32 {
        let [_, a, b, c] = number.to_be_bytes();
        let id = NodeId::new([(number % 251) as u8; 20]);
        let method = crate::krpc::Method::Ping;
        let query = Query { id, read_only: false, want: crate::krpc::Want::default(), method };
        let mut datagram = Vec::new();
        Message { transaction: b"aa", version: None, ip: None, body: Body::Query(query) }.encode(&mut datagram);
        world.node(2).handle_datagram(now, SOCKET, ([10, 100 + a, b, c], 6881).into(), &datagram);
        while world.node(2).poll_output().is_some() {}
    }
    let sent = world.stats(2).traffic.queries_out.total();
    let lookup = world.command(2, |node, now| node.start(now, Request::GetPeers(info_hash())).unwrap());
    assert!(world.stats(2).traffic.queries_out.total() > sent);
    world.run(Duration::from_secs(2));
    let done = world.events.iter().find(|(.., event)| event.operation() == Some(lookup) && event.is_final());
    assert!(matches!(done, Some((.., Event::LookupDone { outcome, .. })) if outcome.answered == 2), "{done:?}");
}

#[test]
fn what_some_send_the_others_count_as_received() {
    let mut world = World::of(6);
    world.command(4, |node, now| {
        node.start(
            now,
            Request::Announce { info_hash: info_hash(), port: AnnouncePort::Implied, role: PeerRole::Downloader },
        )
        .unwrap()
    });
    world.run(Duration::from_secs(3));
    let all: Vec<crate::Traffic> = (1..=6).map(|number| world.stats(number).traffic).collect();
    let sum = |count: fn(&crate::Traffic) -> u64| all.iter().map(count).sum::<u64>();
    assert_eq!(sum(|traffic| traffic.bytes_out), sum(|traffic| traffic.bytes_in));
    assert_eq!(sum(|traffic| traffic.datagrams_out), sum(|traffic| traffic.datagrams_in));
    assert_eq!(sum(|traffic| traffic.responses_out), sum(|traffic| traffic.responses_in));
    for kind in QueryKind::ALL {
        let sent: u64 = all.iter().map(|traffic| traffic.queries_out.of(kind)).sum();
        assert_eq!(sent, all.iter().map(|traffic| traffic.queries_in.of(kind)).sum(), "{}", kind.name());
    }
    assert!(sum(|traffic| traffic.queries_in.of(QueryKind::AnnouncePeer)) > 0);
    assert_eq!(sum(|traffic| traffic.drops.total()), 0);
}

#[test]
fn what_comes_to_nothing_is_counted_by_its_reason() {
    let mut world = World::of(2);
    let now = world.now;
    let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    let answer = b"d1:rd2:id20:abcdefghij0123456789e1:t2:aa1:y1:re";
    let before = world.stats(2).traffic;
    for (from, datagram) in [
        (addr(9), &b"hello"[..]),
        (addr(9), answer),
        (([10, 0, 0, 9], 0).into(), ping),
        (addr(9), b"d1:ad2:id20:abcdefghij0123456789e1:q3:foo1:t2:aa1:y1:qe"),
    ] {
        world.node(2).handle_datagram(now, SOCKET, from, datagram);
        while world.node(2).poll_output().is_some() {}
    }
    let traffic = world.stats(2).traffic;
    let drops = traffic.drops;
    assert_eq!((drops.malformed, drops.unmatched, drops.bogon, drops.total()), (1, 1, 1, 3));
    assert_eq!(traffic.queries_in.of(QueryKind::Unknown) - before.queries_in.of(QueryKind::Unknown), 1);
    assert_eq!(traffic.errors_out - before.errors_out, 1);
}
