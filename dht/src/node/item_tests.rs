//! Items, scrapes and samples between nodes, in virtual time.

use std::time::Duration;

use ed25519_dalek::SigningKey;

use super::tests::{SOCKET, World, addr};
use super::*;
use crate::event::{Conflict, GetOutcome, PutOutcome, Refusal, ScrapeOutcome};
use crate::item::{self, Item, ItemError, MutableItem};
use crate::krpc::Method;
use crate::{InfoHash, OPERATIONS_MAX, Target};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn signed(seq: i64, value: &str) -> MutableItem {
    let value = format!("{}:{value}", value.len()).into_bytes();
    MutableItem::sign(&key(), b"salt", seq, value).unwrap()
}

fn public_key() -> [u8; 32] {
    key().verifying_key().to_bytes()
}

impl World {
    /// Has a node do something and returns the last event of it, which comes within ten seconds.
    fn outcome(&mut self, number: u8, command: impl FnOnce(&mut Node, Instant) -> OperationId) -> Event {
        let operation = self.command(number, command);
        self.run(Duration::from_secs(10));
        let events = self.events.iter().rev();
        let mut last = events
            .filter(|(at, _, event)| *at == addr(number) && event.operation() == Some(operation) && event.is_final());
        last.next().expect("the operation ended").2.clone()
    }

    fn put(&mut self, number: u8, item: &MutableItem, cas: Option<i64>) -> PutOutcome {
        match self
            .outcome(number, |node, now| node.start(now, Request::PutMutable { item: item.clone(), cas }).unwrap())
        {
            Event::PutDone { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn get(&mut self, number: u8, above: Option<i64>) -> GetOutcome {
        match self.outcome(number, |node, now| {
            node.start(now, Request::GetMutable { key: public_key(), salt: b"salt".to_vec(), above }).unwrap()
        }) {
            Event::GetDone { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// The sequence numbers of the items that an operation of a node was told of, in order.
    fn seen(&self, number: u8, operation: OperationId) -> Vec<i64> {
        let items = self.events.iter().filter_map(|(at, _, event)| match event {
            Event::Item { operation: of, item, .. } if *of == operation && *at == addr(number) => item.seq(),
            _ => None,
        });
        items.collect()
    }
}

#[test]
fn an_immutable_item_is_found_by_its_hash() {
    let mut world = World::of(20);
    let value = b"12:Hello World!";
    let put = world.outcome(3, |node, now| node.start(now, Request::PutImmutable(value.to_vec())).unwrap());
    let Event::PutDone { outcome, .. } = put else { panic!("{put:?}") };
    assert_eq!((outcome.asked, outcome.acknowledged, &outcome.refused[..]), (8, 8, &[][..]));
    let before = world.sent;
    let got =
        world.outcome(17, |node, now| node.start(now, Request::GetImmutable(item::immutable_target(value))).unwrap());
    let Event::GetDone { outcome, .. } = got else { panic!("{got:?}") };
    assert_eq!(outcome.item, Some(Item::Immutable(value.to_vec())));
    assert!(outcome.elapsed < Duration::from_millis(200), "{outcome:?}");
    assert!(world.sent - before < 60, "the search ends with the first valid answer");
    let missing = world.outcome(17, |node, now| node.start(now, Request::GetImmutable(Target::new([1; 20]))).unwrap());
    let Event::GetDone { outcome, .. } = missing else { panic!("{missing:?}") };
    assert_eq!((outcome.item, outcome.holders), (None, 0));
    assert!(outcome.answered >= 8);
}

#[test]
fn the_newest_version_of_a_mutable_item_wins() {
    let mut world = World::of(20);
    for (author, seq, value) in [(3, 1, "one"), (9, 2, "two")] {
        let outcome = world.put(author, &signed(seq, value), None);
        assert_eq!((outcome.asked, outcome.acknowledged, outcome.conflict), (8, 8, None));
    }
    let got = world.get(17, None);
    assert_eq!(got.item, Some(Item::Mutable(signed(2, "two"))));
    assert_eq!((got.holders, got.rejected), (8, 0));
    assert_eq!(world.get(17, Some(2)).item, None, "nothing newer");
    assert_eq!(world.get(17, Some(1)).item.and_then(|item| item.seq()), Some(2));
}

#[test]
fn a_version_that_is_out_of_date_is_given_to_nobody() {
    let mut world = World::of(20);
    assert_eq!(world.put(3, &signed(5, "five"), None).acknowledged, 8);
    let low = world.put(4, &signed(4, "four"), None);
    assert_eq!((low.asked, low.conflict), (0, Some(Conflict::SequenceTooLow { stored: 5, given: 4 })));
    let cas = world.put(4, &signed(7, "seven"), Some(3));
    assert_eq!((cas.asked, cas.conflict), (0, Some(Conflict::Cas { stored: 5, expected: 3 })));
    let cas = world.put(4, &signed(7, "seven"), Some(6));
    assert_eq!((cas.asked, cas.conflict), (0, Some(Conflict::Cas { stored: 5, expected: 6 })));
    let same = world.put(4, &signed(5, "other"), None);
    assert_eq!((same.asked, same.conflict), (0, Some(Conflict::SameSequence { seq: 5 })));
    assert_eq!(world.put(4, &signed(5, "five"), Some(5)).acknowledged, 8, "a repetition is welcome");
    assert_eq!(world.put(4, &signed(6, "six"), Some(5)).acknowledged, 8);
    assert_eq!(world.get(17, None).item, Some(Item::Mutable(signed(6, "six"))));
}

#[test]
fn who_got_another_version_in_the_meantime_refuses_and_is_counted() {
    let mut world = World::of(20);
    let operation = world
        .command(3, |node, now| node.start(now, Request::PutMutable { item: signed(5, "five"), cas: None }).unwrap());
    let is_put = |datagram: &[u8]| {
        let message = Message::decode(datagram);
        matches!(message, Ok(Message { body: Body::Query(query), .. }) if matches!(query.method, Method::Put { .. }))
    };
    while !world.wire.values().any(|(.., datagram)| is_put(datagram)) {
        world.run(Duration::from_millis(1));
    }
    let other = signed(6, "six");
    let newer =
        crate::krpc::MutablePut { key: &other.key, signature: &other.signature, seq: 6, cas: None, salt: b"salt" };
    let now = world.now;
    for number in 1..=20 {
        world.node(number).sockets[0].items.put(now, addr(30).ip(), &other.value, Some(&newer)).unwrap();
    }
    world.run(Duration::from_secs(1));
    let done = world.events.iter().find(|(.., event)| event.operation() == Some(operation) && event.is_final());
    let Some((.., Event::PutDone { outcome, .. })) = done else { panic!("{done:?}") };
    assert_eq!((outcome.acknowledged, &outcome.refused[..]), (0, &[Refusal { code: 302, nodes: 8 }][..]));
}

#[test]
fn a_node_with_an_older_version_than_expected_replaces_it() {
    let mut world = World::of(20);
    assert_eq!(world.put(3, &signed(5, "five"), None).acknowledged, 8);
    let target = signed(5, "five").target();
    let now = world.now;
    let holder = (1..=20).find(|number| world.node(*number).sockets[0].items.find(now, &target).is_some()).unwrap();
    let old = signed(2, "two");
    let (key, signature) = (&old.key, &old.signature);
    let put = crate::krpc::MutablePut { key, signature, seq: 2, cas: None, salt: b"salt" };
    let items = &mut world.node(holder).sockets[0].items;
    *items = crate::store::ItemStore::new(1 << 20, now, &mut rand_chacha::ChaCha8Rng::from_seed([1; 32]));
    items.put(now, addr(3).ip(), &old.value, Some(&put)).unwrap();
    let outcome = world.put(4, &signed(6, "six"), Some(5));
    assert_eq!((outcome.acknowledged, &outcome.refused[..]), (8, &[][..]));
    let stored = world.node(holder).sockets[0].items.find(now, &target).and_then(|item| item.mutable);
    assert_eq!(stored.map(|item| item.seq), Some(6));
}

#[test]
fn a_put_that_is_not_answered_is_sent_once_more_with_its_target() {
    let mut world = World::of(20);
    let target = item::immutable_target(b"5:hello");
    let mut sent = [0, 0];
    let operation = world.command(3, |node, now| node.start(now, Request::PutImmutable(b"5:hello".to_vec())).unwrap());
    for _ in 0..400 {
        world.run(Duration::from_millis(10));
        world.wire.retain(|_, (from, _, datagram)| {
            let Ok(Message { body: Body::Query(query), .. }) = Message::decode(datagram) else { return true };
            match query.method {
                Method::Put { target: None, .. } => {
                    sent[0] += 1;
                    false
                }
                Method::Put { target: named, .. } => {
                    // Each is on its way for two steps.
                    sent[1] += 1;
                    assert_eq!((*from, named), (addr(3), Some(target)));
                    true
                }
                _ => true,
            }
        });
    }
    let done = world.events.iter().find(|(.., event)| event.operation() == Some(operation) && event.is_final());
    assert!(
        matches!(done, Some((.., Event::PutDone { outcome, .. })) if (outcome.asked, outcome.acknowledged) == (8, 8)),
        "{done:?}"
    );
    assert!(sent[0] == 8 && sent[1] >= 8, "{sent:?}");
}

#[test]
fn a_put_that_was_taken_unheard_counts_though_its_repetition_is_refused() {
    let mut world = World::of(20);
    assert_eq!(world.put(3, &signed(5, "five"), None).acknowledged, 8);
    let six = signed(6, "six");
    let operation =
        world.command(4, |node, now| node.start(now, Request::PutMutable { item: six.clone(), cas: Some(5) }).unwrap());
    let (mut first, mut refused) = (Vec::new(), 0);
    for _ in 0..800 {
        world.run(Duration::from_millis(5));
        world.wire.retain(|_, (from, to, datagram)| {
            let Ok(message) = Message::decode(datagram) else { return true };
            match message.body {
                Body::Query(Query { method: Method::Put { target: None, .. }, .. }) => {
                    first.push((*to, message.transaction.to_vec()));
                    true
                }
                Body::Response(_) => !first.contains(&(*from, message.transaction.to_vec())),
                Body::Error { code: 301, .. } => {
                    refused += 1;
                    true
                }
                _ => true,
            }
        });
    }
    assert!(refused >= 8, "{refused}");
    let done = world.events.iter().find(|(.., event)| event.operation() == Some(operation) && event.is_final());
    assert!(
        matches!(done, Some((.., Event::PutDone { outcome, .. }))
                if (outcome.asked, outcome.acknowledged, &outcome.refused[..]) == (8, 8, &[][..])),
        "{done:?}"
    );
}

#[test]
fn what_is_no_item_is_refused_before_anybody_is_asked() {
    let mut world = World::of(2);
    let before = world.sent;
    let long = format!("996:{}", "x".repeat(997)).into_bytes();
    let mut refused = |request: Request| match world.command(2, |node, now| node.start(now, request)) {
        Err(RequestError::Item(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(Request::PutImmutable(long.to_vec())), ItemError::ValueTooBig(1001));
    assert_eq!(refused(Request::PutImmutable(b"hello".to_vec())), ItemError::NotCanonical);
    let forged = MutableItem { seq: 2, ..signed(1, "a") };
    assert_eq!(refused(Request::PutMutable { item: forged.clone(), cas: None }), ItemError::BadSignature);
    assert_eq!(refused(Request::KeepPut(Item::Mutable(forged.clone()))), ItemError::BadSignature);
    assert_eq!(refused(Request::Watch { key: public_key(), salt: vec![0; 65], seen: None }), ItemError::SaltTooBig(65));
    assert_eq!(
        refused(Request::GetMutable { key: public_key(), salt: vec![0; 65], above: None }),
        ItemError::SaltTooBig(65)
    );
    assert_eq!(world.sent, before);
}

#[test]
fn an_item_that_is_kept_outlives_the_forgetting_of_the_others() {
    let mut world = World::of(3);
    let kept =
        world.command(3, |node, now| node.start(now, Request::KeepPut(Item::Mutable(signed(1, "kept")))).unwrap());
    world.run(Duration::from_secs(9_000));
    let puts = world.events.iter().filter(|(.., event)| {
        matches!(event, Event::Republished { operation, outcome } if *operation == kept && outcome.acknowledged == 2)
    });
    assert_eq!(puts.count(), 3);
    assert_eq!(world.get(2, None).item, Some(Item::Mutable(signed(1, "kept"))));
    // A newer version takes its place.
    assert_eq!(world.put(2, &signed(2, "newer"), None).acknowledged, 2);
    world.run(Duration::from_secs(9_000));
    assert_eq!(world.get(2, None).item, Some(Item::Mutable(signed(2, "newer"))));
    world.command(3, |node, now| node.cancel(now, kept));
    world.run(Duration::from_secs(9_000));
    assert_eq!(world.get(2, None).item, None);
}

#[test]
fn every_newer_version_of_a_followed_item_is_told_once() {
    let mut world = World::of(12);
    assert_eq!(world.put(3, &signed(4, "four"), None).acknowledged, 8);
    let watch = world.command(9, |node, now| {
        node.start(now, Request::Watch { key: public_key(), salt: b"salt".to_vec(), seen: None }).unwrap()
    });
    let late = world.command(10, |node, now| {
        node.start(now, Request::Watch { key: public_key(), salt: b"salt".to_vec(), seen: Some(5) }).unwrap()
    });
    world.run(Duration::from_secs(300));
    assert_eq!((world.seen(9, watch), world.seen(10, late)), (vec![4], vec![]));
    assert_eq!(world.put(3, &signed(6, "six"), None).acknowledged, 8);
    world.run(Duration::from_secs(1000));
    assert_eq!((world.seen(9, watch), world.seen(10, late)), (vec![4, 6], vec![6]));
    world.command(9, |node, now| node.cancel(now, watch));
    assert_eq!(world.put(3, &signed(7, "seven"), None).acknowledged, 8);
    world.run(Duration::from_secs(1000));
    assert_eq!((world.seen(9, watch), world.seen(10, late)), (vec![4, 6], vec![6, 7]));
}

#[test]
fn a_followed_item_never_goes_back_even_in_another_session() {
    let mut world = World::of(12);
    assert_eq!(world.put(3, &signed(6, "six"), None).acknowledged, 8);
    let watch = world.command(9, |node, now| {
        node.start(now, Request::Watch { key: public_key(), salt: b"salt".to_vec(), seen: None }).unwrap()
    });
    world.run(Duration::from_secs(5));
    assert_eq!(world.seen(9, watch), [6]);
    let snapshot = world.node(9).snapshot();
    // All that the network has is an older version.
    let mut world = World::of(12);
    assert_eq!(world.put(3, &signed(5, "five"), None).acknowledged, 8);
    world.add(9, NodeConfig::default(), &[addr(1)]);
    let now = world.now;
    world.node(9).restore(now, &snapshot).unwrap();
    let again = world.command(9, |node, now| {
        node.start(now, Request::Watch { key: public_key(), salt: b"salt".to_vec(), seen: None }).unwrap()
    });
    world.run(Duration::from_secs(300));
    assert_eq!(world.seen(9, again), [] as [i64; 0]);
    assert_eq!(world.put(3, &signed(6, "six"), None).acknowledged, 8);
    world.run(Duration::from_secs(1000));
    assert_eq!(world.seen(9, again), [6], "the one that was seen last is told to who asks again");
    assert_eq!(world.put(3, &signed(7, "seven"), None).acknowledged, 8);
    world.run(Duration::from_secs(1000));
    assert_eq!(world.seen(9, again), [6, 7]);
}

#[test]
fn a_scrape_counts_seeds_and_downloaders() {
    let mut world = World::of(30);
    let info_hash = InfoHash::new([0x77; 20]);
    for number in 1..=25 {
        let seed = number <= 5;
        world.outcome(number, |node, now| {
            node.start(
                now,
                Request::Announce {
                    info_hash,
                    port: AnnouncePort::Implied,
                    role: if seed { PeerRole::Seed } else { PeerRole::Downloader },
                },
            )
            .unwrap()
        });
    }
    let scrape = |event| match event {
        Event::ScrapeDone { outcome, .. } => outcome,
        other => panic!("{other:?}"),
    };
    let ScrapeOutcome { seeds, downloaders, counted, .. } =
        scrape(world.outcome(29, |node, now| node.start(now, Request::Scrape(info_hash)).unwrap()));
    assert_eq!(counted, 8);
    assert!((4..=6).contains(&seeds) && (18..=22).contains(&downloaders), "{seeds} and {downloaders}");
    let nobody =
        scrape(world.outcome(29, |node, now| node.start(now, Request::Scrape(InfoHash::new([1; 20]))).unwrap()));
    assert_eq!((nobody.seeds, nobody.downloaders), (0, 0));
}

#[test]
fn samples_come_from_every_node_on_the_way_and_not_again_before_their_time() {
    let mut world = World::of(12);
    let info_hashes: Vec<InfoHash> = (1..=9).map(|number| InfoHash::new([number * 25; 20])).collect();
    for info_hash in &info_hashes {
        world.outcome(4, |node, now| {
            node.start(
                now,
                Request::Announce { info_hash: *info_hash, port: AnnouncePort::Implied, role: PeerRole::Downloader },
            )
            .unwrap()
        });
    }
    let sampled = |world: &mut World| {
        let operation =
            world.command(7, |node, now| node.start(now, Request::Sample(Target::new([0x55; 20]))).unwrap());
        world.run(Duration::from_secs(10));
        let of = |event: &Event| match event {
            Event::Samples { operation: of, samples } if *of == operation => Some(samples.clone()),
            _ => None,
        };
        let done = world.events.iter().any(|(.., event)| event.operation() == Some(operation) && event.is_final());
        assert!(done);
        world.events.iter().filter_map(|(.., event)| of(event)).collect::<Vec<_>>()
    };
    let first = sampled(&mut world);
    assert!(first.len() >= 8, "{} nodes", first.len());
    let mut found: Vec<InfoHash> = first.iter().flat_map(|samples| samples.info_hashes.clone()).collect();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, info_hashes);
    assert!(first.iter().all(|samples| samples.total == Some(samples.info_hashes.len() as u64)));
    let full = first.iter().find(|samples| !samples.info_hashes.is_empty()).expect("somebody has some");
    assert!(!full.interval.is_zero());
    let again = sampled(&mut world);
    assert!(again.iter().all(|samples| samples.info_hashes.is_empty()), "only those without an interval are asked");
    let node = full.from.addr;
    let request = Request::SampleNode { addr: node, target: Target::new([0; 20]) };
    let refused = world.command(7, |node_7, now| node_7.start(now, request.clone()));
    assert!(matches!(refused, Err(RequestError::SampledRecently { .. })), "{refused:?}");
    world.run(full.interval);
    assert!(matches!(
        world.outcome(7, |node_7, now| node_7.start(now, request).unwrap()),
        Event::LookupDone { outcome, .. } if outcome.answered == 1
    ));
}

#[test]
fn a_node_that_forges_items_is_counted_and_not_believed() {
    let now = Instant::now();
    let mut node = Node::new(NodeConfig::default(), [1; 32], now);
    node.add_socket(now, addr(1));
    node.add_bootstrap(now, &[addr(2)]);
    while node.poll_output().is_some() {}
    let get = node.start(now, Request::GetMutable { key: public_key(), salt: b"salt".to_vec(), above: None }).unwrap();
    let forged = MutableItem { seq: 99, ..signed(1, "a") };
    let mut asked = Vec::new();
    while let Some(output) = node.poll_output() {
        if let Output::Transmit { payload, .. } = output {
            asked.push(Message::decode(payload).unwrap().transaction.to_vec());
        }
    }
    let response = Response {
        key: Some(&forged.key),
        signature: Some(&forged.signature),
        seq: Some(forged.seq),
        value: Some(&forged.value),
        token: Some(b"token"),
        ..Response::new(NodeId::new([2; 20]))
    };
    for transaction in asked {
        let mut datagram = Vec::new();
        let body = Body::Response(response);
        Message { transaction: &transaction, version: None, ip: None, body }.encode(&mut datagram);
        node.handle_datagram(now, SOCKET, addr(2), &datagram);
    }
    let mut outcomes = Vec::new();
    while let Some(output) = node.poll_output() {
        if let Output::Event(event) = output {
            outcomes.push(event);
        }
    }
    let done = outcomes.iter().find(|event| event.operation() == Some(get));
    assert!(
        matches!(done, Some(Event::GetDone { outcome: GetOutcome { item: None, rejected: 1, .. }, .. })),
        "{outcomes:?}"
    );
}

#[test]
fn more_operations_than_there_is_room_for_are_refused_and_say_so() {
    let now = Instant::now();
    let mut node = Node::new(NodeConfig::default(), [1; 32], now);
    node.add_socket(now, addr(1));
    let started: Vec<OperationId> =
        (0..OPERATIONS_MAX).map(|_| node.start(now, Request::GetPeers(InfoHash::new([1; 20]))).unwrap()).collect();
    assert!(node.poll_output().is_none());
    let requests = [
        Request::GetPeers(InfoHash::new([1; 20])),
        Request::FindNode(Target::new([1; 20])),
        Request::Ping(addr(2)),
        Request::KeepAnnounced {
            info_hash: InfoHash::new([1; 20]),
            port: AnnouncePort::Implied,
            role: PeerRole::Downloader,
        },
        Request::PutImmutable(b"0:".to_vec()),
        Request::GetImmutable(Target::new([1; 20])),
        Request::Watch { key: public_key(), salt: b"".to_vec(), seen: None },
        Request::Scrape(InfoHash::new([1; 20])),
        Request::SampleNode { addr: addr(2), target: Target::new([1; 20]) },
    ];
    for request in requests {
        assert_eq!(node.start(now, request), Err(RequestError::TooManyOperations));
        assert_eq!(node.poll_output(), None);
    }
    node.cancel(now, started[0]);
    node.start(now, Request::GetPeers(InfoHash::new([1; 20]))).unwrap();
    assert!(node.poll_output().is_none());
}
