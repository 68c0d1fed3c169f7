//! Peers that do not give what they were asked for, though they might: what they refuse is asked for again.

use std::time::Duration;

use crate::swarm_world::{HostId, Traits, World};
use magnes::swarm::Reason;
use magnes_testnet::{Payload, Vice};

const MINUTE: Duration = Duration::from_secs(60);

/// A leecher with one seed that has this vice.
fn pair(pieces: usize, vice: Vice, fast: bool) -> (World, HostId, HostId) {
    let mut world = World::new(Payload::new(pieces, 64), 1);
    let seed = world.add(Traits { vice, fast, ..world.full() });
    let leecher = world.add(world.empty());
    world.introduce(leecher, &[seed]);
    (world, seed, leecher)
}

#[test]
fn a_download_ends_though_its_only_seed_does_not_serve_what_it_was_asked_for_first() {
    let keeps = |requests, rejects| Vice::Keeps { requests, rejects };
    let cases = [
        (Vice::RejectsOnce, true, 20),
        (keeps(8, true), true, 5),
        (keeps(8, false), true, 15),
        (keeps(8, false), false, 15),
        (keeps(1, false), true, 40),
        (Vice::ForgetsAtChoke, true, 10),
        (Vice::ForgetsAtChoke, false, 10),
    ];
    for (vice, fast, limit_s) in cases {
        let (mut world, _, leecher) = pair(16, vice, fast);
        let complete = world.run_until(5 * MINUTE, |world| world.is_complete(leecher));
        let done = world.host(leecher).torrent().swarm().status().bytes_done;
        assert!(complete, "{vice:?}, fast {fast}: {done} bytes");
        assert!(world.elapsed_s() < f64::from(limit_s), "{vice:?}, fast {fast}: {} s", world.elapsed_s());
        // What was on its way before a choke may come all the same.
        let copies_max = if vice == Vice::ForgetsAtChoke { 2.0 } else { 1.2 };
        assert!(world.copies_received(leecher) < copies_max, "{vice:?}: {} copies", world.copies_received(leecher));
    }
}

#[test]
fn a_torrent_of_one_piece_ends_too() {
    for (vice, limit_s) in [(Vice::RejectsOnce, 5), (Vice::Keeps { requests: 2, rejects: false }, 60)] {
        let (mut world, _, leecher) = pair(1, vice, true);
        assert!(world.run_until(5 * MINUTE, |world| world.is_complete(leecher)), "{vice:?}");
        assert!(world.elapsed_s() < f64::from(limit_s), "{vice:?}: {} s", world.elapsed_s());
    }
}

#[test]
fn a_peer_that_keeps_few_requests_is_asked_for_few() {
    let (mut world, _, leecher) = pair(256, Vice::Keeps { requests: 8, rejects: true }, true);
    assert!(world.run_until(MINUTE, |world| world.is_complete(leecher)));
    let surplus = world.host(leecher).seen().requests_made() - 256 * 4;
    assert!(surplus < 60, "{surplus} requests in vain for 1024 blocks");
    // Eight blocks in each round trip of 40 ms take 5.2 s.
    assert!(world.elapsed_s() < 6.5, "{} s", world.elapsed_s());
}

#[test]
fn one_piece_that_a_peer_never_gives_costs_few_requests_and_not_the_others() {
    let (mut world, seed, leecher) = pair(16, Vice::RejectsPiece(3), true);
    world.run_for(5 * MINUTE);
    assert_eq!(world.host(leecher).torrent().swarm().status().bytes_done, 15 * 65536);
    let surplus = world.host(leecher).seen().requests_made() - 15 * 4;
    assert!((4..80).contains(&surplus), "{surplus} requests for the piece in five minutes");
    assert_eq!(world.connections(leecher), [seed]);
    let other = world.add(world.full());
    world.introduce(leecher, &[other]);
    assert!(world.run_until(Duration::from_secs(3), |world| world.is_complete(leecher)));
}

#[test]
fn a_peer_that_rejects_everything_is_what_is_waited_for() {
    let (mut world, _, leecher) = pair(16, Vice::RejectsAll, true);
    world.run_for(MINUTE);
    assert_eq!(world.host(leecher).torrent().swarm().status().reason, Some(Reason::AllReject { peers: 1 }));
}
