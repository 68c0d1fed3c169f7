//! Data gets through, without waste.

use std::time::Duration;

use crate::swarm_world::{HostId, Traits, World};
use magnes::model::{Bitfield, PieceIndex};
use magnes::swarm::BanReason;
use magnes::torrent::TorrentEvent;
use magnes_testnet::{Payload, Vice};

const MINUTE: Duration = Duration::from_secs(60);

/// A seed and so many leechers, of which each knows the seed and those before it.
fn swarm(world: &mut World, seed: Traits, leechers: usize) -> (HostId, Vec<HostId>) {
    let seed = world.add(seed);
    let mut known = vec![seed];
    for _ in 0..leechers {
        let leecher = world.add(world.empty());
        world.introduce(leecher, &known);
        known.push(leecher);
    }
    (seed, known.split_off(1))
}

#[test]
fn a_leecher_gets_everything_from_a_seed_once() {
    let mut world = World::new(Payload::new(32, 64), 1);
    let seed = world.add(world.full());
    let leecher = world.add(world.empty());
    world.introduce(leecher, &[seed]);
    assert!(world.run_until(MINUTE, |world| world.is_complete(leecher)));
    assert_eq!(world.copies_sent(seed), 1.0);
    assert_eq!(world.copies_received(leecher), 1.0);
}

#[test]
fn a_peer_without_the_fast_extension_is_served_and_serves() {
    let mut world = World::new(Payload::new(32, 64), 1);
    let seed = world.add(Traits { fast: false, ..world.full() });
    let middle = world.add(world.empty());
    let last = world.add(Traits { fast: false, ..world.empty() });
    world.introduce(middle, &[seed, last]);
    assert!(world.run_until(MINUTE, |world| world.is_complete(middle) && world.is_complete(last)));
    assert_eq!(world.copies_received(last), 1.0);
}

#[test]
fn a_magnet_fetches_the_metadata_then_the_data() {
    let mut world = World::new(Payload::new(32, 64), 1);
    let seeds = [world.add(world.full()), world.add(world.full())];
    let magnet = world.add(Traits::new(None));
    world.introduce(magnet, &seeds);
    assert!(world.run_until(MINUTE, |world| world.is_complete(magnet)));
    assert!(world.copies_received(magnet) < 1.1, "{}", world.copies_received(magnet));
}

#[test]
fn who_lies_about_the_metadata_is_banned_and_the_download_ends() {
    for seed in 1..=5 {
        let mut world = World::new(Payload::new(8, 64), seed);
        let liar = world.add(Traits { vice: Vice::LiesAboutMetadata, ..world.full() });
        let honest = [world.add(world.full()), world.add(world.full())];
        let magnet = world.add(Traits::new(None));
        world.introduce(magnet, &[liar]);
        world.introduce(magnet, &honest);
        assert!(world.run_until(MINUTE, |world| world.is_complete(magnet)), "seed {seed}");
        let lie = TorrentEvent::PeerBanned { addr: world.addr(liar), reason: BanReason::CorruptMetadata };
        let bans: Vec<&TorrentEvent> = world.bans(magnet).collect();
        assert!(bans.iter().all(|ban| **ban == lie) && bans.len() <= 1, "seed {seed}: {bans:?}");
    }
}

#[test]
fn eight_leechers_trade_what_a_slow_seed_sends_once() {
    let mut world = World::new(Payload::new(96, 64), 1);
    world.check_every = 100;
    let slow = Traits { up_bps: 2 << 20, limit: |config| config.upload_slots = 8, ..world.full() };
    let (seed, leechers) = swarm(&mut world, slow, 8);
    assert!(world.run_until(MINUTE, |world| leechers.iter().all(|leecher| world.is_complete(*leecher))));
    assert!(world.copies_sent(seed) < 1.1, "{} copies", world.copies_sent(seed));
    // 6 MiB at 2 MiB/s.
    assert!(world.elapsed_s() < 3.0 * 1.2, "{} s", world.elapsed_s());
}

#[test]
fn the_last_blocks_are_asked_of_few() {
    let mut world = World::new(Payload::new(16, 256), 1);
    let rates = [8 << 20, 4 << 20, 2 << 20, 1 << 20, 100 << 10];
    let seeds = rates.map(|up_bps| world.add(Traits { up_bps, ..world.full() }));
    let leecher = world.add(world.empty());
    world.introduce(leecher, &seeds);
    assert!(world.run_until(MINUTE, |world| world.is_complete(leecher)));
    assert!(world.copies_received(leecher) < 1.08, "{}", world.copies_received(leecher));
    assert!(world.elapsed_s() < 0.6, "{} s", world.elapsed_s());
}

#[test]
fn a_seed_that_vanishes_costs_seconds() {
    let mut world = World::new(Payload::new(64, 64), 1);
    let seeds = [1, 2].map(|_| world.add(Traits { up_bps: 1 << 20, ..world.full() }));
    let leecher = world.add(world.empty());
    world.introduce(leecher, &seeds);
    world.run_for(Duration::from_secs(1));
    world.vanish(seeds[0]);
    assert!(world.run_until(MINUTE, |world| world.is_complete(leecher)));
    assert!(world.elapsed_s() < 8.0, "{} s", world.elapsed_s());
}

#[test]
fn partial_seeds_complete_a_leecher_together() {
    let mut world = World::new(Payload::new(32, 64), 1);
    let count = world.payload.geometry().piece_count();
    let mut halves = [Bitfield::empty(count), Bitfield::empty(count)];
    for piece in (0..count).map(PieceIndex::new) {
        halves[piece.as_usize() % 2].insert(piece);
    }
    let seeds = halves.map(|have| world.add(Traits { upload_only: true, ..Traits::new(Some(have)) }));
    let leecher = world.add(world.empty());
    world.introduce(leecher, &seeds);
    assert!(world.run_until(MINUTE, |world| world.is_complete(leecher)));
    assert!(world.copies_received(leecher) < 1.05);
}

#[test]
fn pieces_that_are_left_to_others_are_fetched_when_the_others_do_not() {
    let mut world = World::new(Payload::new(64, 64), 1);
    let seed = world.add(Traits { up_bps: 1 << 20, ..world.full() });
    let leecher = world.add(world.empty());
    // They know nobody but the leecher.
    let idlers: Vec<HostId> = (0..7).map(|_| world.add(Traits { up_bps: 1, ..world.empty() })).collect();
    world.introduce(leecher, &idlers);
    world.introduce(leecher, &[seed]);
    assert!(world.run_until(MINUTE, |world| world.is_complete(leecher)));
    // 4 MiB at 1 MiB/s, and a little patience.
    assert!(world.elapsed_s() < 6.5, "{} s", world.elapsed_s());
}
