use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use magnes::model::PieceIndex;
use magnes::wire::{Message, MetadataMessage};

/// What a client was seen to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests it made of each piece.
    pub requests: BTreeMap<PieceIndex, u32>,
    /// Requests it made for metadata.
    pub metadata_asked: u32,
    /// Requests for metadata that reached it.
    pub metadata_requests: u32,
    /// Payload that reached it, in bytes.
    pub payload_received: u64,
    /// Payload that it queued for others and did not take back, in bytes.
    pub payload_sent: u64,
    /// Blocks that it took back before they left.
    pub taken_back: usize,
    /// Requests of one peer that waited for an answer at most.
    pub requests_waiting_max: usize,
    /// When it choked and unchoked which peer, by the address that it knows.
    pub chokes: Vec<(Instant, SocketAddr, bool)>,
    /// Whom it dialled.
    pub dials: Vec<(Instant, SocketAddr)>,
}

impl Seen {
    /// Requests it made.
    pub fn requests_made(&self) -> u64 {
        self.requests.values().map(|count| u64::from(*count)).sum()
    }

    pub(super) fn note_sent(&mut self, now: Instant, to: SocketAddr, message: &Message) {
        match message {
            Message::Request(block) => *self.requests.entry(block.piece).or_default() += 1,
            Message::Metadata(MetadataMessage::Request { .. }) => self.metadata_asked += 1,
            Message::Piece { data, .. } => self.payload_sent += data.len() as u64,
            Message::Choke => self.chokes.push((now, to, true)),
            Message::Unchoke => self.chokes.push((now, to, false)),
            _ => {}
        }
    }

    pub(super) fn note_received(&mut self, message: &Message) {
        match message {
            Message::Piece { data, .. } => self.payload_received += data.len() as u64,
            Message::Metadata(MetadataMessage::Request { .. }) => self.metadata_requests += 1,
            _ => {}
        }
    }
}
