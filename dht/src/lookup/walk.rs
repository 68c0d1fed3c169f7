use std::net::SocketAddr;
use std::time::Instant;

use super::candidate::{Candidate, Seed, State};
use super::crowd::{CrowdSearch, Tally};
use super::shares::{Shares, Standing};
use crate::id::K;
use crate::{Contact, Distance, NodeId, Target};

/// Answers that end a lookup: the five beyond the result name neighbours that the eight did not know.
const ANSWERS_WANTED: usize = 13;
/// Queries under way at once, stalled ones not counted, in a lookup of usual width.
const FLYING_MAX: usize = 12;
/// Queries under way to nodes nearer than one that is to be asked. Progress is asked at once, whatever else is under
/// way: farther ones do not take its slot. Of usual width, too.
const NEARER_FLYING_MAX: usize = 6;
/// What a query under way counts where an answer counts `ANSWER_WEIGHT`: of those asked, about as many answer.
const FLYING_WEIGHT: usize = 2;
const ANSWER_WEIGHT: usize = 5;
/// Candidates that are kept; farther ones are useless.
const CANDIDATES_MAX: usize = 192;
/// Queries, however crowded the target is made to look: for a crowd of 64, those around it, asked twice, and the dead
/// among them, about 230 are enough.
const ASKED_MAX: usize = 384;
/// Nodes of one answer that are looked at.
const NAMED_MAX: usize = K;
/// Nodes that are to hold something: more than eight only where the target is more crowded than the network is.
const HOLDERS_MAX: usize = 112;
/// Seeds without a known id (routers) that are asked.
const SEEDS_MAX: usize = 16;
/// The longest token that is kept (BEP 5 sets no limit).
const TOKEN_LEN_MAX: usize = 128;

/// Steps towards a target, asking the nearest known nodes for nearer ones.
///
/// A node that is silent for the stall time frees its slot; later, it does not hold up the end either. A late answer still
/// counts. Nodes whose id does not belong to their address (BEP 42) are asked, and do not count.
#[derive(Debug)]
pub(crate) struct Lookup {
    target: Target,
    started: Instant,
    /// Nearest first.
    candidates: Vec<Candidate>,
    /// Addresses of which the id is not known.
    seeds: Vec<Seed>,
    /// The distance at which the eighth node is to be expected. Whoever answers within is to hold what the target names.
    reach: Option<Distance>,
    /// How many queries may be under way, in percent of the usual number.
    width: usize,
    /// Whether it looks wider where a crowd gathers around the target.
    may_widen: bool,
    crowd: Option<CrowdSearch>,
    asked: usize,
    answered: usize,
}

/// Whom a lookup asks next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) addr: SocketAddr,
    pub(crate) id: Option<NodeId>,
    /// Who named it.
    pub(crate) suggester: Option<SocketAddr>,
    pub(crate) question: Question,
}

/// What a node is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// What the lookup is for.
    Target,
    /// The nodes nearest to itself.
    Neighbours,
}

impl Lookup {
    pub(crate) fn new(now: Instant, target: Target, reach: Option<Distance>, width: usize) -> Self {
        Self {
            target,
            started: now,
            candidates: Vec::new(),
            seeds: Vec::new(),
            reach,
            width,
            may_widen: false,
            crowd: None,
            asked: 0,
            answered: 0,
        }
    }

    /// Has it look wider where a crowd gathers around the target. That takes several times as many queries, and is of use
    /// to those who want what honest nodes hold, or have them hold something.
    pub(crate) fn widen_in_crowds(mut self) -> Self {
        self.may_widen = true;
        self
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

    /// A node is known from before.
    pub(crate) fn add(&mut self, contact: Contact) {
        if !self.knows(contact.addr) {
            self.insert(contact, State::Fresh, None, None);
        }
    }

    /// An address of which the id is not known.
    pub(crate) fn add_seed(&mut self, addr: SocketAddr) {
        if !self.knows(addr) && self.seeds.len() < SEEDS_MAX {
            self.seeds.push(Seed { addr, state: State::Fresh });
        }
    }

    /// A node named others: the nearest of them are candidates.
    pub(crate) fn handle_named(&mut self, from: SocketAddr, named: impl Iterator<Item = Contact>) {
        let mut nearest: Vec<Contact> = named.collect();
        nearest.sort_unstable_by_key(|contact| self.target.distance(&contact.id));
        nearest.truncate(NAMED_MAX);
        let shares = Shares::of(&self.candidates);
        for contact in nearest {
            let known = self.candidates.iter_mut().find(|candidate| candidate.contact.addr == contact.addr);
            match known {
                // A better witness than the first.
                Some(known) if known.contact == contact && shares.doubts(known.suggester) => {
                    known.suggester = Some(from);
                }
                Some(_) => {}
                None if self.seeds.iter().any(|seed| seed.addr == contact.addr) => {}
                None => self.insert(contact, State::Fresh, None, Some(from)),
            }
        }
    }

    /// Whom to ask next, if a slot is free and `may_ask` allows it; it counts as asked.
    pub(crate) fn next_step(&mut self, may_ask: impl Fn(SocketAddr) -> bool) -> Option<Step> {
        if self.flying() >= FLYING_MAX * self.width / 100 || self.asked >= ASKED_MAX {
            return None;
        }
        if let Some(crowd) = &mut self.crowd
            && let Some(Contact { addr, id }) = crowd.next(&self.candidates, &may_ask)
        {
            self.asked += 1;
            return Some(Step { addr, id: Some(id), suggester: None, question: Question::Neighbours });
        }
        if let Some(index) = self.pick(&may_ask) {
            let candidate = &mut self.candidates[index];
            candidate.state = State::Asked;
            self.asked += 1;
            let Contact { addr, id } = candidate.contact;
            return Some(Step { addr, id: Some(id), suggester: candidate.suggester, question: Question::Target });
        }
        let seed = self.seeds.iter_mut().find(|seed| seed.state == State::Fresh && may_ask(seed.addr))?;
        seed.state = State::Asked;
        self.asked += 1;
        Some(Step { addr: seed.addr, id: None, suggester: None, question: Question::Target })
    }

    /// A node answered.
    pub(crate) fn handle_answer(&mut self, contact: Contact, token: Option<&[u8]>) {
        let token: Option<Box<[u8]>> = token.filter(|token| token.len() <= TOKEN_LEN_MAX).map(Into::into);
        self.answered += 1;
        let mut suggester = None;
        let at = |candidate: &&mut Candidate| candidate.contact.addr == contact.addr;
        if let Some(candidate) = self.candidates.iter_mut().find(at) {
            if candidate.contact.id == contact.id {
                candidate.state = State::Answered;
                candidate.token = token;
                self.widen();
                return;
            }
            // Whoever lives there, the node that was named does not: its place near the target was made up or is stale.
            candidate.state = State::Failed;
            suggester = candidate.suggester;
        }
        if self.candidates.iter().any(|candidate| candidate.contact == contact) {
            return;
        }
        if let Some(seed) = self.seeds.iter_mut().find(|seed| seed.addr == contact.addr) {
            seed.state = State::Answered;
        }
        self.insert(contact, State::Answered, token, suggester);
        self.widen();
    }

    /// A node said who its neighbours are, or nobody waits for that any more.
    pub(crate) fn handle_neighbours(&mut self, addr: SocketAddr) {
        if let Some(crowd) = &mut self.crowd {
            crowd.handle_over(addr);
        }
    }

    /// Whether a crowd gathers around the target, for which it looks wider.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowd.is_some()
    }

    /// A node is silent for the stall time.
    pub(crate) fn handle_stalled(&mut self, addr: SocketAddr) {
        self.change(addr, State::stalled);
    }

    /// A node is silent for so long that few answers are still to come.
    pub(crate) fn handle_given_up(&mut self, addr: SocketAddr) {
        self.change(addr, State::given_up);
    }

    /// A node does not answer.
    pub(crate) fn handle_failed(&mut self, addr: SocketAddr) {
        self.change(addr, State::failed);
    }

    /// Whether nothing that is still to come could change the result.
    pub(crate) fn is_done(&self) -> bool {
        let may_ask = self.asked < ASKED_MAX;
        let is_open = |state: State| state.is_open() && (may_ask || state != State::Fresh);
        if may_ask && self.crowd.as_ref().is_some_and(|crowd| !crowd.is_done(&self.candidates)) {
            return false;
        }
        if self.answered < K && self.seeds.iter().any(|seed| is_open(seed.state)) {
            return false;
        }
        let shares = Shares::of(&self.candidates);
        let (mut found, mut tally) = (0, Tally::default());
        for candidate in &self.candidates {
            if found >= ANSWERS_WANTED && !self.is_within_reach(candidate) {
                return true;
            }
            match candidate.state {
                State::Answered => found += usize::from(self.counts_towards_end(candidate, &mut tally)),
                State::Asked => return false,
                // One that is slow and not in the result could only name others.
                State::Stalled if found < K => return false,
                State::Fresh if may_ask => match shares.standing(candidate) {
                    Standing::Welcome | Standing::Later => return false,
                    Standing::Doubtful if self.answered < K => return false,
                    Standing::Doubtful | Standing::Crowded => {}
                },
                _ => {}
            }
        }
        true
    }

    /// The nearest nodes that answered, nearest first, at most eight: those that violate BEP 42 only where there are not
    /// enough others.
    pub(crate) fn closest(&self) -> impl Iterator<Item = (Contact, Option<&[u8]>)> {
        let answered = || self.candidates.iter().filter(|candidate| candidate.state == State::Answered);
        let compliant = answered().filter(|candidate| candidate.is_compliant).count();
        let mut violators_left = K.saturating_sub(compliant);
        let counts = move |candidate: &&Candidate| {
            if candidate.is_compliant {
                return true;
            }
            let fits = violators_left > 0;
            violators_left = violators_left.saturating_sub(1);
            fits
        };
        answered().filter(counts).take(K).map(|candidate| (candidate.contact, candidate.token.as_deref()))
    }

    /// The nodes that are to hold what the target names, nearest first: the closest, others as near as those, and where
    /// that is a crowd, everyone within the distance at which the eighth is to be expected, and for a larger crowd
    /// those around it, a limited number of each level: so a crowd does not keep it from the others that the lookup
    /// found.
    pub(crate) fn holders(&self) -> impl Iterator<Item = (Contact, Option<&[u8]>)> {
        let last = self.closest().last().map(|(contact, _)| self.target.distance(&contact.id));
        let reach = self.crowd.as_ref().map(CrowdSearch::within).or(self.reach);
        let bound = last.max(reach.filter(|_| last.is_some()));
        let answered = self.candidates.iter().filter(|candidate| candidate.state == State::Answered);
        let within = answered.filter(move |candidate| Some(candidate.distance) <= bound);
        let (mut violators, mut tally) = (0, Tally::default());
        let fits = move |candidate: &&Candidate| {
            violators += usize::from(!candidate.is_compliant);
            (candidate.is_compliant || violators <= K)
                && self.crowd.as_ref().is_none_or(|crowd| crowd.may_hold(candidate, &mut tally))
        };
        within.filter(fits).take(HOLDERS_MAX).map(|candidate| (candidate.contact, candidate.token.as_deref()))
    }

    /// The distances of those who answered and whose id belongs to their address, nearest first.
    pub(crate) fn distances(&self) -> impl Iterator<Item = Distance> {
        let counts = |candidate: &&Candidate| candidate.state == State::Answered && candidate.is_compliant;
        self.candidates.iter().filter(counts).map(|candidate| candidate.distance)
    }

    /// Panics when the lookup contradicts itself or is larger than it may be.
    pub(crate) fn check_invariants(&self) {
        assert!(self.candidates.len() <= CANDIDATES_MAX + ASKED_MAX, "too many candidates");
        assert!(self.seeds.len() <= SEEDS_MAX, "too many seeds");
        assert!(self.asked <= ASKED_MAX && self.flying() <= FLYING_MAX * self.width / 100, "too many queries");
        self.crowd.iter().for_each(|crowd| crowd.check_invariants(ASKED_MAX));
        assert!(self.candidates.is_sorted_by_key(|candidate| candidate.distance), "nearest first");
        for (index, candidate) in self.candidates.iter().enumerate() {
            assert_eq!(candidate.distance, self.target.distance(&candidate.contact.id), "a wrong distance");
            let others = &self.candidates[index + 1..];
            assert!(others.iter().all(|other| other.contact != candidate.contact), "a candidate twice");
        }
    }

    fn flying(&self) -> usize {
        let states = self.candidates.iter().map(|candidate| candidate.state);
        let first = states.chain(self.seeds.iter().map(|seed| seed.state)).filter(|state| *state == State::Asked);
        first.count() + self.crowd.as_ref().map_or(0, CrowdSearch::flying)
    }

    fn widen(&mut self) {
        if let (true, None, Some(reach)) = (self.may_widen, &self.crowd, self.reach) {
            self.crowd = CrowdSearch::for_crowd(&self.candidates, reach);
        }
    }

    /// Whether an answer is one of those that end the lookup.
    fn counts_towards_end(&self, candidate: &Candidate, tally: &mut Tally) -> bool {
        candidate.is_compliant && self.crowd.as_ref().is_none_or(|crowd| crowd.is_witness(candidate, tally))
    }

    fn is_within_reach(&self, candidate: &Candidate) -> bool {
        match &self.crowd {
            Some(crowd) => crowd.covers(candidate),
            None => self.reach.is_some_and(|reach| candidate.distance <= reach),
        }
    }

    /// The candidate that is to be asked next.
    fn pick(&self, may_ask: impl Fn(SocketAddr) -> bool) -> Option<usize> {
        let shares = Shares::of(&self.candidates);
        let (mut weight, mut flying, mut doubtful, mut tally) = (0, 0, None, Tally::default());
        // All around a crowd is to be asked, and nothing there is nearer than another.
        let nearer_flying_max = if self.crowd.is_some() { FLYING_MAX } else { NEARER_FLYING_MAX };
        for (index, candidate) in self.candidates.iter().enumerate() {
            let is_enough = weight >= ANSWERS_WANTED * ANSWER_WEIGHT && !self.is_within_reach(candidate);
            if is_enough || flying >= nearer_flying_max * self.width / 100 {
                return None;
            }
            match candidate.state {
                State::Answered if self.counts_towards_end(candidate, &mut tally) => weight += ANSWER_WEIGHT,
                State::Asked => {
                    weight += if self.is_crowded() && self.is_within_reach(candidate) { 0 } else { FLYING_WEIGHT };
                    flying += 1;
                }
                State::Fresh if may_ask(candidate.contact.addr) => match shares.standing(candidate) {
                    Standing::Welcome => return Some(index),
                    Standing::Doubtful => doubtful = doubtful.or(Some(index)),
                    Standing::Later | Standing::Crowded => {}
                },
                _ => {}
            }
        }
        doubtful.filter(|_| flying == 0 && self.answered < K)
    }

    fn knows(&self, addr: SocketAddr) -> bool {
        self.candidates.iter().any(|candidate| candidate.contact.addr == addr)
            || self.seeds.iter().any(|seed| seed.addr == addr)
    }

    fn insert(&mut self, contact: Contact, state: State, token: Option<Box<[u8]>>, suggester: Option<SocketAddr>) {
        let distance = self.target.distance(&contact.id);
        let at = self.candidates.partition_point(|candidate| candidate.distance < distance);
        if at >= CANDIDATES_MAX && state == State::Fresh {
            return;
        }
        let is_compliant = contact.id.is_valid_for(contact.addr.ip());
        self.candidates.insert(at, Candidate { distance, contact, state, token, suggester, is_compliant });
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
