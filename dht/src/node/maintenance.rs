//! What time brings: silence, the search for the network, the care of the table, announces that are due.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_core::Rng;

use super::Node;
use super::operations::{Keep, Kind, Operation};
use super::socket_state::{BOOTSTRAP_MAX, SocketState};
use crate::event::{OperationId, SocketIndex};
use crate::id::K;
use crate::{Contact, Family, NodeId};

/// How often the tables are looked after.
const TICK: Duration = Duration::from_secs(1);
/// Bits that the target of a search for the neighbourhood shares with the own id: near, and not exactly there, so that
/// nobody can place itself beside us for certain.
const NEIGHBOURHOOD_BITS: u32 = 100;
/// Later searches go to points that share fewer bits than this with it.
const SEARCH_BITS_MAX: u32 = 8;
/// Contacts of an earlier session that are tried.
const SAVED_MAX: usize = 200;

impl Node {
    /// Addresses to begin with, as the user or the program names them. They are asked forever, ever less often, until
    /// someone answers, and are never in the table.
    pub fn add_bootstrap(&mut self, now: Instant, addrs: &[SocketAddr]) {
        for addr in addrs {
            let family = Family::of(*addr);
            for state in self.sockets.iter_mut().filter(|state| state.family == family) {
                state.guard.filter_mut().admit_class_of(*addr);
                if state.routers.insert(*addr) {
                    state.table.remove_addr(*addr);
                    state.bootstrap_now(now);
                }
            }
        }
        self.feed_starving(now);
        self.maintain(now);
    }

    /// Contacts of an earlier session. They are asked before they are believed.
    pub(crate) fn restore_contacts(
        &mut self,
        now: Instant,
        socket: SocketIndex,
        contacts: impl Iterator<Item = Contact>,
    ) {
        let state = &mut self.sockets[socket.0];
        let admitted: Vec<Contact> = contacts.filter(|contact| state.admits(contact.addr)).take(SAVED_MAX).collect();
        state.saved = admitted;
        state.bootstrap_now(now);
        self.feed_starving(now);
        self.maintain(now);
    }

    /// The sockets: their addresses and ids.
    pub(crate) fn identities(&self) -> impl Iterator<Item = (SocketIndex, SocketAddr, NodeId)> {
        let state = |(index, state): (usize, &SocketState)| (SocketIndex(index), state.local, state.table.own_id());
        self.sockets.iter().enumerate().map(state)
    }

    /// Takes up the id that a socket had in an earlier session, if it can belong to its address.
    pub(crate) fn restore_id(&mut self, socket: SocketIndex, id: NodeId) {
        let state = &mut self.sockets[socket.0];
        let ip = state.external.unwrap_or(state.local.ip());
        if ip.is_unspecified() || id.is_valid_for(ip) {
            state.table.rebase(id);
        }
    }

    /// The sockets and their families.
    pub(crate) fn socket_families(&self) -> Vec<(SocketIndex, Family)> {
        self.sockets.iter().enumerate().map(|(index, state)| (SocketIndex(index), state.family)).collect()
    }

    /// The contacts of every table.
    pub(crate) fn snapshot_contacts(&self) -> impl Iterator<Item = (Family, impl Iterator<Item = Contact>)> {
        self.sockets.iter().map(|state| (state.family, state.table.contacts()))
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((silence, transaction)) = self.transactions.poll_silent(now) {
            self.handle_silence(now, silence, &transaction);
        }
        self.go_on_after_waiting(now);
        if now >= self.next_maintenance {
            self.maintain(now);
        }
        self.tell_readiness();
    }

    fn maintain(&mut self, now: Instant) {
        self.next_maintenance = now + TICK;
        for socket in 0..self.sockets.len() {
            self.sockets[socket].fit_id(now, &mut self.chance);
            self.look_for_answer(now, SocketIndex(socket));
            self.seek_network(now, socket);
            self.care_for_table(now, SocketIndex(socket));
            self.sockets[socket].peers.sweep(now);
            self.sockets[socket].silent.expire(now);
        }
        self.feed_starving(now);
        let due = |(id, operation): (&OperationId, &Operation)| match operation {
            Operation::Keep(Keep { due, .. }) if *due <= now => Some(*id),
            _ => None,
        };
        let due: Vec<OperationId> = self.operations.iter().filter_map(due).collect();
        for keeper in due {
            self.run_kept(now, keeper);
        }
    }

    /// Looks for nodes near our own id while few are known to be there: after an outage, those of the table may not be.
    fn seek_network(&mut self, now: Instant, socket: usize) {
        let state = &mut self.sockets[socket];
        let knows = state.table.len() + state.routers.len() + state.saved.len() > 0;
        let is_in = state.table.good(now) >= K;
        if is_in {
            // Should they become few again, the search begins anew.
            state.bootstrap_now(now);
        }
        if is_in || !knows || now < state.bootstrap_at {
            return;
        }
        // Should the way there be blocked by dead nodes, it is looked for from anywhere else.
        let is_first = state.bootstraps == 0;
        state.bootstrap_at = now + state.bootstrap_pause;
        state.bootstraps = state.bootstraps.saturating_add(1);
        if state.quick_bootstraps > 0 {
            state.quick_bootstraps -= 1;
        } else {
            state.bootstrap_pause = (state.bootstrap_pause * 2).min(BOOTSTRAP_MAX);
        }
        let bits = if is_first { NEIGHBOURHOOD_BITS } else { self.chance.next_u32() % SEARCH_BITS_MAX };
        let target = state.table.own_id().random_sharing(bits, &mut self.chance);
        self.start_lookup(now, target.into(), Kind::Table, None);
    }

    /// Asks someone who answered before, or a router, while it is in doubt whether the network is there.
    fn look_for_answer(&mut self, now: Instant, socket: SocketIndex) {
        let state = &mut self.sockets[socket.0];
        if !state.health.is_look_due(now) {
            return;
        }
        let is_lost = state.health.is_lost();
        let contacts = [state.table.probe(now), state.table.probe(now)];
        let routers = state.routers.len().max(1);
        let router = state.routers.iter().nth(self.chance.next_u32() as usize % routers).copied();
        for contact in contacts.into_iter().flatten() {
            self.check(now, socket, contact.addr, Some(contact.id));
        }
        // Whoever has contacts spares the routers, which everybody asks, until none of those answers: all may have left.
        if let Some(router) = router.filter(|_| contacts.contains(&None) || is_lost) {
            self.check(now, socket, router, None);
        }
    }

    fn care_for_table(&mut self, now: Instant, socket: SocketIndex) {
        let state = &mut self.sockets[socket.0];
        if state.table.len() == 0 {
            return;
        }
        let silent = state.table.due_for_check(now);
        let stale = state.table.due_for_refresh(now);
        let own_id = state.table.own_id();
        if let Some(contact) = silent {
            self.check(now, socket, contact.addr, Some(contact.id));
        }
        if let Some(depth) = stale {
            let target = own_id.random_sharing(depth, &mut self.chance);
            self.start_lookup(now, target.into(), Kind::Table, None);
        }
    }
}
