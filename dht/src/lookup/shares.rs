//! Limits on what one host, one network or one liar can make of a lookup.

use std::net::{IpAddr, SocketAddr};

use super::candidate::{Candidate, State};
use crate::{Network, is_local};

/// Nodes of one subnet that are asked: one may be a neighbour of another, more look like one owner.
const NETWORK_MAX: usize = 2;
/// Of what a node names, this many are under way at once until the first answers.
const UNPROVEN_MAX: usize = 4;
/// A node of which this many suggestions were silent and none answered is doubted. Where half of all contacts are dead,
/// one honest node of 64 is.
const DOUBT_AFTER: usize = 6;
/// Nodes whose id does not belong to their address (BEP 42) that are asked before all others.
const VIOLATORS_MAX: usize = 16;

/// What is to be held against a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    Welcome,
    /// Others of its suggester have to answer first.
    Later,
    /// It is asked only when nobody else is left.
    Doubtful,
    /// Its address or network had its share.
    Crowded,
}

/// Counts over the candidates of a lookup.
#[derive(Debug)]
pub(super) struct Shares {
    /// Addresses of those asked, unless they failed.
    busy: Vec<IpAddr>,
    suggesters: Vec<(SocketAddr, Record)>,
    violators: usize,
}

/// What became of a node's suggestions.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    flying: usize,
    silent: usize,
    answered: usize,
}

impl Shares {
    pub(super) fn of(candidates: &[Candidate]) -> Self {
        let mut shares = Self { busy: Vec::new(), suggesters: Vec::new(), violators: 0 };
        for candidate in candidates.iter().filter(|candidate| candidate.state != State::Fresh) {
            let ip = candidate.contact.addr.ip();
            shares.violators += usize::from(!candidate.is_compliant);
            if candidate.state != State::Failed && !is_local(ip) {
                shares.busy.push(ip);
            }
            let Some(suggester) = candidate.suggester else { continue };
            let known = shares.suggesters.iter().position(|(addr, _)| *addr == suggester);
            let at = known.unwrap_or_else(|| {
                shares.suggesters.push((suggester, Record::default()));
                shares.suggesters.len() - 1
            });
            let record = &mut shares.suggesters[at].1;
            record.flying += usize::from(candidate.state == State::Asked);
            record.silent += usize::from(candidate.state.is_silent());
            record.answered += usize::from(candidate.state == State::Answered);
        }
        shares
    }

    /// What is to be held against asking this one.
    pub(super) fn standing(&self, candidate: &Candidate) -> Standing {
        let ip = candidate.contact.addr.ip();
        let network = Network::subnet(ip);
        let neighbours = self.busy.iter().filter(|other| Network::subnet(**other) == network);
        if self.busy.contains(&ip) || neighbours.count() >= NETWORK_MAX {
            return Standing::Crowded;
        }
        if self.doubts(candidate.suggester) || (!candidate.is_compliant && self.violators >= VIOLATORS_MAX) {
            return Standing::Doubtful;
        }
        match self.record(candidate.suggester) {
            Some(record) if record.answered == 0 && record.flying >= UNPROVEN_MAX => Standing::Later,
            _ => Standing::Welcome,
        }
    }

    /// Whether a node named only what does not answer.
    pub(super) fn doubts(&self, suggester: Option<SocketAddr>) -> bool {
        self.record(suggester).is_some_and(|record| record.answered == 0 && record.silent >= DOUBT_AFTER)
    }

    fn record(&self, suggester: Option<SocketAddr>) -> Option<Record> {
        let suggester = suggester?;
        self.suggesters.iter().find(|(addr, _)| *addr == suggester).map(|(_, record)| *record)
    }
}
