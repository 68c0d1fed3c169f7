use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::announce::Announce;
use super::keep::Keep;
use super::kind::Kind;
use super::put::Put;
use crate::NodeId;
use crate::event::{OperationId, SocketIndex};
use crate::krpc::Method;
use crate::lookup::Lookup;

/// Something that was asked for and is under way.
#[derive(Debug)]
pub(in crate::node) enum Operation {
    Lookup {
        kind: Kind,
        /// What it is a run of.
        keeper: Option<OperationId>,
        lookups: Vec<Lookup>,
        starving_until: Instant,
    },
    Store(Store),
    Ping,
    /// One node is asked for its samples (BEP 51).
    Sample,
    Keep(Keep),
}

impl Operation {
    /// Panics when a lookup contradicts itself.
    pub(in crate::node) fn check_invariants(&self) {
        if let Self::Lookup { lookups, .. } = self {
            lookups.iter().for_each(Lookup::check_invariants);
        }
    }
}

/// The nearest nodes are told something that they are to store.
#[derive(Debug)]
pub(in crate::node) struct Store {
    pub(super) content: Content,
    /// What it is a run of.
    pub(super) keeper: Option<OperationId>,
    /// When the lookup before it began.
    pub(super) started: Instant,
    pub(super) pending: BTreeMap<(SocketIndex, SocketAddr), Told>,
    pub(super) asked: usize,
    pub(super) acknowledged: usize,
    /// How many nodes refused with which error code.
    pub(super) refused: BTreeMap<i64, usize>,
}

/// A node that was told and has not answered yet.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) id: NodeId,
    /// What it must be told with, until it was told again.
    pub(super) token: Option<Box<[u8]>>,
}

/// What is to be stored.
#[derive(Debug)]
pub(super) enum Content {
    Announce(Announce),
    Put(Box<Put>),
}

impl Content {
    /// The query that stores it at a node that gave this token; `again` after the node's silence.
    pub(super) fn method<'a>(&'a self, node: (SocketIndex, SocketAddr), token: &'a [u8], again: bool) -> Method<'a> {
        match self {
            Self::Announce(announce) => announce.method(token),
            Self::Put(put) => put.method(node, token, again),
        }
    }
}
