//! Byte streams of the world: what is said about order, rates, refusals and ends holds.
#![allow(clippy::disallowed_methods, reason = "a world begins at some instant")]

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use magnes_testnet::{Datagram, Host, HostIndex, Line, Nat, Network, StreamAction, StreamEvent, StreamId, World};

/// Sends what it is given on a stream, and keeps what comes.
#[derive(Default)]
struct Talker {
    is_deaf: bool,
    actions: VecDeque<StreamAction>,
    outgoing: BTreeMap<StreamId, Vec<u8>>,
    received: BTreeMap<StreamId, Vec<u8>>,
    events: Vec<(Instant, StreamEvent)>,
}

impl Talker {
    fn say(&mut self, stream: StreamId, bytes: &[u8]) {
        self.outgoing.entry(stream).or_default().extend_from_slice(bytes);
        self.actions.push_back(StreamAction::Offer(stream));
    }
}

impl Host for Talker {
    fn handle_datagram(&mut self, _now: Instant, _from: SocketAddr, _datagram: &[u8], _out: &mut Vec<Datagram>) {}

    fn handle_timeout(&mut self, _now: Instant, _out: &mut Vec<Datagram>) {}

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn listens(&self) -> bool {
        !self.is_deaf
    }

    fn handle_stream(&mut self, now: Instant, event: StreamEvent, _out: &mut Vec<Datagram>) {
        match event {
            StreamEvent::Received { stream, bytes } => self.received.entry(stream).or_default().extend(bytes),
            StreamEvent::Left(_) => {}
            other => self.events.push((now, other)),
        }
    }

    fn poll_stream(&mut self) -> Option<StreamAction> {
        self.actions.pop_front()
    }

    fn transmit(
        &mut self,
        _now: Instant,
        stream: StreamId,
        len_max: usize,
        into: &mut Vec<u8>,
        _out: &mut Vec<Datagram>,
    ) {
        if let Some(bytes) = self.outgoing.get_mut(&stream) {
            into.extend(bytes.drain(..len_max.min(bytes.len())));
        }
    }
}

const DIALED: StreamId = StreamId::Dialed(7);
const TRAVEL: Duration = Duration::from_millis(20);

fn addr(last: u8) -> SocketAddr {
    ([9, 9, 9, last], 6881).into()
}

fn world(nats: &[Nat]) -> (World<Talker>, Vec<HostIndex>) {
    let mut world = World::new(Instant::now(), Network::exact(TRAVEL), 1);
    let hosts = (0..).zip(nats).map(|(last, nat)| world.add_host(addr(last), *nat, Talker::default())).collect();
    (world, hosts)
}

fn dial(world: &mut World<Talker>, from: HostIndex, to: u8) {
    let action = StreamAction::Dial { number: 7, to: addr(to) };
    world.drive(from, |talker, _, _| talker.actions.push_back(action));
}

fn run(world: &mut World<Talker>, time: Duration) {
    world.run_until(world.now() + time);
}

/// A stream from the first to the second, as the second names it.
fn accepted(world: &World<Talker>, host: HostIndex) -> StreamId {
    match world.host(host).events.first() {
        Some((_, StreamEvent::Accepted { stream, .. })) => *stream,
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_keep_their_order_however_they_are_cut_and_take_the_time_of_the_slower_line() {
    let said: Vec<u8> = (0..600_000u32).flat_map(u32::to_be_bytes).collect();
    for (up_bps, down_bps) in [(1 << 20, 200 << 20), (200 << 20, 1 << 20)] {
        let (mut world, hosts) = world(&[Nat::Open; 2]);
        world.set_line(hosts[0], Line { up_bps, ..Line::default() });
        world.set_line(hosts[1], Line { down_bps, ..Line::default() });
        dial(&mut world, hosts[0], 1);
        run(&mut world, TRAVEL * 2);
        let start = world.now();
        assert_eq!(world.host(hosts[0]).events, [(start, StreamEvent::Opened(DIALED))], "after a round trip");
        let stream = accepted(&world, hosts[1]);
        world.drive(hosts[0], |talker, _, _| talker.say(DIALED, &said));
        world.drive(hosts[1], |talker, _, _| talker.say(stream, b"and back"));
        let has_all = |talker: &Talker| talker.received.get(&stream).is_some_and(|bytes| bytes.len() == said.len());
        assert!(world.run_until_host(hosts[1], Duration::from_secs(10), has_all));
        let took = (world.now() - start - TRAVEL).as_secs_f64() * f64::from(1 << 20) / said.len() as f64;
        assert!((0.99..1.05).contains(&took), "{took} of the time that the slower line takes");
        assert_eq!(world.host(hosts[1]).received[&stream], said);
        assert_eq!(world.host(hosts[0]).received[&DIALED], b"and back");
    }
}

#[test]
fn streams_of_one_host_share_its_line() {
    let (mut world, hosts) = world(&[Nat::Open; 3]);
    world.set_line(hosts[0], Line { up_bps: 1 << 20, ..Line::default() });
    for host in &hosts[1..] {
        dial(&mut world, *host, 0);
    }
    run(&mut world, TRAVEL * 2);
    let streams: Vec<StreamId> = world
        .host(hosts[0])
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            StreamEvent::Accepted { stream, .. } => Some(*stream),
            _ => None,
        })
        .collect();
    for stream in streams {
        world.drive(hosts[0], |talker, _, _| talker.say(stream, &vec![1; 4 << 20]));
    }
    run(&mut world, Duration::from_secs(4));
    let shares: Vec<usize> = hosts[1..].iter().map(|host| world.host(*host).received[&DIALED].len() >> 10).collect();
    assert!(shares.iter().all(|kib| (1700..2300).contains(kib)), "{shares:?} KiB of 4096");
}

#[test]
fn where_nobody_listens_is_refused_and_where_nothing_comes_through_takes_long() {
    let (mut world, hosts) = world(&[Nat::Open, Nat::Open, Nat::Restricted]);
    world.drive(hosts[1], |talker, _, _| talker.is_deaf = true);
    let refused = StreamEvent::Failed { stream: DIALED, kind: ErrorKind::ConnectionRefused };
    let silent = StreamEvent::Failed { stream: DIALED, kind: ErrorKind::TimedOut };
    for (to, expected, takes) in
        [(1, &refused, TRAVEL * 2), (9, &refused, TRAVEL * 2), (2, &silent, Duration::from_secs(7))]
    {
        world.drive(hosts[0], |talker, _, _| talker.events.clear());
        dial(&mut world, hosts[0], to);
        run(&mut world, takes);
        let events: Vec<&StreamEvent> = world.host(hosts[0]).events.iter().map(|(_, event)| event).collect();
        assert_eq!(events, [expected], "to {to}");
    }
}

#[test]
fn an_end_comes_after_the_last_byte_and_to_the_other_side_alone() {
    let (mut world, hosts) = world(&[Nat::Open; 2]);
    world.set_line(hosts[0], Line { up_bps: 10_000, ..Line::default() });
    dial(&mut world, hosts[0], 1);
    run(&mut world, TRAVEL * 2);
    let stream = accepted(&world, hosts[1]);
    world.drive(hosts[0], |talker, _, _| {
        talker.say(DIALED, b"short");
    });
    world.drive(hosts[0], |talker, _, _| talker.actions.push_back(StreamAction::Close(DIALED)));
    run(&mut world, Duration::from_secs(1));
    assert_eq!(world.host(hosts[1]).received[&stream], b"short");
    assert_eq!(world.host(hosts[1]).events.last().map(|(_, event)| event), Some(&StreamEvent::Ended(stream)));
    assert_eq!(world.host(hosts[0]).events.len(), 1, "it was opened");

    // A process that ends leaves its ends to the system.
    dial(&mut world, hosts[1], 0);
    run(&mut world, TRAVEL * 2);
    world.hang_up(hosts[0]);
    run(&mut world, TRAVEL);
    assert_eq!(world.host(hosts[1]).events.last().map(|(_, event)| event), Some(&StreamEvent::Ended(DIALED)));
}

#[test]
fn a_stream_that_lost_something_brings_nothing_more() {
    let (mut world, hosts) = world(&[Nat::Open; 2]);
    dial(&mut world, hosts[0], 1);
    run(&mut world, TRAVEL * 2);
    let stream = accepted(&world, hosts[1]);
    for (is_cut_off, said) in [(false, b"a"), (true, b"b"), (false, b"c")] {
        world.cut_off(hosts[0], is_cut_off);
        world.drive(hosts[0], |talker, _, _| talker.say(DIALED, said));
        run(&mut world, TRAVEL * 2);
    }
    assert_eq!(world.host(hosts[1]).received[&stream], b"a");
    world.drive(hosts[1], |talker, _, _| talker.say(stream, b"the way back is whole"));
    run(&mut world, TRAVEL * 2);
    assert!(world.host(hosts[0]).received.contains_key(&DIALED));
}
