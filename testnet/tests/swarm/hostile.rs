//! Peers that do harm, and peers that do nothing.

use std::time::Duration;

use crate::swarm_world::{Traits, World};
use magnes::swarm::BanReason;
use magnes::torrent::TorrentEvent;
use magnes_testnet::{Payload, Vice};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn who_sends_corrupt_blocks_is_banned_once_and_the_download_ends() {
    for (seed, every) in [(1, 1), (2, 3), (3, 20), (4, 1), (5, 7)] {
        let mut world = World::new(Payload::new(48, 64), seed);
        let slow = |traits: Traits| Traits { up_bps: 4 << 20, ..traits };
        let liar = world.add(slow(Traits { vice: Vice::CorruptsOneIn(every), ..world.full() }));
        let honest = [world.add(slow(world.full())), world.add(slow(world.full()))];
        let leecher = world.add(world.empty());
        world.introduce(leecher, &[liar, honest[0], honest[1]]);
        assert!(world.run_until(MINUTE, |world| world.is_complete(leecher)), "seed {seed}");
        let ban = TorrentEvent::PeerBanned { addr: world.addr(liar), reason: BanReason::CorruptBlocks };
        assert_eq!(world.bans(leecher).collect::<Vec<_>>(), [&ban], "seed {seed}");
        assert!(!world.connections(leecher).contains(&liar));
    }
}

#[test]
fn a_banned_peer_that_connected_to_us_is_not_dialled_at_its_listening_port() {
    let mut world = World::new(Payload::new(8, 64), 1);
    let liar = world.add(Traits { vice: Vice::CorruptsOneIn(1), ..world.full() });
    let leecher = world.add(world.empty());
    world.introduce(liar, &[leecher]);
    assert!(world.run_until(MINUTE, |world| world.bans(leecher).count() > 0));
    world.introduce(leecher, &[liar]);
    world.run_for(MINUTE);
    assert_eq!(world.host(leecher).seen().dials, []);
    assert_eq!(world.bans(leecher).count(), 1);
}

#[test]
fn a_peer_that_rejects_everything_is_asked_ever_less_often() {
    let mut world = World::new(Payload::new(64, 64), 1);
    let grudger = world.add(Traits { vice: Vice::RejectsAll, ..world.full() });
    let leecher = world.add(world.empty());
    world.introduce(leecher, &[grudger]);
    world.run_for(MINUTE);
    let asked = world.host(leecher).seen().requests_made();
    assert!((16..200).contains(&asked), "{asked} requests in a minute");
    let seed = world.add(world.full());
    world.introduce(leecher, &[seed]);
    assert!(world.run_until(Duration::from_secs(5), |world| world.is_complete(leecher)));
}

#[test]
fn what_a_peer_rejects_is_asked_of_others_at_once() {
    let mut world = World::new(Payload::new(64, 64), 1);
    let grudger = world.add(Traits { vice: Vice::RejectsAll, ..world.full() });
    let seed = world.add(Traits { up_bps: 8 << 20, ..world.full() });
    let leecher = world.add(world.empty());
    world.introduce(leecher, &[grudger, seed]);
    assert!(world.run_until(MINUTE, |world| world.is_complete(leecher)));
    // 4 MiB at 8 MiB/s.
    assert!(world.elapsed_s() < 0.9, "{} s", world.elapsed_s());
}

#[test]
fn a_mute_peer_is_snubbed_after_a_minute_and_does_not_hold_the_download_up() {
    let mut world = World::new(Payload::new(32, 64), 1);
    let mute = world.add(Traits { vice: Vice::Mute, ..world.full() });
    let seed = world.add(world.full());
    let leecher = world.add(world.empty());
    world.introduce(leecher, &[mute]);
    world.run_for(Duration::from_secs(80));
    assert!(world.host(leecher).torrent().swarm().snubbed_count() == 1);
    world.introduce(leecher, &[seed]);
    assert!(world.run_until(Duration::from_secs(3), |world| world.is_complete(leecher)));
}

#[test]
fn the_queue_that_a_peer_names_is_never_overfilled() {
    for (reqq, most) in [(Some(3), 3), (Some(0), 1), (None, 250)] {
        let mut world = World::new(Payload::new(64, 64), 1);
        let seed = world.add(Traits { reqq, latency: Duration::from_millis(50), ..world.full() });
        let leecher = world.add(world.empty());
        world.introduce(leecher, &[seed]);
        assert!(world.run_until(10 * MINUTE, |world| world.is_complete(leecher)));
        assert!(world.host(seed).seen().requests_waiting_max <= most, "{reqq:?}");
    }
}
