use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::Block;
use crate::swarm::event::{PeerKey, Unwanted};
use crate::wire::{Message, PeerFault, PeerHello};

/// What goes over a connection, in its order.
#[derive(Debug)]
pub(super) enum Item {
    Hello(PeerHello),
    Message(Message),
    Close,
    /// Made by the receiver's own link after a long silence.
    Fault(PeerFault),
}

impl Item {
    /// Its length on the wire, about.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Hello(_) => 68,
            Self::Message(Message::Piece { data, .. }) => 13 + data.len() as u64,
            Self::Message(Message::Bitfield(bytes)) => 5 + bytes.len() as u64,
            Self::Message(Message::Metadata(_)) => 16 * 1024,
            Self::Message(_) => 17,
            Self::Close | Self::Fault(_) => 0,
        }
    }

    fn block(&self) -> Option<Block> {
        let Self::Message(Message::Piece { piece, begin, data }) = self else { return None };
        Some(Block { piece: *piece, begin: *begin, len: data.len() as u32 })
    }

    /// Bytes of blocks in it.
    pub(super) fn payload_bytes(&self) -> u32 {
        match self {
            Self::Message(Message::Piece { data, .. }) => data.len() as u32,
            _ => 0,
        }
    }
}

/// The way out of one host: one message at a time at a given rate, the connections in turn.
#[derive(Debug)]
pub(super) struct Uplink {
    bps: u64,
    queues: BTreeMap<PeerKey, VecDeque<Item>>,
    last: PeerKey,
    pub(super) busy: bool,
}

impl Uplink {
    pub(super) fn new(bps: u64) -> Self {
        Self { bps, queues: BTreeMap::new(), last: PeerKey::new(0), busy: false }
    }

    pub(super) fn push(&mut self, key: PeerKey, item: Item) {
        self.queues.entry(key).or_default().push_back(item);
    }

    /// Blocks that wait to leave on a connection.
    pub(super) fn blocks_waiting(&self, key: PeerKey) -> impl Iterator<Item = Block> {
        self.queues.get(&key).into_iter().flatten().filter_map(Item::block)
    }

    /// Takes blocks back that have not left.
    pub(super) fn take_back(&mut self, key: PeerKey, unwanted: &Unwanted) -> Vec<Block> {
        let mut taken = Vec::new();
        let Some(queue) = self.queues.get_mut(&key) else { return taken };
        queue.retain(|item| {
            let block = item.block().filter(|block| unwanted.contains(block));
            taken.extend(block);
            block.is_none()
        });
        if queue.is_empty() {
            self.queues.remove(&key);
        }
        taken
    }

    /// The next item, and how long it takes.
    pub(super) fn next(&mut self) -> Option<(PeerKey, Item, Duration)> {
        let after = self.queues.range(self.last..).map(|(key, _)| *key).find(|key| *key > self.last);
        let key = after.or_else(|| self.queues.keys().next().copied())?;
        let queue = self.queues.get_mut(&key)?;
        let item = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(&key);
        }
        self.last = key;
        let takes = Duration::from_nanos(item.len() * 1_000_000_000 / self.bps);
        Some((key, item, takes))
    }

    pub(super) fn clear(&mut self) {
        self.queues.clear();
    }
}
