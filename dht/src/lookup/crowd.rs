//! The wider search around a target that a crowd gathers around.
//!
//! A crowd fills the buckets that the honest nodes have for the target's neighbourhood, so that their answers name hardly
//! anybody else. What it does not fill is the buckets that its honest neighbours have of each other: whoever answered
//! from around the crowd is asked a second time, for the nodes nearest to itself.

use std::net::SocketAddr;

use super::candidate::{Candidate, State};
use crate::id::K;
use crate::{Contact, Distance};

/// A crowd is this many nodes beside twice as many as are to be expected as near: of 20,000 lookups among 10,000 nodes,
/// three took an honest neighbourhood for one, with five instead of six fifteen.
const CROWD_MIN: f64 = 6.0;
/// Nodes within the reach, by its definition.
const REACH_NODES: f64 = 8.0;
/// Everyone within this many times the reach is asked: who lives there has a bucket for the target's neighbourhood that
/// holds honest nodes besides the crowd. With twice as many, the queries grow by half, and hardly more is found.
const ASKED_REACHES: f64 = 4.0;
/// Everyone found within this many times the reach is told: the eighth honest node may be farther than expected, and
/// the size of the network is an estimate.
const TOLD_REACHES: f64 = 2.0;
/// And, where fewer live there, this many of the next, as many as are to be expected there.
const AROUND_MIN: usize = 16;
/// Bits behind those of the reach from where on no honest node is to be expected: the sixteenth part of it has half a
/// node. All that is nearer counts as one level.
const CORE_BITS: u32 = 5;
/// Answers of one level (nodes that share the same number of bits with the target) that count as witnesses, as many as a
/// bucket has. More of them may be another crowd.
const LEVEL_WITNESSES_MAX: usize = K;
/// Nodes of one level that are told: twice the eight that can be among the nearest. Whatever a crowd grows to, it does
/// not push others out.
const LEVEL_HOLDERS_MAX: usize = 2 * K;

/// How far a lookup looks that found a crowd, and whom it asked a second time.
#[derive(Debug)]
pub(super) struct CrowdSearch {
    within: Distance,
    told_within: Distance,
    /// The number of common bits from which on there are no levels.
    core: u32,
    asked: Vec<(SocketAddr, Second)>,
}

/// How it is with a second question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    Asked,
    Over,
}

/// Counts candidates level by level; they come nearest first.
#[derive(Debug, Default)]
pub(super) struct Tally {
    level: u32,
    count: usize,
    /// Holders outside of the core.
    around: usize,
}

impl Tally {
    /// Counts one; whether it is among the first `max` of its level.
    fn admits(&mut self, level: u32, max: usize) -> bool {
        if self.level != level {
            (self.level, self.count) = (level, 0);
        }
        self.count += 1;
        self.count <= max
    }
}

impl CrowdSearch {
    /// The wider search, if far more nodes answered near the target than the network has there. `reach` is the distance
    /// at which the eighth node is to be expected. Nodes whose id does not belong to their address (BEP 42) are counted
    /// by themselves: the size of the network does not count them.
    pub(super) fn for_crowd(candidates: &[Candidate], reach: Distance) -> Option<Self> {
        let mut answered = [0.0, 0.0];
        let near = candidates.iter().take_while(|candidate| candidate.distance <= reach);
        let is_crowded = near.filter(|candidate| candidate.state == State::Answered).any(|candidate| {
            let count = &mut answered[usize::from(candidate.is_compliant)];
            *count += 1.0;
            let expected = REACH_NODES * candidate.distance.as_share() / reach.as_share();
            *count >= CROWD_MIN + 2.0 * expected
        });
        is_crowded.then(|| Self {
            within: Distance::from_share(reach.as_share() * ASKED_REACHES),
            told_within: Distance::from_share(reach.as_share() * TOLD_REACHES),
            core: reach.common_bits() + CORE_BITS,
            asked: Vec::new(),
        })
    }

    /// Whether everyone as near as this is to be asked.
    pub(super) fn covers(&self, candidate: &Candidate) -> bool {
        candidate.distance <= self.within
    }

    /// How far those may live who are told.
    pub(super) fn within(&self) -> Distance {
        self.within
    }

    /// Whether an answer brings the end nearer: those from around the region that is searched do, a few of each level.
    pub(super) fn is_witness(&self, candidate: &Candidate, tally: &mut Tally) -> bool {
        !self.covers(candidate) && tally.admits(self.level(candidate), LEVEL_WITNESSES_MAX)
    }

    /// Whether one that answered is to hold what the target names: its level has room, and it is near or few are nearer.
    pub(super) fn may_hold(&self, candidate: &Candidate, tally: &mut Tally) -> bool {
        let level = self.level(candidate);
        if !tally.admits(level, LEVEL_HOLDERS_MAX) {
            return false;
        }
        tally.around += usize::from(level < self.core);
        candidate.distance <= self.told_within || tally.around <= AROUND_MIN
    }

    fn level(&self, candidate: &Candidate) -> u32 {
        candidate.distance.common_bits().min(self.core)
    }

    /// Who is to be asked a second time next; it counts as asked.
    pub(super) fn next(&mut self, candidates: &[Candidate], may_ask: impl Fn(SocketAddr) -> bool) -> Option<Contact> {
        let contact = self.unasked(candidates).find(|contact| may_ask(contact.addr))?;
        self.asked.push((contact.addr, Second::Asked));
        Some(contact)
    }

    /// A second question was answered, or nobody waits for it any more.
    pub(super) fn handle_over(&mut self, addr: SocketAddr) {
        for (_, second) in self.asked.iter_mut().filter(|(other, _)| *other == addr) {
            *second = Second::Over;
        }
    }

    /// Second questions under way.
    pub(super) fn flying(&self) -> usize {
        self.asked.iter().filter(|(_, second)| *second == Second::Asked).count()
    }

    /// Whether nobody is left to be asked a second time, or to answer that.
    pub(super) fn is_done(&self, candidates: &[Candidate]) -> bool {
        self.flying() == 0 && self.unasked(candidates).next().is_none()
    }

    fn unasked(&self, candidates: &[Candidate]) -> impl Iterator<Item = Contact> {
        let is_around = |candidate: &&Candidate| {
            let is_known = candidate.state == State::Answered && candidate.is_compliant;
            is_known && self.covers(candidate) && self.level(candidate) < self.core
        };
        let around = candidates.iter().filter(is_around).map(|candidate| candidate.contact);
        around.filter(|contact| !self.asked.iter().any(|(addr, _)| *addr == contact.addr))
    }

    /// Panics when it asked more than `asked_max` nodes.
    pub(super) fn check_invariants(&self, asked_max: usize) {
        assert!(self.asked.len() <= asked_max, "too many second questions");
    }
}
