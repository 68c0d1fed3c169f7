use std::net::SocketAddr;
use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::*;
use crate::{Contact, Distance, InfoHash, NodeId, Target};

fn contact(number: u8) -> Contact {
    let mut id = [0; 20];
    id[0] = number;
    Contact { id: NodeId::new(id), addr: ([10, 0, number, 1], 6881).into() }
}

fn lookup() -> Lookup {
    Lookup::new(Instant::now(), InfoHash::new([0; 20]).into(), None, 100)
}

/// A contact of the public Internet with an id that fits its address, in a network of its own.
fn public(number: u8, chance: &mut ChaCha8Rng) -> Contact {
    let addr = SocketAddr::from(([20, 1, number, 1], 6881));
    Contact { id: NodeId::for_address(addr.ip(), chance), addr }
}

fn ask_all(lookup: &mut Lookup) -> Vec<SocketAddr> {
    std::iter::from_fn(|| lookup.next_step(|_| true)).map(|step| step.addr).collect()
}

#[test]
fn the_nearest_are_asked_first_and_progress_is_asked_at_once() {
    let mut lookup = lookup();
    (11..=30).rev().for_each(|number| lookup.add(contact(number)));
    assert_eq!(ask_all(&mut lookup), (11..=16).map(|number| contact(number).addr).collect::<Vec<_>>());
    lookup.handle_stalled(contact(11).addr);
    assert_eq!(ask_all(&mut lookup), [contact(17).addr], "a stalled one frees its slot");
    lookup.handle_answer(contact(12), None);
    lookup.handle_named(contact(12).addr, (1..=4).map(contact));
    let progress: Vec<_> = (1..=4).map(|number| contact(number).addr).collect();
    assert_eq!(ask_all(&mut lookup), progress, "six are under way, but none of them nearer");
    lookup.check_invariants();
}

#[test]
fn a_lookup_of_double_width_has_twice_as_many_queries_under_way() {
    let mut lookup = Lookup::new(Instant::now(), InfoHash::new([0; 20]).into(), None, 200);
    (11..=40).for_each(|number| lookup.add(contact(number)));
    assert_eq!(ask_all(&mut lookup), (11..=22).map(|number| contact(number).addr).collect::<Vec<_>>());
    lookup.check_invariants();
}

#[test]
fn it_ends_with_answers_that_nothing_nearer_can_change() {
    let mut lookup = lookup();
    (1..=30).for_each(|number| lookup.add(contact(number)));
    let mut asked = Vec::new();
    while let Some(step) = lookup.next_step(|_| true) {
        asked.push(step.addr);
        let number = (1..=30).find(|number| contact(*number).addr == step.addr).unwrap();
        if number == 2 {
            lookup.handle_stalled(step.addr);
        } else {
            lookup.handle_answer(contact(number), Some(b"token"));
        }
    }
    assert_eq!(asked, (1..=14).map(|number| contact(number).addr).collect::<Vec<_>>(), "thirteen answers are enough");
    assert!(!lookup.is_done(), "number 2 may still answer");
    lookup.handle_given_up(contact(2).addr);
    assert!(lookup.is_done());
    let closest: Vec<_> = lookup.closest().map(|(contact, _)| contact).collect();
    assert_eq!(closest, [1, 3, 4, 5, 6, 7, 8, 9].map(contact));
    lookup.handle_answer(contact(2), None);
    assert_eq!(lookup.closest().nth(1).map(|(contact, _)| contact), Some(contact(2)), "late, and it counts");
}

#[test]
fn who_may_not_be_asked_yet_is_not_and_the_lookup_waits() {
    let mut lookup = lookup();
    (1..=3).for_each(|number| lookup.add(contact(number)));
    let step = lookup.next_step(|addr| addr == contact(2).addr).unwrap();
    assert_eq!(step.addr, contact(2).addr, "one that may be asked goes before");
    assert_eq!(lookup.next_step(|_| false), None);
    lookup.handle_answer(contact(2), None);
    assert!(!lookup.is_done());
    assert_eq!(ask_all(&mut lookup).len(), 2);
}

#[test]
fn one_address_and_one_network_are_asked_a_limited_number_of_times() {
    let mut lookup = lookup();
    let at = |last: u8, port: u16| SocketAddr::from(([20, 1, 1, last], port));
    for number in 1..=9 {
        let mut contact = contact(number);
        contact.addr = if number < 6 { at(1, number.into()) } else { at(number, 6881) };
        lookup.add(contact);
    }
    assert_eq!(ask_all(&mut lookup), [at(1, 1), at(6, 6881)]);
    lookup.handle_failed(at(1, 1));
    assert_eq!(ask_all(&mut lookup), [at(1, 2)], "whoever named a port where nobody is keeps nobody else out");
    lookup.handle_answer(contact(6), None);
    lookup.handle_failed(at(6, 6881));
    lookup.handle_failed(at(1, 2));
    lookup.check_invariants();
}

#[test]
fn who_names_only_silent_nodes_is_believed_last() {
    let mut lookup = lookup();
    lookup.add(contact(100));
    lookup.add(contact(101));
    assert_eq!(ask_all(&mut lookup).len(), 2);
    lookup.handle_answer(contact(100), None);
    lookup.handle_named(contact(100).addr, (1..=40).map(contact));
    let mut silent = 0;
    loop {
        let asked = ask_all(&mut lookup);
        if asked.is_empty() {
            break;
        }
        silent += asked.len();
        assert!(asked.len() <= 4, "until one of its suggestions answers, a liar has four slots at most");
        if silent <= 6 {
            asked.iter().for_each(|addr| lookup.handle_stalled(*addr));
        } else {
            break;
        }
    }
    lookup.handle_answer(contact(101), None);
    lookup.handle_named(contact(101).addr, (50..=52).map(contact));
    let asked = ask_all(&mut lookup);
    assert_eq!(asked, (50..=51).map(|number| contact(number).addr).collect::<Vec<_>>(), "the liar holds four slots");
}

#[test]
fn ids_that_do_not_belong_to_their_address_do_not_count() {
    let mut chance = ChaCha8Rng::seed_from_u64(1);
    let mut lookup = lookup();
    let violators: Vec<Contact> =
        (1..=60).map(|number| Contact { addr: ([30, 1, number, 1], 1).into(), ..contact(0) }).collect();
    let violators: Vec<Contact> = violators
        .into_iter()
        .zip(1..)
        .map(|(contact, number)| {
            let mut id = [0; 20];
            id[10] = number;
            Contact { id: NodeId::new(id), ..contact }
        })
        .collect();
    let honest: Vec<Contact> = (1..=20).map(|number| public(number, &mut chance)).collect();
    violators.iter().chain(&honest).for_each(|contact| lookup.add(*contact));
    while let Some(step) = lookup.next_step(|_| true) {
        let id = step.id.unwrap();
        lookup.handle_answer(Contact { id, addr: step.addr }, Some(b"token"));
    }
    assert!(lookup.is_done());
    assert!(lookup.closest().count() == 8 && lookup.closest().all(|(contact, _)| honest.contains(&contact)));
    let holders: Vec<Contact> = lookup.holders().map(|(contact, _)| contact).collect();
    assert_eq!(holders.iter().filter(|contact| honest.contains(contact)).count(), 8);
    assert_eq!(holders.len(), 16, "they may hold it too, and not alone");
}

#[test]
fn a_crowd_around_the_target_does_not_keep_others_from_being_told() {
    let mut chance = ChaCha8Rng::seed_from_u64(2);
    let mut others: Vec<Contact> = (1..=100).map(|number| public(number, &mut chance)).collect();
    let target = Target::from(InfoHash::new([0; 20]));
    others.sort_unstable_by_key(|contact| target.distance(&contact.id));
    let reach = target.distance(&others[39].id);
    let mut lookup = Lookup::new(Instant::now(), target, Some(reach), 100);
    others.iter().for_each(|contact| lookup.add(*contact));
    while let Some(step) = lookup.next_step(|_| true) {
        lookup.handle_answer(Contact { id: step.id.unwrap(), addr: step.addr }, Some(b"token"));
    }
    assert!(lookup.is_done());
    assert_eq!(lookup.holders().map(|(contact, _)| contact).collect::<Vec<_>>(), others[..40]);
    assert_eq!(lookup.closest().map(|(contact, _)| contact).collect::<Vec<_>>(), others[..8]);
}

#[test]
fn a_router_leads_into_the_network() {
    let mut lookup = lookup();
    assert!(lookup.is_starving());
    lookup.add_seed(contact(99).addr);
    assert_eq!(
        lookup.next_step(|_| true),
        Some(Step { addr: contact(99).addr, id: None, suggester: None, question: Question::Target })
    );
    assert!(!lookup.is_done());
    lookup.add(contact(1));
    lookup.handle_answer(contact(99), None);
    assert_eq!(lookup.next_step(|_| true).map(|step| step.addr), Some(contact(1).addr));
    lookup.handle_failed(contact(1).addr);
    assert!(lookup.is_done());
}

#[test]
fn who_answers_under_another_id_than_it_was_named_with_is_not_found_under_that() {
    let mut lookup = lookup();
    lookup.add(contact(1));
    let step = lookup.next_step(|_| true).unwrap();
    let real = Contact { id: contact(200).id, addr: step.addr };
    lookup.handle_answer(real, Some(b"token"));
    assert_eq!(lookup.closest().map(|(contact, _)| contact).collect::<Vec<_>>(), [real]);
    assert!(lookup.is_done());
    lookup.handle_answer(real, Some(b"token"));
    assert_eq!(lookup.closest().count(), 1);
}

/// A contact in the network with this number whose id fits its address as far as tests look (local addresses may have
/// any): it shares exactly `bits` bits with a target of zeros.
fn beside(bits: usize, number: u8) -> Contact {
    let mut id = [0; 20];
    id[bits / 8] = 0x80 >> (bits % 8);
    id[19] = number;
    Contact { id: NodeId::new(id), addr: ([10, bits as u8, number, 1], 6881).into() }
}

/// The distance within which eight of 8192 nodes are.
fn reach_of_ten_bits() -> Option<Distance> {
    Some(Distance::from_share(1.0 / 1024.0))
}

/// Answers every step; a node `names` others, asked for the target or for its neighbours.
fn run(lookup: &mut Lookup, names: impl Fn(Contact, Question) -> Vec<Contact>) -> usize {
    let mut second = 0;
    while let Some(step) = lookup.next_step(|_| true) {
        let contact = Contact { id: step.id.unwrap(), addr: step.addr };
        match step.question {
            Question::Target => lookup.handle_answer(contact, Some(b"token")),
            Question::Neighbours => {
                second += 1;
                lookup.handle_neighbours(step.addr);
            }
        }
        lookup.handle_named(step.addr, names(contact, step.question).into_iter());
        lookup.check_invariants();
    }
    assert!(lookup.is_done());
    second
}

#[test]
fn around_a_crowd_the_neighbours_of_honest_nodes_are_found_and_told() {
    let mut lookup =
        Lookup::new(Instant::now(), InfoHash::new([0; 20]).into(), reach_of_ten_bits(), 100).widen_in_crowds();
    (1..=16).for_each(|number| lookup.add(beside(4, number)));
    lookup.add(beside(9, 1));
    // To find for whoever asks the first of them for its neighbours, and in nobody's answer about the target.
    let honest: Vec<Contact> = (1..=8).map(|number| beside(if number < 4 { 9 } else { 11 }, number)).collect();
    let crowd: Vec<Contact> = (0..64).map(|number| beside(20, number)).collect();
    let second = run(&mut lookup, |contact, question| match question {
        Question::Neighbours if honest.contains(&contact) => honest.clone(),
        Question::Neighbours => Vec::new(),
        Question::Target => {
            let start = usize::from(contact.addr.port() % 7 + u16::from(contact.id.as_bytes()[19])) * 8 % 64;
            crowd[start..start + 8].to_vec()
        }
    });
    assert!(lookup.is_crowded());
    assert_eq!(second, 8, "those around the crowd are asked, and nobody in it");
    let holders: Vec<Contact> = lookup.holders().map(|(contact, _)| contact).collect();
    assert!(honest.iter().all(|contact| holders.contains(contact)), "{holders:?}");
    assert!(holders.len() <= 8 + 16, "of the crowd, as many are told as of a level: {}", holders.len());
}

#[test]
fn another_crowd_on_the_way_does_not_end_the_wider_search() {
    let mut lookup =
        Lookup::new(Instant::now(), InfoHash::new([0; 20]).into(), reach_of_ten_bits(), 100).widen_in_crowds();
    (1..=40).for_each(|number| lookup.add(beside(6, number)));
    (1..=9).for_each(|number| lookup.add(beside(3, number)));
    (0..20).for_each(|number| lookup.add(beside(20, number)));
    let mut asked_at_three = 0;
    while let Some(step) = lookup.next_step(|_| true) {
        let contact = Contact { id: step.id.unwrap(), addr: step.addr };
        asked_at_three += usize::from(contact.id.as_bytes()[0] == 0x10);
        lookup.handle_answer(contact, None);
    }
    assert!(lookup.is_done());
    assert_eq!(asked_at_three, 5, "forty nodes of one level count as eight of the thirteen witnesses");
}

#[test]
fn a_neighbourhood_that_is_as_full_as_others_is_no_crowd() {
    let targets_reach = reach_of_ten_bits();
    // Twice the nodes that are to be expected, spread as nodes are.
    let neighbours = [(9, 8), (10, 4), (11, 2), (12, 1), (13, 1)];
    let nodes = || neighbours.iter().flat_map(|(bits, count)| (0..*count).map(|number| beside(*bits, number)));
    let mut lookup = Lookup::new(Instant::now(), InfoHash::new([0; 20]).into(), targets_reach, 100).widen_in_crowds();
    nodes().for_each(|contact| lookup.add(contact));
    assert_eq!(run(&mut lookup, |_, _| Vec::new()), 0);
    assert!(!lookup.is_crowded());
    let crowd = || (0..12).map(|number| beside(15, 100 + number));
    let mut plain = Lookup::new(Instant::now(), InfoHash::new([0; 20]).into(), targets_reach, 100);
    crowd().for_each(|contact| plain.add(contact));
    assert_eq!(run(&mut plain, |_, _| Vec::new()), 0, "whoever wants the nearest has no use for a wider search");
    let mut crowded = Lookup::new(Instant::now(), InfoHash::new([0; 20]).into(), targets_reach, 100).widen_in_crowds();
    crowd().for_each(|contact| crowded.add(contact));
    run(&mut crowded, |_, _| Vec::new());
    assert!(crowded.is_crowded());
}

#[test]
fn a_second_question_that_is_not_answered_holds_nothing_up_but_the_end() {
    let mut lookup =
        Lookup::new(Instant::now(), InfoHash::new([0; 20]).into(), reach_of_ten_bits(), 100).widen_in_crowds();
    (0..20).for_each(|number| lookup.add(beside(20, number)));
    lookup.add(beside(9, 1));
    let mut silent = None;
    while let Some(step) = lookup.next_step(|_| true) {
        match step.question {
            Question::Target => lookup.handle_answer(Contact { id: step.id.unwrap(), addr: step.addr }, None),
            Question::Neighbours => silent = Some(step.addr),
        }
    }
    assert_eq!(silent, Some(beside(9, 1).addr));
    assert!(!lookup.is_done());
    lookup.handle_neighbours(beside(9, 1).addr);
    assert!(lookup.is_done());
}
