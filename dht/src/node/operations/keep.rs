use std::time::{Duration, Instant};

use super::lookup::Kind;
use super::operation::Operation;
use crate::InfoHash;
use crate::event::{AnnouncePort, OperationId};
use crate::node::Node;

/// Pause between the announces of a torrent that is kept announced; others forget after half an hour.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(13 * 60);
/// Pause after an announce that nobody took; it doubles with every further one.
const ANNOUNCE_RETRY_MIN: Duration = Duration::from_secs(1);
const ANNOUNCE_RETRY_MAX: Duration = Duration::from_secs(60);

/// A torrent that is kept announced.
#[derive(Debug)]
pub(in crate::node) struct Keep {
    info_hash: InfoHash,
    port: AnnouncePort,
    seed: bool,
    /// The announce under way.
    announce: Option<OperationId>,
    pub(in crate::node) due: Instant,
    retry: Duration,
}

impl Node {
    /// Announces a torrent at once and then again and again, until [`Node::stop_announcing`].
    pub fn keep_announced(&mut self, now: Instant, info_hash: InfoHash, port: AnnouncePort, seed: bool) -> OperationId {
        let keep = Keep { info_hash, port, seed, announce: None, due: now, retry: ANNOUNCE_RETRY_MIN };
        let operation = self.insert(Operation::Keep(keep));
        self.announce_kept(now, operation);
        operation
    }

    /// Ends what [`Node::keep_announced`] began.
    pub fn stop_announcing(&mut self, now: Instant, operation: OperationId) {
        if let Some(Operation::Keep(Keep { announce: Some(announce), .. })) = self.operations.get(&operation) {
            let announce = *announce;
            self.cancel(now, announce);
        }
        self.operations.remove(&operation);
    }

    /// Begins the next announce of a torrent that is kept announced.
    pub(in crate::node) fn announce_kept(&mut self, now: Instant, keeper: OperationId) {
        let Some(Operation::Keep(keep)) = self.operations.get(&keeper) else { return };
        if keep.announce.is_some() {
            return;
        }
        let kind = Kind::Announce { info_hash: keep.info_hash, port: keep.port, seed: keep.seed, keeper: Some(keeper) };
        let target = keep.info_hash.into();
        let announce = self.start_lookup(now, target, kind);
        // Without anybody to ask it may be over already.
        let under_way = self.operations.contains_key(&announce);
        if let Some(Operation::Keep(keep)) = self.operations.get_mut(&keeper) {
            keep.announce = under_way.then_some(announce);
        }
    }

    pub(super) fn handle_kept(&mut self, now: Instant, keeper: OperationId, acknowledged: usize) {
        let jitter = crate::node::maintenance::jitter(&mut self.chance, ANNOUNCE_INTERVAL);
        let Some(Operation::Keep(keep)) = self.operations.get_mut(&keeper) else { return };
        keep.announce = None;
        if acknowledged > 0 {
            keep.due = now + jitter;
            keep.retry = ANNOUNCE_RETRY_MIN;
        } else {
            keep.due = now + keep.retry;
            keep.retry = (keep.retry * 2).min(ANNOUNCE_RETRY_MAX);
        }
    }
}
