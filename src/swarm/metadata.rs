use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sha1::{Digest, Sha1};

use super::event::PeerKey;
use crate::model::InfoHash;
use crate::wire::METADATA_PIECE_LEN;

/// The largest info dictionary that is believed in, in bytes.
pub(super) const METADATA_LEN_MAX: u32 = 16 * 1024 * 1024;
/// Requests to one peer at once.
const REQUESTS_PER_PEER: usize = 4;
/// How long a request may take before another peer is asked too.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Assembles the info dictionary from several peers (BEP 9).
///
/// The length is the peers' claim: the one that most of them make is tried, and a peer is only asked while it makes that
/// claim. The one truth is the info hash. When an assembly does not have it, and one peer sent all of it, that peer lied;
/// when several did, nobody is accused and the next assembly comes from a single peer.
#[derive(Debug)]
pub(super) struct MetadataFetch {
    info_hash: InfoHash,
    claims: BTreeMap<PeerKey, Claim>,
    len: u32,
    pieces: Vec<Piece>,
    /// After a mixed assembly failed: the only peer that is asked.
    only: Option<PeerKey>,
    mixed_failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Claim {
    len: u32,
    /// It rejected a request, or its assembly was wrong: asked last.
    rejected: bool,
}

#[derive(Debug, Clone, Default)]
struct Piece {
    data: Option<(PeerKey, Bytes)>,
    asked: Vec<(PeerKey, Instant)>,
}

/// What a piece of metadata led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Assembly {
    /// More pieces are needed, or the piece was of no use.
    Incomplete,
    /// The info dictionary; its hash is right.
    Complete(Bytes),
    /// A wrong dictionary, sent by these peers. A single one lied for certain.
    Wrong(Vec<PeerKey>),
}

impl MetadataFetch {
    pub(super) fn new(info_hash: InfoHash) -> Self {
        Self { info_hash, claims: BTreeMap::new(), len: 0, pieces: Vec::new(), only: None, mixed_failures: 0 }
    }

    /// A peer says how long the info dictionary is. Lengths of 0 and over the limit are not believed.
    pub(super) fn handle_claim(&mut self, peer: PeerKey, len: u32) {
        if (1..=METADATA_LEN_MAX).contains(&len) {
            self.claims.insert(peer, Claim { len, rejected: false });
            self.choose_len();
        }
    }

    /// A peer is gone.
    pub(super) fn forget(&mut self, peer: PeerKey) {
        self.claims.remove(&peer);
        for piece in &mut self.pieces {
            piece.asked.retain(|(asked, _)| *asked != peer);
        }
        if self.only == Some(peer) {
            self.only = None;
        }
        self.choose_len();
    }

    /// A peer does not give a piece.
    pub(super) fn handle_reject(&mut self, peer: PeerKey, piece: u32) {
        if let Some(piece) = self.pieces.get_mut(piece as usize) {
            piece.asked.retain(|(asked, _)| *asked != peer);
        }
        if let Some(claim) = self.claims.get_mut(&peer) {
            claim.rejected = true;
        }
        if self.only == Some(peer) {
            self.only = None;
        }
    }

    /// Number of peers that have the metadata, as they say.
    pub(super) fn peer_count(&self) -> usize {
        self.claims.len()
    }

    /// The pieces to ask for now. They count as asked from here on.
    pub(super) fn requests(&mut self, now: Instant) -> Vec<(PeerKey, u32)> {
        let mut requests = Vec::new();
        let askable: Vec<PeerKey> =
            self.claims.iter().filter(|(peer, claim)| self.may_ask(**peer, claim)).map(|(peer, _)| *peer).collect();
        for peer in askable {
            let under_way =
                self.pieces.iter().filter(|piece| piece.asked.iter().any(|(asked, _)| *asked == peer)).count();
            let mut room = REQUESTS_PER_PEER.saturating_sub(under_way);
            for (index, piece) in self.pieces.iter_mut().enumerate() {
                if room == 0 {
                    break;
                }
                let open = piece.data.is_none()
                    && piece.asked.iter().all(|(asked, at)| *asked != peer && now - *at >= REQUEST_TIMEOUT);
                if open {
                    piece.asked.push((peer, now));
                    requests.push((peer, index as u32));
                    room -= 1;
                }
            }
        }
        requests
    }

    /// When a request that is not answered goes to another peer too.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let newest = |piece: &Piece| piece.asked.iter().map(|(_, at)| *at).max();
        let waiting = self.pieces.iter().filter(|piece| piece.data.is_none());
        waiting.filter_map(newest).min().map(|at| at + REQUEST_TIMEOUT)
    }

    /// A piece arrived. It counts only when it was asked for and has the right length.
    pub(super) fn handle_data(&mut self, peer: PeerKey, index: u32, data: Bytes) -> Assembly {
        let expected = self.len.saturating_sub(index.saturating_mul(METADATA_PIECE_LEN)).min(METADATA_PIECE_LEN);
        let Some(piece) = self.pieces.get_mut(index as usize) else { return Assembly::Incomplete };
        let Some(at) = piece.asked.iter().position(|(asked, _)| *asked == peer) else { return Assembly::Incomplete };
        piece.asked.remove(at);
        if piece.data.is_some() || data.len() != expected as usize {
            return Assembly::Incomplete;
        }
        piece.data = Some((peer, data));
        if self.pieces.iter().any(|piece| piece.data.is_none()) { Assembly::Incomplete } else { self.assemble() }
    }

    fn assemble(&mut self) -> Assembly {
        let mut whole = BytesMut::with_capacity(self.len as usize);
        let mut senders = Vec::new();
        for (peer, data) in self.pieces.iter().filter_map(|piece| piece.data.as_ref()) {
            whole.extend_from_slice(data);
            if !senders.contains(peer) {
                senders.push(*peer);
            }
        }
        if Sha1::digest(&whole).as_slice() == self.info_hash.as_bytes() {
            return Assembly::Complete(whole.freeze());
        }
        self.pieces.iter_mut().for_each(|piece| *piece = Piece::default());
        if let [liar] = senders[..] {
            self.claims.remove(&liar);
            self.only = None;
            self.choose_len();
        } else {
            self.mixed_failures += 1;
            let turn = self.mixed_failures as usize % senders.len();
            self.only = Some(senders[turn]);
        }
        Assembly::Wrong(senders)
    }

    fn may_ask(&self, peer: PeerKey, claim: &Claim) -> bool {
        let others = || self.claims.iter().any(|(_, claim)| claim.len == self.len && !claim.rejected);
        claim.len == self.len && self.only.is_none_or(|only| only == peer) && (!claim.rejected || !others())
    }

    /// Takes the length that most peers claim; the one in use wins ties, so that what arrived is kept.
    fn choose_len(&mut self) {
        let mut votes: BTreeMap<u32, usize> = BTreeMap::new();
        for claim in self.claims.values() {
            *votes.entry(claim.len).or_default() += 1;
        }
        let current = votes.get(&self.len).copied().unwrap_or(0);
        let best =
            votes.iter().max_by_key(|(len, count)| (**count, **len == self.len)).map(|(len, count)| (*len, *count));
        if let Some((len, count)) = best
            && (count > current || self.len == 0)
        {
            self.len = len;
            self.pieces = vec![Piece::default(); len.div_ceil(METADATA_PIECE_LEN) as usize];
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;

    const BOB: PeerKey = PeerKey::new(1);
    const EVE: PeerKey = PeerKey::new(2);
    const IDA: PeerKey = PeerKey::new(3);

    fn dictionary() -> (Bytes, InfoHash) {
        let whole: Vec<u8> = (0..40_000u32).map(|at| (at % 251) as u8).collect();
        let hash = InfoHash::from_slice(&Sha1::digest(&whole)).unwrap();
        (whole.into(), hash)
    }

    fn piece_of(whole: &Bytes, index: u32) -> Bytes {
        let start = (index * METADATA_PIECE_LEN) as usize;
        whole.slice(start..whole.len().min(start + METADATA_PIECE_LEN as usize))
    }

    /// Answers every request until the assembly ends; `lie` corrupts what a peer sends.
    fn answer(fetch: &mut MetadataFetch, whole: &Bytes, lie: impl Fn(PeerKey) -> bool) -> Assembly {
        let mut now = Instant::now();
        for _ in 0..20 {
            for (peer, index) in fetch.requests(now) {
                let mut data = piece_of(whole, index).to_vec();
                data[0] ^= u8::from(lie(peer));
                match fetch.handle_data(peer, index, data.into()) {
                    Assembly::Incomplete => {}
                    end => return end,
                }
            }
            now += REQUEST_TIMEOUT;
        }
        Assembly::Incomplete
    }

    #[test]
    fn pieces_come_from_several_peers_at_once() {
        let (whole, info_hash) = dictionary();
        let mut fetch = MetadataFetch::new(info_hash);
        fetch.handle_claim(BOB, 40_000);
        fetch.handle_claim(EVE, 40_000);
        assert_eq!(answer(&mut fetch, &whole, |_| false), Assembly::Complete(whole.clone()));
    }

    #[test]
    fn a_single_liar_is_named_and_the_others_finish() {
        let (whole, info_hash) = dictionary();
        let mut fetch = MetadataFetch::new(info_hash);
        fetch.handle_claim(EVE, 40_000);
        assert_eq!(answer(&mut fetch, &whole, |_| true), Assembly::Wrong(vec![EVE]));
        fetch.handle_claim(BOB, 40_000);
        assert_eq!(answer(&mut fetch, &whole, |_| false), Assembly::Complete(whole));
    }

    #[test]
    fn a_liar_among_several_is_found_by_asking_one_at_a_time() {
        let (whole, info_hash) = dictionary();
        let mut fetch = MetadataFetch::new(info_hash);
        fetch.pieces.clear();
        for peer in [BOB, EVE, IDA] {
            fetch.handle_claim(peer, 40_000);
        }
        // Every peer sends one piece of the first assembly.
        let now = Instant::now();
        for (index, peer) in [BOB, EVE, IDA].into_iter().enumerate() {
            fetch.pieces[index].asked.push((peer, now));
            let mut data = piece_of(&whole, index as u32).to_vec();
            data[0] ^= u8::from(peer == EVE);
            let assembly = fetch.handle_data(peer, index as u32, data.into());
            assert_eq!(assembly == Assembly::Wrong(vec![BOB, EVE, IDA]), index == 2);
        }
        let mut named = Vec::new();
        let complete = (0..10).any(|_| match answer(&mut fetch, &whole, |peer| peer == EVE) {
            Assembly::Wrong(senders) => {
                named.extend(senders);
                false
            }
            assembly => assembly == Assembly::Complete(whole.clone()),
        });
        assert!(complete && named.iter().all(|peer| *peer == EVE), "{named:?}");
    }

    #[test]
    fn absurd_lengths_and_unasked_pieces_count_for_nothing() {
        let (whole, info_hash) = dictionary();
        let mut fetch = MetadataFetch::new(info_hash);
        fetch.handle_claim(EVE, 0);
        fetch.handle_claim(EVE, METADATA_LEN_MAX + 1);
        assert_eq!(fetch.peer_count(), 0);
        assert_eq!(fetch.handle_data(EVE, 0, piece_of(&whole, 0)), Assembly::Incomplete);
        fetch.handle_claim(BOB, 40_000);
        assert_eq!(fetch.handle_data(EVE, 0, piece_of(&whole, 0)), Assembly::Incomplete);
        assert_eq!(fetch.handle_data(BOB, u32::MAX, piece_of(&whole, 0)), Assembly::Incomplete);
        assert!(fetch.pieces.iter().all(|piece| piece.data.is_none()));
    }

    #[test]
    fn a_silent_peer_is_worked_around() {
        let (_, info_hash) = dictionary();
        let mut fetch = MetadataFetch::new(info_hash);
        let now = Instant::now();
        fetch.handle_claim(EVE, 40_000);
        assert_eq!(fetch.requests(now).len(), 3);
        fetch.handle_claim(BOB, 40_000);
        assert_eq!(fetch.requests(now), []);
        assert_eq!(fetch.next_timeout(), Some(now + REQUEST_TIMEOUT));
        assert_eq!(fetch.requests(now + REQUEST_TIMEOUT), [(BOB, 0), (BOB, 1), (BOB, 2)]);
    }
}
