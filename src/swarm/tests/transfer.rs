//! Data gets through.

use std::time::Duration;

use super::payload::Payload;
use super::world::World;

const MINUTE: Duration = Duration::from_secs(60);

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
