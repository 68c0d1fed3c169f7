use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use super::announce::Announce;
use super::keep::Keep;
use super::kind::Kind;
use super::put::Put;
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
    pub(super) pending: BTreeSet<(SocketIndex, SocketAddr)>,
    pub(super) asked: usize,
    pub(super) acknowledged: usize,
    /// How many nodes refused with which error code.
    pub(super) refused: BTreeMap<i64, usize>,
}

/// What is to be stored.
#[derive(Debug)]
pub(super) enum Content {
    Announce(Announce),
    Put(Box<Put>),
}

impl Content {
    /// The query that stores it at a node that gave this token.
    pub(super) fn method<'a>(&'a self, node: (SocketIndex, SocketAddr), token: &'a [u8]) -> Method<'a> {
        match self {
            Self::Announce(announce) => announce.method(token),
            Self::Put(put) => put.method(node, token),
        }
    }
}
