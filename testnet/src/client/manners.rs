use std::collections::BTreeMap;

use magnes::model::Block;
use magnes::swarm::PeerKey;
use magnes::wire::{ExtendedHandshake, LinkConfig, Message};

use super::vice::{Past, Vice};

/// How a client stands towards others, besides what its torrent decides.
#[derive(Debug, Clone)]
pub struct Manners {
    /// What it does wrong.
    pub vice: Vice,
    /// Whether it has the Fast extension (BEP 6).
    pub has_fast: bool,
    /// The requests it keeps queued, as it says (BEP 10); `None`: what its torrent says.
    pub reqq: Option<Option<u32>>,
    /// Whether it says from the start that it will not download (BEP 21).
    pub upload_only: bool,
}

impl Default for Manners {
    /// Honest, with everything that there is.
    fn default() -> Self {
        Self { vice: Vice::Honest, has_fast: true, reqq: None, upload_only: false }
    }
}

/// What stands between a torrent and its links.
#[derive(Debug)]
pub(super) struct Filter {
    manners: Manners,
    past: Past,
    /// Requests of each peer that wait for an answer.
    waiting: BTreeMap<PeerKey, Vec<Block>>,
    waiting_max: usize,
    blocks_sent: u64,
}

/// What becomes of a message that arrived.
#[derive(Debug)]
pub(super) struct Passed {
    /// What reaches the torrent.
    pub(super) passed: Vec<Message>,
    /// What goes back in its stead.
    pub(super) answers: Vec<Message>,
}

impl Filter {
    pub(super) fn new(manners: Manners) -> Self {
        Self { manners, past: Past::default(), waiting: BTreeMap::new(), waiting_max: 0, blocks_sent: 0 }
    }

    /// Whether it closes every connection before its handshake.
    pub(super) fn hangs_up(&self) -> bool {
        self.manners.vice == Vice::HangsUp
    }

    /// Requests of one peer that waited for an answer at most.
    pub(super) fn waiting_max(&self) -> usize {
        self.waiting_max
    }

    /// What a connection says of the client.
    pub(super) fn link_config(&self, mut config: LinkConfig) -> LinkConfig {
        config.features.fast &= self.manners.has_fast;
        config.extended = self.extended(config.extended);
        config
    }

    fn extended(&self, mut handshake: ExtendedHandshake) -> ExtendedHandshake {
        let len = handshake.metadata_size.and_then(|len| self.manners.vice.metadata_len(len));
        handshake.metadata_size = len;
        handshake.reqq = self.manners.reqq.unwrap_or(handshake.reqq);
        handshake.upload_only |= self.manners.upload_only;
        handshake
    }

    /// What is sent in place of a message of the torrent, if anything.
    pub(super) fn on_send(&mut self, peer: PeerKey, message: Message) -> Option<Message> {
        let answered = match &message {
            Message::Piece { piece, begin, data } => {
                self.blocks_sent += 1;
                Some(Block { piece: *piece, begin: *begin, len: data.len() as u32 })
            }
            Message::Reject(block) => Some(*block),
            _ => None,
        };
        if let (Some(block), Some(waiting)) = (answered, self.waiting.get_mut(&peer)) {
            waiting.retain(|other| *other != block);
        }
        match message {
            Message::Reject(block) if self.past.forgotten.remove(&block) => None,
            Message::ExtendedHandshake(handshake) => Some(Message::ExtendedHandshake(self.extended(handshake))),
            message => Some(self.manners.vice.on_send(message, self.blocks_sent)),
        }
    }

    /// What a message that arrived leads to.
    pub(super) fn on_receive(&mut self, peer: PeerKey, message: Message) -> Passed {
        let request = match &message {
            Message::Request(block) => Some(*block),
            _ => None,
        };
        let waiting = self.waiting.entry(peer).or_default();
        waiting.extend(request);
        self.waiting_max = self.waiting_max.max(waiting.len());
        let count = waiting.len();
        let (passed, answers) = self.manners.vice.on_receive(&mut self.past, message, count);
        if let (true, Some(block), Some(waiting)) = (passed.is_empty(), request, self.waiting.get_mut(&peer)) {
            waiting.retain(|other| *other != block);
        }
        Passed { passed, answers }
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, peer: PeerKey) {
        self.waiting.remove(&peer);
    }
}
