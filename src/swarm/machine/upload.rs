//! Choking, and serving blocks.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Swarm;
use super::messages::Turn;
use crate::model::{BLOCK_LEN, Block, PieceIndex};
use crate::swarm::choker::Candidate;
use crate::swarm::event::{CloseReason, Output, PeerKey, Unwanted};
use crate::swarm::peer::Peer;
use crate::wire::{Message, REQUEST_LEN_MAX};

/// Cancels of one run that are followed to the socket: about as many blocks can be on their way to it.
const CANCELLED_MAX: usize = 256;
/// Who is unchoked and wants something asks for it within this time.
const ASKS_WITHIN: Duration = Duration::from_secs(2);
/// While nothing is sent to anybody for this long, peers that do not read keep nobody from a slot.
const LINE_IDLE_AFTER: Duration = Duration::from_secs(3);
/// Who was sent so much reads: the sockets of both sides never take in as much before one reads (Linux: 4 MiB to send). That
/// its socket takes nothing for seconds says only that it, or our line, is slow.
const READS_AFTER: u64 = 6 * 1024 * 1024;
/// A shorter request is served and counts as useless: the convention is 16 KiB, and each one costs us as much as a
/// block.
const TINY_LEN: u32 = 4 * 1024;

impl Swarm {
    /// Payload reached the socket of a peer.
    pub fn handle_sent(&mut self, now: Instant, key: PeerKey, payload_bytes: u32) {
        self.up.add(now, u64::from(payload_bytes));
        self.sent_at = now;
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.up.add(now, u64::from(payload_bytes));
            peer.active_at = now;
            peer.serves.handle_sent(now, payload_bytes);
            self.pump(key);
        }
    }

    /// Blocks that were on their way to the socket of a peer will not be sent, as [`Output::TakeBack`] asked for.
    pub fn handle_taken_back(&mut self, key: PeerKey, blocks: &[Block]) {
        for block in blocks {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.serves.take_queued(block.len);
            }
            self.reject(key, *block);
        }
        self.pump(key);
    }

    /// Asks for blocks back that are on their way to the socket, if any can be.
    pub(super) fn take_back(&mut self, key: PeerKey, blocks: Unwanted) {
        if self.peers.get(&key).is_some_and(|peer| peer.serves.has_queued()) {
            self.outputs.push_back(Output::TakeBack { peer: key, blocks });
        }
    }

    pub(super) fn handle_request(&mut self, now: Instant, key: PeerKey, block: Block) {
        let (Some(peer), Some(pieces)) = (self.peers.get_mut(&key), &self.pieces) else {
            return self.reject(key, block);
        };
        if !pieces.geometry().contains_range(&block) {
            return self.close(now, key, CloseReason::BadRange);
        }
        let fits = block.len <= REQUEST_LEN_MAX && peer.serves.waiting.len() < self.config.request_queue_max;
        let is_served = fits
            && pieces.have().contains(block.piece)
            && (!peer.we_choke
                || (peer.take_allowed(&block) && self.courtesy.charge(now, block.len.div_ceil(BLOCK_LEN))));
        if !is_served {
            self.reject(key, block);
            return self.charge(now, key, 1);
        }
        peer.serves.waiting.push_back(block);
        if block.len < TINY_LEN {
            self.charge(now, key, 1);
        }
    }

    pub(super) fn handle_cancel(&mut self, now: Instant, key: PeerKey, block: Block, turn: &mut Turn) {
        // Each costs, whatever comes of it: a request and its cancel are nothing but work.
        self.charge(now, key, 1);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let waiting = peer.serves.waiting.iter().position(|other| *other == block);
        if let Some(at) = waiting {
            peer.serves.waiting.remove(at);
            return self.reject(key, block);
        }
        for run in &mut peer.serves.reading {
            if let Some(at) = run.requests.iter().position(|other| *other == block) {
                run.requests.remove(at);
                return self.reject(key, block);
            }
        }
        // It is on its way to the socket: if it is sent before it can be taken back, that is an answer too.
        if turn.cancelled.len() < CANCELLED_MAX {
            turn.cancelled.push(block);
        }
    }

    /// With the Fast extension every request gets an answer (BEP 6).
    fn reject(&mut self, key: PeerKey, block: Block) {
        if self.peers.get(&key).is_some_and(Peer::has_fast) {
            self.send(key, Message::Reject(block));
        }
    }

    /// Reads for a peer what its budget allows, in runs.
    pub(super) fn pump(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        loop {
            if self.reading >= self.granted.read_bytes {
                self.shortage.reads |= !peer.serves.waiting.is_empty();
                return;
            }
            let before = peer.serves.reading_cost();
            let Some(run) = peer.serves.next_run() else { return };
            self.reading += u64::from(peer.serves.reading_cost() - before);
            self.outputs.push_back(Output::Read { peer: key, run });
        }
    }

    /// A run of blocks was read for a peer, as [`Output::Read`] asked for; `data` is `None` when it could not be read.
    pub fn handle_read(&mut self, now: Instant, key: PeerKey, run: &Block, data: Option<Bytes>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(reading) = peer.serves.take_run(run) else { return };
        let data = data.filter(|data| data.len() == run.len as usize);
        let was_full = self.reading >= self.granted.read_bytes;
        self.reading -= u64::from(reading.cost());
        for block in reading.requests {
            let Some(data) = &data else {
                self.reject(key, block);
                continue;
            };
            let start = (block.begin - run.begin) as usize;
            let data = data.slice(start..start + block.len as usize);
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.serves.push_queued(now, block.len);
            }
            self.send(key, Message::Piece { piece: block.piece, begin: block.begin, data });
        }
        self.pump(key);
        if was_full {
            self.pump_all();
        }
    }

    /// Reads for everyone who waits: there was no room for all.
    pub(super) fn pump_all(&mut self) {
        let waits = |peer: &&Peer| !peer.serves.waiting.is_empty();
        let keys: Vec<PeerKey> = self.peers.iter().filter(|(_, peer)| waits(peer)).map(|(key, _)| *key).collect();
        for key in keys {
            self.pump(key);
        }
    }

    /// Peers that take up a slot: those that wait for something, or may be about to ask. Who wants nothing at the moment, or
    /// gets everything as fast as it asks, takes nothing from others.
    pub(super) fn served(&self, now: Instant) -> usize {
        let about_to_ask = |peer: &Peer| peer.unchoked_at.is_some_and(|since| now < since + ASKS_WITHIN);
        // With nothing sent to anybody, it is not our line that those wait for whose sockets take nothing.
        let line_is_idle = now.saturating_duration_since(self.sent_at) >= LINE_IDLE_AFTER;
        let is_blocked = |peer: &Peer| {
            line_is_idle && peer.up.total() < READS_AFTER && peer.serves.blocked_for(now) >= LINE_IDLE_AFTER
        };
        let waits = |peer: &Peer| !peer.serves.is_idle() && !is_blocked(peer);
        let takes_slot = |peer: &&Peer| !peer.we_choke && peer.they_interested && (waits(peer) || about_to_ask(peer));
        self.peers.values().filter(takes_slot).count()
    }

    /// Gives free slots away at once: nobody waits for a round while there is room.
    pub(super) fn fill_slots(&mut self, now: Instant) {
        let served = self.served(now);
        let mut free = self.choker.slots().saturating_sub(served);
        let waiting: Vec<PeerKey> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.we_choke && peer.they_interested && peer.is_connected())
            .filter(|(_, peer)| !peer.is_stuck(now))
            .map(|(key, _)| *key)
            .collect();
        for key in waiting {
            if free == 0 || self.paused {
                return;
            }
            self.unchoke(now, key);
            free -= 1;
        }
    }

    /// Chokes who does not read what it asked for: the slot is for others, and what waits for it is memory for nothing.
    pub(super) fn choke_stuck(&mut self, now: Instant) {
        let stuck = |peer: &Peer| !peer.we_choke && peer.is_stuck(now);
        let keys: Vec<PeerKey> = self.peers.iter().filter(|(_, peer)| stuck(peer)).map(|(key, _)| *key).collect();
        for key in keys {
            self.choke(now, key);
        }
    }

    /// A round of the choker. Nobody is choked while there is room for all.
    pub(super) fn choke_round(&mut self, now: Instant) {
        if self.served(now) < self.choker.slots() {
            return self.fill_slots(now);
        }
        let candidates: Vec<Candidate> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_connected())
            .map(|(key, peer)| Candidate {
                peer: *key,
                interested: peer.they_interested && !peer.is_stuck(now),
                snubbed: peer.asks.snubbed,
                connected_at: peer.connected_at,
                unchoked_at: peer.unchoked_at,
                choked_at: peer.choked_at,
                down_bps: peer.down.bps(),
                up_bps: peer.up.bps(),
            })
            .collect();
        let seeding = self.is_complete();
        let unchoked = self.choker.decide(now, seeding, &candidates, &mut self.chance);
        for candidate in &candidates {
            match (unchoked.contains(&candidate.peer), candidate.unchoked_at.is_some()) {
                (true, false) => self.unchoke(now, candidate.peer),
                (false, true) if candidate.interested => self.choke(now, candidate.peer),
                _ => {}
            }
        }
    }

    fn unchoke(&mut self, now: Instant, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.we_choke = false;
            peer.unchoked_at = Some(now);
            self.send(key, Message::Unchoke);
        }
    }

    /// Chokes a peer. What it asked for is rejected, but for the pieces that it is served all the same (BEP 6); without the
    /// Fast extension it knows that by the choke.
    pub(super) fn choke(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.we_choke = true;
        (peer.unchoked_at, peer.choked_at) = (None, Some(now));
        let unwanted = Unwanted::AllBut(peer.allowed_by_us.iter().map(|(piece, _)| *piece).collect());
        let dropped = peer.serves.drop_unread(|block| unwanted.contains(block));
        self.send(key, Message::Choke);
        // Otherwise the peer would go on receiving for up to a megabyte.
        self.take_back(key, unwanted);
        for block in dropped {
            self.reject(key, block);
        }
    }

    /// A piece that is not there after all is served to nobody, though it was asked for while it was.
    pub(super) fn unserve(&mut self, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        for block in peer.serves.drop_unread(|block| block.piece == piece) {
            self.reject(key, block);
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin at some instant")]
mod tests {
    use super::*;
    use crate::model::Bitfield;
    use crate::swarm::machine::opened::{connect, opened};

    /// A seed of one piece of this many blocks, and a peer that is connected to it.
    fn seed_and_peer(now: Instant, blocks: u32) -> (Swarm, PeerKey) {
        let len = u64::from(blocks * BLOCK_LEN);
        let mut torrent = opened(now, len, len, Bitfield::full(1));
        let peer = connect(&mut torrent, now, ([10, 0, 0, 1], 6881).into(), false).unwrap();
        (torrent, peer)
    }

    #[test]
    fn a_burst_of_cancels_takes_back_at_once_what_is_on_its_way() {
        const BLOCKS: u32 = 32;
        let now = Instant::now();
        let (mut torrent, peer) = seed_and_peer(now, BLOCKS);
        let blocks: Vec<Block> = (0..BLOCKS)
            .map(|number| Block { piece: PieceIndex::new(0), begin: number * BLOCK_LEN, len: BLOCK_LEN })
            .collect();
        let requests = blocks.iter().map(|block| Message::Request(*block));
        torrent.handle_messages(now, peer, [Message::Interested].into_iter().chain(requests).collect());
        let mut queued = 0;
        while let Some(output) = torrent.poll_output() {
            match output {
                Output::Read { peer, run } => {
                    let data = Some(Bytes::from(vec![0; run.len as usize]));
                    torrent.handle_read(now, peer, &run, data);
                }
                Output::Send { message: Message::Piece { .. }, .. } => queued += 1,
                _ => {}
            }
        }
        assert_eq!(queued, BLOCKS);

        torrent.handle_sent(now, peer, BLOCK_LEN);
        let cancels = blocks.iter().map(|block| Message::Cancel(*block)).collect();
        torrent.handle_messages(now, peer, cancels);
        let outputs: Vec<Output> = std::iter::from_fn(|| torrent.poll_output()).collect();
        let [Output::TakeBack { blocks: unwanted, .. }] = &outputs[..] else { panic!("{outputs:?}") };
        assert!(blocks.iter().all(|block| unwanted.contains(block)));
        // The first is sent: that is its answer.
        torrent.handle_taken_back(peer, &blocks[1..]);
        let rejected = std::iter::from_fn(|| torrent.poll_output())
            .filter(|output| matches!(output, Output::Send { message: Message::Reject(_), .. }));
        assert_eq!(rejected.count(), blocks.len() - 1);
        assert!(torrent.peers[&peer].serves.is_idle(), "its budget is free again");
    }

    /// A seed with as many peers as it has slots, to each of which `sent` bytes went, and which then take nothing more;
    /// after how many seconds one that comes later is unchoked.
    fn waits_for_a_slot(sent: u32) -> u64 {
        let start = Instant::now();
        let len = u64::from(64 * BLOCK_LEN);
        let mut torrent = opened(start, len, len, Bitfield::full(1));
        let connect = |torrent: &mut Swarm, last: u8, blocks: u32| {
            let peer = connect(torrent, start, ([9, 9, 9, last], 6881).into(), false).unwrap();
            let requests = (0..blocks).map(|number| Block {
                piece: PieceIndex::new(0),
                begin: number * BLOCK_LEN,
                len: BLOCK_LEN,
            });
            let mut run = vec![Message::Interested];
            run.extend(requests.map(Message::Request));
            torrent.handle_messages(start, peer, run);
            peer
        };
        let peers: Vec<PeerKey> = (0..5).map(|number| connect(&mut torrent, number, 64)).collect();
        let last = connect(&mut torrent, 5, 0);
        assert!(torrent.peers[&last].we_choke);
        peers.iter().for_each(|peer| torrent.handle_sent(start, *peer, sent));
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            while let Some(output) = torrent.poll_output() {
                if let Output::Read { peer, run } = output {
                    let data = Some(Bytes::from(vec![0; run.len as usize]));
                    torrent.handle_read(start, peer, &run, data);
                }
            }
            torrent.next_choke = now + Duration::from_secs(60);
            torrent.handle_timeout(now);
            if !torrent.peers[&last].we_choke {
                return second;
            }
        }
        panic!("no slot became free in a minute")
    }

    #[test]
    fn who_reads_nothing_keeps_nobody_from_a_slot_and_who_is_slow_keeps_its_own() {
        assert_eq!(waits_for_a_slot(0), LINE_IDLE_AFTER.as_secs());
        assert_eq!(waits_for_a_slot(READS_AFTER as u32), 30, "as long as sockets of slow lines take nothing");
    }

    #[test]
    fn what_waits_to_be_read_of_a_piece_that_is_lost_is_rejected_and_not_served() {
        const BLOCKS: u32 = 200;
        let now = Instant::now();
        let (mut torrent, peer) = seed_and_peer(now, BLOCKS);
        let piece = PieceIndex::new(0);
        let request = |number| Message::Request(Block { piece, begin: number * BLOCK_LEN, len: BLOCK_LEN });
        torrent.handle_messages(now, peer, [Message::Interested].into_iter().chain((0..BLOCKS).map(request)).collect());
        let reads: Vec<Block> = std::iter::from_fn(|| torrent.poll_output())
            .filter_map(|output| if let Output::Read { run, .. } = output { Some(run) } else { None })
            .collect();
        assert!(reads.iter().map(|run| run.len).sum::<u32>() < BLOCKS * BLOCK_LEN, "some wait");

        torrent.handle_lost(now, piece);
        for run in reads {
            let data = Some(Bytes::from(vec![0; run.len as usize]));
            torrent.handle_read(now, peer, &run, data);
        }
        torrent.check_invariants();
        let outputs: Vec<Output> = std::iter::from_fn(|| torrent.poll_output()).collect();
        let sent = |wanted: fn(&Message) -> bool| {
            outputs.iter().filter(|output| matches!(output, Output::Send { message, .. } if wanted(message))).count()
        };
        assert_eq!(sent(|message| matches!(message, Message::Reject(_))), BLOCKS as usize);
        assert_eq!(sent(|message| matches!(message, Message::Piece { .. })), 0);
        assert!(!outputs.iter().any(|output| matches!(output, Output::Read { .. })), "nothing more is read");
    }
}
