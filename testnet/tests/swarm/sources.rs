//! The only peer that has something: how long it is believed in, and what is said of it.

use std::time::Duration;

use crate::swarm_world::{HostId, Traits, World, contacts};
use magnes::swarm::BanReason;
use magnes::swarm::{Reason, Status};
use magnes_testnet::{Payload, Vice};

const MINUTE: Duration = Duration::from_secs(60);

fn pair(vice: Vice) -> (World, HostId, HostId) {
    let mut world = World::new(Payload::new(8, 64), 1);
    let seed = world.add(Traits { vice, ..world.full() });
    let leecher = world.add(world.empty());
    world.introduce(leecher, &[seed]);
    (world, seed, leecher)
}

fn status(world: &World, id: HostId) -> Status {
    world.host(id).torrent().swarm().status()
}

#[test]
fn one_bad_copy_of_the_only_seed_is_forgiven() {
    // Of the 36 blocks that it takes one is bad.
    let (mut world, _, leecher) = pair(Vice::CorruptsOneIn(30));
    assert!(world.run_until(MINUTE, |world| world.is_complete(leecher)));
    assert_eq!(world.bans(leecher).count(), 0);
}

#[test]
fn the_only_seed_is_banned_for_a_while_when_it_goes_on_and_that_is_said() {
    let (mut world, seed, leecher) = pair(Vice::CorruptsOneIn(2));
    world.run_for(MINUTE);
    assert_eq!(world.bans(leecher).count(), 1);
    let banned = Reason::SourcesBanned { peers: 1, reason: BanReason::CorruptBlocks };
    assert_eq!(status(&world, leecher).reason, Some(banned));
    assert_eq!(world.host(leecher).seen().dials.len(), 1);
    world.run_for(10 * MINUTE);
    assert!(world.host(leecher).seen().dials.len() > 1, "it is dialled again");
    let other = world.add(world.full());
    world.introduce(leecher, &[other]);
    assert!(world.run_until(MINUTE, |world| world.is_complete(leecher)));
    assert!(!world.connections(leecher).contains(&seed));
}

#[test]
fn who_hangs_up_in_the_handshake_was_reached_and_is_dialled_ever_less_often() {
    let (mut world, _, leecher) = pair(Vice::HangsUp);
    world.run_for(MINUTE);
    let contacts = contacts(|contacts| (contacts.known, contacts.hung_up) = (1, 1));
    assert_eq!(status(&world, leecher).reason, Some(Reason::NoPeerReached { contacts, dialing: 0 }));
    world.run_for(59 * MINUTE);
    let dials = world.host(leecher).seen().dials.len();
    assert!((10..20).contains(&dials), "{dials} dials in an hour");
}

#[test]
fn addresses_that_fail_do_not_keep_others_from_being_searched_for_and_are_tried_for_hours() {
    let mut world = World::new(Payload::new(8, 64), 1);
    let leecher = world.add(world.empty());
    let gone: Vec<_> = (0..250u16).map(|port| ([10, 9, 9, 9], port + 1).into()).collect();
    world.introduce_addrs(leecher, &gone);
    assert!(!world.host(leecher).torrent().swarm().wants_peers(), "there are enough to try");
    world.run_for(MINUTE);
    assert!(world.host(leecher).torrent().swarm().wants_peers(), "none of them works");
    let before = world.host(leecher).seen().dials.len();
    world.run_for(60 * MINUTE);
    assert!(world.host(leecher).seen().dials.len() > before + 5 * gone.len());
    let contacts = contacts(|contacts| (contacts.known, contacts.refused) = (250, 250));
    let reason = status(&world, leecher).reason;
    assert!(matches!(reason, Some(Reason::NoPeerReached { contacts: found, .. }) if found == contacts), "{reason:?}");
}

#[test]
fn when_blocks_stop_coming_the_rate_is_0_and_the_reason_is_there_within_15_s() {
    for peers_leave in [false, true] {
        let mut world = World::new(Payload::new(4096, 64), 1);
        world.check_every = 1000;
        let seed = world.add(world.full());
        let leecher = world.add(world.empty());
        world.introduce(leecher, &[seed]);
        world.run_for(Duration::from_millis(900));
        assert!(status(&world, leecher).down_bps > 50 << 20, "{} B/s", status(&world, leecher).down_bps);
        if peers_leave {
            world.hang_up(seed)
        } else {
            world.vanish(seed)
        }
        world.run_for(Duration::from_secs(10));
        let status = status(&world, leecher);
        assert_eq!(status.down_bps, 0);
        assert!(status.reason.is_some() && !status.is_complete);
    }
}
