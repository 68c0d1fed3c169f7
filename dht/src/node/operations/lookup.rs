use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::operation::Operation;
use crate::event::{AnnouncePort, Event, LookupOutcome, OperationId, SocketIndex};
use crate::krpc::{Method, Response};
use crate::lookup::{K, Lookup};
use crate::node::Node;
use crate::node::face::Face;
use crate::rpc::{Purpose, Silence};
use crate::{Contact, InfoHash, Target};

/// How long a lookup waits for somebody to ask before it ends empty.
const STARVING_MAX: Duration = Duration::from_secs(10);
/// Contacts that a lookup begins with.
const START_CONTACTS: usize = 16;

/// What a lookup is for.
#[derive(Debug, Clone, Copy)]
pub(in crate::node) enum Kind {
    /// The table: nobody is told.
    Table,
    FindNode,
    GetPeers(InfoHash),
    Announce {
        info_hash: InfoHash,
        port: AnnouncePort,
        seed: bool,
        keeper: Option<OperationId>,
    },
}

impl Node {
    /// Looks for the nodes nearest to a target. Ends with [`Event::LookupDone`].
    pub fn find_node(&mut self, now: Instant, target: Target) -> OperationId {
        self.start_lookup(now, target, Kind::FindNode)
    }

    /// Looks for the peers of a torrent: [`Event::Peers`] as replies arrive, [`Event::LookupDone`] at the end.
    pub fn get_peers(&mut self, now: Instant, info_hash: InfoHash) -> OperationId {
        self.start_lookup(now, info_hash.into(), Kind::GetPeers(info_hash))
    }

    pub(in crate::node) fn start_lookup(&mut self, now: Instant, target: Target, kind: Kind) -> OperationId {
        let lookups = self
            .faces
            .iter_mut()
            .map(|face| {
                face.table.refreshed(now, &target);
                let mut lookup = Lookup::new(now, target);
                feed(&mut lookup, face);
                lookup
            })
            .collect();
        let operation = self.insert(Operation::Lookup { kind, lookups, starving_until: now + STARVING_MAX });
        self.advance(now, operation);
        operation
    }

    /// Gives lookups that have nobody to ask whom is known by now.
    pub(in crate::node) fn feed_starving(&mut self, now: Instant) {
        let mut fed = Vec::new();
        for (id, operation) in &mut self.operations {
            let Operation::Lookup { lookups, .. } = operation else { continue };
            for (lookup, face) in lookups.iter_mut().zip(&self.faces).filter(|(lookup, _)| lookup.is_starving()) {
                feed(lookup, face);
            }
            fed.push(*id);
        }
        for operation in fed {
            self.advance(now, operation);
        }
    }

    /// Sends what a lookup wants to ask, and ends it when it is done.
    pub(in crate::node) fn advance(&mut self, now: Instant, operation: OperationId) {
        for socket in 0..self.faces.len() {
            while let Some((kind, target, step)) = self.next_step(operation, socket) {
                let method = match kind {
                    Kind::Table | Kind::FindNode => Method::FindNode { target },
                    Kind::GetPeers(info_hash) | Kind::Announce { info_hash, .. } => {
                        Method::GetPeers { info_hash, noseed: false, scrape: false }
                    }
                };
                let socket = SocketIndex(socket);
                let purpose = Purpose::Lookup(operation);
                if !self.query(now, socket, step.addr, step.id, purpose, method) {
                    self.change_lookup(operation, socket, |lookup| lookup.handle_failed(step.addr));
                }
            }
        }
        self.finish_if_done(now, operation);
    }

    fn next_step(&mut self, operation: OperationId, socket: usize) -> Option<(Kind, Target, crate::lookup::Step)> {
        let Some(Operation::Lookup { kind, lookups, .. }) = self.operations.get_mut(&operation) else { return None };
        let lookup = lookups.get_mut(socket)?;
        let step = lookup.next_step()?;
        Some((*kind, *lookup.target(), step))
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
        self.advance(now, operation);
    }

    pub(in crate::node) fn handle_lookup_answer(
        &mut self,
        now: Instant,
        operation: OperationId,
        socket: SocketIndex,
        contact: Contact,
        response: &Response<'_>,
    ) {
        let Some(Operation::Lookup { kind, lookups, .. }) = self.operations.get_mut(&operation) else { return };
        let kind = *kind;
        for (index, (lookup, face)) in lookups.iter_mut().zip(&self.faces).enumerate() {
            let own_id = face.table.own_id();
            for named in response.nodes_of(face.family).filter(|named| named.id != own_id && face.admits(named.addr)) {
                lookup.add(named);
            }
            if index == socket.0 {
                lookup.handle_answer(contact, response.token);
            }
        }
        if let Kind::GetPeers(_) = kind {
            let filter = self.faces[socket.0].guard.filter();
            let peers: Vec<SocketAddr> = response.values.iter().filter(|peer| filter.check(*peer).is_ok()).collect();
            if !peers.is_empty() {
                self.tell(Event::Peers { operation, peers, from: contact.addr });
            }
        }
        self.advance(now, operation);
    }

    pub(in crate::node) fn finish_if_done(&mut self, now: Instant, operation: OperationId) {
        let Some(Operation::Lookup { lookups, starving_until, .. }) = self.operations.get(&operation) else { return };
        let starving = lookups.iter().all(Lookup::is_starving);
        let done = lookups.iter().all(|lookup| lookup.is_starving() || lookup.is_done());
        if !done || (starving && now < *starving_until) {
            return;
        }
        let Some(Operation::Lookup { kind, lookups, .. }) = self.operations.remove(&operation) else { return };
        match kind {
            Kind::Table => {}
            Kind::FindNode | Kind::GetPeers(_) => {
                let outcome = outcome(now, &lookups);
                self.tell(Event::LookupDone { operation, outcome });
            }
            Kind::Announce { info_hash, port, seed, keeper } => {
                self.tell_closest(now, operation, &lookups, (info_hash, port, seed), keeper);
            }
        }
    }
}

/// Gives a lookup whom the socket knows: its table, and while that is small, what the user and an earlier session named.
fn feed(lookup: &mut Lookup, face: &Face) {
    for contact in face.table.nearest(&lookup.target().clone(), START_CONTACTS) {
        lookup.add(contact);
    }
    if face.table.len() < K {
        face.saved.iter().take(START_CONTACTS).for_each(|contact| lookup.add(*contact));
        face.routers.iter().for_each(|addr| lookup.add_seed(*addr));
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
