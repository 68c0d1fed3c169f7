use std::collections::BTreeSet;

use bytes::Bytes;

use magnes::model::Block;
use magnes::wire::{METADATA_PIECE_LEN, Message, MetadataMessage};

/// What a host does wrong on its way out or in; the machine behind it knows nothing of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Vice {
    /// None.
    #[default]
    Honest,
    /// Every this many blocks it sends, one is wrong.
    CorruptsOneIn(u64),
    /// The metadata it sends are wrong.
    LiesAboutMetadata,
    /// It rejects every request.
    RejectsAll,
    /// It rejects each block once and serves it when it is asked again.
    RejectsOnce,
    /// It rejects every request while this piece is asked for.
    RejectsPiece(u32),
    /// It never answers a request.
    Mute,
    /// It keeps this many requests, and drops the others without a word or with a reject.
    Keeps {
        /// How many.
        requests: usize,
        /// Whether it rejects the others.
        rejects: bool,
    },
    /// At every twentieth request it chokes and unchokes, and forgets without a word what it did not serve yet.
    ForgetsAtChoke,
    /// It says that it has the metadata and rejects every request for them.
    RejectsMetadata,
    /// It says so and never answers.
    MuteAboutMetadata,
    /// It says that the metadata have another length, and sends pieces of that length.
    LiesAboutMetadataLen(u32),
    /// It has the metadata and does not say so.
    HidesMetadata,
    /// It closes every connection before its handshake.
    HangsUp,
}

/// What a host has done so far, as far as its vice depends on it.
#[derive(Debug, Default)]
pub(super) struct Past {
    rejected: BTreeSet<Block>,
    requests: Vec<Block>,
    pub(super) forgotten: BTreeSet<Block>,
}

impl Vice {
    /// The length of the metadata that this host names, in bytes.
    pub(super) fn metadata_len(self, len: u32) -> Option<u32> {
        match self {
            Self::LiesAboutMetadataLen(other) => Some(other),
            Self::HidesMetadata => None,
            _ => Some(len),
        }
    }

    /// What a message turns into when this host sends it; `count` counts its blocks.
    pub(super) fn on_send(self, message: Message, count: u64) -> Message {
        match (self, message) {
            (Self::CorruptsOneIn(every), Message::Piece { piece, begin, data }) if count.is_multiple_of(every) => {
                Message::Piece { piece, begin, data: spoil(&data) }
            }
            (Self::LiesAboutMetadata, Message::Metadata(MetadataMessage::Data { piece, total_size, data })) => {
                Message::Metadata(MetadataMessage::Data { piece, total_size, data: spoil(&data) })
            }
            (_, message) => message,
        }
    }

    /// What reaches the machine of this host, and what goes back in its stead. `waiting` counts the requests of that peer
    /// that wait for an answer, this one included.
    pub(super) fn on_receive(self, past: &mut Past, message: Message, waiting: usize) -> (Vec<Message>, Vec<Message>) {
        match (self, message) {
            (Self::RejectsAll, Message::Request(block)) => (vec![], vec![Message::Reject(block)]),
            (Self::RejectsOnce, Message::Request(block)) if past.rejected.insert(block) => {
                (vec![], vec![Message::Reject(block)])
            }
            (Self::RejectsPiece(piece), Message::Request(block)) if block.piece.get() == piece => {
                (vec![], vec![Message::Reject(block)])
            }
            (Self::Mute, Message::Request(_)) => (vec![], vec![]),
            (Self::Keeps { requests, rejects }, Message::Request(block)) if waiting > requests => {
                (vec![], if rejects { vec![Message::Reject(block)] } else { vec![] })
            }
            (Self::ForgetsAtChoke, Message::Request(block)) => {
                past.forgotten.remove(&block);
                past.requests.push(block);
                if !past.requests.len().is_multiple_of(20) {
                    return (vec![Message::Request(block)], vec![]);
                }
                past.forgotten.extend(&past.requests);
                let cancels = past.requests.iter().rev().take(40).copied().map(Message::Cancel).collect();
                (cancels, vec![Message::Choke, Message::Unchoke])
            }
            (Self::RejectsMetadata, Message::Metadata(MetadataMessage::Request { piece })) => {
                (vec![], vec![Message::Metadata(MetadataMessage::Reject { piece })])
            }
            (Self::MuteAboutMetadata, Message::Metadata(MetadataMessage::Request { .. })) => (vec![], vec![]),
            (Self::LiesAboutMetadataLen(len), Message::Metadata(MetadataMessage::Request { piece })) => {
                let piece_len = METADATA_PIECE_LEN.min(len - piece * METADATA_PIECE_LEN);
                let data = vec![7; piece_len as usize].into();
                (vec![], vec![Message::Metadata(MetadataMessage::Data { piece, total_size: len, data })])
            }
            (_, message) => (vec![message], vec![]),
        }
    }
}

fn spoil(data: &Bytes) -> Bytes {
    let mut data = data.to_vec();
    data[0] ^= 0xff;
    data.into()
}
