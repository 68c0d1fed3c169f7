//! Who is dialled, and which connection stays.

use std::time::Duration;

use crate::swarm_world::{Traits, World, contacts};
use magnes::model::{Bitfield, PieceIndex};
use magnes::swarm::Reason;
use magnes_testnet::Payload;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn when_both_sides_dial_at_once_one_connection_stays() {
    for apart_ms in [0, 1, 20, 35, 50, 90] {
        for flip in [false, true] {
            let mut world = World::new(Payload::new(64, 64), 1);
            world.check_every = 5;
            let slow = Traits { up_bps: 64 << 10, ..world.full() };
            let a = world.add(if flip { slow.clone() } else { world.empty() });
            let b = world.add(if flip { world.empty() } else { slow });
            world.introduce(a, &[b]);
            world.run_for(Duration::from_millis(apart_ms));
            world.introduce(b, &[a]);
            world.run_for(Duration::from_secs(2));
            assert_eq!(world.connections(a), [b], "{apart_ms} ms apart");
            assert_eq!(world.connections(b), [a], "{apart_ms} ms apart");
            world.run_for(MINUTE);
            let dials = world.host(a).seen().dials.len() + world.host(b).seen().dials.len();
            assert!(dials <= 2, "{dials} dials, {apart_ms} ms apart");
        }
    }
}

#[test]
fn a_peer_that_connected_to_us_is_dialled_only_when_it_is_gone() {
    let mut world = World::new(Payload::new(64, 64), 1);
    let us = world.add(world.empty());
    let peer = world.add(Traits { up_bps: 16 << 10, ..world.full() });
    world.introduce(peer, &[us]);
    world.run_for(Duration::from_secs(1));
    for _ in 0..10 {
        world.introduce(us, &[peer]);
        world.run_for(Duration::from_secs(10));
    }
    assert_eq!(world.host(us).seen().dials, []);
    world.hang_up(peer);
    assert!(world.run_until(MINUTE, |world| world.host(us).seen().dials.len() == 1), "its port became a candidate");
}

#[test]
fn peers_that_complete_each_other_part_though_they_did_not_tell_every_piece() {
    let mut world = World::new(Payload::new(32, 64), 1);
    let count = world.payload.geometry().piece_count();
    let mut halves = [Bitfield::empty(count), Bitfield::empty(count)];
    for piece in (0..count).map(PieceIndex::new) {
        halves[piece.as_usize() % 2].insert(piece);
    }
    let [a, b] = halves.map(|have| world.add(Traits::new(Some(have))));
    world.introduce(a, &[b]);
    assert!(world.run_until(MINUTE, |world| world.is_complete(a) && world.is_complete(b)));
    world.run_for(Duration::from_secs(1));
    assert_eq!((world.connections(a), world.connections(b)), (vec![], vec![]));
}

#[test]
fn we_hang_up_on_ourselves_for_good() {
    let mut world = World::new(Payload::new(8, 64), 1);
    let us = world.add(world.empty());
    for _ in 0..5 {
        world.introduce(us, &[us]);
        world.run_for(MINUTE);
    }
    assert_eq!(world.host(us).seen().dials.len(), 1);
    assert_eq!(world.connections(us), []);
}

#[test]
fn standing_still_has_a_named_reason() {
    let mut world = World::new(Payload::new(8, 64), 1);
    let us = world.add(world.empty());
    let reason = |world: &World| world.host(us).torrent().swarm().status().reason;
    assert_eq!(reason(&world), Some(Reason::OpeningStorage));
    world.run_for(Duration::from_millis(10));
    assert_eq!(reason(&world), Some(Reason::NoPeersFound));
    world.introduce_addrs(us, &[([10, 9, 9, 9], 1).into()]);
    assert_eq!(
        reason(&world),
        Some(Reason::NoPeerReached { contacts: contacts(|contacts| contacts.known = 1), dialing: 1 })
    );
    let other = world.add(world.empty());
    world.introduce(us, &[other]);
    world.run_for(Duration::from_secs(1));
    assert_eq!(reason(&world), Some(Reason::NobodyHasMissingPieces { connected: 1 }));
    let miser = world.add(Traits { limit: |config| config.upload_slots = 0, ..world.full() });
    let rival = world.add(world.empty());
    world.introduce(rival, &[miser]);
    world.run_for(Duration::from_millis(60));
    world.introduce(us, &[miser]);
    world.run_for(Duration::from_millis(500));
    let all_choke = reason(&world) == Some(Reason::AllChoke { connected: 1 });
    assert!(all_choke || world.host(us).torrent().swarm().status().bytes_done > 0, "{:?}", reason(&world));
}

#[test]
fn a_magnet_names_what_it_waits_for() {
    let mut world = World::new(Payload::new(8, 64), 1);
    let us = world.add(Traits::new(None));
    let other = world.add(Traits::new(None));
    world.introduce(us, &[other]);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.host(us).torrent().swarm().status().reason, Some(Reason::NobodyHasMetadata { connected: 1 }));
    let seed = world.add(Traits { up_bps: 1 << 10, ..world.full() });
    world.introduce(us, &[seed]);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.host(us).torrent().swarm().status().reason, Some(Reason::FetchingMetadata { peers: 1 }));
}
