//! The machine: one host's Kademlia. What arrives is told with `handle_*`, what is to be done is drained with
//! [`Node::poll_output`].

mod client;
mod config;
mod contacted;
mod health;
mod maintenance;
mod operations;
mod request;
mod routers;
mod server;
mod silent;
mod snapshot;
mod socket_state;
mod votes;

#[cfg(test)]
mod item_tests;
#[cfg(test)]
mod reach_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

pub use config::{BOOTSTRAP, NodeConfig, NodeMode};
pub use request::{AnnouncePort, OPERATIONS_MAX, PeerRole, Request, RequestError};
pub use routers::RouterState;
pub use snapshot::SnapshotError;

use crate::event::{Event, NotReady, OperationId, Output, PingAnswer, Readiness, SocketIndex, Stats};
use crate::guard::{Bogon, Verdict};
use crate::krpc::{Body, DecodeError, ErrorCode, Message, Method, Query, Response};
use crate::rpc::{Endpoints, Purpose, Transactions};
use crate::{Contact, Family, NodeId, QueryKind};
use contacted::Contacted;
use operations::{Operation, SampleIntervals, Seen, StoreAnswer};
use server::{Scratch, Server, VERSION};
use socket_state::SocketState;

/// Strangers that query us are asked only while fewer queries than this are under way: however many there are or are made
/// up, our own lookups keep going.
const STRANGERS_ROOM: usize = 64;

/// A DHT node without sockets and clock (BEP 5): everything it does follows from what it is told, and from a seed.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    chance: ChaCha8Rng,
    sockets: Vec<SocketState>,
    transactions: Transactions,
    endpoints: Endpoints,
    /// When lookups continue that may have stopped because there was no room for another endpoint.
    room_at: Option<Instant>,
    operations: BTreeMap<OperationId, Operation>,
    operation_next: u64,
    /// Sequence numbers of the items that are or were followed.
    seen: Seen,
    /// Which nodes are not to be asked for samples yet.
    sampled: SampleIntervals,
    outputs: VecDeque<Pending>,
    /// The bytes of the datagrams in `outputs`; begun again whenever that is drained.
    payloads: Vec<u8>,
    scratch: Scratch,
    next_maintenance: Instant,
    /// What was told last about whether lookups can succeed.
    told_ready: bool,
    stats: Stats,
}

#[derive(Debug)]
enum Pending {
    Transmit { socket: SocketIndex, to: SocketAddr, payload: Range<usize> },
    Event(Event),
}

impl Node {
    /// A node without sockets. All its chance comes from `seed`.
    pub fn new(config: NodeConfig, seed: [u8; 32], now: Instant) -> Self {
        Self {
            endpoints: Endpoints::new(config.endpoints),
            room_at: None,
            config,
            chance: ChaCha8Rng::from_seed(seed),
            sockets: Vec::new(),
            transactions: Transactions::default(),
            operations: BTreeMap::new(),
            operation_next: 0,
            seen: Seen::default(),
            sampled: SampleIntervals::default(),
            outputs: VecDeque::new(),
            payloads: Vec::new(),
            scratch: Scratch::default(),
            next_maintenance: now,
            told_ready: false,
            stats: Stats::default(),
        }
    }

    /// A socket that is bound to `local`. It gets an id, a table and stores of its own.
    pub fn add_socket(&mut self, now: Instant, local: SocketAddr) -> SocketIndex {
        self.sockets.push(SocketState::new(now, local, &self.config, &mut self.chance));
        SocketIndex(self.sockets.len() - 1)
    }

    /// A datagram arrived.
    pub fn handle_datagram(&mut self, now: Instant, socket: SocketIndex, from: SocketAddr, datagram: &[u8]) {
        if self.sockets.get(socket.0).is_none() {
            return;
        }
        self.stats.traffic.datagrams_in += 1;
        self.stats.traffic.bytes_in += datagram.len() as u64;
        match Message::decode(datagram) {
            Ok(Message { body: Body::Query(query), transaction, .. }) => {
                self.handle_query(now, socket, from, transaction, &query);
            }
            Ok(Message { body: Body::Response(response), transaction, ip, .. }) => {
                self.handle_response(now, socket, from, transaction, &response, ip);
            }
            Ok(Message { body: Body::Error { code, .. }, transaction, .. }) => {
                self.handle_error(now, socket, from, transaction, code);
            }
            Err(DecodeError { fault, answer_to }) => {
                tracing::trace!(%from, %fault, "a malformed datagram");
                self.stats.traffic.drops.malformed += 1;
                if let Some(transaction) = answer_to {
                    self.refuse_malformed(now, socket, from, transaction);
                }
            }
        }
    }

    /// What to do next. Drain it after every `handle_*` and every command.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        match self.outputs.pop_front() {
            Some(Pending::Event(event)) => Some(Output::Event(event)),
            Some(Pending::Transmit { socket, to, payload }) => {
                self.stats.traffic.datagrams_out += 1;
                self.stats.traffic.bytes_out += payload.len() as u64;
                Some(Output::Transmit { socket, to, payload: &self.payloads[payload] })
            }
            None => {
                self.payloads.clear();
                None
            }
        }
    }

    /// When [`Node::handle_timeout`] is to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.sockets.is_empty() {
            return None;
        }
        let others = self.transactions.next_timeout().into_iter().chain(self.room_at);
        Some(others.fold(self.next_maintenance, Instant::min))
    }

    /// Numbers about the node.
    pub fn stats(&self, now: Instant) -> Stats {
        let sum = |count: fn(&SocketState) -> usize| self.sockets.iter().map(count).sum();
        Stats {
            good_contacts: self.sockets.iter().map(|state| state.table.good(now)).sum(),
            contacts: self.contacts(),
            stored_peers: sum(|state| state.peers.peers()),
            stored_items: sum(|state| state.items.len()),
            network_nodes: self.sockets.iter().filter_map(|state| state.size.nodes()).map(|nodes| nodes as u64).max(),
            ..self.stats
        }
    }

    /// Contacts in the tables.
    pub fn contacts(&self) -> usize {
        self.sockets.iter().map(|state| state.table.len()).sum()
    }

    /// Whether lookups can succeed, and why not.
    pub fn readiness(&self) -> Readiness {
        let heard = self.sockets.iter().map(|state| &state.health).filter(|health| health.has_heard());
        if let Some(unanswered) = heard.map(|health| if health.is_lost() { health.unanswered() } else { 0 }).min() {
            return match unanswered {
                0 if self.stats.traffic.responses_in == 0 => {
                    Readiness::NotReady(NotReady::Refused { errors: self.stats.traffic.errors_in })
                }
                0 => Readiness::Ready,
                unanswered => Readiness::NotReady(NotReady::NetworkLost { unanswered }),
            };
        }
        let sent = self.stats.traffic.queries_out.total();
        let knows = self.sockets.iter().any(|state| !state.routers.is_empty() || !state.saved.is_empty());
        Readiness::NotReady(match knows || sent > 0 {
            false => NotReady::NoAddress,
            true => NotReady::NoAnswer { sent },
        })
    }

    /// How it went with an address that was given to [`Node::add_bootstrap`].
    pub fn router_state(&self, addr: SocketAddr) -> RouterState {
        let states = self.sockets.iter().filter_map(|state| state.routers.state(&addr));
        let rank = |state: &RouterState| match state {
            RouterState::NoSocket => 0,
            RouterState::NotAsked => 1,
            RouterState::Silent { .. } => 2,
            RouterState::Answered => 3,
        };
        states.max_by_key(rank).unwrap_or(RouterState::NoSocket)
    }

    /// The node's ids, one per socket.
    pub fn node_ids(&self) -> Vec<NodeId> {
        self.sockets.iter().map(|state| state.table.own_id()).collect()
    }

    /// Panics when the parts of the machine disagree. For tests and the simulator, after every step.
    pub fn check_invariants(&self) {
        self.transactions.check_invariants();
        self.endpoints.check_invariants();
        for operation in self.operations.values() {
            operation.check_invariants();
        }
        for state in &self.sockets {
            state.table.check_invariants();
            state.silent.check_invariants();
            state.nearest.check_invariants();
            state.size.check_invariants();
            state.peers.check_invariants();
            state.items.check_invariants();
            for contact in state.table.contacts() {
                assert_eq!(Family::of(contact.addr), state.family, "families never mix");
                assert!(!state.routers.contains(&contact.addr), "a router is in the table");
            }
        }
    }

    fn handle_query(
        &mut self,
        now: Instant,
        socket: SocketIndex,
        from: SocketAddr,
        transaction: &[u8],
        query: &Query<'_>,
    ) {
        self.stats.traffic.queries_in.add(QueryKind::of(&query.method));
        self.handle_reached(now, socket, from);
        if self.sockets[socket.0].is_read_only(self.config.mode, from) {
            self.stats.traffic.drops.read_only += 1;
            return;
        }
        let state = &mut self.sockets[socket.0];
        // Whoever looks after a node of the public network asks from the same machine whether it lives.
        let is_at_home = state.guard.filter().check(from) == Err(Bogon::Loopback);
        let is_asked_at_home = is_at_home && matches!(query.method, Method::Ping);
        if !is_asked_at_home && let Verdict::Drop(reason) = state.guard.admit_query(now, from) {
            self.stats.traffic.drops.add(reason);
            return;
        }
        let (before, rest) = self.sockets.split_at_mut(socket.0);
        let Some((state, after)) = rest.split_first_mut() else { return };
        let other = before.iter().chain(after.iter()).find(|other| other.family != state.family);
        let mut server = Server {
            now,
            table: &state.table,
            other_table: other.map(|other| &other.table),
            family: state.family,
            tokens: &state.tokens,
            peers: &mut state.peers,
            items: &mut state.items,
            chance: &mut self.chance,
        };
        let start = self.payloads.len();
        let is_response = server.answer(from, transaction, query, &mut self.scratch, &mut self.payloads);
        let payload = start..self.payloads.len();
        state.guard.charge_reply(now, from, payload.len());
        self.outputs.push_back(Pending::Transmit { socket, to: from, payload });
        self.stats.queries_answered += 1;
        self.stats.traffic.responses_out += u64::from(is_response);
        self.stats.traffic.errors_out += u64::from(!is_response);
        if !query.read_only {
            self.meet(now, socket, Contact { id: query.id, addr: from });
        }
    }

    /// A node that queries us is not believed to be reachable: it is asked first, if the table has a use for it.
    fn meet(&mut self, now: Instant, socket: SocketIndex, contact: Contact) {
        let state = &mut self.sockets[socket.0];
        let known = state.table.queried(now, contact);
        let has_room = self.transactions.len() < STRANGERS_ROOM;
        if !known && has_room && state.table.wants(now, &contact.id) && !state.routers.contains(&contact.addr) {
            let start = self.payloads.len();
            self.check(now, socket, contact.addr, None);
            // Whoever forges its address makes us send this too.
            let bytes = self.payloads.len() - start;
            self.sockets[socket.0].guard.charge_reply(now, contact.addr, bytes);
        }
    }

    fn refuse_malformed(&mut self, now: Instant, socket: SocketIndex, to: SocketAddr, transaction: &[u8]) {
        let state = &mut self.sockets[socket.0];
        if state.is_read_only(self.config.mode, to) || state.guard.admit_query(now, to) != Verdict::Admit {
            return;
        }
        let start = self.payloads.len();
        let body = Body::Error { code: ErrorCode::Protocol.number(), text: b"malformed" };
        Message { transaction, version: Some(VERSION), ip: Some(to), body }.encode(&mut self.payloads);
        self.stats.traffic.errors_out += 1;
        let payload = start..self.payloads.len();
        state.guard.charge_reply(now, to, payload.len());
        self.outputs.push_back(Pending::Transmit { socket, to, payload });
    }

    fn handle_response(
        &mut self,
        now: Instant,
        socket: SocketIndex,
        from: SocketAddr,
        transaction: &[u8],
        response: &Response<'_>,
        seen: Option<SocketAddr>,
    ) {
        let Some(found) = self.transactions.finish(now, socket, from, transaction) else {
            self.stats.traffic.drops.unmatched += 1;
            return;
        };
        self.stats.traffic.responses_in += 1;
        self.handle_heard(now, socket);
        let state = &mut self.sockets[socket.0];
        let contact = Contact { id: response.id, addr: from };
        let rtt = now.saturating_duration_since(found.sent_at);
        state.silent.remove(from);
        state.routers.answered(&from);
        if !state.routers.contains(&from) {
            state.table.answered(now, contact);
        }
        if let Some(seen) = seen {
            self.handle_vote(now, socket, from, seen);
        }
        match found.purpose {
            Purpose::Lookup(operation) => self.handle_lookup_answer(now, operation, socket, (contact, rtt), response),
            Purpose::Neighbours(operation) => self.handle_neighbours(now, operation, socket, from, Some(response)),
            Purpose::Store(operation) => {
                self.handle_store_answer(now, operation, (socket, from), StoreAnswer::Taken);
            }
            Purpose::Stored(operation) => self.handle_stored(now, operation, (socket, from), Some(response)),
            Purpose::Sample(operation) => {
                self.handle_samples(now, operation, contact, response);
                self.handle_sampled(operation, 1, Some(contact), rtt);
            }
            Purpose::Ping(operation) => {
                self.operations.remove(&operation);
                self.tell(Event::Pinged { operation, answer: Some(PingAnswer::Pong { id: response.id, rtt }) });
            }
            Purpose::Check => {}
        }
    }

    /// An error answers a query too: the node lives, and has not what was asked for.
    fn handle_error(&mut self, now: Instant, socket: SocketIndex, from: SocketAddr, transaction: &[u8], code: i64) {
        let Some(found) = self.transactions.finish(now, socket, from, transaction) else {
            self.stats.traffic.drops.unmatched += 1;
            return;
        };
        self.stats.traffic.errors_in += 1;
        tracing::debug!(%from, code, "a node refused a query");
        self.handle_heard(now, socket);
        self.sockets[socket.0].silent.remove(from);
        self.sockets[socket.0].routers.answered(&from);
        match found.purpose {
            Purpose::Store(operation) => {
                self.handle_store_refusal(now, operation, (socket, from), code);
            }
            Purpose::Ping(operation) => {
                let rtt = now.saturating_duration_since(found.sent_at);
                self.operations.remove(&operation);
                self.tell(Event::Pinged { operation, answer: Some(PingAnswer::Refused { code, rtt }) });
            }
            _ => self.go_on_without(now, crate::rpc::Silence::Failed, &found),
        }
    }

    /// A query came: if from whom nothing was sent to, others can reach us. A neighbour proves nothing.
    fn handle_reached(&mut self, now: Instant, socket: SocketIndex, from: SocketAddr) {
        let state = &mut self.sockets[socket.0];
        let Some(contacted) = state.contacted.as_mut().filter(|_| self.config.mode == NodeMode::Adaptive) else {
            return;
        };
        let filter = state.guard.filter();
        if filter.check(from).is_ok() && !filter.is_local(from) && !contacted.contains(now, from.ip()) {
            state.contacted = None;
            self.tell(Event::Reachable { socket });
        }
    }

    /// A query of ours was answered.
    fn handle_heard(&mut self, now: Instant, socket: SocketIndex) {
        let state = &mut self.sockets[socket.0];
        if state.health.handle_answer(now) {
            state.bootstrap_after_outage(now);
        }
        self.tell_readiness();
    }

    /// Tells whether lookups can succeed, if that changed.
    fn tell_readiness(&mut self) {
        match (self.readiness(), self.told_ready) {
            (Readiness::Ready, false) => self.tell(Event::Ready),
            (Readiness::NotReady(reason), true) => self.tell(Event::NotReady(reason)),
            _ => return,
        }
        self.told_ready = !self.told_ready;
    }

    fn handle_vote(&mut self, now: Instant, socket: SocketIndex, from: SocketAddr, seen: SocketAddr) {
        let state = &mut self.sockets[socket.0];
        if Family::of(seen) != state.family {
            return;
        }
        let Some(addr) = state.votes.handle_vote(from.ip(), seen) else { return };
        state.guard.filter_mut().add_own(addr);
        let moved = state.external.replace(addr.ip()).is_some();
        state.fit_id(now, &mut self.chance);
        if moved && self.config.mode == NodeMode::Adaptive {
            state.contacted = Some(Box::new(Contacted::new(now, &mut self.chance)));
        }
        self.tell(Event::ExternalAddress { socket, addr });
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Pending::Event(event));
    }
}
