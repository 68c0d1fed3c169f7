//! Asking for blocks, and what becomes of those that arrive.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::Torrent;
use crate::model::{BLOCK_LEN, Block, PieceIndex};
use crate::swarm::event::{BanReason, DiskEvent, Event, Output, PeerKey};
use crate::swarm::pieces::Arrival;
use crate::wire::Message;

/// Bytes that go to the disk in one run at most.
const WRITE_RUN_MAX: u32 = 256 * 1024;

/// Consecutive blocks of one piece on their way to the disk.
#[derive(Debug, Default)]
pub(super) struct Run {
    start: Option<Block>,
    blocks: Vec<Bytes>,
}

impl Run {
    /// Whether `block` follows directly and still fits.
    fn takes(&self, block: &Block) -> bool {
        self.start.is_none_or(|start| {
            start.piece == block.piece && start.begin + start.len == block.begin && start.len < WRITE_RUN_MAX
        })
    }

    fn push(&mut self, block: &Block, data: Bytes) {
        match &mut self.start {
            Some(start) => start.len += block.len,
            None => self.start = Some(*block),
        }
        self.blocks.push(data);
    }
}

impl Torrent {
    /// What a disk thread did.
    pub fn handle_disk(&mut self, now: Instant, event: DiskEvent) {
        match event {
            DiskEvent::Written { bytes, .. } => {
                let bytes = u64::from(bytes).min(self.unwritten);
                self.unwritten -= bytes;
                self.credit_used -= bytes;
                self.ask_all(now);
            }
            DiskEvent::Hashed { piece, verified: true, digests } => {
                self.handle_verified(now, piece, digests.as_deref())
            }
            DiskEvent::Hashed { piece, verified: false, digests } => self.handle_failed(now, piece, digests),
            DiskEvent::Read { peer, run, data } => self.handle_read(peer, &run, data),
        }
    }

    pub(super) fn handle_piece(
        &mut self,
        now: Instant,
        key: PeerKey,
        piece: PieceIndex,
        begin: u32,
        data: Bytes,
        run: &mut Run,
    ) {
        let (Some(peer), Some(pieces)) = (self.peers.get_mut(&key), &mut self.pieces) else { return };
        let block = Block { piece, begin, len: data.len() as u32 };
        peer.down.add(now, data.len() as u64);
        if !peer.asks.handle_block(now, &block, self.config.request_depth_max) {
            return;
        }
        self.down.add(now, data.len() as u64);
        match pieces.handle_block(&block, key) {
            Arrival::Unwanted => self.credit_used -= u64::from(block.len),
            Arrival::Wanted { others } => {
                if others > 0 {
                    self.cancel_elsewhere(key, &block);
                }
                self.unwritten += u64::from(block.len);
                if !run.takes(&block) {
                    self.write(std::mem::take(run));
                }
                run.push(&block, data);
            }
        }
    }

    /// Hands a run to the disk.
    pub(super) fn write(&mut self, run: Run) {
        if let Run { start: Some(start), blocks } = run {
            self.outputs.push_back(Output::Write { piece: start.piece, begin: start.begin, blocks });
        }
    }

    /// Asks a peer for as many blocks as its depth and the credit allow.
    pub(super) fn ask(&mut self, now: Instant, key: PeerKey) {
        let (Some(peer), Some(pieces)) = (self.peers.get_mut(&key), &mut self.pieces) else { return };
        if self.paused || peer.useful == 0 || !peer.we_interested {
            return;
        }
        let credit = self.config.credit_bytes_max.saturating_sub(self.credit_used) / u64::from(BLOCK_LEN);
        let room = peer.asks.depth.saturating_sub(peer.asks.len());
        let count = room.min(usize::try_from(credit).unwrap_or(usize::MAX));
        // A peer that is asked for one block at a time would need a system call for each.
        if count == 0 || (count < peer.asks.depth / 8 && peer.asks.len() > 0) {
            return;
        }
        let mut picked = Vec::with_capacity(count);
        if peer.they_choke {
            for piece in peer.allowed_by_them.iter().filter(|piece| peer.has(**piece)) {
                let count = count - picked.len();
                pieces.pick_piece(*piece, key, count, &mut picked);
            }
        } else {
            pieces.pick(key, count, |piece| peer.has(piece), &mut self.chance, &mut picked);
            if picked.is_empty() && pieces.is_end_game() && peer.asks.stalled_since().is_none() {
                let asked = |block: &Block| peer.asks.blocks().any(|other| other == block);
                pieces.pick_end_game(count, |piece| peer.has(piece), asked, &mut picked);
            }
        }
        for block in picked {
            peer.asks.push(now, block);
            self.credit_used += u64::from(block.len);
            self.outputs.push_back(Output::Send { peer: key, message: Message::Request(block) });
        }
    }

    /// Asks everybody who may have room: something became free.
    pub(super) fn ask_all(&mut self, now: Instant) {
        let willing = |peer: &&crate::swarm::peer::Peer| {
            peer.useful > 0
                && (!peer.they_choke || !peer.allowed_by_them.is_empty())
                && peer.asks.len() < peer.asks.depth
        };
        let keys: Vec<PeerKey> = self.peers.iter().filter(|(_, peer)| willing(peer)).map(|(key, _)| *key).collect();
        for key in keys {
            self.ask(now, key);
        }
    }

    /// Gives up what a peer was asked for.
    pub(super) fn release_asks(&mut self, key: PeerKey) {
        let (Some(peer), Some(pieces)) = (self.peers.get_mut(&key), &mut self.pieces) else { return };
        for block in peer.asks.drain() {
            pieces.release(&block, key);
            self.credit_used -= u64::from(block.len);
        }
    }

    /// A block arrived that others were asked for too.
    fn cancel_elsewhere(&mut self, from: PeerKey, block: &Block) {
        let mut cancelled = Vec::new();
        for (key, peer) in &mut self.peers {
            if *key != from && peer.asks.remove(block) {
                self.credit_used -= u64::from(block.len);
                cancelled.push(*key);
            }
        }
        for key in cancelled {
            self.send(key, Message::Cancel(*block));
        }
    }

    fn handle_verified(&mut self, now: Instant, piece: PieceIndex, digests: Option<&[u64]>) {
        let Some(pieces) = &mut self.pieces else { return };
        if !pieces.handle_verified(piece) {
            return;
        }
        let complete = pieces.is_complete();
        self.tell(Event::PieceVerified(piece));
        for liar in self.blame.handle_verified(piece, digests) {
            self.ban(now, liar, BanReason::CorruptBlocks);
        }
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            if peer.has(piece) {
                peer.useful -= 1;
                self.update_interest(key);
            } else if peer.is_connected() {
                // Who has the piece need not know that we have it too.
                self.send(key, Message::Have(piece));
            }
            if complete {
                self.close_if_useless(now, key);
            }
        }
        if complete {
            self.tell(Event::Completed);
        }
    }

    fn handle_failed(&mut self, now: Instant, piece: PieceIndex, digests: Option<Box<[u64]>>) {
        let Some(pieces) = &mut self.pieces else { return };
        let senders: Vec<Option<SocketAddr>> =
            pieces.senders(piece).iter().map(|key| self.senders.get(key).copied()).collect();
        pieces.handle_failed(piece, &mut self.chance);
        let senders: Option<Vec<SocketAddr>> = senders.into_iter().collect();
        let liar = senders.and_then(|senders| self.blame.handle_failed(piece, senders, digests));
        self.tell(Event::PieceFailed { piece, blamed: liar.into_iter().collect() });
        if let Some(liar) = liar {
            self.ban(now, liar, BanReason::CorruptBlocks);
        }
        self.ask_all(now);
    }
}
