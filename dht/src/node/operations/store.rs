use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::keep::Run;
use super::operation::{Content, Operation, Store, Told};
use crate::Contact;
use crate::event::{AnnounceOutcome, Event, OperationId, PutOutcome, Refusal, SocketIndex};
use crate::krpc::{ErrorCode, Response};
use crate::lookup::Lookup;
use crate::node::Node;
use crate::rpc::Purpose;

/// What a node said to something that it is to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum StoreAnswer {
    Taken,
    /// With this error code.
    Refused(i64),
    Silent,
}

impl Node {
    /// Has the nearest nodes that gave a token store something.
    pub(super) fn tell_nearest(
        &mut self,
        now: Instant,
        operation: OperationId,
        lookups: &[Lookup],
        content: Content,
        keeper: Option<OperationId>,
    ) {
        let started = lookups.first().map_or(now, Lookup::started);
        let mut pending = BTreeMap::new();
        for (index, lookup) in lookups.iter().enumerate() {
            let socket = SocketIndex(index);
            for (contact, token) in nodes_to_tell(lookup) {
                let purpose = Purpose::Store(operation);
                let node = (socket, contact.addr);
                if self.query(now, socket, contact.addr, Some(contact.id), purpose, content.method(node, token, false))
                {
                    pending.insert(node, Told { id: contact.id, token: Some(token.into()) });
                }
            }
        }
        let asked = pending.len();
        let refused = BTreeMap::new();
        let store = Store { content, keeper, started, pending, asked, acknowledged: 0, refused };
        self.operations.insert(operation, Operation::Store(store));
        self.finish_store(now, operation);
    }

    /// A node that was told is silent for long, though it answered the lookup: it is told once more. Datagrams get lost.
    pub(in crate::node) fn tell_again(
        &mut self,
        now: Instant,
        operation: OperationId,
        node: (SocketIndex, SocketAddr),
    ) {
        let Some(Operation::Store(store)) = self.operations.get_mut(&operation) else { return };
        let Some(Told { id, token }) = store.pending.get_mut(&node) else { return };
        let (id, Some(token)) = (*id, token.take()) else { return };
        // Taken out for as long as the query is written, which does not look at operations.
        let Some(Operation::Store(store)) = self.operations.remove(&operation) else { return };
        let method = store.content.method(node, &token, true);
        self.query(now, node.0, node.1, Some(id), Purpose::Store(operation), method);
        self.operations.insert(operation, Operation::Store(store));
    }

    /// A node that was told refused. Where it was told twice and the first answer is lost, it may refuse because it has what
    /// it was given (BEP 44, `cas`): then it is asked what it has.
    pub(in crate::node) fn handle_store_refusal(
        &mut self,
        now: Instant,
        operation: OperationId,
        node: (SocketIndex, SocketAddr),
        code: i64,
    ) {
        if code == ErrorCode::CasMismatch.number()
            && let Some(Operation::Store(Store { content: Content::Put(put), pending, .. })) =
                self.operations.get(&operation)
            && let Some(Told { id, token: None }) = pending.get(&node)
            && let Some(method) = put.look()
        {
            let id = *id;
            if self.query(now, node.0, node.1, Some(id), Purpose::Stored(operation), method) {
                return;
            }
        }
        self.handle_store_answer(now, operation, node, StoreAnswer::Refused(code));
    }

    /// What a node has that refused the second time; `None`: it does not say.
    pub(in crate::node) fn handle_stored(
        &mut self,
        now: Instant,
        operation: OperationId,
        node: (SocketIndex, SocketAddr),
        response: Option<&Response<'_>>,
    ) {
        let verdict = match self.operations.get(&operation) {
            Some(Operation::Store(Store { content: Content::Put(put), .. }))
                if response.is_some_and(|response| put.is_in(response)) =>
            {
                StoreAnswer::Taken
            }
            _ => StoreAnswer::Refused(ErrorCode::CasMismatch.number()),
        };
        self.handle_store_answer(now, operation, node, verdict);
    }

    /// A node was told, and answered or did not.
    pub(in crate::node) fn handle_store_answer(
        &mut self,
        now: Instant,
        operation: OperationId,
        from: (SocketIndex, SocketAddr),
        verdict: StoreAnswer,
    ) {
        if let Some(Operation::Store(store)) = self.operations.get_mut(&operation)
            && store.pending.remove(&from).is_some()
        {
            match verdict {
                StoreAnswer::Taken => store.acknowledged += 1,
                StoreAnswer::Refused(code) => *store.refused.entry(code).or_default() += 1,
                StoreAnswer::Silent => {}
            }
        }
        self.finish_store(now, operation);
    }

    fn finish_store(&mut self, now: Instant, operation: OperationId) {
        let Some(Operation::Store(store)) = self.operations.get(&operation) else { return };
        if !store.pending.is_empty() {
            return;
        }
        let Some(Operation::Store(store)) = self.operations.remove(&operation) else { return };
        let Store { content, keeper, started, asked, acknowledged, refused, .. } = store;
        let elapsed = now.saturating_duration_since(started);
        if let Some(keeper) = keeper {
            self.handle_run(now, keeper, if acknowledged > 0 { Run::Done } else { Run::Unheard });
        }
        match (content, keeper) {
            (Content::Announce(_), Some(_)) => {}
            (Content::Announce(_), None) => {
                let outcome = AnnounceOutcome { asked, acknowledged, elapsed };
                self.tell(Event::Announced { operation, outcome });
            }
            (Content::Put(_), keeper) => {
                let refused = refused.into_iter().map(|(code, nodes)| Refusal { code, nodes }).collect();
                let outcome = PutOutcome { asked, acknowledged, refused, conflict: None, elapsed };
                self.tell_put(operation, keeper, outcome);
                if let Some(keeper) = keeper {
                    self.handle_kept_put(keeper, None);
                }
            }
        }
    }

    /// A put is over.
    pub(super) fn tell_put(&mut self, operation: OperationId, keeper: Option<OperationId>, outcome: PutOutcome) {
        self.tell(match keeper {
            Some(operation) => Event::Republished { operation, outcome },
            None => Event::PutDone { operation, outcome },
        });
    }
}

/// The nodes that are to store what a lookup was for.
fn nodes_to_tell(lookup: &Lookup) -> impl Iterator<Item = (Contact, &[u8])> {
    lookup.holders().filter_map(|(contact, token)| Some((contact, token?)))
}
