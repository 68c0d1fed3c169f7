//! Sending queries, and what silence means.

use std::net::SocketAddr;
use std::time::Instant;

use super::operations::StoreAnswer;
use super::server::VERSION;
use super::{Node, Pending};
use crate::event::{Event, SocketIndex};
use crate::krpc::{Body, Message, Method, Query, Want};
use crate::rpc::{Purpose, Silence, Transaction};
use crate::{Family, NodeId, QueryKind};

impl Node {
    /// Sends a query; returns whether it was sent.
    pub(super) fn query(
        &mut self,
        now: Instant,
        socket: SocketIndex,
        to: SocketAddr,
        id: Option<NodeId>,
        purpose: Purpose,
        method: Method<'_>,
    ) -> bool {
        let state = &self.sockets[socket.0];
        if !state.admits(to) {
            return false;
        }
        // What waits for nobody has to wait for room; steps of lookups were admitted before, the rest answers somebody.
        if purpose == Purpose::Check && !self.endpoints.admits(now, to) {
            return false;
        }
        let transaction = Transaction { socket, to, id, purpose, sent_at: now };
        let Some(transaction) = self.transactions.begin(transaction, &mut self.chance) else { return false };
        let has_both = self.sockets.iter().any(|other| other.family != self.sockets[socket.0].family);
        let want = Want { v4: has_both, v6: has_both };
        let kind = QueryKind::of(&method);
        let state = &mut self.sockets[socket.0];
        let read_only = state.is_read_only(self.config.mode, to);
        if let Some(contacted) = &mut state.contacted {
            contacted.insert(now, to.ip());
        }
        let query = Query { id: self.sockets[socket.0].table.own_id(), read_only, want, method };
        self.sockets[socket.0].routers.asked(now, &to);
        self.endpoints.note(now, to);
        let start = self.payloads.len();
        Message { transaction: &transaction, version: Some(VERSION), ip: None, body: Body::Query(query) }
            .encode(&mut self.payloads);
        let payload = start..self.payloads.len();
        self.outputs.push_back(Pending::Transmit { socket, to, payload });
        self.stats.traffic.queries_out.add(kind);
        true
    }

    /// Asks an address for a sign of life, for the table's sake.
    pub(super) fn check(&mut self, now: Instant, socket: SocketIndex, addr: SocketAddr, id: Option<NodeId>) {
        self.query(now, socket, addr, id, Purpose::Check, Method::Ping);
    }

    /// The system says that an address cannot be reached.
    pub fn handle_unreachable(&mut self, now: Instant, socket: SocketIndex, to: SocketAddr) {
        for transaction in self.transactions.take_unreachable(socket, to) {
            self.handle_silence(now, Silence::Failed, &transaction);
        }
    }

    /// Tells of an address where a node may live: it is asked before it is believed (BEP 5, PORT).
    pub fn add_node(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(socket) = self.socket_for(addr) {
            self.check(now, socket, addr, None);
        }
    }

    /// The first socket of the address's family.
    pub(super) fn socket_for(&self, addr: SocketAddr) -> Option<SocketIndex> {
        let family = Family::of(addr);
        self.sockets.iter().position(|state| state.family == family).map(SocketIndex)
    }

    pub(super) fn handle_silence(&mut self, now: Instant, silence: Silence, transaction: &Transaction) {
        let state = &mut self.sockets[transaction.socket.0];
        // When nobody else answered either, the network may be down: that is no contact's fault.
        if silence == Silence::Failed && state.health.handle_failure(transaction.sent_at) {
            state.silent.insert(now, transaction.to);
            if let Some(contact) = transaction.contact() {
                state.table.failed(&contact);
            }
        }
        self.go_on_without(now, silence, transaction);
    }

    /// Lets what a query was sent for continue without its answer.
    pub(super) fn go_on_without(&mut self, now: Instant, silence: Silence, transaction: &Transaction) {
        match transaction.purpose {
            Purpose::Lookup(operation) => {
                self.handle_lookup_silence(now, operation, transaction.socket, transaction.to, silence);
            }
            Purpose::Neighbours(operation) if silence != Silence::Stalled => {
                self.handle_neighbours(now, operation, transaction.socket, transaction.to, None);
            }
            Purpose::Store(operation) => {
                let node = (transaction.socket, transaction.to);
                match silence {
                    Silence::Stalled => {}
                    Silence::GivenUp => self.tell_again(now, operation, node),
                    Silence::Failed => self.handle_store_answer(now, operation, node, StoreAnswer::Silent),
                }
            }
            Purpose::Stored(operation) if silence == Silence::Failed => {
                self.handle_stored(now, operation, (transaction.socket, transaction.to), None);
            }
            Purpose::Sample(operation) if silence == Silence::Failed => {
                let elapsed = now.saturating_duration_since(transaction.sent_at);
                self.handle_sampled(operation, 1, None, elapsed);
            }
            Purpose::Ping(operation) if silence == Silence::Failed => {
                self.operations.remove(&operation);
                self.tell(Event::Pinged { operation, answer: None });
            }
            _ => {}
        }
    }
}
