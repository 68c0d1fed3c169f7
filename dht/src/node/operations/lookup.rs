use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::get::Get;
use super::keep::Run;
use super::kind::Kind;
use super::operation::{Content, Operation};
use super::put::Put;
use crate::event::{Event, GetOutcome, Hop, LookupOutcome, OperationId, PutOutcome, ScrapeOutcome, SocketIndex};
use crate::id::K;
use crate::krpc::{Method, Response};
use crate::lookup::{Lookup, Question, Step};
use crate::node::Node;
use crate::node::socket_state::SocketState;
use crate::rpc::{Purpose, Silence};
use crate::{Contact, Family, Target};

/// How long a lookup waits for someone to ask before it ends empty.
const STARVING_MAX: Duration = Duration::from_secs(10);
/// Contacts that a lookup begins with.
const START_CONTACTS: usize = 16;
/// Contacts that it is given besides when a crowd gathers around the target: the nearest may all belong to that.
const CROWD_CONTACTS: usize = 64;
/// A target that shares this many bits with the own id lies in the own neighbourhood.
const NEIGHBOURHOOD_BITS_MIN: u32 = 8;

impl Node {
    pub(in crate::node) fn start_lookup(
        &mut self,
        now: Instant,
        target: Target,
        kind: Kind,
        keeper: Option<OperationId>,
    ) -> OperationId {
        let width = self.transactions.width();
        let lookups = self
            .sockets
            .iter_mut()
            .map(|state| {
                state.table.refreshed(now, &target);
                let lookup = Lookup::new(now, target, state.size.reach(), width);
                let mut lookup = if kind.is_about_holders() { lookup.widen_in_crowds() } else { lookup };
                feed(now, &mut lookup, state);
                lookup
            })
            .collect();
        let operation = self.insert(Operation::Lookup { kind, keeper, lookups, starving_until: now + STARVING_MAX });
        self.advance(now, operation);
        operation
    }

    /// Gives lookups that have nobody to ask whom is known by now.
    pub(in crate::node) fn feed_starving(&mut self, now: Instant) {
        let mut fed = Vec::new();
        for (id, operation) in &mut self.operations {
            let Operation::Lookup { lookups, .. } = operation else { continue };
            for (lookup, state) in lookups.iter_mut().zip(&self.sockets).filter(|(lookup, _)| lookup.is_starving()) {
                feed(now, lookup, state);
            }
            fed.push(*id);
        }
        for operation in fed {
            self.advance(now, operation);
        }
    }

    /// Sends what a lookup wants to ask, and ends it when it is done.
    pub(in crate::node) fn advance(&mut self, now: Instant, operation: OperationId) {
        for socket in (0..self.sockets.len()).map(SocketIndex) {
            while let Some(step) = self.next_step(now, operation, socket) {
                let may_sample = self.sampled.wait(now, step.addr).is_none();
                let Some(Operation::Lookup { kind, lookups, .. }) = self.operations.get(&operation) else { return };
                let (method, purpose) = match (step.question, step.id) {
                    (Question::Neighbours, Some(id)) => {
                        (Method::FindNode { target: id.into() }, Purpose::Neighbours(operation))
                    }
                    _ => (kind.method(*lookups[socket.0].target(), may_sample), Purpose::Lookup(operation)),
                };
                let Step { addr, id, suggester, question } = step;
                let is_sent = self.query(now, socket, addr, id, purpose, method);
                match question {
                    Question::Target if is_sent => self.tell_hop(operation, addr, Hop::Asked { id, suggester }),
                    Question::Target => self.change_lookup(operation, socket, |lookup| lookup.handle_failed(addr)),
                    Question::Neighbours if is_sent => {}
                    Question::Neighbours => {
                        self.change_lookup(operation, socket, |lookup| lookup.handle_neighbours(addr));
                    }
                }
            }
        }
        self.finish_if_done(now, operation);
    }

    /// Whom the lookup asks next, among those that the budget of endpoints admits.
    fn next_step(&mut self, now: Instant, operation: OperationId, socket: SocketIndex) -> Option<Step> {
        let Self { operations, endpoints, .. } = self;
        let Some(Operation::Lookup { lookups, .. }) = operations.get_mut(&operation) else { return None };
        let step = lookups.get_mut(socket.0)?.next_step(|addr| endpoints.admits(now, addr));
        if step.is_none() && self.room_at.is_none() {
            let wait = endpoints.wait(now);
            self.room_at = (!wait.is_zero()).then(|| now + wait);
        }
        step
    }

    /// Lets lookups continue that had to wait because too many endpoints were new.
    pub(in crate::node) fn go_on_after_waiting(&mut self, now: Instant) {
        if self.room_at.is_none_or(|room_at| room_at > now) {
            return;
        }
        self.room_at = None;
        let is_lookup = |operation: &Operation| matches!(operation, Operation::Lookup { .. });
        let waiting = self.operations.iter().filter(|(_, operation)| is_lookup(operation));
        for operation in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.advance(now, operation);
        }
    }

    /// Tells a step of a lookup, if someone wants to know.
    fn tell_hop(&mut self, operation: OperationId, addr: SocketAddr, hop: Hop) {
        if let Some(Operation::Lookup { kind: Kind::Trace(_), .. }) = self.operations.get(&operation) {
            self.tell(Event::Hop { operation, addr, hop });
        }
    }

    fn change_lookup(&mut self, operation: OperationId, socket: SocketIndex, change: impl FnOnce(&mut Lookup)) {
        if let Some(Operation::Lookup { lookups, .. }) = self.operations.get_mut(&operation)
            && let Some(lookup) = lookups.get_mut(socket.0)
        {
            change(lookup);
        }
    }

    pub(in crate::node) fn handle_lookup_silence(
        &mut self,
        now: Instant,
        operation: OperationId,
        socket: SocketIndex,
        addr: SocketAddr,
        silence: Silence,
    ) {
        self.change_lookup(operation, socket, |lookup| match silence {
            Silence::Stalled => lookup.handle_stalled(addr),
            Silence::GivenUp => lookup.handle_given_up(addr),
            Silence::Failed => lookup.handle_failed(addr),
        });
        let hop = match silence {
            Silence::Stalled => Hop::Stalled,
            Silence::GivenUp => Hop::GivenUp,
            Silence::Failed => Hop::Failed,
        };
        self.tell_hop(operation, addr, hop);
        self.advance(now, operation);
    }

    pub(in crate::node) fn handle_lookup_answer(
        &mut self,
        now: Instant,
        operation: OperationId,
        socket: SocketIndex,
        (contact, rtt): (Contact, Duration),
        response: &Response<'_>,
    ) {
        let Some(Operation::Lookup { lookups, .. }) = self.operations.get_mut(&operation) else { return };
        if let Some((lookup, state)) = lookups.get_mut(socket.0).zip(self.sockets.get(socket.0)) {
            let was_crowded = lookup.is_crowded();
            lookup.handle_answer(contact, response.token);
            if lookup.is_crowded() && !was_crowded {
                let target = *lookup.target();
                state.table.nearest(&target, CROWD_CONTACTS).iter().for_each(|contact| lookup.add(*contact));
            }
        }
        for (lookup, state) in lookups.iter_mut().zip(&self.sockets) {
            handle_named(now, lookup, state, contact.addr, response);
        }
        let nodes = [Family::V4, Family::V6].map(|family| response.nodes_of(family).count()).iter().sum();
        let (values, has_token) = (response.values.iter().count(), response.token.is_some());
        let is_compliant = contact.id.is_valid_for(contact.addr.ip());
        let hop = Hop::Answered { id: contact.id, rtt, nodes, values, has_token, is_compliant };
        self.tell_hop(operation, contact.addr, hop);
        self.handle_finding(now, operation, socket, contact, response);
        self.advance(now, operation);
    }

    /// A node named its neighbours, or was silent.
    pub(in crate::node) fn handle_neighbours(
        &mut self,
        now: Instant,
        operation: OperationId,
        socket: SocketIndex,
        addr: SocketAddr,
        response: Option<&Response<'_>>,
    ) {
        let Some(Operation::Lookup { lookups, .. }) = self.operations.get_mut(&operation) else { return };
        if let Some((lookup, state)) = lookups.get_mut(socket.0).zip(self.sockets.get(socket.0)) {
            lookup.handle_neighbours(addr);
            if let Some(response) = response {
                handle_named(now, lookup, state, addr, response);
            }
        }
        self.advance(now, operation);
    }

    /// What an answer says besides nodes.
    fn handle_finding(
        &mut self,
        now: Instant,
        operation: OperationId,
        socket: SocketIndex,
        contact: Contact,
        response: &Response<'_>,
    ) {
        let Some(Operation::Lookup { kind, keeper, .. }) = self.operations.get_mut(&operation) else { return };
        let told = keeper.unwrap_or(operation);
        match kind {
            Kind::Table | Kind::FindNode | Kind::Announce(_) => {}
            Kind::GetPeers(_) | Kind::Trace(_) => {
                let filter = self.sockets[socket.0].guard.filter();
                let peers: Vec<SocketAddr> =
                    response.values.iter().filter(|peer| filter.check(*peer).is_ok()).collect();
                if !peers.is_empty() {
                    self.tell(Event::Peers { operation, peers, from: contact.addr });
                }
            }
            Kind::Get(get) => {
                if let Some(item) = get.handle_answer(response) {
                    if let (Some(keeper), Some(seq)) = (*keeper, item.seq()) {
                        self.handle_version(keeper, item.target(), seq);
                    }
                    self.tell(Event::Item { operation: told, item, from: contact.addr });
                }
            }
            Kind::Put(put) => put.handle_answer((socket, contact.addr), response),
            Kind::Scrape(_, scrape) => scrape.handle_answer(socket, contact.addr, response),
            Kind::Sample => self.handle_samples(now, operation, contact, response),
        }
    }

    pub(in crate::node) fn finish_if_done(&mut self, now: Instant, operation: OperationId) {
        let Some(Operation::Lookup { kind, lookups, starving_until, .. }) = self.operations.get(&operation) else {
            return;
        };
        let settled = matches!(kind, Kind::Get(get) if get.is_settled());
        let starving = lookups.iter().all(Lookup::is_starving);
        let done = lookups.iter().all(|lookup| lookup.is_starving() || lookup.is_done());
        if !settled && (!done || (starving && now < *starving_until)) {
            return;
        }
        let Some(Operation::Lookup { kind, keeper, lookups, .. }) = self.operations.remove(&operation) else { return };
        let is_for_table = matches!(kind, Kind::Table);
        for (lookup, state) in lookups.iter().zip(&mut self.sockets).filter(|(lookup, _)| lookup.is_done()) {
            remember(now, lookup, state, is_for_table);
        }
        let outcome = outcome(now, &lookups);
        match kind {
            Kind::Table => {}
            Kind::FindNode | Kind::GetPeers(_) | Kind::Trace(_) | Kind::Sample => {
                self.tell(Event::LookupDone { operation, outcome });
            }
            Kind::Announce(announce) => {
                self.tell_nearest(now, operation, &lookups, Content::Announce(announce), keeper);
            }
            Kind::Get(get) => self.finish_get(now, operation, *get, keeper, &outcome),
            Kind::Put(put) => self.go_on_to_put(now, operation, &lookups, put, keeper),
            Kind::Scrape(_, scrape) => {
                let nearest = lookups.iter().enumerate().flat_map(|(index, lookup)| {
                    lookup.closest().map(move |(contact, _)| (SocketIndex(index), contact.addr))
                });
                let (filters, counted) = scrape.unite(nearest);
                let outcome = ScrapeOutcome {
                    seeds: filters.seeds.count(),
                    downloaders: filters.downloaders.count(),
                    counted,
                    asked: outcome.asked,
                    answered: outcome.answered,
                    elapsed: outcome.elapsed,
                };
                self.tell(Event::ScrapeDone { operation, outcome });
            }
        }
    }

    fn finish_get(
        &mut self,
        now: Instant,
        operation: OperationId,
        get: Get,
        keeper: Option<OperationId>,
        outcome: &LookupOutcome,
    ) {
        let (item, holders, rejected) = get.into_result();
        if let Some(keeper) = keeper {
            let run = match (outcome.answered, &item) {
                (0, _) => Run::Unheard,
                (_, None) => Run::Done,
                (_, Some(_)) => Run::Changed,
            };
            return self.handle_run(now, keeper, run);
        }
        let LookupOutcome { asked, answered, elapsed, .. } = *outcome;
        let outcome = GetOutcome { item, holders, rejected, asked, answered, elapsed };
        self.tell(Event::GetDone { operation, outcome });
    }

    /// The nodes that are to hold an item are found: they are told, unless it is out of date.
    fn go_on_to_put(
        &mut self,
        now: Instant,
        operation: OperationId,
        lookups: &[Lookup],
        put: Box<Put>,
        keeper: Option<OperationId>,
    ) {
        let Some(conflict) = put.conflict() else {
            return self.tell_nearest(now, operation, lookups, Content::Put(put), keeper);
        };
        let elapsed = outcome(now, lookups).elapsed;
        let conflicting =
            PutOutcome { asked: 0, acknowledged: 0, refused: Vec::new(), conflict: Some(conflict), elapsed };
        self.tell_put(operation, keeper, conflicting);
        if let Some(keeper) = keeper {
            self.handle_kept_put(keeper, put.into_newer());
            self.handle_run(now, keeper, Run::Done);
        }
    }
}

/// Gives a lookup whom the socket knows: where the last one ended, its table, and while few of that are known to be there,
/// what the user and an earlier session named.
fn feed(now: Instant, lookup: &mut Lookup, state: &SocketState) {
    let target = *lookup.target();
    state.nearest.of(now, &target).iter().for_each(|contact| lookup.add(*contact));
    let nearest = state.table.nearest(&target, START_CONTACTS);
    let is_silent = |contact: &&Contact| state.silent.contains(now, contact.addr);
    // When nearly all are silent, it is better to ask them than nobody.
    let asks_all = nearest.iter().filter(is_silent).count() + K > nearest.len();
    nearest.iter().filter(|contact| asks_all || !is_silent(contact)).for_each(|contact| lookup.add(*contact));
    if state.table.good(now) < K {
        state.saved.iter().take(START_CONTACTS).for_each(|contact| lookup.add(*contact));
        state.routers.iter().for_each(|addr| lookup.add_seed(*addr));
    }
}

/// Tells a lookup whom a node named, as far as they are of use.
fn handle_named(now: Instant, lookup: &mut Lookup, state: &SocketState, from: SocketAddr, response: &Response<'_>) {
    let own_id = state.table.own_id();
    let is_of_use =
        |named: &Contact| named.id != own_id && state.admits(named.addr) && !state.silent.contains(now, named.addr);
    lookup.handle_named(from, response.nodes_of(state.family).filter(is_of_use));
}

/// Keeps what a lookup found out, for those to come.
fn remember(now: Instant, lookup: &Lookup, state: &mut SocketState, is_for_table: bool) {
    let target = *lookup.target();
    if !is_for_table {
        state.nearest.insert(now, target, lookup.closest().map(|(contact, _)| contact));
    }
    // Lookups around the own id would count the same neighbours over and over.
    if target.distance(&state.table.own_id()).common_bits() < NEIGHBOURHOOD_BITS_MIN {
        state.size.handle_lookup(target, lookup.distances());
    }
}

fn outcome(now: Instant, lookups: &[Lookup]) -> LookupOutcome {
    let counts = lookups.iter().map(Lookup::counts).fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
    LookupOutcome {
        asked: counts.0,
        answered: counts.1,
        elapsed: lookups.first().map_or(Duration::ZERO, |lookup| now.saturating_duration_since(lookup.started())),
        closest: lookups.iter().flat_map(|lookup| lookup.closest().map(|(contact, _)| contact)).collect(),
    }
}
