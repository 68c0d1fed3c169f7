use super::*;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use std::time::Duration;

fn own() -> NodeId {
    NodeId::new([0; 20])
}

/// A contact in the bucket of `depth` whose address is its own /24.
fn contact(depth: u32, number: u32, rng: &mut ChaCha8Rng) -> Contact {
    let addr = SocketAddr::from(((0x0100_0000 + (number << 8) + 1).to_be_bytes(), 4000));
    // The low bits make it valid or not for BEP 42 by chance; these tests want one kind only.
    loop {
        let id = own().random_sharing(depth, rng);
        if !id.is_valid_for(addr.ip()) {
            return Contact { id, addr };
        }
    }
}

struct World {
    table: Table,
    now: Instant,
    rng: ChaCha8Rng,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self { table: Table::new(own(), now), now, rng: ChaCha8Rng::seed_from_u64(5) }
    }

    fn contact(&mut self, depth: u32, number: u32) -> Contact {
        contact(depth, number, &mut self.rng)
    }

    fn answered(&mut self, contact: Contact) -> Insertion {
        let inserted = self.table.answered(self.now, contact);
        self.table.check_invariants();
        inserted
    }

    fn handed_out(&self, target: &Target) -> Vec<Contact> {
        let mut out = Vec::new();
        self.table.hand_out(self.now, target, &mut out);
        crate::krpc::compact::parse_nodes(&out, crate::Family::V4).collect()
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

#[test]
fn shallow_buckets_hold_more() {
    let mut world = World::new();
    for (depth, capacity) in [(0, 128), (1, 64), (2, 32), (3, 16), (4, 8), (20, 8)] {
        let before = world.table.len();
        for number in 0..capacity + 3 {
            let contact = world.contact(depth, 1000 * depth + number);
            let expected = if number < capacity { Insertion::Added } else { Insertion::Waiting };
            assert_eq!(world.answered(contact), expected, "contact {number} of bucket {depth}");
        }
        assert_eq!(world.table.len() - before, capacity as usize);
    }
}

#[test]
fn a_full_bucket_replaces_who_failed_twice_by_who_answered_last() {
    let mut world = World::new();
    let contacts: Vec<Contact> = (0..10).map(|number| world.contact(9, number)).collect();
    for contact in &contacts {
        world.answered(*contact);
    }
    world.table.failed(&contacts[0]);
    assert_eq!(world.table.len(), 8);
    assert!(world.table.contacts().any(|contact| contact == contacts[0]));
    world.table.failed(&contacts[0]);
    world.table.check_invariants();
    let left: Vec<Contact> = world.table.contacts().collect();
    assert!(!left.contains(&contacts[0]) && left.contains(&contacts[9]) && !left.contains(&contacts[8]));
}

#[test]
fn an_answer_forgives_a_failure() {
    let mut world = World::new();
    let contact = world.contact(9, 1);
    for _ in 0..5 {
        world.answered(contact);
        world.table.failed(&contact);
    }
    assert_eq!(world.table.len(), 1);
}

#[test]
fn one_contact_per_network_and_bucket_except_in_local_networks() {
    let mut world = World::new();
    let first = world.contact(5, 1);
    let mut second = world.contact(5, 1);
    assert_eq!(world.answered(first), Insertion::Added);
    second.addr.set_ip("1.0.1.77".parse().unwrap());
    assert_eq!(world.answered(second), Insertion::Refused);
    let elsewhere = Contact { id: world.contact(6, 1).id, ..second };
    assert_eq!(world.answered(elsewhere), Insertion::Added);
    for port in 5000..5004 {
        let local = Contact { id: world.contact(5, 1).id, addr: SocketAddr::from(([127, 0, 0, 1], port)) };
        assert_eq!(world.answered(local), Insertion::Added);
        let twin = Contact { id: world.contact(5, 1).id, ..local };
        assert_eq!(world.answered(twin), Insertion::Refused, "two ids at one endpoint");
    }
}

#[test]
fn an_address_that_answers_under_changing_ids_has_no_place() {
    let mut world = World::new();
    let contact = world.contact(5, 1);
    assert_eq!(world.answered(contact), Insertion::Added);
    let changed = Contact { id: world.contact(2, 1).id, ..contact };
    assert_eq!(world.answered(changed), Insertion::Refused);
    assert_eq!(world.table.len(), 0, "and who it was is gone");
    assert_eq!(world.answered(contact), Insertion::Refused);
    let elsewhere = world.contact(5, 2);
    assert_eq!(world.answered(elsewhere), Insertion::Added);
    world.wait(31 * 60);
    assert_eq!(world.answered(changed), Insertion::Added, "a restart is forgiven");
    for number in 0..1000 {
        let contact = world.contact(number % 30, 5000 + number);
        world.answered(contact);
        let changed = Contact { id: world.contact(7, 1).id, ..contact };
        world.answered(changed);
    }
    assert!(world.table.fickle.len() <= FICKLE_MAX);
}

#[test]
fn nobody_takes_over_the_id_of_a_contact_that_answers() {
    let mut world = World::new();
    let contact = world.contact(5, 1);
    let thief = Contact { addr: "9.9.9.9:99".parse().unwrap(), ..contact };
    world.answered(contact);
    assert_eq!(world.answered(thief), Insertion::Refused);
    world.wait(16 * 60);
    assert_eq!(world.answered(thief), Insertion::Known);
    assert_eq!(world.table.contacts().collect::<Vec<_>>(), [thief]);
}

#[test]
fn compliant_contacts_push_out_those_that_are_not() {
    let mut world = World::new();
    for number in 0..8 {
        let contact = world.contact(9, number);
        world.answered(contact);
    }
    let addr: SocketAddr = "77.1.2.3:4000".parse().unwrap();
    let id = NodeId::for_address(addr.ip(), &mut world.rng);
    world.table.rebase(id.random_sharing(9, &mut world.rng));
    let own_id = world.table.own_id();
    for number in 100..110 {
        let addr = SocketAddr::from((0x0200_0000u32.wrapping_add(number << 8).to_be_bytes(), 4000));
        let other = Contact { id: own_id.random_sharing(9, &mut world.rng), addr };
        world.answered(other);
    }
    assert_eq!(world.answered(Contact { id, addr }), Insertion::Added);
}

#[test]
fn good_is_who_answered_or_queried_within_15_minutes() {
    let mut world = World::new();
    let contact = world.contact(5, 1);
    assert!(!world.table.queried(world.now, contact), "a query alone brings nobody into the table");
    assert_eq!(world.table.len(), 0);
    world.answered(contact);
    world.wait(14 * 60);
    assert_eq!(world.table.good(world.now), 1);
    world.wait(2 * 60);
    assert_eq!(world.table.good(world.now), 0);
    assert!(world.table.queried(world.now, contact));
    assert_eq!(world.table.good(world.now), 1);
}

#[test]
fn the_nearest_are_those_a_sort_of_all_would_give() {
    let mut world = World::new();
    for number in 0..400 {
        let depth = world.rng.next_u32() % 12;
        let contact = world.contact(depth, number);
        world.answered(contact);
    }
    let all: Vec<Contact> = world.table.contacts().collect();
    for round in 0..200 {
        let target = Target::from(own().random_sharing(round % 14, &mut world.rng));
        let mut sorted = all.clone();
        sorted.sort_by_key(|contact| target.distance(&contact.id));
        assert_eq!(world.table.nearest(&target, 8), sorted[..8]);
        assert_eq!(world.table.nearest(&target, 20), sorted[..20]);
        assert_eq!(world.handed_out(&target), sorted[..8]);
    }
}

#[test]
fn who_failed_or_lives_on_a_system_port_is_not_handed_out() {
    let mut world = World::new();
    let contacts: Vec<Contact> = (0..4).map(|number| world.contact(number, number)).collect();
    let system = Contact { id: own().random_sharing(3, &mut world.rng), addr: "8.8.8.8:53".parse().unwrap() };
    for contact in contacts.iter().chain([&system]) {
        world.answered(*contact);
    }
    world.table.failed(&contacts[0]);
    let target = Target::from(own());
    let mut handed_out = world.handed_out(&target);
    handed_out.sort();
    let mut expected = contacts[1..].to_vec();
    expected.sort();
    assert_eq!(handed_out, expected);
}

#[test]
fn questionable_contacts_fill_up_what_good_ones_leave() {
    let mut world = World::new();
    let old: Vec<Contact> = (0..8).map(|number| world.contact(6, number)).collect();
    for contact in &old {
        world.answered(*contact);
    }
    world.wait(20 * 60);
    let fresh: Vec<Contact> = (10..13).map(|number| world.contact(0, number)).collect();
    for contact in &fresh {
        world.answered(*contact);
    }
    let handed_out = world.handed_out(&Target::from(own()));
    assert_eq!(handed_out.len(), 8);
    assert!(fresh.iter().all(|contact| handed_out.contains(contact)), "far but good ones come first");
}

#[test]
fn contacts_are_checked_before_they_stop_being_good_and_one_after_the_other() {
    let mut world = World::new();
    let contacts: Vec<Contact> = (0..3).map(|number| world.contact(6, number)).collect();
    for contact in &contacts {
        world.answered(*contact);
    }
    assert_eq!(world.table.due_for_check(world.now), None);
    world.wait(13 * 60);
    let mut checked: Vec<Contact> = std::iter::from_fn(|| world.table.due_for_check(world.now)).collect();
    checked.sort();
    let mut expected = contacts.clone();
    expected.sort();
    assert_eq!(checked, expected);
    assert_eq!(world.table.due_for_check(world.now), None);
    world.wait(u64::from(CHECK_PAUSE_S));
    assert!(world.table.due_for_check(world.now).is_some());
}

#[test]
fn a_bucket_with_room_is_refreshed_every_15_minutes() {
    let mut world = World::new();
    let contact = world.contact(1, 1);
    world.answered(contact);
    world.wait(15 * 60);
    assert_eq!(world.table.due_for_refresh(world.now), Some(0));
    assert_eq!(world.table.due_for_refresh(world.now), Some(1));
    assert_eq!(world.table.due_for_refresh(world.now), None);
    world.wait(10 * 60);
    let target = Target::from(own().random_sharing(0, &mut world.rng));
    world.table.refreshed(world.now, &target);
    world.wait(6 * 60);
    assert_eq!(world.table.due_for_refresh(world.now), Some(1));
}

#[test]
fn another_own_id_keeps_the_contacts() {
    let mut world = World::new();
    for number in 0..50 {
        let contact = world.contact(number % 6, number);
        world.answered(contact);
    }
    let before = world.table.len();
    world.table.rebase(NodeId::new([0xff; 20]));
    world.table.check_invariants();
    assert!(world.table.len() > before / 2);
}

#[test]
fn our_own_id_never_enters() {
    let mut world = World::new();
    let own = Contact { id: own(), addr: "1.2.3.4:5678".parse().unwrap() };
    assert_eq!(world.answered(own), Insertion::Refused);
    assert!(!world.table.wants(world.now, &own.id));
}
