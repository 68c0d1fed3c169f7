use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;

use super::event::PeerKey;
use super::rarity::{Rarity, below};
use crate::model::{Bitfield, Block, Geometry, PieceIndex};

/// Until this many pieces are verified, pieces are picked at random: the first ones are wanted soon, to have something
/// to trade, and rare ones are slow to come.
const RANDOM_PIECES: u32 = 4;
/// Random places looked at before the order is walked for a piece that a peer has.
const RANDOM_PROBES: u32 = 32;
/// Equally rare pieces among which the best claim is looked for. They stand in random order.
const CLAIMS_MAX: usize = 64;
/// Peers that may be asked for the same block at once.
const COPIES_MAX: u8 = 3;

/// What pieces the torrent has, which are being fetched and which come next.
#[derive(Debug)]
pub(super) struct Pieces {
    geometry: Geometry,
    have: Bitfield,
    /// The pieces that are to be fetched, those that we have included.
    wanted: Bitfield,
    /// Wanted pieces that we do not have.
    missing: u32,
    rarity: Rarity,
    open: BTreeMap<PieceIndex, OpenPiece>,
    /// Blocks of open pieces that nobody was asked for.
    free_blocks: usize,
    /// Bytes of the wanted pieces that we have, and of all of them.
    bytes_have: u64,
    bytes_wanted: u64,
}

/// Whom blocks are picked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) peer: PeerKey,
    /// How many blocks it may be asked for.
    pub(super) count: usize,
    /// It is a seed that is not asked for what others have too.
    pub(super) spared: bool,
}

/// A piece of which blocks were asked for.
#[derive(Debug)]
pub(super) struct OpenPiece {
    blocks: Box<[BlockState]>,
    free: u32,
    received: u32,
    /// No block before this one is free.
    first_free: u32,
    /// The peer that opened it: it fills the piece in order, so that hashing keeps pace.
    owner: Option<PeerKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockState {
    Free,
    /// This many peers were asked.
    Requested(u8),
    Received(PeerKey),
}

/// What became of a block that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is new; `others` more peers were asked for it.
    Wanted { others: u8 },
    /// We have it, or nobody was asked for it.
    Unwanted,
}

impl Pieces {
    /// `have` are verified; of the others, those in `wanted` are to be fetched.
    pub(super) fn new(geometry: Geometry, have: Bitfield, wanted: Bitfield, chance: &mut ChaCha8Rng) -> Self {
        let rarity =
            Rarity::new(geometry.piece_count(), chance, |piece| wanted.contains(piece) && !have.contains(piece));
        let len = |piece| u64::from(geometry.piece_len(piece));
        let bytes_have = wanted.iter().filter(|piece| have.contains(*piece)).map(len).sum();
        let bytes_wanted = wanted.iter().map(len).sum();
        let missing = rarity.len() as u32;
        Self {
            geometry,
            have,
            wanted,
            missing,
            rarity,
            open: BTreeMap::new(),
            free_blocks: 0,
            bytes_have,
            bytes_wanted,
        }
    }

    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    pub(super) fn have(&self) -> &Bitfield {
        &self.have
    }

    pub(super) fn bytes_have(&self) -> u64 {
        self.bytes_have
    }

    pub(super) fn bytes_wanted(&self) -> u64 {
        self.bytes_wanted
    }

    /// Whether every wanted piece is verified.
    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Number of wanted pieces that we do not have.
    pub(super) fn missing(&self) -> u32 {
        self.missing
    }

    /// Whether the piece is wanted, and we do not have it.
    pub(super) fn wants(&self, piece: PieceIndex) -> bool {
        self.wanted.contains(piece) && !self.have.contains(piece)
    }

    /// Number of pieces that are wanted and not started.
    pub(super) fn startable(&self) -> usize {
        self.rarity.len()
    }

    /// A peer that does not have everything has this piece.
    pub(super) fn gain(&mut self, piece: PieceIndex, chance: &mut ChaCha8Rng) {
        self.rarity.gain(piece, chance);
    }

    /// Such a peer is gone.
    pub(super) fn lose(&mut self, piece: PieceIndex, chance: &mut ChaCha8Rng) {
        self.rarity.lose(piece, chance);
    }

    /// Picks blocks to ask a peer for, whose pieces are those that `has` says yes to.
    ///
    /// The peer's own open pieces come first, then open pieces that nobody fills any more, then the rarest piece that may be
    /// started, then the pieces of others. A piece is finished in order by the peer that opened it. Of several pieces that
    /// are equally rare, `best` takes one or none.
    pub(super) fn pick(
        &mut self,
        asked: Asked,
        has: impl Fn(PieceIndex) -> bool,
        best: impl Fn(&[PieceIndex]) -> Option<PieceIndex>,
        chance: &mut ChaCha8Rng,
        picked: &mut Vec<Block>,
    ) {
        let Asked { peer, count, spared } = asked;
        let target = picked.len() + count;
        if self.free_blocks > 0 {
            self.pick_open(target, picked, |piece, open| open.owner == Some(peer) && has(piece), peer, false);
            self.pick_open(target, picked, |piece, open| open.owner.is_none() && has(piece), peer, spared);
        }
        while picked.len() < target {
            let Some(piece) = self.choose_new(&has, &best, spared, chance) else { break };
            self.start(piece, peer);
            self.take_blocks(piece, target, picked);
        }
        if picked.len() < target && self.free_blocks > 0 {
            self.pick_open(target, picked, |piece, _| has(piece), peer, spared);
        }
    }

    /// One more peer is to be asked for a block that others were asked for. Returns whether it may be.
    pub(super) fn ask_again(&mut self, block: &Block) -> bool {
        let Some(open) = self.open.get_mut(&block.piece) else { return false };
        match &mut open.blocks[block.index() as usize] {
            BlockState::Requested(copies) if *copies < COPIES_MAX => {
                *copies += 1;
                true
            }
            _ => false,
        }
    }

    /// Asks for one given block, if nobody was asked for it. Used for pieces that a peer serves while it chokes.
    pub(super) fn pick_piece(&mut self, piece: PieceIndex, peer: PeerKey, count: usize, picked: &mut Vec<Block>) {
        if !self.wants(piece) {
            return;
        }
        if !self.open.contains_key(&piece) {
            self.start(piece, peer);
        }
        self.take_blocks(piece, picked.len() + count, picked);
    }

    /// A block arrived from a peer that was asked for it.
    pub(super) fn handle_block(&mut self, block: &Block, from: PeerKey) -> Arrival {
        let Some(open) = self.open.get_mut(&block.piece) else { return Arrival::Unwanted };
        let state = &mut open.blocks[block.index() as usize];
        let others = match *state {
            BlockState::Received(_) => return Arrival::Unwanted,
            BlockState::Requested(copies) => copies.saturating_sub(1),
            BlockState::Free => {
                open.free -= 1;
                self.free_blocks -= 1;
                0
            }
        };
        *state = BlockState::Received(from);
        open.received += 1;
        Arrival::Wanted { others }
    }

    /// A peer will not send a block that it was asked for. A piece of which nothing is here or on its way is as good as one
    /// that was never started: whoever opens it next may be another than who would finish it.
    pub(super) fn release(&mut self, block: &Block, peer: PeerKey, chance: &mut ChaCha8Rng) {
        let Some(open) = self.open.get_mut(&block.piece) else { return };
        if open.owner == Some(peer) {
            open.owner = None;
        }
        let index = block.index();
        let state = &mut open.blocks[index as usize];
        match *state {
            BlockState::Requested(1) => {
                *state = BlockState::Free;
                open.free += 1;
                open.first_free = open.first_free.min(index);
                self.free_blocks += 1;
            }
            BlockState::Requested(copies) => *state = BlockState::Requested(copies - 1),
            BlockState::Free | BlockState::Received(_) => {}
        }
        if open.free as usize == open.blocks.len() {
            self.free_blocks -= open.blocks.len();
            self.open.remove(&block.piece);
            self.rarity.put_back(block.piece, chance);
        }
    }

    /// A peer is gone or chokes us: the pieces it filled are open to everyone.
    pub(super) fn disown(&mut self, peer: PeerKey) {
        for open in self.open.values_mut().filter(|open| open.owner == Some(peer)) {
            open.owner = None;
        }
    }

    /// Who sent each block of a piece that was received as a whole. Empty when it was not.
    pub(super) fn senders(&self, piece: PieceIndex) -> Vec<PeerKey> {
        let blocks = self.open.get(&piece).map(|open| &open.blocks[..]).unwrap_or_default();
        let sender = |state: &BlockState| match state {
            BlockState::Received(peer) => Some(*peer),
            _ => None,
        };
        blocks.iter().map(sender).collect::<Option<_>>().unwrap_or_default()
    }

    /// The piece has its hash. Returns whether it was being fetched.
    pub(super) fn handle_verified(&mut self, piece: PieceIndex) -> bool {
        let Some(open) = self.open.remove(&piece) else { return false };
        self.free_blocks -= open.free as usize;
        if self.have.insert(piece) {
            self.bytes_have += u64::from(self.geometry.piece_len(piece));
            self.missing -= 1;
        }
        true
    }

    /// The piece does not have its hash: it is fetched again.
    pub(super) fn handle_failed(&mut self, piece: PieceIndex, chance: &mut ChaCha8Rng) {
        if let Some(open) = self.open.remove(&piece) {
            self.free_blocks -= open.free as usize;
            self.rarity.put_back(piece, chance);
        }
    }

    /// The piece is not on the disk after all: it is fetched again if it is wanted. Returns whether that makes one more
    /// wanted piece that we do not have.
    pub(super) fn handle_lost(&mut self, piece: PieceIndex, chance: &mut ChaCha8Rng) -> bool {
        self.handle_failed(piece, chance);
        let is_more = self.have.remove(piece) && self.wanted.contains(piece);
        if is_more {
            self.bytes_have -= u64::from(self.geometry.piece_len(piece));
            self.missing += 1;
            self.rarity.put_back(piece, chance);
        }
        is_more
    }

    fn choose_new(
        &self,
        has: &impl Fn(PieceIndex) -> bool,
        best: &impl Fn(&[PieceIndex]) -> Option<PieceIndex>,
        spared: bool,
        chance: &mut ChaCha8Rng,
    ) -> Option<PieceIndex> {
        if self.have.count() < RANDOM_PIECES && self.rarity.len() > 0 {
            let probe = |_| self.rarity.at(below(chance, self.rarity.len() as u32) as usize);
            let probes: Vec<PieceIndex> = (0..RANDOM_PROBES).map(probe).filter(|piece| has(*piece)).collect();
            if !probes.is_empty() {
                return best(&probes);
            }
        }
        let mut rarest = self.rarity.iter().filter(|piece| has(*piece)).peekable();
        let holders = self.rarity.holders(*rarest.peek()?);
        if spared && holders > 0 {
            return None;
        }
        let equal = rarest.take_while(|piece| self.rarity.holders(*piece) == holders);
        best(&equal.take(CLAIMS_MAX).collect::<Vec<_>>())
    }

    fn start(&mut self, piece: PieceIndex, owner: PeerKey) {
        self.rarity.take(piece);
        let count = self.geometry.block_count(piece);
        let blocks = vec![BlockState::Free; count as usize].into();
        let open = OpenPiece { blocks, free: count, received: 0, first_free: 0, owner: Some(owner) };
        self.free_blocks += count as usize;
        self.open.insert(piece, open);
    }

    /// Takes free blocks of open pieces that `suits` says yes to, until `picked` has `target` blocks.
    fn pick_open(
        &mut self,
        target: usize,
        picked: &mut Vec<Block>,
        suits: impl Fn(PieceIndex, &OpenPiece) -> bool,
        peer: PeerKey,
        spared: bool,
    ) {
        if picked.len() >= target {
            return;
        }
        let suiting: Vec<PieceIndex> = self
            .open
            .iter()
            .filter(|(piece, open)| open.free > 0 && suits(**piece, open))
            .filter(|(piece, _)| !spared || self.rarity.holders(**piece) == 0)
            .map(|(piece, _)| *piece)
            .collect();
        for piece in suiting {
            if picked.len() >= target {
                return;
            }
            if let Some(open) = self.open.get_mut(&piece) {
                open.owner.get_or_insert(peer);
            }
            self.take_blocks(piece, target, picked);
        }
    }

    fn take_blocks(&mut self, piece: PieceIndex, target: usize, picked: &mut Vec<Block>) {
        let Some(open) = self.open.get_mut(&piece) else { return };
        let mut index = open.first_free;
        while picked.len() < target && open.free > 0 {
            let state = &mut open.blocks[index as usize];
            if *state == BlockState::Free {
                *state = BlockState::Requested(1);
                open.free -= 1;
                self.free_blocks -= 1;
                picked.push(self.geometry.block(piece, index));
            }
            index += 1;
        }
        open.first_free = index;
    }

    /// Panics when the counts disagree.
    pub(super) fn check_invariants(&self) {
        self.rarity.check_invariants();
        let mut free_blocks = 0;
        for (piece, open) in &self.open {
            assert!(self.wants(*piece), "piece {piece} is open and verified, or not wanted");
            let free = open.blocks.iter().filter(|state| **state == BlockState::Free).count();
            let received = open.blocks.iter().filter(|state| matches!(state, BlockState::Received(_))).count();
            assert_eq!((free, received), (open.free as usize, open.received as usize), "blocks of piece {piece}");
            let first = open.blocks.iter().position(|state| *state == BlockState::Free);
            assert!(first.is_none_or(|first| open.first_free as usize <= first), "a free block is overlooked");
            free_blocks += free;
        }
        assert_eq!(free_blocks, self.free_blocks, "free blocks");
        let missing = self.wanted.iter().filter(|piece| !self.have.contains(*piece)).count();
        assert_eq!(self.missing as usize, missing, "wanted pieces that are missing");
        assert_eq!(self.rarity.len() + self.open.len(), missing, "a wanted piece is had, open or to be started");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    const PIECE: u64 = 64 * 1024;
    const BOB: PeerKey = PeerKey::new(1);
    const EVE: PeerKey = PeerKey::new(2);

    fn pieces(count: u64) -> (Pieces, ChaCha8Rng) {
        let mut chance = ChaCha8Rng::seed_from_u64(3);
        let geometry = Geometry::new(count * PIECE, PIECE).unwrap();
        let have = Bitfield::empty(geometry.piece_count());
        let wanted = Bitfield::full(geometry.piece_count());
        (Pieces::new(geometry, have, wanted, &mut chance), chance)
    }

    fn pick(pieces: &mut Pieces, peer: PeerKey, count: usize, chance: &mut ChaCha8Rng) -> Vec<Block> {
        let mut picked = Vec::new();
        let asked = Asked { peer, count, spared: false };
        pieces.pick(asked, |_| true, |equal| equal.first().copied(), chance, &mut picked);
        pieces.check_invariants();
        picked
    }

    #[test]
    fn a_peer_finishes_its_piece_in_order_before_it_opens_another() {
        let (mut pieces, mut chance) = pieces(3);
        let first = pick(&mut pieces, BOB, 3, &mut chance);
        let second = pick(&mut pieces, BOB, 3, &mut chance);
        let begins: Vec<u32> = first.iter().chain(&second).map(|block| block.begin / 16384).collect();
        assert_eq!(begins, [0, 1, 2, 3, 0, 1]);
        assert_eq!(second[0].piece, first[0].piece);
        assert_eq!(pieces.open.len(), 2);
    }

    #[test]
    fn two_peers_fill_two_pieces_and_share_the_last() {
        let (mut pieces, mut chance) = pieces(2);
        let bobs = pick(&mut pieces, BOB, 1, &mut chance)[0];
        let eves = pick(&mut pieces, EVE, 4, &mut chance);
        assert!(eves.iter().all(|block| block.piece != bobs.piece));
        let shared = pick(&mut pieces, EVE, 2, &mut chance);
        assert!(shared.iter().all(|block| block.piece == bobs.piece), "nothing else is left to start");
    }

    #[test]
    fn a_piece_that_a_peer_leaves_is_taken_over_first_if_something_of_it_is_here() {
        let (mut pieces, mut chance) = pieces(4);
        let left = pick(&mut pieces, BOB, 3, &mut chance);
        assert_eq!(pieces.handle_block(&left[0], BOB), Arrival::Wanted { others: 0 });
        for block in &left[1..] {
            pieces.release(block, BOB, &mut chance);
        }
        assert_eq!(pick(&mut pieces, EVE, 2, &mut chance), left[1..]);
        for block in &left[1..] {
            pieces.release(block, EVE, &mut chance);
        }
        assert_eq!(pieces.open.len(), 1);
    }

    #[test]
    fn a_piece_of_which_nothing_came_is_not_started() {
        let (mut pieces, mut chance) = pieces(4);
        for block in pick(&mut pieces, BOB, 6, &mut chance) {
            pieces.release(&block, BOB, &mut chance);
            pieces.check_invariants();
        }
        assert_eq!((pieces.open.len(), pieces.startable()), (0, 4));
    }

    #[test]
    fn a_bounded_number_of_peers_is_asked_for_one_block() {
        let (mut pieces, mut chance) = pieces(1);
        let block = pick(&mut pieces, BOB, 1, &mut chance)[0];
        let copies = (0..5).filter(|_| pieces.ask_again(&block)).count();
        pieces.check_invariants();
        assert_eq!(copies, usize::from(COPIES_MAX - 1));
        assert_eq!(pieces.handle_block(&block, EVE), Arrival::Wanted { others: COPIES_MAX - 1 });
        assert_eq!(pieces.handle_block(&block, BOB), Arrival::Unwanted);
        assert!(!pieces.ask_again(&block), "it is here");
    }

    #[test]
    fn a_failed_piece_is_fetched_again_and_a_verified_one_is_not() {
        let (mut pieces, mut chance) = pieces(1);
        for round in 0..2 {
            let blocks = pick(&mut pieces, BOB, 10, &mut chance);
            assert_eq!(blocks.len(), 4, "round {round}");
            for block in &blocks {
                assert_eq!(pieces.handle_block(block, BOB), Arrival::Wanted { others: 0 });
            }
            assert_eq!(pieces.senders(PieceIndex::new(0)), [BOB; 4]);
            if round == 0 {
                pieces.handle_failed(PieceIndex::new(0), &mut chance);
            } else {
                assert!(pieces.handle_verified(PieceIndex::new(0)));
            }
            pieces.check_invariants();
        }
        assert!(pieces.is_complete() && pick(&mut pieces, BOB, 10, &mut chance).is_empty());
        assert_eq!(pieces.bytes_have(), PIECE);
    }

    #[test]
    fn only_wanted_pieces_are_fetched_and_counted() {
        let mut chance = ChaCha8Rng::seed_from_u64(3);
        let geometry = Geometry::new(6 * PIECE, PIECE).unwrap();
        let set = |indexes: &[u32]| {
            let mut field = Bitfield::empty(6);
            indexes.iter().for_each(|index| assert!(field.insert(PieceIndex::new(*index))));
            field
        };
        let mut pieces = Pieces::new(geometry, set(&[0, 1]), set(&[1, 2, 4]), &mut chance);
        assert_eq!((pieces.missing(), pieces.bytes_have(), pieces.bytes_wanted()), (2, PIECE, 3 * PIECE));
        let mut picked = pick(&mut pieces, BOB, 100, &mut chance);
        pieces.pick_piece(PieceIndex::new(5), BOB, 4, &mut picked);
        assert_eq!(picked.len(), 8);
        for piece in [2, 4].map(PieceIndex::new) {
            assert!(!pieces.is_complete() && pieces.wants(piece));
            for block in geometry.blocks(piece) {
                assert_eq!(pieces.handle_block(&block, BOB), Arrival::Wanted { others: 0 });
            }
            assert!(pieces.handle_verified(piece));
            pieces.check_invariants();
        }
        assert!(pieces.is_complete());
        assert_eq!(pieces.bytes_have(), 3 * PIECE);
    }
}
