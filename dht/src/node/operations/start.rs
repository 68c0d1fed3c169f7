//! Every operation that can be asked for, and its end before its time.

use std::time::Instant;

use super::announce::Announce;
use super::get::Get;
use super::keep::{Keep, Kept};
use super::kind::Kind;
use super::operation::Operation;
use super::put::Put;
use super::scrape::Scrape;
use crate::event::{AnnouncePort, Event, OPERATIONS_MAX, OperationId, RequestError};
use crate::item::{self, Item, ItemError, MutableItem};
use crate::node::Node;
use crate::{InfoHash, Target};

impl Node {
    /// Looks for the nodes nearest to a target. Ends with [`Event::LookupDone`].
    pub fn find_node(&mut self, now: Instant, target: Target) -> OperationId {
        self.start(now, target, Kind::FindNode)
    }

    /// Looks for the peers of a torrent: [`Event::Peers`] as replies arrive, [`Event::LookupDone`] at the end.
    pub fn get_peers(&mut self, now: Instant, info_hash: InfoHash) -> OperationId {
        self.start(now, info_hash.into(), Kind::GetPeers(info_hash))
    }

    /// As [`Node::get_peers`], and tells every step: [`Event::Hop`].
    pub fn trace(&mut self, now: Instant, info_hash: InfoHash) -> OperationId {
        self.start(now, info_hash.into(), Kind::Trace(info_hash))
    }

    /// Announces once that this host has a torrent. Ends with [`Event::Announced`].
    pub fn announce(&mut self, now: Instant, info_hash: InfoHash, port: AnnouncePort, seed: bool) -> OperationId {
        self.start(now, info_hash.into(), Kind::Announce(Announce { info_hash, port, seed }))
    }

    /// Announces a torrent at once and then again and again, until [`Node::cancel`].
    pub fn keep_announced(&mut self, now: Instant, info_hash: InfoHash, port: AnnouncePort, seed: bool) -> OperationId {
        self.start_keeping(now, Kept::Announce(Announce { info_hash, port, seed }))
    }

    /// Looks for an immutable item (BEP 44): [`Event::Item`] when it is there, [`Event::GetDone`] at the end, which is
    /// at once then: the hash proves the item.
    pub fn get_immutable(&mut self, now: Instant, target: Target) -> OperationId {
        self.start(now, target, Kind::Get(Box::new(Get::immutable(target))))
    }

    /// Looks for the newest version of a mutable item (BEP 44): [`Event::Item`] for each that is newer than the one
    /// before, [`Event::GetDone`] at the end. With `above`, versions up to this sequence number are of no interest.
    ///
    /// Only items with a valid signature count; what else nodes give is counted as rejected.
    pub fn get_mutable(&mut self, now: Instant, key: [u8; 32], salt: &[u8], above: Option<i64>) -> OperationId {
        if salt.len() > item::SALT_LEN_MAX {
            return self.refuse(ItemError::SaltTooBig(salt.len()).into());
        }
        let get = Get::mutable(key, salt.to_vec(), above);
        self.start(now, get.target(), Kind::Get(Box::new(get)))
    }

    /// Puts an immutable item (BEP 44): looks for the nodes nearest to the hash of `value`, which is one canonically
    /// bencoded value, and has them store it. Ends with [`Event::PutDone`], or [`Event::Refused`] with
    /// [`RequestError::Item`] for what is no such value.
    pub fn put_immutable(&mut self, now: Instant, value: &[u8]) -> OperationId {
        match item::check_value(value) {
            Ok(()) => self.start_put(now, Item::Immutable(value.to_vec()), None),
            Err(error) => self.refuse(error.into()),
        }
    }

    /// Puts a mutable item (BEP 44). With `cas`, only nodes whose stored item has this sequence number, or that have
    /// none, take it. When a newer version turns up on the way, or with `cas` another one, nobody is asked to store
    /// this one: see [`PutOutcome::conflict`](crate::PutOutcome). Ends with [`Event::PutDone`], or [`Event::Refused`]
    /// with [`RequestError::Item`] when the item does not verify.
    pub fn put_mutable(&mut self, now: Instant, item: &MutableItem, cas: Option<i64>) -> OperationId {
        match item.verify() {
            Ok(()) => self.start_put(now, Item::Mutable(item.clone()), cas),
            Err(error) => self.refuse(error.into()),
        }
    }

    /// Puts an item at once and again every hour, until [`Node::cancel`]: [`Event::Republished`] after each time. When
    /// a newer version of a mutable item turns up, that one is kept.
    pub fn keep_put(&mut self, now: Instant, item: Item) -> OperationId {
        match item.check() {
            Ok(()) => self.start_keeping(now, Kept::Put { item, cas: None }),
            Err(error) => self.refuse(error.into()),
        }
    }

    /// Follows a mutable item, for example one that points to a torrent (BEP 46), until [`Node::cancel`]:
    /// [`Event::Item`] for every newer version. It is looked for at once, then after a minute, and ever less often
    /// while nothing changes, down to every quarter of an hour.
    ///
    /// Versions up to the sequence number `seen` are not told, and none that is older than what this node ever saw while
    /// following the item; that is in [`Node::snapshot`].
    pub fn watch(&mut self, now: Instant, key: [u8; 32], salt: &[u8], seen: Option<i64>) -> OperationId {
        if salt.len() > item::SALT_LEN_MAX {
            return self.refuse(ItemError::SaltTooBig(salt.len()).into());
        }
        let target = item::mutable_target(&key, salt);
        // The version that was seen last may be told again, to an owner who does not know it.
        let above = seen.max(self.seen.find(&target).map(|seq| seq.saturating_sub(1)));
        if let Some(seq) = above {
            self.seen.note(target, seq);
        }
        self.start_keeping(now, Kept::Watch { key, salt: salt.to_vec(), above })
    }

    /// Counts the peers of a torrent without listing them (BEP 33). Ends with [`Event::ScrapeDone`].
    pub fn scrape(&mut self, now: Instant, info_hash: InfoHash) -> OperationId {
        self.start(now, info_hash.into(), Kind::Scrape(info_hash, Scrape::default()))
    }

    /// Asks the nodes on the way to a point for some of the info hashes that they store (BEP 51): [`Event::Samples`]
    /// for each that gives some, [`Event::LookupDone`] at the end. A node whose interval is not over is asked for its
    /// contacts only.
    pub fn sample(&mut self, now: Instant, target: Target) -> OperationId {
        self.start(now, target, Kind::Sample)
    }

    /// Ends an operation without further events. Nobody waits for its answers any more.
    pub fn cancel(&mut self, _now: Instant, operation: OperationId) {
        if let Some(Operation::Keep(Keep { run: Some(run), .. })) = self.operations.remove(&operation) {
            self.operations.remove(&run);
            self.transactions.forget(run);
        }
        self.transactions.forget(operation);
    }

    fn start(&mut self, now: Instant, target: Target, kind: Kind) -> OperationId {
        if self.is_busy() {
            return self.refuse(RequestError::TooManyOperations);
        }
        self.start_lookup(now, target, kind, None)
    }

    fn start_put(&mut self, now: Instant, item: Item, cas: Option<i64>) -> OperationId {
        self.start(now, item.target(), Kind::Put(Box::new(Put::new(item, cas))))
    }

    fn start_keeping(&mut self, now: Instant, task: Kept) -> OperationId {
        if self.is_busy() {
            return self.refuse(RequestError::TooManyOperations);
        }
        let operation = self.insert(Operation::Keep(Keep::new(now, task)));
        self.run_kept(now, operation);
        operation
    }

    /// Whether there is no room for another operation.
    pub(super) fn is_busy(&self) -> bool {
        self.operations.len() >= OPERATIONS_MAX
    }

    /// An operation that is not even begun.
    pub(super) fn refuse(&mut self, error: RequestError) -> OperationId {
        let operation = self.next_operation();
        self.tell(Event::Refused { operation, error });
        operation
    }

    pub(super) fn insert(&mut self, operation: Operation) -> OperationId {
        let id = self.next_operation();
        self.operations.insert(id, operation);
        id
    }

    fn next_operation(&mut self) -> OperationId {
        let id = OperationId(self.operation_next);
        self.operation_next += 1;
        id
    }
}
