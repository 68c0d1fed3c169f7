//! Who is served, and for how long.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::swarm_world::{HostId, Traits, World};
use magnes_testnet::Payload;

/// When each peer of a host was unchoked and choked: choker turns are told from the answers to interest by their time.
fn unchoked(world: &World, id: HostId) -> BTreeSet<HostId> {
    let mut unchoked = BTreeSet::new();
    for (_, peer, choke) in world.chokes(id) {
        if choke {
            unchoked.remove(&peer);
        } else {
            unchoked.insert(peer);
        }
    }
    unchoked
}

#[test]
fn a_seed_serves_its_slots_and_everybody_in_turn() {
    let mut world = World::new(Payload::new(256, 64), 1);
    world.check_every = 5;
    let seed = world.add(Traits { up_bps: 64 << 10, limit: |config| config.upload_slots = 2, ..world.full() });
    let leechers: Vec<HostId> = (0..8).map(|_| world.add(Traits { up_bps: 1 << 10, ..world.empty() })).collect();
    for leecher in &leechers {
        world.introduce(*leecher, &[seed]);
    }
    let mut served = BTreeSet::new();
    for second in 0..150 {
        world.run_for(Duration::from_secs(1));
        let unchoked = unchoked(&world, seed);
        assert!(unchoked.len() <= 3, "second {second}: {unchoked:?}");
        assert!(second < 2 || unchoked.len() == 3, "second {second}: a slot is left empty");
        served.extend(unchoked);
    }
    assert_eq!(served.len(), 8);
}

#[test]
fn who_gives_is_served_within_a_round_and_keeps_its_slot() {
    let mut world = World::new(Payload::new(256, 64), 1);
    world.check_every = 5;
    let count = world.payload.geometry().piece_count();
    let mut first_half = magnes::model::Bitfield::empty(count);
    (0..count / 2).for_each(|piece| {
        first_half.insert(magnes::model::PieceIndex::new(piece));
    });
    let us = world.add(Traits {
        up_bps: 256 << 10,
        limit: |config| config.upload_slots = 1,
        ..Traits::new(Some(first_half))
    });
    // One peer has what we want and sends it; the others only take.
    let mut second_half = magnes::model::Bitfield::empty(count);
    (count / 2..count).for_each(|piece| {
        second_half.insert(magnes::model::PieceIndex::new(piece));
    });
    let takers: Vec<HostId> = (0..6).map(|_| world.add(Traits { up_bps: 1 << 10, ..world.empty() })).collect();
    for taker in &takers {
        world.introduce(*taker, &[us]);
    }
    world.run_for(Duration::from_secs(15));
    let giver = world.add(Traits { up_bps: 64 << 10, ..Traits::new(Some(second_half)) });
    world.introduce(giver, &[us]);
    world.run_for(Duration::from_secs(12));
    assert!(unchoked(&world, us).contains(&giver), "within a round after it began to give");
    for _ in 0..4 {
        world.run_for(Duration::from_secs(10));
        assert!(unchoked(&world, us).contains(&giver), "it keeps its slot");
    }
}

#[test]
fn the_optimistic_slot_stays_thirty_seconds() {
    let mut world = World::new(Payload::new(256, 64), 1);
    let us = world.add(Traits { up_bps: 8 << 10, limit: |config| config.upload_slots = 0, ..world.full() });
    let takers: Vec<HostId> = (0..4).map(|_| world.add(Traits { up_bps: 1 << 10, ..world.empty() })).collect();
    for taker in &takers {
        world.introduce(*taker, &[us]);
    }
    world.run_for(Duration::from_secs(200));
    let unchokes = world.chokes(us).filter(|(_, _, choke)| !choke);
    let unchokes: Vec<f64> = unchokes.map(|(at, _, _)| (at - world.start).as_secs_f64()).collect();
    let turns: Vec<f64> = unchokes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(turns.len() >= 4, "{turns:?}");
    // The first peer had the free slot before the first round.
    assert!(turns[1..].iter().all(|turn| (29.0..=41.0).contains(turn)), "{turns:?}");
}

#[test]
fn nobody_waits_for_a_slot_while_the_line_is_idle() {
    let mut world = World::new(Payload::new(64, 64), 1);
    let slots = |config: &mut magnes::torrent::TorrentConfig| config.upload_slots = 1;
    let seed = world.add(Traits { limit: slots, ..world.full() });
    // Each takes far less than the seed has to give.
    let leechers: Vec<HostId> = (0..6).map(|_| world.add(Traits { down_bps: 256 << 10, ..world.empty() })).collect();
    for leecher in &leechers {
        world.introduce(*leecher, &[seed]);
    }
    world.run_for(Duration::from_secs(9));
    assert_eq!(unchoked(&world, seed).len(), 6);
}

#[test]
fn who_is_choked_has_nothing_left_on_the_way_and_gets_it_later() {
    for fast in [true, false] {
        let mut world = World::new(Payload::new(128, 64), 1);
        world.check_every = 20;
        let slots = |config: &mut magnes::torrent::TorrentConfig| config.upload_slots = 1;
        let seed = world.add(Traits { up_bps: 256 << 10, limit: slots, fast, ..world.full() });
        let leechers: Vec<HostId> = (0..4).map(|_| world.add(Traits { fast, ..world.empty() })).collect();
        for leecher in &leechers {
            world.introduce(*leecher, &[seed]);
        }
        // 32 MiB at 256 KiB/s.
        for tenth in 0..1500 {
            world.run_for(Duration::from_millis(100));
            let unchoked = unchoked(&world, seed);
            let waiting = world.blocks_waiting(seed);
            let swarm = world.host(seed).torrent().swarm();
            for (peer, key, block) in waiting.iter().filter(|(peer, ..)| !unchoked.contains(peer)) {
                // A few pieces are served in any case (BEP 6).
                assert!(
                    swarm.served_while_choked(*key).contains(&block.piece),
                    "{block:?} for {peer:?} in tenth {tenth}"
                );
            }
        }
        assert!(world.host(seed).seen().taken_back > 0);
        assert!(leechers.iter().all(|leecher| world.is_complete(*leecher)));
        assert!(world.copies_sent(seed) < 4.1, "{}", world.copies_sent(seed));
    }
}
