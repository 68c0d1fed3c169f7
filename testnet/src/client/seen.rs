use std::collections::BTreeMap;

use magnes::model::PieceIndex;
use magnes::wire::{Message, MetadataMessage};

/// What a client was seen to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests it made of each piece.
    pub requests: BTreeMap<PieceIndex, u32>,
    /// Requests it made for metadata.
    pub metadata_requests: u32,
    /// Payload that reached it, in bytes.
    pub payload_received: u64,
    /// Payload that it queued for others, in bytes.
    pub payload_sent: u64,
}

impl Seen {
    pub(super) fn note_sent(&mut self, message: &Message) {
        match message {
            Message::Request(block) => *self.requests.entry(block.piece).or_default() += 1,
            Message::Metadata(MetadataMessage::Request { .. }) => self.metadata_requests += 1,
            Message::Piece { data, .. } => self.payload_sent += data.len() as u64,
            _ => {}
        }
    }

    pub(super) fn note_received(&mut self, message: &Message) {
        if let Message::Piece { data, .. } = message {
            self.payload_received += data.len() as u64;
        }
    }
}
