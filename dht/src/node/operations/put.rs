use super::get::Get;
use crate::event::Conflict;
use crate::item::Item;
use crate::krpc::{Method, MutablePut, Response};

/// An item that is to be put, and what the search for the nodes that are to hold it found of newer ones.
#[derive(Debug)]
pub(in crate::node) struct Put {
    item: Item,
    cas: Option<i64>,
    search: Get,
}

impl Put {
    pub(super) fn new(item: Item, cas: Option<i64>) -> Self {
        let search = match &item {
            Item::Immutable(_) => Get::immutable(item.target()),
            // What does not contradict the put need not be sent.
            Item::Mutable(item) => {
                Get::mutable(item.key, item.salt.clone(), Some(cas.map_or(item.seq, |cas| cas.min(item.seq))))
            }
        };
        Self { item, cas, search }
    }

    pub(super) fn search(&self) -> &Get {
        &self.search
    }

    pub(super) fn handle_answer(&mut self, response: &Response<'_>) {
        self.search.handle_answer(response);
    }

    /// Why the item is not to be put at all: nodes that do not know the newer one would take it.
    pub(super) fn conflict(&self) -> Option<Conflict> {
        let (Item::Mutable(item), Some(stored)) = (&self.item, self.search.found().and_then(Item::seq)) else {
            return None;
        };
        match self.cas {
            Some(expected) if stored != expected => Some(Conflict::Cas { stored, expected }),
            _ if stored > item.seq => Some(Conflict::SequenceTooLow { stored, given: item.seq }),
            _ => None,
        }
    }

    /// The newer version that was found.
    pub(super) fn into_newer(self) -> Option<Item> {
        self.search.into_result().0
    }

    /// The query that stores the item.
    pub(super) fn method<'a>(&'a self, token: &'a [u8]) -> Method<'a> {
        let mutable = match &self.item {
            Item::Immutable(_) => None,
            Item::Mutable(item) => Some(MutablePut {
                key: &item.key,
                signature: &item.signature,
                seq: item.seq,
                cas: self.cas,
                salt: &item.salt,
            }),
        };
        Method::Put { token, value: self.item.value(), mutable }
    }
}
