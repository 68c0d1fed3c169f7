//! Peers that hold back the metadata, and the honest ones beside them.

use std::time::Duration;

use crate::swarm_world::{Traits, World};
use magnes_testnet::{Payload, Vice};

const MINUTE: Duration = Duration::from_secs(60);

const VICES: [Vice; 5] = [
    Vice::LiesAboutMetadata,
    Vice::RejectsMetadata,
    Vice::MuteAboutMetadata,
    Vice::LiesAboutMetadataLen(20_000),
    Vice::HidesMetadata,
];

#[test]
fn an_honest_peer_gives_the_metadata_whatever_the_others_do() {
    for vice in VICES {
        let mut world = World::new(Payload::new(8, 64), 1);
        let others: Vec<_> = (0..4).map(|_| world.add(Traits { vice, ..world.full() })).collect();
        let magnet = world.add(Traits::new(None));
        world.introduce(magnet, &others);
        world.run_for(Duration::from_secs(1));
        let honest = world.add(world.full());
        world.introduce(magnet, &[honest]);
        assert!(world.run_until(MINUTE, |world| world.is_complete(magnet)), "{vice:?}");
        assert!(world.elapsed_s() < 30.0, "{vice:?}: {} s", world.elapsed_s());
    }
}

#[test]
fn the_only_peer_that_has_the_metadata_is_asked_for_them_though_it_does_not_say_so() {
    let mut world = World::new(Payload::new(8, 64), 1);
    let seed = world.add(Traits { vice: Vice::HidesMetadata, ..world.full() });
    let magnet = world.add(Traits::new(None));
    world.introduce(magnet, &[seed]);
    assert!(world.run_until(MINUTE, |world| world.is_complete(magnet)));
    assert!(world.elapsed_s() < 5.0, "{} s", world.elapsed_s());
}

#[test]
fn peers_without_the_metadata_ask_one_another_rarely() {
    let mut world = World::new(Payload::new(8, 64), 1);
    let [a, b] = [(); 2].map(|()| world.add(Traits::new(None)));
    world.introduce(a, &[b]);
    world.run_for(10 * MINUTE);
    let asked = world.host(b).seen().metadata_requests;
    assert!((5..20).contains(&asked), "{asked} requests in ten minutes");
}
