//! The runs of what is kept up: their beginning, and what each leaves for the next.

use std::time::Instant;

use super::get::Get;
use super::keep::{Keep, Kept, Run};
use super::kind::Kind;
use super::operation::Operation;
use super::put::Put;
use crate::Target;
use crate::event::OperationId;
use crate::item::Item;
use crate::node::Node;

impl Node {
    /// Begins the next run of something that is kept up.
    pub(in crate::node) fn run_kept(&mut self, now: Instant, keeper: OperationId) {
        let Some(Operation::Keep(keep)) = self.operations.get(&keeper) else { return };
        if keep.run.is_some() {
            return;
        }
        let (target, kind) = match &keep.task {
            Kept::Announce(announce) => (announce.info_hash.into(), Kind::Announce(*announce)),
            Kept::Put { item, cas } => (item.target(), Kind::Put(Box::new(Put::new(item.clone(), *cas)))),
            Kept::Watch { key, salt, above } => {
                let get = Get::mutable(*key, salt.clone(), *above);
                (get.target(), Kind::Get(Box::new(get)))
            }
        };
        let run = self.start_lookup(now, target, kind, Some(keeper));
        // Without anybody to ask it may be over already.
        let under_way = self.operations.contains_key(&run);
        if let Some(Operation::Keep(keep)) = self.operations.get_mut(&keeper)
            && under_way
        {
            keep.run = Some(run);
        }
    }

    /// The newest sequence numbers of the items that are or were followed, longest ago first.
    pub(crate) fn seen_sequences(&self) -> Vec<(Target, i64)> {
        self.seen.list()
    }

    /// Takes up what an earlier session saw.
    pub(crate) fn restore_seen(&mut self, seen: impl Iterator<Item = (Target, i64)>) {
        seen.for_each(|(target, seq)| self.seen.note(target, seq));
    }

    /// A run is over.
    pub(super) fn handle_run(&mut self, now: Instant, keeper: OperationId, run: Run) {
        if let Some(Operation::Keep(keep)) = self.operations.get_mut(&keeper) {
            keep.handle_end(now, run, &mut self.chance);
        }
    }

    /// A newer version of an item that is followed was found.
    pub(super) fn handle_version(&mut self, keeper: OperationId, target: Target, seq: i64) {
        self.seen.note(target, seq);
        if let Some(Operation::Keep(Keep { task: Kept::Watch { above, .. }, .. })) = self.operations.get_mut(&keeper) {
            *above = Some(seq);
        }
    }

    /// An item that is kept was put: the next time it will be put over what is stored, or a newer one in its stead.
    pub(super) fn handle_kept_put(&mut self, keeper: OperationId, newer: Option<Item>) {
        if let Some(Operation::Keep(Keep { task: Kept::Put { item, cas }, .. })) = self.operations.get_mut(&keeper) {
            *cas = None;
            if let Some(newer) = newer.filter(|newer| newer.seq() > item.seq()) {
                *item = newer;
            }
        }
    }
}
