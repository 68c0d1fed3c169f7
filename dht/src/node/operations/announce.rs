use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use super::lookup::Kind;
use super::operation::Operation;
use crate::InfoHash;
use crate::event::{AnnouncePort, Event, OperationId, SocketIndex};
use crate::krpc::Method;
use crate::lookup::Lookup;
use crate::node::Node;
use crate::rpc::Purpose;

impl Node {
    /// Announces once that this host has a torrent. Ends with [`Event::Announced`].
    pub fn announce(&mut self, now: Instant, info_hash: InfoHash, port: AnnouncePort, seed: bool) -> OperationId {
        self.start_lookup(now, info_hash.into(), Kind::Announce { info_hash, port, seed, keeper: None })
    }

    /// Announces to the nearest nodes that gave a token.
    pub(super) fn tell_closest(
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

    pub(in crate::node) fn handle_announce_answer(
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
}
