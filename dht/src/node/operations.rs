//! Lookups, announces and pings: from the command to the last event.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Node;
use super::face::Face;
use crate::event::{AnnouncePort, Event, LookupOutcome, OperationId, SocketIndex};
use crate::krpc::{Method, Response};
use crate::lookup::{K, Lookup};
use crate::rpc::{Purpose, Silence};
use crate::{Contact, InfoHash, Target};

/// How long a lookup waits for somebody to ask before it ends empty.
const STARVING_MAX: Duration = Duration::from_secs(10);
/// Contacts that a lookup begins with.
const START_CONTACTS: usize = 16;
/// Pause between the announces of a torrent that is kept announced; others forget after half an hour.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(13 * 60);
/// Pause after an announce that nobody took; it doubles with every further one.
const ANNOUNCE_RETRY_MIN: Duration = Duration::from_secs(1);
const ANNOUNCE_RETRY_MAX: Duration = Duration::from_secs(60);

/// Something that was asked for and is under way.
#[derive(Debug)]
pub(super) enum Operation {
    Lookup {
        kind: Kind,
        lookups: Vec<Lookup>,
        starving_until: Instant,
    },
    Announce {
        started: Instant,
        keeper: Option<OperationId>,
        pending: BTreeSet<SocketAddr>,
        asked: usize,
        acknowledged: usize,
    },
    Ping,
    Keep(Keep),
}

/// What a lookup is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
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

/// A torrent that is kept announced.
#[derive(Debug)]
pub(super) struct Keep {
    info_hash: InfoHash,
    port: AnnouncePort,
    seed: bool,
    /// The announce under way.
    announce: Option<OperationId>,
    pub(super) due: Instant,
    retry: Duration,
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

    /// Announces once that this host has a torrent. Ends with [`Event::Announced`].
    pub fn announce(&mut self, now: Instant, info_hash: InfoHash, port: AnnouncePort, seed: bool) -> OperationId {
        self.start_lookup(now, info_hash.into(), Kind::Announce { info_hash, port, seed, keeper: None })
    }

    /// Announces a torrent at once and then again and again, until [`Node::stop_announcing`].
    pub fn keep_announced(&mut self, now: Instant, info_hash: InfoHash, port: AnnouncePort, seed: bool) -> OperationId {
        let keep = Keep { info_hash, port, seed, announce: None, due: now, retry: ANNOUNCE_RETRY_MIN };
        let operation = self.insert(Operation::Keep(keep));
        self.announce_kept(now, operation);
        operation
    }

    /// Ends what [`Node::keep_announced`] began.
    pub fn stop_announcing(&mut self, now: Instant, operation: OperationId) {
        if let Some(Operation::Keep(Keep { announce: Some(announce), .. })) = self.operations.get(&operation) {
            let announce = *announce;
            self.cancel(now, announce);
        }
        self.operations.remove(&operation);
    }

    /// Asks an address for a sign of life. Ends with [`Event::Pinged`].
    pub fn ping(&mut self, now: Instant, addr: SocketAddr) -> OperationId {
        let operation = self.insert(Operation::Ping);
        let sent = self
            .socket_for(addr)
            .is_some_and(|socket| self.query(now, socket, addr, None, Purpose::Ping(operation), Method::Ping));
        if !sent {
            self.operations.remove(&operation);
            self.tell(Event::Pinged { operation, answer: None });
        }
        operation
    }

    /// Ends an operation without further events. Answers that still come fill the table only.
    pub fn cancel(&mut self, _now: Instant, operation: OperationId) {
        self.operations.remove(&operation);
    }

    pub(super) fn start_lookup(&mut self, now: Instant, target: Target, kind: Kind) -> OperationId {
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

    fn insert(&mut self, operation: Operation) -> OperationId {
        let id = OperationId(self.operation_next);
        self.operation_next += 1;
        self.operations.insert(id, operation);
        id
    }

    /// Gives lookups that have nobody to ask whom is known by now.
    pub(super) fn feed_starving(&mut self, now: Instant) {
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
    pub(super) fn advance(&mut self, now: Instant, operation: OperationId) {
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

    pub(super) fn handle_lookup_silence(
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

    pub(super) fn handle_lookup_answer(
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

    pub(super) fn finish_if_done(&mut self, now: Instant, operation: OperationId) {
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

    /// Announces to the nearest nodes that gave a token.
    fn tell_closest(
        &mut self,
        now: Instant,
        operation: OperationId,
        lookups: &[Lookup],
        (info_hash, port, seed): (InfoHash, AnnouncePort, bool),
        keeper: Option<OperationId>,
    ) {
        let started = lookups.first().map_or(now, Lookup::started);
        let (port, implied_port) = match port {
            AnnouncePort::Explicit(port) => (Some(port), false),
            AnnouncePort::Implied => (None, true),
        };
        let mut pending = BTreeSet::new();
        for (index, lookup) in lookups.iter().enumerate() {
            for (contact, token) in lookup.closest() {
                let Some(token) = token else { continue };
                // Some nodes want a port even where it does not count.
                let port = port.or(Some(1));
                let method = Method::AnnouncePeer { info_hash, port, implied_port, seed, token };
                let purpose = Purpose::Announce(operation);
                if self.query(now, SocketIndex(index), contact.addr, Some(contact.id), purpose, method) {
                    pending.insert(contact.addr);
                }
            }
        }
        let asked = pending.len();
        let announce = Operation::Announce { started, keeper, pending, asked, acknowledged: 0 };
        self.operations.insert(operation, announce);
        self.finish_announce(now, operation);
    }

    pub(super) fn handle_announce_answer(
        &mut self,
        now: Instant,
        operation: OperationId,
        from: SocketAddr,
        taken: bool,
    ) {
        if let Some(Operation::Announce { pending, acknowledged, .. }) = self.operations.get_mut(&operation)
            && pending.remove(&from)
        {
            *acknowledged += usize::from(taken);
        }
        self.finish_announce(now, operation);
    }

    fn finish_announce(&mut self, now: Instant, operation: OperationId) {
        let Some(Operation::Announce { started, keeper, pending, asked, acknowledged }) =
            self.operations.get(&operation)
        else {
            return;
        };
        if !pending.is_empty() {
            return;
        }
        let (asked, acknowledged, elapsed) = (*asked, *acknowledged, now.saturating_duration_since(*started));
        let keeper = *keeper;
        self.operations.remove(&operation);
        match keeper {
            Some(keeper) => self.handle_kept(now, keeper, acknowledged),
            None => self.tell(Event::Announced { operation, asked, acknowledged, elapsed }),
        }
    }

    /// Begins the next announce of a torrent that is kept announced.
    pub(super) fn announce_kept(&mut self, now: Instant, keeper: OperationId) {
        let Some(Operation::Keep(keep)) = self.operations.get(&keeper) else { return };
        if keep.announce.is_some() {
            return;
        }
        let kind = Kind::Announce { info_hash: keep.info_hash, port: keep.port, seed: keep.seed, keeper: Some(keeper) };
        let target = keep.info_hash.into();
        let announce = self.start_lookup(now, target, kind);
        // Without anybody to ask it may be over already.
        let under_way = self.operations.contains_key(&announce);
        if let Some(Operation::Keep(keep)) = self.operations.get_mut(&keeper) {
            keep.announce = under_way.then_some(announce);
        }
    }

    fn handle_kept(&mut self, now: Instant, keeper: OperationId, acknowledged: usize) {
        let jitter = crate::node::maintenance::jitter(&mut self.chance, ANNOUNCE_INTERVAL);
        let Some(Operation::Keep(keep)) = self.operations.get_mut(&keeper) else { return };
        keep.announce = None;
        if acknowledged > 0 {
            keep.due = now + jitter;
            keep.retry = ANNOUNCE_RETRY_MIN;
        } else {
            keep.due = now + keep.retry;
            keep.retry = (keep.retry * 2).min(ANNOUNCE_RETRY_MAX);
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
