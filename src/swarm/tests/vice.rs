use bytes::Bytes;

use crate::wire::{Message, MetadataMessage};

/// What a host does wrong on its way out or in; the machine behind it knows nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vice {
    /// None.
    Honest,
    /// Every so many blocks it sends, one is wrong.
    CorruptsOneIn(u64),
    /// The metadata it sends are wrong.
    LiesAboutMetadata,
    /// It rejects every request.
    RejectsAll,
    /// It never answers a request.
    Mute,
}

impl Vice {
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

    /// What reaches the machine of this host, and what goes back in its stead.
    pub(super) fn on_receive(self, message: Message) -> (Option<Message>, Option<Message>) {
        match (self, message) {
            (Self::RejectsAll, Message::Request(block)) => (None, Some(Message::Reject(block))),
            (Self::Mute, Message::Request(_)) => (None, None),
            (_, message) => (Some(message), None),
        }
    }
}

fn spoil(data: &Bytes) -> Bytes {
    let mut data = data.to_vec();
    data[0] ^= 0xff;
    data.into()
}
