use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sha1::{Digest, Sha1};

use super::event::PeerKey;
use crate::model::{INFO_LEN_MAX, InfoHash};
use crate::wire::METADATA_PIECE_LEN;

/// The largest info dictionary that is believed in, in bytes.
pub(super) const METADATA_LEN_MAX: u32 = INFO_LEN_MAX as u32;
/// Requests to one peer at once.
const REQUESTS_PER_PEER: usize = 4;
/// How long a request may take before another peer is asked too.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that rejects a request, answers it wrongly or not at all is left alone for this long; twice as long each
/// further time, until it sends a piece.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(60);
/// As long as peers claim different lengths, those of the commonest one have so long.
const DISPUTED_MAX: Duration = Duration::from_secs(10);
/// Peers that are asked for a whole dictionary each, side by side, at most.
const ALONE_MAX: usize = 8;
/// Bytes of all dictionaries that are assembled side by side at most; a single one may always be.
const ALONE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// A peer that is asked for a whole dictionary makes room for those that wait after this time; twice as long each further
/// time, so that the slowest has its chance.
const ALONE_TURN: Duration = Duration::from_secs(20);

/// Assembles the info dictionary from several peers (BEP 9).
///
/// The one truth is the info hash; the length is the peers' claim. First the pieces come from all peers that make the
/// commonest claim, each from one of them. If that does not lead to the dictionary, because a piece was wrong or nothing
/// comes, each peer is asked for the whole of it, several side by side and each by its own claim: then whoever lies is known,
/// and holds up nobody.
#[derive(Debug)]
pub(super) struct MetadataFetch {
    info_hash: InfoHash,
    sources: BTreeMap<PeerKey, Source>,
    /// What all peers of the commonest claim fill together.
    shared: Assembly,
    /// When the first piece of `shared` was asked for.
    shared_since: Option<Instant>,
    /// When a piece of it arrived last, or was asked for first.
    progress_at: Option<Instant>,
    /// Whether each peer is asked for the whole.
    alone: bool,
}

/// A peer that says it has the dictionary.
#[derive(Debug)]
struct Source {
    /// Its length, as the peer claims.
    len: u32,
    /// Requests in a row that led to nothing.
    strikes: u32,
    /// Whole dictionaries of it that were wrong.
    lies: u32,
    rest_until: Option<Instant>,
    /// What it fills by itself.
    own: Option<Turn>,
    turns: u32,
}

#[derive(Debug)]
struct Turn {
    assembly: Assembly,
    until: Instant,
}

#[derive(Debug, Default)]
struct Assembly {
    len: u32,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Default)]
struct Piece {
    data: Option<(PeerKey, Bytes)>,
    asked: Vec<Asked>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    peer: PeerKey,
    at: Instant,
    /// The peer took too long: others are asked, though its answer still counts.
    is_late: bool,
}

/// What a piece of metadata led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// More pieces are needed, or the piece was useless.
    Incomplete,
    /// The info dictionary; its hash is right.
    Complete(Bytes),
    /// A wrong dictionary, sent by these peers. A single one lied for certain.
    Wrong(Vec<PeerKey>),
}

impl MetadataFetch {
    pub(super) fn new(info_hash: InfoHash) -> Self {
        let sources = BTreeMap::new();
        let shared = Assembly::default();
        Self { info_hash, sources, shared, shared_since: None, progress_at: None, alone: false }
    }

    /// A peer says how long the info dictionary is. Lengths of 0 and over the limit are not believed.
    pub(super) fn handle_claim(&mut self, peer: PeerKey, len: u32) {
        if !(1..=METADATA_LEN_MAX).contains(&len) || self.sources.get(&peer).is_some_and(|source| source.len == len) {
            return;
        }
        // Whoever changes its claim keeps its strikes: it would otherwise be asked as fast as it answers.
        let old = self.sources.get(&peer).map(|old| (old.strikes, old.lies, old.rest_until, old.turns));
        let (strikes, lies, rest_until, turns) = old.unwrap_or_default();
        self.forget(peer);
        self.sources.insert(peer, Source { len, strikes, lies, rest_until, own: None, turns });
        self.choose_len();
    }

    /// A peer is gone.
    pub(super) fn forget(&mut self, peer: PeerKey) {
        self.sources.remove(&peer);
        self.shared.forget(peer);
        self.choose_len();
    }

    /// A peer does not give a piece.
    pub(super) fn handle_reject(&mut self, now: Instant, peer: PeerKey, index: u32) {
        let asked = self.assembly_of(peer).and_then(|assembly| assembly.pieces.get_mut(index as usize));
        if asked.is_some_and(|piece| piece.take_asked(peer)) {
            self.strike(now, peer);
        }
    }

    /// How often a peer sent a whole dictionary that was wrong.
    pub(super) fn lies(&self, peer: PeerKey) -> u32 {
        self.sources.get(&peer).map_or(0, |source| source.lies)
    }

    /// Number of peers that have the metadata, as they say.
    pub(super) fn peer_count(&self) -> usize {
        self.sources.len()
    }

    /// The pieces to ask for now. They count as asked from now on.
    pub(super) fn requests(&mut self, now: Instant) -> Vec<(PeerKey, u32)> {
        self.note_late(now);
        for source in self.sources.values_mut() {
            source.rest_until = source.rest_until.filter(|until| now < *until);
        }
        if self.give_up_at().is_some_and(|at| now >= at) {
            self.ask_alone();
        }
        if self.alone {
            self.give_turns(now);
        }
        let mut requests = Vec::new();
        for (peer, source) in &mut self.sources {
            if source.rest_until.is_some() {
                continue;
            }
            match &mut source.own {
                Some(turn) => turn.assembly.ask(now, *peer, &mut requests),
                None if !self.alone && source.len == self.shared.len => self.shared.ask(now, *peer, &mut requests),
                None => {}
            }
        }
        if !requests.is_empty() {
            self.progress_at.get_or_insert(now);
            self.shared_since.get_or_insert(now);
        }
        requests
    }

    /// When it is over with what all peers of one claim fill together.
    fn give_up_at(&self) -> Option<Instant> {
        if self.alone || self.sources.len() < 2 {
            return None;
        }
        let is_disputed = self.sources.values().any(|source| source.len != self.shared.len);
        let disputed = self.shared_since.filter(|_| is_disputed).map(|since| since + DISPUTED_MAX);
        self.progress_at.map(|at| at + REQUEST_TIMEOUT).into_iter().chain(disputed).min()
    }

    /// When [`MetadataFetch::requests`] may have something.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let own = self.sources.values().filter_map(|source| source.own.as_ref());
        let late = own.clone().map(|turn| &turn.assembly).chain([&self.shared]).filter_map(Assembly::next_late);
        let rested = self.sources.values().filter_map(|source| source.rest_until);
        let waits = self.sources.values().any(|source| source.own.is_none());
        let turn = own.map(|turn| turn.until).min().filter(|_| self.alone && waits);
        late.chain(rested).chain(turn).chain(self.give_up_at()).min()
    }

    /// Whether a peer was asked for a piece.
    pub(super) fn has_asked(&mut self, peer: PeerKey, index: u32) -> bool {
        let piece = self.assembly_of(peer).and_then(|assembly| assembly.pieces.get(index as usize));
        piece.is_some_and(|piece| piece.asked.iter().any(|asked| asked.peer == peer))
    }

    /// A piece arrived. It counts only when it was asked for and has the right length.
    pub(super) fn handle_data(&mut self, now: Instant, peer: PeerKey, index: u32, data: Bytes) -> Outcome {
        let Some(assembly) = self.assembly_of(peer) else { return Outcome::Incomplete };
        let expected = assembly.piece_len(index);
        let Some(piece) = assembly.pieces.get_mut(index as usize) else { return Outcome::Incomplete };
        if !piece.take_asked(peer) {
            return Outcome::Incomplete;
        }
        if data.len() != expected as usize {
            self.strike(now, peer);
            return Outcome::Incomplete;
        }
        if piece.data.is_none() {
            piece.data = Some((peer, data));
        }
        let whole = assembly.whole();
        if let Some(source) = self.sources.get_mut(&peer) {
            source.strikes = 0;
        }
        if !self.alone {
            self.progress_at = Some(now);
        }
        let Some((whole, senders)) = whole else { return Outcome::Incomplete };
        if Sha1::digest(&whole).as_slice() == self.info_hash.as_bytes() {
            return Outcome::Complete(whole);
        }
        self.handle_wrong(now, &senders);
        Outcome::Wrong(senders)
    }

    /// A dictionary was wrong. From now on each peer is asked for the whole, those that lied for certain last.
    fn handle_wrong(&mut self, now: Instant, senders: &[PeerKey]) {
        self.ask_alone();
        if let [liar] = senders {
            if let Some(source) = self.sources.get_mut(liar) {
                source.own = None;
                source.lies = source.lies.saturating_add(1);
            }
            self.strike(now, *liar);
        }
    }

    fn ask_alone(&mut self) {
        self.alone = true;
        self.shared = Assembly::default();
        (self.progress_at, self.shared_since) = (None, None);
    }

    /// What a peer is asked to fill.
    fn assembly_of(&mut self, peer: PeerKey) -> Option<&mut Assembly> {
        let source = self.sources.get_mut(&peer)?;
        match &mut source.own {
            Some(turn) => Some(&mut turn.assembly),
            None => Some(&mut self.shared),
        }
    }

    /// A request led to nothing.
    fn strike(&mut self, now: Instant, peer: PeerKey) {
        let Some(source) = self.sources.get_mut(&peer) else { return };
        let rest = REST_MIN.saturating_mul(1 << source.strikes.saturating_add(2 * source.lies).min(10)).min(REST_MAX);
        source.strikes = source.strikes.saturating_add(1);
        source.rest_until = source.rest_until.max(Some(now + rest));
    }

    /// Peers that take too long: others are asked.
    fn note_late(&mut self, now: Instant) {
        let mut late = BTreeSet::new();
        self.shared.note_late(now, &mut late);
        for source in self.sources.values_mut() {
            if let Some(turn) = &mut source.own {
                turn.assembly.note_late(now, &mut late);
            }
        }
        for peer in late {
            self.strike(now, peer);
        }
    }

    /// Has peers fill a dictionary each, those that failed least first, while there is room.
    fn give_turns(&mut self, now: Instant) {
        let mut waiting: Vec<(u32, u32, PeerKey)> = self
            .sources
            .iter()
            .filter(|(_, source)| source.own.is_none() && source.rest_until.is_none())
            .map(|(peer, source)| (source.lies, source.strikes + source.turns, *peer))
            .collect();
        waiting.sort_unstable();
        for source in self.sources.values_mut().filter(|_| !waiting.is_empty()) {
            // Nothing comes of it for now, or not soon enough for those that wait.
            let is_over = |turn: &mut Turn| now >= turn.until || source.rest_until.is_some();
            source.own.take_if(is_over);
        }
        for (.., peer) in waiting {
            let under_way = self.sources.values().filter(|source| source.own.is_some());
            let (count, bytes) =
                (under_way.clone().count(), under_way.map(|source| u64::from(source.len)).sum::<u64>());
            let Some(source) = self.sources.get_mut(&peer) else { continue };
            if count >= ALONE_MAX || (count > 0 && bytes + u64::from(source.len) > ALONE_BYTES_MAX) {
                continue;
            }
            let until = now + ALONE_TURN * (1 << source.turns.min(8));
            source.turns += 1;
            source.own = Some(Turn { assembly: Assembly::new(source.len), until });
        }
    }

    /// Takes the length that most peers claim; the one in use wins ties, so that what arrived is kept.
    fn choose_len(&mut self) {
        if self.alone {
            return;
        }
        let mut votes: BTreeMap<u32, usize> = BTreeMap::new();
        for source in self.sources.values() {
            *votes.entry(source.len).or_default() += 1;
        }
        let len = self.shared.len;
        let current = votes.get(&len).copied().unwrap_or(0);
        let best = votes.iter().max_by_key(|(other, count)| (**count, **other == len));
        if let Some((best, count)) = best
            && (*count > current || len == 0)
        {
            self.shared = Assembly::new(*best);
            (self.progress_at, self.shared_since) = (None, None);
        }
    }

    /// Panics when a bound is exceeded.
    pub(super) fn check_invariants(&self) {
        let own = self.sources.values().filter_map(|source| source.own.as_ref());
        let bytes: u64 = own.clone().map(|turn| u64::from(turn.assembly.len)).sum();
        assert!(own.clone().count() <= ALONE_MAX, "too many dictionaries");
        assert!(bytes <= ALONE_BYTES_MAX || own.count() == 1, "dictionaries too large");
        assert!(!self.alone || self.shared.pieces.is_empty(), "what all filled is given up");
    }
}

impl Assembly {
    fn new(len: u32) -> Self {
        Self { len, pieces: vec![Piece::default(); len.div_ceil(METADATA_PIECE_LEN) as usize] }
    }

    fn piece_len(&self, index: u32) -> u32 {
        self.len.saturating_sub(index.saturating_mul(METADATA_PIECE_LEN)).min(METADATA_PIECE_LEN)
    }

    /// Asks a peer for open pieces, as many as it may be asked for at once.
    fn ask(&mut self, now: Instant, peer: PeerKey, requests: &mut Vec<(PeerKey, u32)>) {
        let asked_now = |piece: &&Piece| piece.asked.iter().any(|asked| asked.peer == peer && !asked.is_late);
        let mut room = REQUESTS_PER_PEER.saturating_sub(self.pieces.iter().filter(asked_now).count());
        for (index, piece) in (0..).zip(&mut self.pieces) {
            if room == 0 {
                return;
            }
            if piece.data.is_none() && piece.asked.iter().all(|asked| asked.is_late) {
                piece.take_asked(peer);
                piece.asked.push(Asked { peer, at: now, is_late: false });
                requests.push((peer, index));
                room -= 1;
            }
        }
    }

    /// Marks requests that took too long, and names the peers.
    fn note_late(&mut self, now: Instant, late: &mut BTreeSet<PeerKey>) {
        for piece in self.pieces.iter_mut().filter(|piece| piece.data.is_none()) {
            for asked in piece.asked.iter_mut().filter(|asked| !asked.is_late && now >= asked.at + REQUEST_TIMEOUT) {
                asked.is_late = true;
                late.insert(asked.peer);
            }
        }
    }

    fn next_late(&self) -> Option<Instant> {
        let open = self.pieces.iter().filter(|piece| piece.data.is_none());
        let waiting = open.flat_map(|piece| &piece.asked).filter(|asked| !asked.is_late);
        waiting.map(|asked| asked.at + REQUEST_TIMEOUT).min()
    }

    fn forget(&mut self, peer: PeerKey) {
        self.pieces.iter_mut().for_each(|piece| piece.asked.retain(|asked| asked.peer != peer));
    }

    /// The dictionary and who sent its pieces, once every piece is there.
    fn whole(&self) -> Option<(Bytes, Vec<PeerKey>)> {
        if self.pieces.is_empty() || self.pieces.iter().any(|piece| piece.data.is_none()) {
            return None;
        }
        let mut whole = BytesMut::with_capacity(self.len as usize);
        let mut senders = Vec::new();
        for (peer, data) in self.pieces.iter().filter_map(|piece| piece.data.as_ref()) {
            whole.extend_from_slice(data);
            if !senders.contains(peer) {
                senders.push(*peer);
            }
        }
        Some((whole.freeze(), senders))
    }
}

impl Piece {
    /// Takes a request out; returns whether it was there.
    fn take_asked(&mut self, peer: PeerKey) -> bool {
        let at = self.asked.iter().position(|asked| asked.peer == peer);
        at.map(|at| self.asked.remove(at)).is_some()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;

    const BOB: PeerKey = PeerKey::new(1);
    const EVE: PeerKey = PeerKey::new(2);
    const IDA: PeerKey = PeerKey::new(3);
    const LEN: u32 = 40_000;

    fn dictionary() -> (Bytes, InfoHash) {
        let whole: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8).collect();
        let hash = InfoHash::from_slice(&Sha1::digest(&whole)).unwrap();
        (whole.into(), hash)
    }

    /// A piece of the dictionary; zeros beyond its end.
    fn piece_of(whole: &Bytes, index: u32) -> Bytes {
        let start = (index * METADATA_PIECE_LEN) as usize;
        if start >= whole.len() {
            return Bytes::from_static(&[0; METADATA_PIECE_LEN as usize]);
        }
        whole.slice(start..whole.len().min(start + METADATA_PIECE_LEN as usize))
    }

    /// How a peer answers.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Answer {
        Right,
        Wrong,
        TooShort,
        Reject,
        Nothing,
    }

    /// What came of a fetch.
    struct Fetched {
        is_complete: bool,
        took: Duration,
        requests: usize,
        named: Vec<PeerKey>,
    }

    /// Runs in virtual time, answering every request at once, for two minutes at most.
    fn run(fetch: &mut MetadataFetch, whole: &Bytes, answer: impl Fn(PeerKey) -> Answer) -> Fetched {
        run_from(Instant::now(), fetch, whole, answer)
    }

    fn run_from(
        start: Instant,
        fetch: &mut MetadataFetch,
        whole: &Bytes,
        answer: impl Fn(PeerKey) -> Answer,
    ) -> Fetched {
        let mut now = start;
        let mut fetched = Fetched { is_complete: false, took: Duration::ZERO, requests: 0, named: Vec::new() };
        while now < start + Duration::from_secs(120) {
            let requests = fetch.requests(now);
            fetch.check_invariants();
            let is_idle = requests.is_empty();
            fetched.requests += requests.len();
            for (peer, index) in requests {
                let right = piece_of(whole, index);
                let data = match answer(peer) {
                    Answer::Right => right,
                    Answer::Wrong => right.iter().map(|byte| byte ^ 1).collect(),
                    Answer::TooShort => right.slice(1..),
                    Answer::Reject => {
                        fetch.handle_reject(now, peer, index);
                        continue;
                    }
                    Answer::Nothing => continue,
                };
                match fetch.handle_data(now, peer, index, data) {
                    Outcome::Incomplete => {}
                    Outcome::Wrong(senders) => {
                        fetched.named.extend(<[PeerKey; 1]>::try_from(senders).into_iter().flatten())
                    }
                    Outcome::Complete(found) => {
                        assert_eq!(found, *whole);
                        fetched.is_complete = true;
                        fetched.took = now - start;
                        return fetched;
                    }
                }
            }
            if is_idle {
                let next = fetch.next_timeout().expect("there is something to wait for");
                assert!(next > now, "no time passes");
                now = next;
            }
        }
        fetched
    }

    #[test]
    fn pieces_come_from_several_peers_at_once() {
        let (whole, info_hash) = dictionary();
        let mut fetch = MetadataFetch::new(info_hash);
        fetch.handle_claim(BOB, LEN);
        fetch.handle_claim(EVE, LEN);
        let fetched = run(&mut fetch, &whole, |_| Answer::Right);
        assert_eq!((fetched.is_complete, fetched.requests, fetched.took), (true, 3, Duration::ZERO));
    }

    #[test]
    fn whoever_lies_rejects_or_is_silent_does_not_hold_up_one_honest_peer() {
        let (whole, info_hash) = dictionary();
        for others in [1, 3, 20] {
            for vice in [Answer::Wrong, Answer::TooShort, Answer::Reject, Answer::Nothing] {
                for claim in [LEN, LEN + 1, 1, METADATA_LEN_MAX] {
                    let mut fetch = MetadataFetch::new(info_hash);
                    for number in 0..others {
                        fetch.handle_claim(PeerKey::new(100 + number), claim);
                    }
                    fetch.handle_claim(IDA, LEN);
                    let fetched = run(&mut fetch, &whole, |peer| if peer == IDA { Answer::Right } else { vice });
                    assert!(fetched.is_complete, "{others} peers that claim {claim}: {vice:?}");
                    assert!(fetched.took <= Duration::from_secs(30), "{others}, {claim}: {:?}", fetched.took);
                    assert!(!fetched.named.contains(&IDA), "{others}, {claim}");
                }
            }
        }
    }

    #[test]
    fn a_peer_that_gives_nothing_is_asked_ever_less_often_and_for_ever() {
        let (whole, info_hash) = dictionary();
        for vice in [Answer::Reject, Answer::TooShort, Answer::Wrong, Answer::Nothing] {
            let mut fetch = MetadataFetch::new(info_hash);
            fetch.handle_claim(EVE, LEN);
            let start = Instant::now();
            let fetched = run_from(start, &mut fetch, &whole, |_| vice);
            assert!((6..60).contains(&fetched.requests), "{} requests in two minutes", fetched.requests);
            let later = start + Duration::from_secs(200);
            assert!(run_from(later, &mut fetch, &whole, |_| Answer::Right).is_complete, "it is asked again");
        }
    }

    #[test]
    fn among_several_senders_of_a_wrong_dictionary_only_the_liar_is_named() {
        let (whole, info_hash) = dictionary();
        let mut fetch = MetadataFetch::new(info_hash);
        let now = Instant::now();
        // Each sends one piece of the first assembly.
        [BOB, EVE, IDA].into_iter().for_each(|peer| fetch.handle_claim(peer, LEN));
        for (index, peer) in [BOB, EVE, IDA].into_iter().enumerate() {
            fetch.shared.pieces[index].asked.push(Asked { peer, at: now, is_late: false });
            let mut data = piece_of(&whole, index as u32).to_vec();
            data[0] ^= u8::from(peer == EVE);
            let outcome = fetch.handle_data(now, peer, index as u32, data.into());
            assert_eq!(outcome == Outcome::Wrong(vec![BOB, EVE, IDA]), index == 2);
        }
        let fetched = run(&mut fetch, &whole, |peer| if peer == EVE { Answer::Wrong } else { Answer::Right });
        assert!(fetched.is_complete && fetched.named.iter().all(|peer| *peer == EVE), "{:?}", fetched.named);
    }

    #[test]
    fn absurd_lengths_and_unasked_pieces_count_for_nothing() {
        let (whole, info_hash) = dictionary();
        let now = Instant::now();
        let mut fetch = MetadataFetch::new(info_hash);
        fetch.handle_claim(EVE, 0);
        fetch.handle_claim(EVE, METADATA_LEN_MAX + 1);
        assert_eq!(fetch.peer_count(), 0);
        assert!(!fetch.has_asked(EVE, 0));
        assert_eq!(fetch.handle_data(now, EVE, 0, piece_of(&whole, 0)), Outcome::Incomplete);
        fetch.handle_claim(BOB, LEN);
        assert_eq!(fetch.handle_data(now, EVE, 0, piece_of(&whole, 0)), Outcome::Incomplete);
        assert_eq!(fetch.handle_data(now, BOB, u32::MAX, piece_of(&whole, 0)), Outcome::Incomplete);
        assert!(fetch.shared.pieces.iter().all(|piece| piece.data.is_none()));
    }

    #[test]
    fn a_late_answer_still_counts() {
        let (whole, info_hash) = dictionary();
        let mut fetch = MetadataFetch::new(info_hash);
        let now = Instant::now();
        fetch.handle_claim(EVE, LEN);
        assert_eq!(fetch.requests(now).len(), 3);
        let later = now + 2 * REQUEST_TIMEOUT;
        fetch.requests(later);
        for index in 0..2 {
            assert_eq!(fetch.handle_data(later, EVE, index, piece_of(&whole, index)), Outcome::Incomplete);
        }
        assert_eq!(fetch.handle_data(later, EVE, 2, piece_of(&whole, 2)), Outcome::Complete(whole));
    }
}
