use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use super::keep::Keep;
use super::lookup::Kind;
use crate::event::OperationId;
use crate::lookup::Lookup;
use crate::node::Node;

/// Something that was asked for and is under way.
#[derive(Debug)]
pub(in crate::node) enum Operation {
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

impl Node {
    /// Ends an operation without further events. Answers that still come fill the table only.
    pub fn cancel(&mut self, _now: Instant, operation: OperationId) {
        self.operations.remove(&operation);
    }

    pub(super) fn insert(&mut self, operation: Operation) -> OperationId {
        let id = OperationId(self.operation_next);
        self.operation_next += 1;
        self.operations.insert(id, operation);
        id
    }
}
