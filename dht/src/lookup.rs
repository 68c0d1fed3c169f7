//! One iterative lookup over one socket: whom to ask next, and when it is over.

use std::net::SocketAddr;
use std::time::Instant;

use crate::{Contact, Distance, NodeId, Target};

/// Results of a lookup, and the contacts that are told of it (BEP 5: K).
pub(crate) const K: usize = 8;
/// Queries under way at once, stalled ones not counted.
const ALPHA: usize = 5;
/// Candidates that are kept; farther ones are of no use.
const CANDIDATES_MAX: usize = 64;
/// Seeds without a known id (routers) that are asked.
const SEEDS_MAX: usize = 16;
/// The longest token that is kept (BEP 5 sets no limit).
const TOKEN_LEN_MAX: usize = 128;

/// Steps towards a target, asking the nearest known nodes for nearer ones.
///
/// A node that is silent for the stall time frees its slot; for twice that, it does not hold up the end. A late answer
/// still counts.
#[derive(Debug)]
pub(crate) struct Lookup {
    target: Target,
    started: Instant,
    /// Nearest first.
    candidates: Vec<Candidate>,
    /// Addresses of which the id is not known.
    seeds: Vec<Seed>,
    asked: usize,
    answered: usize,
}

#[derive(Debug)]
struct Candidate {
    distance: Distance,
    contact: Contact,
    state: State,
    token: Option<Box<[u8]>>,
}

#[derive(Debug)]
struct Seed {
    addr: SocketAddr,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Asked,
    Stalled,
    GivenUp,
    Answered,
    Failed,
}

/// Whom a lookup asks next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) addr: SocketAddr,
    pub(crate) id: Option<NodeId>,
}

impl Lookup {
    pub(crate) fn new(now: Instant, target: Target) -> Self {
        Self { target, started: now, candidates: Vec::new(), seeds: Vec::new(), asked: 0, answered: 0 }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.asked, self.answered)
    }

    /// Whether nothing is known to ask, nor was.
    pub(crate) fn is_starving(&self) -> bool {
        self.candidates.is_empty() && self.seeds.is_empty()
    }

    /// A node was named.
    pub(crate) fn add(&mut self, contact: Contact) {
        let known =
            |candidate: &Candidate| candidate.contact.addr == contact.addr || candidate.contact.id == contact.id;
        if self.candidates.iter().any(known) || self.seeds.iter().any(|seed| seed.addr == contact.addr) {
            return;
        }
        self.insert(contact, State::Fresh, None);
    }

    /// An address of which the id is not known.
    pub(crate) fn add_seed(&mut self, addr: SocketAddr) {
        let known = self.seeds.iter().any(|seed| seed.addr == addr)
            || self.candidates.iter().any(|candidate| candidate.contact.addr == addr);
        if !known && self.seeds.len() < SEEDS_MAX {
            self.seeds.push(Seed { addr, state: State::Fresh });
        }
    }

    /// Whom to ask next, if a slot is free; it counts as asked.
    pub(crate) fn next_step(&mut self) -> Option<Step> {
        let states = self.candidates.iter().map(|candidate| candidate.state);
        let under_way = states.chain(self.seeds.iter().map(|seed| seed.state)).filter(|state| *state == State::Asked);
        if under_way.count() >= ALPHA {
            return None;
        }
        let answered = self.candidates.iter().filter(|candidate| candidate.state == State::Answered);
        let bound = answered.map(|candidate| candidate.distance).nth(K - 1);
        let next = self.candidates.iter_mut().find(|candidate| candidate.state == State::Fresh);
        if let Some(candidate) = next.filter(|next| bound.is_none_or(|bound| next.distance < bound)) {
            candidate.state = State::Asked;
            self.asked += 1;
            return Some(Step { addr: candidate.contact.addr, id: Some(candidate.contact.id) });
        }
        let seed = self.seeds.iter_mut().find(|seed| seed.state == State::Fresh)?;
        seed.state = State::Asked;
        self.asked += 1;
        Some(Step { addr: seed.addr, id: None })
    }

    /// A node answered.
    pub(crate) fn handle_answer(&mut self, contact: Contact, token: Option<&[u8]>) {
        let token: Option<Box<[u8]>> = token.filter(|token| token.len() <= TOKEN_LEN_MAX).map(Into::into);
        self.answered += 1;
        let at = |candidate: &&mut Candidate| candidate.contact.addr == contact.addr;
        if let Some(candidate) = self.candidates.iter_mut().find(at) {
            if candidate.contact.id == contact.id {
                candidate.state = State::Answered;
                candidate.token = token;
                return;
            }
            // Whoever lives there, the node that was named does not: its place near the target was made up or is stale.
            candidate.state = State::Failed;
        }
        if self.candidates.iter().any(|candidate| candidate.contact == contact) {
            return;
        }
        if let Some(seed) = self.seeds.iter_mut().find(|seed| seed.addr == contact.addr) {
            seed.state = State::Answered;
        }
        self.insert(contact, State::Answered, token);
    }

    /// A node is silent for the stall time.
    pub(crate) fn handle_stalled(&mut self, addr: SocketAddr) {
        self.change(addr, |state| if state == State::Asked { State::Stalled } else { state });
    }

    /// A node is silent for twice the stall time.
    pub(crate) fn handle_given_up(&mut self, addr: SocketAddr) {
        self.change(addr, |state| if state == State::Answered { state } else { State::GivenUp });
    }

    /// A node does not answer.
    pub(crate) fn handle_failed(&mut self, addr: SocketAddr) {
        self.change(addr, |state| if state == State::Answered { state } else { State::Failed });
    }

    /// Whether nothing that is still to come could change the result.
    pub(crate) fn is_done(&self) -> bool {
        let waits = |state: State| matches!(state, State::Fresh | State::Asked | State::Stalled);
        if self.seeds.iter().any(|seed| waits(seed.state)) && self.answered < K {
            return false;
        }
        let mut found = 0;
        for candidate in &self.candidates {
            if found == K {
                return true;
            }
            if waits(candidate.state) {
                return false;
            }
            found += usize::from(candidate.state == State::Answered);
        }
        true
    }

    /// The nearest nodes that answered, nearest first.
    pub(crate) fn closest(&self) -> impl Iterator<Item = (Contact, Option<&[u8]>)> {
        let answered = self.candidates.iter().filter(|candidate| candidate.state == State::Answered);
        answered.take(K).map(|candidate| (candidate.contact, candidate.token.as_deref()))
    }

    fn insert(&mut self, contact: Contact, state: State, token: Option<Box<[u8]>>) {
        let distance = self.target.distance(&contact.id);
        let at = self.candidates.partition_point(|candidate| candidate.distance < distance);
        if at >= CANDIDATES_MAX {
            return;
        }
        self.candidates.insert(at, Candidate { distance, contact, state, token });
        if self.candidates.len() > CANDIDATES_MAX {
            // One that was asked stays: its answer would not be known otherwise.
            if let Some(last) = self.candidates.iter().rposition(|candidate| candidate.state == State::Fresh) {
                self.candidates.remove(last);
            }
        }
    }

    fn change(&mut self, addr: SocketAddr, change: impl Fn(State) -> State) {
        if let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.contact.addr == addr) {
            candidate.state = change(candidate.state);
        }
        if let Some(seed) = self.seeds.iter_mut().find(|seed| seed.addr == addr) {
            seed.state = change(seed.state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InfoHash;

    fn contact(number: u8) -> Contact {
        let mut id = [0; 20];
        id[0] = number;
        Contact { id: NodeId::new(id), addr: ([10, 0, number, 1], 6881).into() }
    }

    fn lookup() -> Lookup {
        Lookup::new(Instant::now(), InfoHash::new([0; 20]).into())
    }

    #[test]
    fn the_nearest_are_asked_first_and_no_more_than_alpha_at_once() {
        let mut lookup = lookup();
        (1..=20).rev().for_each(|number| lookup.add(contact(number)));
        let asked: Vec<_> = std::iter::from_fn(|| lookup.next_step()).map(|step| step.addr).collect();
        assert_eq!(asked, (1..=ALPHA as u8).map(|number| contact(number).addr).collect::<Vec<_>>());
        lookup.handle_stalled(contact(1).addr);
        assert_eq!(lookup.next_step().map(|step| step.addr), Some(contact(6).addr), "a stalled one frees its slot");
    }

    #[test]
    fn it_ends_with_eight_answers_that_nothing_nearer_can_change() {
        let mut lookup = lookup();
        (1..=20).for_each(|number| lookup.add(contact(number)));
        let mut steps = 0;
        while let Some(step) = lookup.next_step() {
            steps += 1;
            let number = match step.addr {
                SocketAddr::V4(addr) => addr.ip().octets()[2],
                SocketAddr::V6(_) => 0,
            };
            if number == 2 {
                lookup.handle_stalled(step.addr);
            } else {
                lookup.handle_answer(contact(number), Some(b"token"));
            }
        }
        assert_eq!(steps, 9);
        assert!(!lookup.is_done(), "number 2 may still answer");
        lookup.handle_given_up(contact(2).addr);
        assert!(lookup.is_done());
        let closest: Vec<_> = lookup.closest().map(|(contact, _)| contact).collect();
        assert_eq!(closest, [1, 3, 4, 5, 6, 7, 8, 9].map(contact));
        lookup.handle_answer(contact(2), None);
        assert_eq!(lookup.closest().nth(1).map(|(contact, _)| contact), Some(contact(2)), "late, and it counts");
    }

    #[test]
    fn a_router_leads_into_the_network() {
        let mut lookup = lookup();
        assert!(lookup.is_starving());
        lookup.add_seed(contact(99).addr);
        assert_eq!(lookup.next_step(), Some(Step { addr: contact(99).addr, id: None }));
        assert!(!lookup.is_done());
        lookup.add(contact(1));
        lookup.handle_answer(contact(99), None);
        assert_eq!(lookup.next_step().map(|step| step.addr), Some(contact(1).addr));
        lookup.handle_failed(contact(1).addr);
        assert!(lookup.is_done());
    }

    #[test]
    fn who_answers_under_another_id_than_it_was_named_with_is_not_found_under_that() {
        let mut lookup = lookup();
        lookup.add(contact(1));
        let step = lookup.next_step().unwrap();
        let real = Contact { id: contact(200).id, addr: step.addr };
        lookup.handle_answer(real, Some(b"token"));
        assert_eq!(lookup.closest().map(|(contact, _)| contact).collect::<Vec<_>>(), [real]);
        assert!(lookup.is_done());
        lookup.handle_answer(real, Some(b"token"));
        assert_eq!(lookup.closest().count(), 1);
    }
}
