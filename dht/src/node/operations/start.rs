//! The beginning of every operation that can be asked for, and its end before its time.

use std::time::Instant;

use super::announce::Announce;
use super::get::Get;
use super::keep::{Keep, Kept};
use super::kind::Kind;
use super::operation::Operation;
use super::put::Put;
use super::scrape::Scrape;
use crate::Target;
use crate::event::OperationId;
use crate::item::{self, Item, ItemError};
use crate::node::{Node, OPERATIONS_MAX, Request, RequestError};

impl Node {
    /// Begins what is asked for. What comes of it follows as events of the operation.
    ///
    /// # Errors
    /// When it is not begun; no event follows then.
    pub fn start(&mut self, now: Instant, request: Request) -> Result<OperationId, RequestError> {
        self.admit(now, &request)?;
        Ok(match request {
            Request::FindNode(target) => self.start_lookup(now, target, Kind::FindNode, None),
            Request::GetPeers(hash) => self.start_lookup(now, hash.into(), Kind::GetPeers(hash), None),
            Request::Trace(hash) => self.start_lookup(now, hash.into(), Kind::Trace(hash), None),
            Request::Announce { info_hash, port, role } => {
                let announce = Announce { info_hash, port, role };
                self.start_lookup(now, info_hash.into(), Kind::Announce(announce), None)
            }
            Request::KeepAnnounced { info_hash, port, role } => {
                self.start_keeping(now, Kept::Announce(Announce { info_hash, port, role }))
            }
            Request::Ping(addr) => self.start_ping(now, addr),
            Request::GetImmutable(target) => self.start_get(now, Get::immutable(target)),
            Request::GetMutable { key, salt, above } => self.start_get(now, Get::mutable(key, salt, above)),
            Request::PutImmutable(value) => self.start_put(now, Item::Immutable(value), None),
            Request::PutMutable { item, cas } => self.start_put(now, Item::Mutable(item), cas),
            Request::KeepPut(item) => self.start_keeping(now, Kept::Put { item, cas: None }),
            Request::Watch { key, salt, seen } => self.start_watch(now, key, salt, seen),
            Request::Scrape(hash) => self.start_lookup(now, hash.into(), Kind::Scrape(hash, Scrape::default()), None),
            Request::Sample(target) => self.start_lookup(now, target, Kind::Sample, None),
            Request::SampleNode { addr, target } => self.start_sample_node(now, addr, target),
        })
    }

    /// Ends an operation without further events. Nobody waits for its answers any more.
    pub fn cancel(&mut self, _now: Instant, operation: OperationId) {
        if let Some(Operation::Keep(Keep { run: Some(run), .. })) = self.operations.remove(&operation) {
            self.operations.remove(&run);
            self.transactions.forget(run);
        }
        self.transactions.forget(operation);
    }

    fn admit(&self, now: Instant, request: &Request) -> Result<(), RequestError> {
        match request {
            Request::GetMutable { salt, .. } | Request::Watch { salt, .. } if salt.len() > item::SALT_LEN_MAX => {
                return Err(ItemError::SaltTooBig(salt.len()).into());
            }
            Request::PutImmutable(value) => item::check_value(value)?,
            Request::PutMutable { item, .. } => item.verify()?,
            Request::KeepPut(item) => item.check()?,
            Request::SampleNode { addr, .. } => {
                if let Some(wait) = self.sampled.wait(now, *addr) {
                    return Err(RequestError::SampledRecently { wait });
                }
            }
            _ => {}
        }
        if self.operations.len() < OPERATIONS_MAX { Ok(()) } else { Err(RequestError::TooManyOperations) }
    }

    fn start_get(&mut self, now: Instant, get: Get) -> OperationId {
        self.start_lookup(now, get.target(), Kind::Get(Box::new(get)), None)
    }

    fn start_put(&mut self, now: Instant, item: Item, cas: Option<i64>) -> OperationId {
        self.start_lookup(now, item.target(), Kind::Put(Box::new(Put::new(item, cas))), None)
    }

    fn start_watch(&mut self, now: Instant, key: [u8; 32], salt: Vec<u8>, seen: Option<i64>) -> OperationId {
        let target: Target = item::mutable_target(&key, &salt);
        // The version that was seen last may be told again, to an owner who does not know it.
        let above = seen.max(self.seen.find(&target).map(|seq| seq.saturating_sub(1)));
        if let Some(seq) = above {
            self.seen.note(target, seq);
        }
        self.start_keeping(now, Kept::Watch { key, salt, above })
    }

    fn start_keeping(&mut self, now: Instant, task: Kept) -> OperationId {
        let operation = self.insert(Operation::Keep(Keep::new(now, task)));
        self.run_kept(now, operation);
        operation
    }

    pub(super) fn insert(&mut self, operation: Operation) -> OperationId {
        let id = OperationId(self.operation_next);
        self.operation_next += 1;
        self.operations.insert(id, operation);
        id
    }
}
