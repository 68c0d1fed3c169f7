//! What peers say.

use std::time::Instant;

use super::Swarm;
use super::download::Run;
use crate::model::{Bitfield, Block, PieceIndex};
use crate::swarm::event::{CloseReason, Output, PeerKey, Unwanted};
use crate::swarm::flood;
use crate::swarm::peer::PeerPieces;
use crate::wire::Message;

/// What a run of messages comes to, done once at its end.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Consecutive blocks on their way to the disk.
    blocks: Run,
    /// Blocks on their way to its socket that the peer does not want any more.
    pub(super) cancelled: Vec<Block>,
    /// Blocks that were asked for are free again, and others may have room for them.
    freed: bool,
}

impl Swarm {
    /// A run of messages of one peer, in order.
    pub fn handle_messages(&mut self, now: Instant, key: PeerKey, messages: Vec<Message>) {
        let mut turn = Turn::default();
        for message in messages {
            if !self.peers.contains_key(&key) {
                break;
            }
            match message {
                Message::Piece { piece, begin, data } => {
                    self.handle_piece(now, key, piece, begin, data, &mut turn.blocks);
                }
                message => self.handle_message(now, key, message, &mut turn),
            }
        }
        self.write(turn.blocks);
        if !turn.cancelled.is_empty() {
            self.take_back(key, Unwanted::Blocks(turn.cancelled));
        }
        if turn.freed {
            self.ask_all(now);
        }
        self.ask(now, key);
        self.rescue(now, key);
        self.pump(key);
    }

    /// Counts a message that is useless against the peer's budget; closes a peer that floods us.
    pub(super) fn charge(&mut self, now: Instant, key: PeerKey, cost: u32) {
        if self.peers.get_mut(&key).is_some_and(|peer| !peer.flood.charge(now, cost)) {
            self.close(now, key, CloseReason::Flood);
        }
    }

    fn handle_message(&mut self, now: Instant, key: PeerKey, message: Message, turn: &mut Turn) {
        let cost = flood::cost(&message);
        if cost > 0 {
            self.charge(now, key, cost);
        }
        match message {
            Message::Choke => turn.freed |= self.handle_choke(now, key),
            Message::Unchoke => self.handle_unchoke(key),
            Message::Interested => self.handle_interested(now, key, true),
            Message::NotInterested => self.handle_interested(now, key, false),
            Message::Have(piece) => self.handle_have(now, key, piece),
            Message::Bitfield(bytes) => self.handle_bitfield(now, key, bytes),
            Message::HaveAll => self.handle_have_all(now, key),
            Message::HaveNone => self.note_told_pieces(now, key, flood::PIECES_AGAIN),
            Message::KeepAlive | Message::Unknown | Message::Piece { .. } => {}
            Message::Request(block) => self.handle_request(now, key, block),
            Message::Cancel(block) => self.handle_cancel(now, key, block, turn),
            Message::Reject(block) => turn.freed |= self.handle_reject(now, key, &block),
            Message::AllowedFast(piece) | Message::Suggest(piece) => self.handle_allowed(key, piece, &message),
            Message::Port(port) => self.handle_port(key, port),
            Message::ExtendedHandshake(handshake) => self.handle_extended(now, key, &handshake),
            Message::Metadata(message) => self.handle_metadata(now, key, message),
        }
    }

    /// Returns whether blocks are free again.
    fn handle_choke(&mut self, now: Instant, key: PeerKey) -> bool {
        let Some(peer) = self.peers.get_mut(&key) else { return false };
        peer.they_choke = true;
        peer.asks.handle_choke(now);
        let fast = peer.has_fast();
        if let Some(pieces) = &mut self.pieces {
            pieces.disown(key);
        }
        // With the Fast extension each request is rejected or served; without it all are forgotten (BEP 6).
        !fast && self.release_asks(key)
    }

    fn handle_unchoke(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.they_choke = false;
            peer.asks.handle_unchoke();
        }
    }

    fn handle_interested(&mut self, now: Instant, key: PeerKey, interested: bool) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if std::mem::replace(&mut peer.they_interested, interested) == interested {
            return;
        }
        if interested && !self.peers[&key].we_choke && self.served(now) > self.choker.slots() {
            // Its slot went to another meanwhile.
            self.choke(now, key);
        } else {
            self.fill_slots(now);
        }
    }

    fn handle_have(&mut self, now: Instant, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(pieces) = &mut self.pieces else {
            let is_kept = match &mut peer.pieces {
                PeerPieces::Early(early) => early.push_have(piece),
                _ => false,
            };
            return self.charge(now, key, u32::from(!is_kept));
        };
        if !pieces.geometry().contains(piece) {
            return self.close(now, key, CloseReason::BadRange);
        }
        let PeerPieces::Some(field) = &mut peer.pieces else { return self.charge(now, key, 1) };
        if !field.insert(piece) {
            return self.charge(now, key, 1);
        }
        let full = field.is_full();
        pieces.gain(piece, &mut self.chance);
        peer.useful += u32::from(pieces.wants(piece));
        if full {
            self.promote_to_seed(key);
        }
        self.update_interest(key);
        self.close_if_useless(now, key);
    }

    /// A peer says once which pieces it has, as its first message (BEP 3); each further time costs it so much.
    fn note_told_pieces(&mut self, now: Instant, key: PeerKey, cost: u32) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if std::mem::replace(&mut peer.told_pieces, true) {
            self.charge(now, key, cost);
        }
    }

    fn handle_bitfield(&mut self, now: Instant, key: PeerKey, bytes: bytes::Bytes) {
        let pieces = self.pieces.as_ref().map_or(0, |pieces| pieces.geometry().piece_count());
        self.note_told_pieces(now, key, flood::bitfield_again(pieces));
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(pieces) = &self.pieces else {
            if let PeerPieces::Early(early) = &mut peer.pieces {
                early.bitfield = Some(bytes);
            }
            return;
        };
        let Some(field) = Bitfield::from_bytes(&bytes, pieces.geometry().piece_count()) else {
            return self.close(now, key, CloseReason::BadBitfield);
        };
        self.replace_pieces(now, key, PeerPieces::Some(field));
    }

    fn handle_have_all(&mut self, now: Instant, key: PeerKey) {
        self.note_told_pieces(now, key, flood::PIECES_AGAIN);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        match &mut peer.pieces {
            PeerPieces::Early(early) if self.pieces.is_none() => early.all = true,
            _ => self.replace_pieces(now, key, PeerPieces::All),
        }
    }

    /// The peer's first word about its pieces.
    fn replace_pieces(&mut self, now: Instant, key: PeerKey, theirs: PeerPieces) {
        self.count_out(key);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.pieces = theirs;
        }
        self.count_in(key);
        self.update_interest(key);
        self.close_if_useless(now, key);
    }

    /// Counts the pieces of a peer into availability and use. A full bitfield becomes "everything".
    pub(super) fn count_in(&mut self, key: PeerKey) {
        let (Some(peer), Some(pieces)) = (self.peers.get_mut(&key), &mut self.pieces) else { return };
        if matches!(&peer.pieces, PeerPieces::Some(field) if field.is_full()) {
            peer.pieces = PeerPieces::All;
        }
        peer.useful = match &peer.pieces {
            PeerPieces::Early(_) => 0,
            PeerPieces::All => pieces.missing(),
            PeerPieces::Some(field) => {
                let mut useful = 0;
                for piece in field.iter() {
                    useful += u32::from(pieces.wants(piece));
                    pieces.gain(piece, &mut self.chance);
                }
                useful
            }
        };
    }

    fn count_out(&mut self, key: PeerKey) {
        let (Some(peer), Some(pieces)) = (self.peers.get_mut(&key), &mut self.pieces) else { return };
        if let PeerPieces::Some(field) = &peer.pieces {
            field.iter().for_each(|piece| pieces.lose(piece, &mut self.chance));
        }
    }

    fn promote_to_seed(&mut self, key: PeerKey) {
        self.count_out(key);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.pieces = PeerPieces::All;
        }
    }

    /// Tells the peer whether we want anything of it, when that changed.
    pub(super) fn update_interest(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let interested = peer.useful > 0;
        if peer.is_connected() && std::mem::replace(&mut peer.we_interested, interested) != interested {
            self.send(key, if interested { Message::Interested } else { Message::NotInterested });
        }
    }

    /// Tells the peer whether we will download, when that changed (BEP 21): it may not have heard of every piece of
    /// ours, as those that it had itself were not told, and could not know that we are useless to each other.
    pub(super) fn tell_upload_only(&mut self, key: PeerKey) {
        let upload_only = self.is_complete();
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.hello.is_some_and(|hello| hello.features.extension)
            && std::mem::replace(&mut peer.told_upload_only, upload_only) != upload_only
        {
            self.send(key, Message::ExtendedHandshake(self.extended_handshake()));
        }
    }

    /// Ends a connection on which neither side will ever ask for anything.
    pub(super) fn close_if_useless(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get(&key) else { return };
        if self.is_complete() && peer.is_connected() && (peer.is_seed() || peer.upload_only) {
            self.close(now, key, CloseReason::BothComplete);
        }
    }

    /// Returns whether a block is free again.
    fn handle_reject(&mut self, now: Instant, key: PeerKey, block: &Block) -> bool {
        let Some(peer) = self.peers.get_mut(&key) else { return false };
        if !peer.asks.remove(block) {
            self.charge(now, key, 1);
            return false;
        }
        if !peer.they_choke {
            peer.asks.handle_reject(now, block.piece);
        } else if peer.allowed_by_them.contains(&block.piece) {
            peer.asks.refuse(now, block.piece);
        }
        self.credit.settle(block);
        if let Some(pieces) = &mut self.pieces {
            pieces.release(block, key, &mut self.chance);
        }
        true
    }

    fn handle_allowed(&mut self, key: PeerKey, piece: PieceIndex, message: &Message) {
        /// More pieces than this are no courtesy but a way to fill memory.
        const ALLOWED_MAX: usize = 64;
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let allowed = &mut peer.allowed_by_them;
        if matches!(message, Message::AllowedFast(_)) && allowed.len() < ALLOWED_MAX && !allowed.contains(&piece) {
            allowed.push(piece);
        }
    }

    fn handle_port(&mut self, key: PeerKey, port: u16) {
        if let Some(peer) = self.peers.get_mut(&key)
            && port != 0
            && peer.ports_left > 0
            && self.config.dht_port.is_some()
        {
            peer.ports_left -= 1;
            let mut addr = peer.addr;
            addr.set_port(port);
            self.outputs.push_back(Output::DhtNode(addr));
        }
    }
}
