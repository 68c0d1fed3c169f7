use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::get::Get;
use crate::event::{Conflict, SocketIndex};
use crate::item::Item;
use crate::krpc::{Method, MutablePut, Response};

/// Nodes whose stored sequence number is kept until it is known which are nearest; a lookup has hardly more answers.
const STORED_MAX: usize = 128;

/// An item that is to be put, and what the search for the nodes that are to hold it found of newer ones.
#[derive(Debug)]
pub(in crate::node) struct Put {
    item: Item,
    cas: Option<i64>,
    search: Get,
    /// What the nodes say they have, for the sake of `cas`.
    stored: BTreeMap<(SocketIndex, SocketAddr), i64>,
}

impl Put {
    pub(super) fn new(item: Item, cas: Option<i64>) -> Self {
        let search = match &item {
            Item::Immutable(_) => Get::immutable(item.target()),
            // Older versions need not be sent, unless one of them is expected: whichever there is has to be proved.
            Item::Mutable(item) => {
                let above = if cas.is_some() { None } else { below(item.seq) };
                Get::mutable(item.key, item.salt.clone(), above)
            }
        };
        Self { item, cas, search, stored: BTreeMap::new() }
    }

    pub(super) fn search(&self) -> &Get {
        &self.search
    }

    pub(super) fn handle_answer(&mut self, from: (SocketIndex, SocketAddr), response: &Response<'_>) {
        self.search.handle_answer(response);
        if let Some(seq) = response.seq
            && self.cas.is_some()
            && self.stored.len() < STORED_MAX
        {
            self.stored.insert(from, seq);
        }
    }

    /// Why the item is not to be put at all: nodes that do not know the newer one would take it.
    pub(super) fn conflict(&self) -> Option<Conflict> {
        let (Item::Mutable(item), Some(Item::Mutable(found))) = (&self.item, self.search.found()) else { return None };
        let stored = found.seq;
        match self.cas {
            Some(expected) if stored != expected => Some(Conflict::Cas { stored, expected }),
            _ if stored > item.seq => Some(Conflict::SequenceTooLow { stored, given: item.seq }),
            _ if stored == item.seq && found.value != item.value => Some(Conflict::SameSequence { seq: stored }),
            _ => None,
        }
    }

    /// The newer version that was found.
    pub(super) fn into_newer(self) -> Option<Item> {
        self.search.into_result().0
    }

    /// The query that shows whether a node has the item, where a second put of it may be refused for that: with `cas`.
    pub(super) fn look(&self) -> Option<Method<'static>> {
        let (Item::Mutable(item), Some(_)) = (&self.item, self.cas) else { return None };
        // Who has this very version is to send it.
        Some(Method::Get { target: self.item.target(), seq: below(item.seq) })
    }

    /// Whether a node answered with the item.
    pub(super) fn is_in(&self, response: &Response<'_>) -> bool {
        response.seq == self.item.seq() && response.value == Some(self.item.value())
    }

    /// The query that stores the item at a node; `again` after its silence, with a field that some nodes want. `cas` is
    /// left out where nothing is stored (BEP 44). Where the version that it expects is stored at some nodes, the others
    /// are to replace older ones too: refusing, they would continue handing them out.
    pub(super) fn method<'a>(&'a self, node: (SocketIndex, SocketAddr), token: &'a [u8], again: bool) -> Method<'a> {
        let is_stored = |cas: i64| self.stored.values().any(|stored| *stored == cas);
        let cas = self.cas.zip(self.stored.get(&node).copied()).map(|(cas, stored)| match is_stored(cas) {
            true => stored.min(cas),
            false => cas,
        });
        let mutable = match &self.item {
            Item::Immutable(_) => None,
            Item::Mutable(item) => {
                Some(MutablePut { key: &item.key, signature: &item.signature, seq: item.seq, cas, salt: &item.salt })
            }
        };
        Method::Put { token, value: self.item.value(), mutable, target: again.then(|| self.item.target()) }
    }
}

/// The sequence number up to which nodes need not send what they have, to learn whether they have this version.
fn below(seq: i64) -> Option<i64> {
    seq.checked_sub(1).filter(|below| *below >= 0)
}
