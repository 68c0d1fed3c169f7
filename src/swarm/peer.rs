use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::asks::Asks;
use super::flood::Allowance;
use super::rate::Rate;
use super::serves::Serves;
use crate::model::{BLOCK_LEN, Bitfield, Block, PieceIndex};
use crate::wire::PeerHello;

/// The choker's rates look back about this far (Cohen 2003).
const RATE_WINDOW: Duration = Duration::from_secs(20);
/// Haves of a peer that are kept before the metadata are known.
const EARLY_HAVES_MAX: usize = 10_000;

/// A peer whose socket takes nothing for this long does not read what it asked for. Sockets of slow lines take much at
/// once, and then nothing for a while.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// Ports of DHT nodes that are taken from one peer: it has one node, which may move.
const PORTS_MAX: u8 = 2;

/// What is known of one connected, or nearly connected, peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    /// Whether we dialled.
    pub(super) outgoing: bool,
    /// Whether the user named it.
    pub(super) is_named: bool,
    /// Where it listens: the address we dialled, or the port it told of (BEP 10).
    pub(super) listen: Option<SocketAddr>,
    /// `None` until both handshakes are done.
    pub(super) hello: Option<PeerHello>,
    /// What it calls its client (BEP 10).
    pub(super) client: Option<String>,
    pub(super) connected_at: Instant,
    /// When a block came from it or went to it, or it connected.
    pub(super) active_at: Instant,
    pub(super) pieces: PeerPieces,
    /// Pieces it has and we lack.
    pub(super) useful: u32,
    pub(super) we_choke: bool,
    pub(super) they_choke: bool,
    pub(super) we_interested: bool,
    pub(super) they_interested: bool,
    pub(super) unchoked_at: Option<Instant>,
    pub(super) choked_at: Option<Instant>,
    /// It will not download, as its extension handshake says (BEP 21).
    pub(super) upload_only: bool,
    /// What it was told of us in that respect.
    pub(super) told_upload_only: bool,
    pub(super) takes_metadata: bool,
    /// From when on it is asked again whether it has the metadata, and how often it was, while it does not say so.
    pub(super) probed: Option<(Instant, u32)>,
    /// Metadata requests that it may make yet: a flood of them is cut off.
    pub(super) metadata_budget: u32,
    pub(super) down: Rate,
    pub(super) up: Rate,
    pub(super) asks: Asks,
    pub(super) serves: Serves,
    /// Pieces that it serves while it chokes us (BEP 6).
    pub(super) allowed_by_them: Vec<PieceIndex>,
    /// Pieces that we serve while we choke it (BEP 6), and how many bytes of each.
    pub(super) allowed_by_us: Vec<(PieceIndex, u64)>,
    /// What it may send that is useless.
    pub(super) flood: Allowance,
    /// Whether it said which pieces it has.
    pub(super) told_pieces: bool,
    /// Ports of DHT nodes that are still taken from it: it has one node.
    pub(super) ports_left: u8,
}

impl Peer {
    pub(super) fn new(now: Instant, addr: SocketAddr, outgoing: bool, metadata_budget: u32) -> Self {
        Self {
            addr,
            outgoing,
            is_named: false,
            listen: outgoing.then_some(addr),
            hello: None,
            client: None,
            connected_at: now,
            active_at: now,
            pieces: PeerPieces::Early(EarlyPieces::default()),
            useful: 0,
            we_choke: true,
            they_choke: true,
            we_interested: false,
            they_interested: false,
            unchoked_at: None,
            choked_at: None,
            upload_only: false,
            told_upload_only: false,
            takes_metadata: false,
            probed: None,
            metadata_budget,
            down: Rate::new(now, RATE_WINDOW),
            up: Rate::new(now, RATE_WINDOW),
            asks: Asks::new(now),
            serves: Serves::default(),
            allowed_by_them: Vec::new(),
            allowed_by_us: Vec::new(),
            flood: Allowance::for_useless(now),
            told_pieces: false,
            ports_left: PORTS_MAX,
        }
    }

    /// Whether the block is one that a choked peer may have; it counts as given to it.
    pub(super) fn take_allowed(&mut self, block: &Block) -> bool {
        let cost = u64::from(block.len.max(BLOCK_LEN));
        let Some((_, left)) = self.allowed_by_us.iter_mut().find(|(piece, _)| *piece == block.piece) else {
            return false;
        };
        let is_left = *left >= cost;
        *left -= if is_left { cost } else { 0 };
        is_left
    }

    /// The process stood still: nothing that did not happen meanwhile counts against the peer.
    pub(super) fn handle_standstill(&mut self, now: Instant) {
        self.active_at = now;
        self.asks.handle_standstill(now);
        self.serves.handle_standstill(now);
    }

    /// Whether it does not read what it asked for, however slow its line is.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        self.serves.blocked_for(now) >= STUCK_AFTER
    }

    pub(super) fn is_connected(&self) -> bool {
        self.hello.is_some()
    }

    pub(super) fn has_fast(&self) -> bool {
        self.hello.is_some_and(|hello| hello.features.fast)
    }

    pub(super) fn has(&self, piece: PieceIndex) -> bool {
        match &self.pieces {
            PeerPieces::Early(_) => false,
            PeerPieces::All => true,
            PeerPieces::Some(field) => field.contains(piece),
        }
    }

    /// Whether it has every piece, as far as that is known.
    pub(super) fn is_seed(&self) -> bool {
        match &self.pieces {
            PeerPieces::Early(early) => early.all,
            PeerPieces::All => true,
            PeerPieces::Some(field) => field.is_full() && field.piece_count() > 0,
        }
    }
}

/// The pieces of a peer.
#[derive(Debug)]
pub(super) enum PeerPieces {
    /// As it told before the metadata were known.
    Early(EarlyPieces),
    /// Every piece.
    All,
    /// These.
    Some(Bitfield),
}

/// What a peer told of its pieces before they could be understood.
#[derive(Debug, Default)]
pub(super) struct EarlyPieces {
    pub(super) bitfield: Option<Bytes>,
    pub(super) all: bool,
    haves: Vec<PieceIndex>,
}

impl EarlyPieces {
    /// Remembers a `have`, up to a bound: what is lost is only knowledge of a piece. Returns whether it was remembered.
    pub(super) fn push_have(&mut self, piece: PieceIndex) -> bool {
        let has_room = self.haves.len() < EARLY_HAVES_MAX;
        self.haves.extend(has_room.then_some(piece));
        has_room
    }

    /// What it comes to with this many pieces. `None` when the bitfield does not fit.
    pub(super) fn resolve(self, piece_count: u32) -> Option<PeerPieces> {
        if self.all {
            return Some(PeerPieces::All);
        }
        let mut field = match self.bitfield {
            Some(bytes) => Bitfield::from_bytes(&bytes, piece_count)?,
            None => Bitfield::empty(piece_count),
        };
        for piece in self.haves {
            if piece.get() >= piece_count {
                return None;
            }
            field.insert(piece);
        }
        Some(PeerPieces::Some(field))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;

    #[test]
    fn early_claims_are_judged_once_the_number_of_pieces_is_known() {
        let mut early = EarlyPieces { bitfield: Some(Bytes::from_static(&[0x80])), ..EarlyPieces::default() };
        early.push_have(PieceIndex::new(3));
        match early.resolve(4) {
            Some(PeerPieces::Some(field)) => assert_eq!(field.as_bytes(), [0x90]),
            other => panic!("{other:?}"),
        }
        let spare = EarlyPieces { bitfield: Some(Bytes::from_static(&[0x81])), ..EarlyPieces::default() };
        assert!(spare.resolve(4).is_none());
        let mut beyond = EarlyPieces::default();
        beyond.push_have(PieceIndex::new(4));
        assert!(beyond.resolve(4).is_none());
    }
}
