//! Asking for blocks, and what becomes of those that arrive.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Swarm;
use super::choice::Choice;
use crate::disk::Done;
use crate::model::{BLOCK_LEN, Block, PieceIndex};
use crate::swarm::event::{BanReason, Event, Output, PeerKey};
use crate::swarm::peer::Peer;
use crate::swarm::pieces::{Arrival, Asked};
use crate::wire::{ALLOWED_FAST_COUNT, Message};

/// A peer that is about to unchoke us does so within this time. What it allows is meant to give newcomers something to trade
/// (BEP 6), and is the same for all who connect from one network: who takes it without need takes what others have taken.
const ALLOWED_FAST_AFTER: Duration = Duration::from_secs(2);
/// Bytes that go to the disk in one run at most.
const WRITE_RUN_MAX: u32 = 256 * 1024;
/// Pieces that a peer has begun to send, or waits to hash and to tell of, besides those in its queue.
const PIECES_UNDER_WAY_MIN: usize = 2;
/// The last pieces of a seed are left to the peers with a better claim, which will pass them on, for twice as long as what
/// each has under way takes, and no less or more than this.
const LEAVE_MIN: Duration = Duration::from_millis(500);
const LEAVE_MAX: Duration = Duration::from_secs(10);
/// They are left only where a piece takes at least so long: with a faster seed, waiting costs more than it spares.
const SLOW_PIECE: Duration = Duration::from_millis(50);
/// A block that is expected within this time is not asked of another peer: cancelling it would come too late.
const RESCUE_MIN: Duration = Duration::from_millis(20);
/// Nor of a seed that others download from too, when it is expected within this time.
const RESCUE_BY_SEED_MIN: Duration = Duration::from_secs(1);

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

impl Swarm {
    /// What a disk thread did. Checks, measures, syncs and failed writes say nothing about peers and pieces in themselves:
    /// whoever keeps the files judges them.
    pub fn handle_disk(&mut self, now: Instant, done: Done) {
        match done {
            Done::Written { bytes, .. } => self.handle_written(now, bytes),
            Done::Hashed { piece, verified: true, digests } => self.handle_verified(now, piece, digests.as_deref()),
            Done::Hashed { piece, verified: false, digests } => self.handle_failed(now, piece, digests),
            Done::Lost { piece, error: _ } => self.handle_lost(now, piece),
            Done::Read { tag, block, data } => self.handle_read(now, PeerKey::new(tag), &block, Some(data)),
            Done::Unread { tag, block, error: _ } => self.handle_read(now, PeerKey::new(tag), &block, None),
            Done::Checked { .. } | Done::Measured { .. } | Done::Synced(_) | Done::Failed(_) => {}
        }
    }

    fn handle_written(&mut self, now: Instant, bytes: u32) {
        self.credit.written(bytes);
        self.ask_all(now);
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
        if !peer.asks.handle_block(now, &block, self.config.request_depth_max) {
            // It may have crossed a cancel. It earns nothing.
            return self.charge(now, key, 1);
        }
        peer.down.add(now, data.len() as u64);
        peer.active_at = now;
        self.down.add(now, data.len() as u64);
        match pieces.handle_block(&block, key) {
            Arrival::Unwanted => self.credit.settle(&block),
            Arrival::Wanted { others } => {
                if others > 0 {
                    self.cancel_elsewhere(key, &block);
                }
                self.credit.arrive(&block);
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
        let (Some(peer), Some(pieces)) = (self.peers.get(&key), &mut self.pieces) else { return };
        if self.paused || peer.useful == 0 || !peer.we_interested {
            return;
        }
        let (room, credit) = (peer.asks.room(now), self.credit.room(self.granted.credit_bytes));
        self.shortage.credit |= credit < room;
        let count = room.min(credit);
        if count == 0 || peer.asks.is_too_few(count) {
            return;
        }
        let mut picked = Vec::with_capacity(count);
        let serves = |piece| peer.has(piece) && !peer.asks.has_refused(now, piece);
        if peer.they_choke {
            let newcomer = pieces.have().count() < ALLOWED_FAST_COUNT as u32;
            if !newcomer || now < peer.connected_at + ALLOWED_FAST_AFTER {
                return;
            }
            for piece in peer.allowed_by_them.iter().filter(|piece| serves(**piece)) {
                let count = count - picked.len();
                pieces.pick_piece(*piece, key, count, &mut picked);
            }
        } else {
            let piece_time = peer.asks.time_for(pieces.geometry().piece_len_nominal());
            let patient = peer.is_seed() && piece_time >= SLOW_PIECE && self.help_at.is_none_or(|at| now < at);
            let choice = Choice::new(&self.config.peer_id, &self.peers);
            let piece_blocks = pieces.geometry().piece_len_nominal().div_ceil(BLOCK_LEN) as usize;
            let under_way = PIECES_UNDER_WAY_MIN + peer.asks.depth.div_ceil(piece_blocks);
            let spared = patient && choice.are_last(pieces.startable(), under_way);
            let best = |equal: &[PieceIndex]| choice.best(equal, spared);
            let asked = Asked { peer: key, count, spared };
            pieces.pick(asked, serves, best, &mut self.chance, &mut picked);
            if spared && picked.len() < count {
                let leave = (piece_time * 2 * under_way as u32).clamp(LEAVE_MIN, LEAVE_MAX);
                self.help_at.get_or_insert(now + leave);
            }
        }
        self.request(now, key, picked);
    }

    fn request(&mut self, now: Instant, key: PeerKey, blocks: Vec<Block>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        for block in blocks {
            peer.asks.push(now, block);
            self.credit.ask(&block);
            self.outputs.push_back(Output::Send { peer: key, message: Message::Request(block) });
        }
    }

    /// Asks everyone who may have room: something became free.
    pub(super) fn ask_all(&mut self, now: Instant) {
        let willing = |peer: &&Peer| {
            let open = !peer.they_choke || !peer.allowed_by_them.is_empty();
            peer.useful > 0 && open && peer.asks.room(now) > 0
        };
        let keys: Vec<PeerKey> = self.peers.iter().filter(|(_, peer)| willing(peer)).map(|(key, _)| *key).collect();
        for key in keys {
            self.ask(now, key);
        }
    }

    /// Asks a peer that has nothing to do for blocks that slower peers were asked for, those first that would come last. The
    /// slower one is told not to send a block when it has come. This is the end game (BEP 3), and not only in the end: a
    /// piece that a slow peer just sends us may have become available from a fast one.
    pub(super) fn rescue(&mut self, now: Instant, key: PeerKey) {
        let (Some(peer), Some(pieces)) = (self.peers.get(&key), &mut self.pieces) else { return };
        let asks = &peer.asks;
        let idle = asks.len() == 0 && !peer.they_choke && peer.we_interested && asks.stalled_since().is_none();
        if self.paused || !idle {
            return;
        }
        // Others need a seed for what only it has.
        let needed = peer.is_seed() && self.peers.values().any(|other| other.is_connected() && !other.is_seed());
        let rescue_min = if needed { RESCUE_BY_SEED_MIN } else { RESCUE_MIN };
        // A peer of which nothing is known has to show first what it can do.
        let room = if asks.has_pace() { asks.room(now) } else { asks.room(now).min(1) };
        let room = room.min(self.credit.room(self.granted.credit_bytes));
        if room == 0 {
            return;
        }
        let serves = |piece| peer.has(piece) && !asks.has_refused(now, piece);
        let mut late: BTreeMap<Block, Duration> = BTreeMap::new();
        for (block, expected) in self.peers.values().flat_map(|peer| peer.asks.expected(now)) {
            if expected >= rescue_min && serves(block.piece) {
                // Asked of several, it comes from the fastest.
                late.entry(*block).and_modify(|least| *least = expected.min(*least)).or_insert(expected);
            }
        }
        let mut late: Vec<(Block, Duration)> = late.into_iter().collect();
        late.sort_by_key(|(block, expected)| (std::cmp::Reverse(*expected), *block));
        let mut picked = Vec::new();
        for (block, expected) in late {
            let sooner = asks.expected_next(picked.len()) * 2 + rescue_min;
            if picked.len() >= room || expected < sooner {
                break;
            }
            if pieces.ask_again(&block) {
                picked.push(block);
            }
        }
        self.request(now, key, picked);
    }

    /// Lets every idle peer help out.
    pub(super) fn rescue_all(&mut self, now: Instant) {
        let idle = |peer: &&Peer| !peer.they_choke && peer.useful > 0 && peer.asks.len() == 0;
        let keys: Vec<PeerKey> = self.peers.iter().filter(|(_, peer)| idle(peer)).map(|(key, _)| *key).collect();
        for key in keys {
            self.rescue(now, key);
        }
    }

    /// Gives up what a peer was asked for. Returns whether that was anything: others may have room for it.
    pub(super) fn release_asks(&mut self, key: PeerKey) -> bool {
        let (Some(peer), Some(pieces)) = (self.peers.get_mut(&key), &mut self.pieces) else { return false };
        let mut freed = false;
        for block in peer.asks.drain() {
            pieces.release(&block, key, &mut self.chance);
            self.credit.settle(&block);
            freed = true;
        }
        freed
    }

    /// Takes back what a peer will not send, as far as is known; it is told so, in case it would after all.
    pub(super) fn give_up(&mut self, key: PeerKey, blocks: &[Block]) {
        for block in blocks {
            if let Some(pieces) = &mut self.pieces {
                pieces.release(block, key, &mut self.chance);
            }
            self.credit.settle(block);
            self.send(key, Message::Cancel(*block));
        }
    }

    /// A block arrived that others were asked for too.
    fn cancel_elsewhere(&mut self, from: PeerKey, block: &Block) {
        let mut cancelled = Vec::new();
        for (key, peer) in &mut self.peers {
            if *key != from && peer.asks.remove(block) {
                self.credit.settle(block);
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
                self.tell_upload_only(key);
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
        // A peer that nobody can replace has a second chance: its disk, or ours, may have failed it once.
        let others = |liar: &SocketAddr| self.peers.values().any(|peer| peer.addr != *liar && peer.has(piece));
        let liar = liar.filter(|liar| others(liar) || !self.candidates.forgives(now, *liar, BanReason::CorruptBlocks));
        self.tell(Event::PieceFailed { piece, blamed: liar.into_iter().collect() });
        if let Some(liar) = liar {
            self.ban(now, liar, BanReason::CorruptBlocks);
        }
        self.ask_all(now);
    }

    /// A piece that was verified, or of which blocks were written, is not on the disk after all.
    pub fn handle_lost(&mut self, now: Instant, piece: PieceIndex) {
        let Some(pieces) = &mut self.pieces else { return };
        let is_more = pieces.handle_lost(piece, &mut self.chance);
        self.candidates.recall(now);
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            self.cancel_piece(key, piece);
            self.unserve(key, piece);
            if let Some(peer) = self.peers.get_mut(&key)
                && is_more
                && peer.has(piece)
            {
                peer.useful += 1;
                self.update_interest(key);
            }
            self.tell_upload_only(key);
        }
        self.ask_all(now);
    }

    /// What a peer was asked for of a piece is not wanted any more.
    fn cancel_piece(&mut self, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let asked: Vec<Block> = peer.asks.blocks().filter(|block| block.piece == piece).copied().collect();
        for block in asked {
            peer.asks.remove(&block);
            self.credit.settle(&block);
            self.outputs.push_back(Output::Send { peer: key, message: Message::Cancel(block) });
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin at some instant")]
mod tests {
    use super::*;
    use crate::model::Bitfield;
    use crate::swarm::machine::opened::{connect, opened};

    const PIECE_LEN: u32 = 4 * BLOCK_LEN;

    /// A torrent with these of its two pieces, and a peer that has both and does not choke.
    fn torrent(have: &[u32]) -> (Swarm, PeerKey, Instant) {
        let now = Instant::now();
        let mut verified = Bitfield::empty(2);
        have.iter().for_each(|piece| assert!(verified.insert(PieceIndex::new(*piece))));
        let mut torrent = opened(now, 2 * u64::from(PIECE_LEN), u64::from(PIECE_LEN), verified);
        let peer = connect(&mut torrent, now, ([10, 0, 0, 1], 6881).into(), false).unwrap();
        let field = Message::Bitfield(Bytes::copy_from_slice(Bitfield::full(2).as_bytes()));
        torrent.handle_messages(now, peer, vec![field, Message::Unchoke]);
        torrent.check_invariants();
        (torrent, peer, now)
    }

    fn sent(torrent: &mut Swarm) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(output) = torrent.poll_output() {
            if let Output::Send { message, .. } = output {
                messages.push(message);
            }
        }
        torrent.check_invariants();
        messages
    }

    #[test]
    fn a_verified_piece_that_the_disk_lost_is_fetched_again() {
        let (mut torrent, peer, now) = torrent(&[1]);
        sent(&mut torrent);
        torrent.handle_lost(now, PieceIndex::new(1));
        let asked = sent(&mut torrent)
            .iter()
            .filter(|message| matches!(message, Message::Request(block) if block.piece == PieceIndex::new(1)))
            .count();
        assert_eq!(asked, 4);
        assert_eq!(torrent.status().bytes_done, 0);
        torrent.handle_messages(now, peer, vec![Message::Interested]);
        let block = Block { piece: PieceIndex::new(1), begin: 0, len: BLOCK_LEN };
        torrent.handle_messages(now, peer, vec![Message::Request(block)]);
        assert!(sent(&mut torrent).contains(&Message::Reject(block)), "it is not offered");
    }

    #[test]
    fn a_piece_that_is_lost_while_it_is_fetched_begins_anew() {
        let (mut torrent, peer, now) = torrent(&[1]);
        let piece = PieceIndex::new(0);
        sent(&mut torrent);
        let data = Bytes::from(vec![0; BLOCK_LEN as usize]);
        torrent.handle_messages(now, peer, vec![Message::Piece { piece, begin: 0, data }]);
        torrent.handle_disk(now, Done::Written { piece, bytes: BLOCK_LEN });
        torrent.handle_lost(now, piece);
        let messages = sent(&mut torrent);
        let count = |wanted: fn(&Message) -> bool| messages.iter().filter(|message| wanted(message)).count();
        assert_eq!(count(|message| matches!(message, Message::Cancel(_))), 3);
        assert_eq!(count(|message| matches!(message, Message::Request(_))), 4);
    }
}
