//! Real nodes on loopback: few, on ports the system picks, without waiting for anything but events.
#![cfg(feature = "tokio")]
#![allow(clippy::disallowed_methods, reason = "a test prepares files")]

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use magnes_dht::item::{self, Item, MutableItem, SigningKey};
use magnes_dht::{
    AnnouncePort, Closed, Conflict, Dht, DhtBuilder, InfoHash, ItemError, NotReady, OPERATIONS_MAX, OperationError,
    PeerRole, PingAnswer, Readiness, RequestError, SpawnError, Target,
};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);
const LOCAL: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

fn builder(seed: u8) -> DhtBuilder {
    Dht::builder().listen(SocketAddr::from(LOCAL)).seed([seed; 32])
}

async fn spawn(builder: DhtBuilder) -> Dht {
    builder.spawn().await.expect("a node starts on loopback")
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("happens before the deadline")
}

/// A node that the others begin with, and `count` that bootstrapped from it.
async fn network(count: u8) -> (Dht, Vec<Dht>) {
    let router = spawn(builder(0)).await;
    let mut nodes = Vec::new();
    for seed in 1..=count {
        let node = spawn(builder(seed).bootstrap(router.local_addrs()[0])).await;
        soon(node.ready()).await.expect("not closed");
        nodes.push(node);
    }
    (router, nodes)
}

#[tokio::test]
async fn what_one_node_announces_another_finds() {
    let (_router, nodes) = network(6).await;
    let info_hash = InfoHash::new([9; 20]);
    let outcome =
        soon(nodes[0].announce(info_hash, AnnouncePort::Explicit(7777), PeerRole::Seed)).await.expect("not closed");
    assert!(outcome.acknowledged > 0, "{outcome:?}");
    let mut peers = nodes[5].get_peers(info_hash);
    let found = soon(peers.next()).await.expect("a reply with peers");
    assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 7777))]);
}

#[tokio::test]
async fn a_guard_keeps_announcing_the_port_of_the_socket() {
    let (_router, nodes) = network(3).await;
    let info_hash = InfoHash::new([8; 20]);
    let guard = nodes[0].keep_announced(info_hash, AnnouncePort::Implied, PeerRole::Downloader);
    let found = soon(async {
        loop {
            if let Some(found) = nodes[2].get_peers(info_hash).next().await {
                return found;
            }
        }
    });
    assert_eq!(found.await, nodes[0].local_addrs());
    drop(guard);
}

#[tokio::test]
async fn items_are_put_found_and_followed() {
    let (_router, nodes) = network(4).await;
    let key = SigningKey::from_bytes(&[4; 32]);
    let public = key.verifying_key().to_bytes();
    let mut watch = nodes[3].watch(public, b"", None);
    let pointer = item::torrent_pointer(&InfoHash::new([9; 20]));
    let (first, outcome) = soon(nodes[0].put_next(&key, b"", &pointer)).await.expect("not closed");
    assert_eq!((first.seq, outcome.conflict), (1, None));
    assert!(outcome.acknowledged > 0 && outcome.refused.is_empty(), "{outcome:?}");
    let (second, _) = soon(nodes[1].put_next(&key, b"", &pointer)).await.expect("not closed");
    let found = soon(nodes[2].get_mutable(public, b"", None)).await.expect("not closed");
    assert_eq!(found.item, Some(Item::Mutable(second.clone())));
    let stale = soon(nodes[2].put_mutable(first, None)).await.expect("not closed");
    assert_eq!(stale.conflict, Some(Conflict::SequenceTooLow { stored: 2, given: 1 }));

    let followed = soon(nodes[2].watch(public, b"", None).next()).await.expect("not closed");
    assert_eq!((&followed, followed.torrent()), (&second, Some(InfoHash::new([9; 20]))));
    let shutdown = nodes[3].shutdown();
    soon(shutdown).await;
    let mut seen = Vec::new();
    while let Ok(version) = soon(watch.next()).await {
        seen.push(version.seq);
    }
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(soon(watch.next()).await, Err(Closed.into()));
}

#[tokio::test]
async fn a_guard_keeps_an_item_and_says_how_it_goes() {
    let (_router, nodes) = network(3).await;
    let mut guard = nodes[0].keep_put(Item::Immutable(b"4:kept".to_vec()));
    let outcome = soon(guard.next()).await.expect("not closed");
    assert!(outcome.acknowledged > 0, "{outcome:?}");
    let got = soon(nodes[2].get_immutable(item::immutable_target(b"4:kept"))).await.expect("not closed");
    assert_eq!(got.item.map(|item| item.value().to_vec()), Some(b"4:kept".to_vec()));
    let mut refused = nodes[0].keep_put(Item::Immutable(b"4:no".to_vec()));
    let error = OperationError::Refused(RequestError::Item(ItemError::NotCanonical));
    assert_eq!(soon(refused.next()).await, Err(error));
    assert_eq!(soon(refused.next()).await, Err(error), "and again");
}

/// The next item of a stream, as whoever has it as a [`Stream`] gets it.
async fn next_of<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    soon(poll_fn(|context| Pin::new(&mut *stream).poll_next(context))).await
}

#[tokio::test]
async fn lookups_and_what_is_kept_up_are_streams_that_end() {
    let (_router, nodes) = network(3).await;
    let item = MutableItem::sign(&SigningKey::from_bytes(&[9; 32]), b"", 1, b"1:a".to_vec()).expect("valid");
    soon(nodes[0].put_mutable(item.clone(), None)).await.expect("not closed");
    let mut versions = nodes[1].watch(item.key, b"", None);
    assert_eq!(next_of(&mut versions).await, Some(Ok(item)));
    let mut hops = nodes[1].trace(InfoHash::new([3; 20]));
    let mut steps = 0;
    while next_of(&mut hops).await.is_some() {
        steps += 1;
    }
    assert!(steps > 0 && matches!(hops.outcome(), Some(Ok(outcome)) if outcome.answered > 0));
    assert_eq!(next_of(&mut hops).await, None, "and again");
    soon(nodes[1].shutdown()).await;
    assert_eq!(next_of(&mut versions).await, Some(Err(Closed.into())), "the one error");
    assert_eq!(next_of(&mut versions).await, None);
}

#[tokio::test]
async fn swarms_are_counted_and_info_hashes_sampled() {
    let (router, nodes) = network(3).await;
    let info_hash = InfoHash::new([5; 20]);
    soon(nodes[0].announce(info_hash, AnnouncePort::Implied, PeerRole::Seed)).await.expect("not closed");
    let count = soon(nodes[1].scrape(info_hash)).await.expect("not closed");
    assert_eq!((count.seeds, count.downloaders), (1, 0), "{count:?}");
    assert!(count.counted > 0);

    let mut samples = nodes[2].sample(Target::new([5; 20]));
    let mut found = Vec::new();
    while let Some(of_one) = soon(samples.next()).await {
        found.extend(of_one.info_hashes);
    }
    assert!(found.contains(&info_hash), "{found:?}");
    assert!(matches!(samples.outcome(), Some(Ok(outcome)) if outcome.answered > 0), "{:?}", samples.outcome());
    let mut again = nodes[2].sample_node(router.local_addrs()[0], Target::new([5; 20]));
    assert_eq!(soon(again.next()).await, None);
    let outcome = again.outcome().expect("it is over");
    assert!(matches!(outcome, Err(OperationError::Refused(RequestError::SampledRecently { .. }))), "{outcome:?}");
}

#[tokio::test]
async fn operations_that_are_dropped_make_room_for_others() {
    let node = spawn(builder(1)).await;
    let full = OperationError::Refused(RequestError::TooManyOperations);
    let mut lookups = Vec::new();
    for _ in 0..OPERATIONS_MAX {
        lookups.push(node.get_peers(InfoHash::new([1; 20])));
        if lookups.len().is_multiple_of(512) {
            // Lets the node take what is in its mailbox.
            soon(node.stats()).await.expect("not closed");
        }
    }
    assert_eq!(soon(node.find_node(Target::new([1; 20]))).await, Err(full));
    let mut refused = node.get_peers(InfoHash::new([1; 20]));
    assert_eq!(soon(refused.next()).await, None);
    assert_eq!(refused.outcome(), Some(&Err(full)));
    lookups.truncate(OPERATIONS_MAX - 10);
    soon(node.stats()).await.expect("not closed");
    let ping = soon(node.ping(node.local_addrs()[0])).await;
    assert!(ping.is_ok(), "{ping:?}");
}

#[tokio::test]
async fn a_node_answers_a_ping_with_its_id() {
    let (router, nodes) = network(1).await;
    let answer = soon(nodes[0].ping(router.local_addrs()[0])).await.expect("not closed");
    let Some(PingAnswer::Pong { id, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(router.node_ids().await.expect("not closed"), [id]);
}

#[tokio::test]
async fn whoever_watches_a_node_sees_what_changes_and_its_end() {
    let router = spawn(builder(1)).await;
    let mut status = router.status();
    assert_eq!((status.borrow().is_ready(), status.borrow().contacts), (false, 0));
    let node = spawn(builder(2).bootstrap(router.local_addrs()[0])).await;
    soon(status.wait_for(|status| status.is_ready() && status.contacts == 1)).await.expect("not closed");
    soon(node.shutdown()).await;
    assert!(!status.has_changed().expect("not closed"), "nothing happens");
    soon(router.shutdown()).await;
    assert!(soon(status.changed()).await.is_err());

    let lost = spawn(builder(3).bootstrap("nowhere.invalid:6881")).await;
    soon(lost.status().wait_for(|status| status.is_offline && !status.is_ready())).await.expect("not closed");
}

#[tokio::test]
async fn a_closed_node_says_so() {
    let node = spawn(builder(1)).await;
    let other = node.clone();
    soon(node.shutdown()).await;
    assert_eq!(soon(other.ping(([127, 0, 0, 1], 9).into())).await, Err(Closed.into()));
    assert!(soon(other.get_peers(InfoHash::new([1; 20])).next()).await.is_none());
    soon(other.shutdown()).await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let node = spawn(builder(1)).await;
    let taken = node.local_addrs()[0];
    match Dht::builder().listen(taken).spawn().await {
        Err(SpawnError::Bind { addr, .. }) => assert_eq!(addr, taken),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_finds_its_way_back_by_its_state_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dht.state");
    let (router, nodes) = network(2).await;
    let node = spawn(builder(7).bootstrap(router.local_addrs()[0]).state_file(&file)).await;
    soon(node.ready()).await.expect("not closed");
    // The host that it began with is never saved; the lookup makes it know the others.
    let found = soon(node.find_node(InfoHash::new([7; 20]).into())).await.expect("not closed");
    assert!(found.len() >= 2, "{found:?}");
    soon(node.shutdown()).await;
    let again = spawn(builder(7).state_file(&file)).await;
    soon(again.ready()).await.expect("ready without any bootstrap host");
    drop(nodes);
}

#[tokio::test]
async fn a_foreign_state_file_is_moved_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dht.state");
    std::fs::write(&file, b"something else").expect("written");
    let node = spawn(builder(1).state_file(&file)).await;
    soon(node.shutdown()).await;
    let aside = std::fs::read(folder.path().join("dht.state.bad")).expect("it is kept");
    assert_eq!(aside, b"something else");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn whoever_is_begun_with_can_be_asked_with_the_first_command() {
    let other = spawn(builder(1)).await;
    let addr = other.local_addrs()[0];
    // Of the public network but for the address that it begins with.
    for seed in 2..10 {
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let node = spawn(Dht::builder().listen(any).seed([seed; 32]).bootstrap(addr)).await;
        assert!(soon(node.ping(addr)).await.expect("not closed").is_some(), "node {seed}");
    }
}

#[tokio::test]
async fn a_node_that_answers_with_errors_was_reached_and_that_is_said() {
    let refuser = tokio::net::UdpSocket::bind(SocketAddr::from(LOCAL)).await.expect("bound");
    let addr = refuser.local_addr().expect("an address");
    let answering = tokio::spawn(async move {
        let mut query = [0; 2000];
        while let Ok((len, from)) = refuser.recv_from(&mut query).await {
            let query = &query[..len];
            // Our transaction ids are of four bytes.
            let at = query.windows(5).position(|window| window == b"1:t4:");
            let id = &query[at.expect("a transaction") + 5..][..4];
            let answer = [b"d1:eli202e12:Server Errore1:t4:", id, b"1:y1:ee"].concat();
            refuser.send_to(&answer, from).await.expect("sent");
        }
    });
    let node = spawn(builder(1).bootstrap(addr)).await;
    let answer = soon(node.ping(addr)).await;
    assert!(matches!(answer, Ok(Some(PingAnswer::Refused { code: 202, .. }))), "{answer:?}");
    let readiness = soon(node.readiness()).await.expect("not closed");
    assert!(matches!(readiness, Readiness::NotReady(NotReady::Refused { errors: 1.. })), "{readiness:?}");
    assert!(readiness.to_string().contains("answer with errors only"), "{readiness}");
    answering.abort();
}

#[tokio::test]
async fn a_closed_port_answers_a_ping_at_once() {
    let node = spawn(builder(1)).await;
    let closed = tokio::net::UdpSocket::bind(SocketAddr::from(LOCAL)).await.expect("bound");
    let addr = closed.local_addr().expect("an address");
    drop(closed);
    let start = std::time::Instant::now();
    // Silence alone counts as an answer after three seconds; each of these is told by the system much sooner.
    for _ in 0..20 {
        assert_eq!(soon(node.ping(addr)).await, Ok(None));
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_port_is_free_after_the_shutdown() {
    let mut node = spawn(builder(1)).await;
    for seed in 2..10 {
        let addr = node.local_addrs()[0];
        soon(node.shutdown()).await;
        node = spawn(Dht::builder().listen(addr).seed([seed; 32])).await;
    }
}

#[tokio::test]
async fn a_node_has_an_id_for_each_of_several_addresses() {
    let router = spawn(builder(0)).await;
    let node = builder(1).listen(([127, 0, 0, 2], 0).into()).listen(([127, 0, 0, 1], 0).into());
    let node = spawn(node.bootstrap(router.local_addrs()[0])).await;
    soon(node.ready()).await.expect("not closed");
    let ids = node.node_ids().await.expect("not closed");
    assert_eq!(ids.len(), 3);
    for (id, addr) in ids.iter().zip(node.local_addrs()) {
        let answer = soon(router.ping(*addr)).await.expect("not closed");
        let Some(PingAnswer::Pong { id: answered, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!(answered, *id, "the socket that was asked answers with its id");
    }
}

#[tokio::test]
async fn a_bootstrap_host_that_is_not_there_is_named_with_its_reason() {
    let silent = tokio::net::UdpSocket::bind(SocketAddr::from(LOCAL)).await.expect("bound");
    let router = spawn(builder(0)).await;
    let hosts = [router.local_addrs()[0].to_string(), silent.local_addr().expect("an address").to_string()];
    let node = builder(1).bootstrap(&hosts[0]).bootstrap(&hosts[1]).bootstrap("not a host").bootstrap("[::1]:9");
    let node = spawn(node).await;
    let wanted = ["it answers", "no answer", "its name is not found", "it has no address of a family"];
    let told = soon(async {
        loop {
            let hosts = node.bootstrap_hosts().await.expect("not closed");
            let states: Vec<String> = hosts.iter().map(|host| host.state.to_string()).collect();
            if states.iter().zip(wanted).all(|(state, wanted)| state.starts_with(wanted)) {
                return hosts;
            }
            tokio::task::yield_now().await;
        }
    });
    let told = told.await;
    assert_eq!(told.iter().map(|host| host.state.is_fault()).collect::<Vec<_>>(), [false, true, true, true]);
}
