use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;

use super::event::PeerKey;
use super::rarity::below;

/// How often the regular slots are decided (Cohen 2003).
pub(super) const ROUND: Duration = Duration::from_secs(10);
/// How often the optimistic slot moves (Cohen 2003).
const OPTIMISTIC_ROUND: Duration = Duration::from_secs(30);
/// A peer is new for this long after it connected: it has had no chance to show what it gives.
const NEW_FOR: Duration = Duration::from_secs(60);
/// A new peer is this many times as likely to get the optimistic slot.
const NEW_WEIGHT: u32 = 3;
/// As a seed, a peer keeps its slot for this long at least, unless it loses interest.
const SEED_TURN: Duration = Duration::from_secs(30);

/// What the choker looks at in a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) peer: PeerKey,
    pub(super) interested: bool,
    /// It sent nothing for a minute while we asked.
    pub(super) snubbed: bool,
    pub(super) connected_at: Instant,
    /// When it was unchoked; `None` while it is choked.
    pub(super) unchoked_at: Option<Instant>,
    /// When it was choked last: as a seed, who waits longest is next.
    pub(super) choked_at: Option<Instant>,
    /// Bytes per second from the peer, over about 20 s.
    pub(super) down_bps: u64,
    /// Bytes per second to the peer, over about 20 s.
    pub(super) up_bps: u64,
}

/// Who is served: the peers that serve us best, and one in turn to find better ones (BEP 3, "choking").
#[derive(Debug)]
pub(super) struct Choker {
    slots: usize,
    optimistic: Option<PeerKey>,
    optimistic_since: Option<Instant>,
}

impl Choker {
    /// With so many regular slots, and one optimistic slot besides.
    pub(super) fn new(slots: usize) -> Self {
        Self { slots, optimistic: None, optimistic_since: None }
    }

    /// Slots in all.
    pub(super) fn slots(&self) -> usize {
        self.slots + 1
    }

    /// The peers that are unchoked from now on; every other one is choked.
    pub(super) fn decide(
        &mut self,
        now: Instant,
        seeding: bool,
        candidates: &[Candidate],
        chance: &mut ChaCha8Rng,
    ) -> Vec<PeerKey> {
        let mut interested: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.interested).collect();
        if interested.len() <= self.slots() {
            // Nobody has to wait. Snubbing matters only where there is a choice.
            self.optimistic = None;
            return interested.iter().map(|candidate| candidate.peer).collect();
        }
        if seeding {
            interested.sort_by_key(|candidate| seed_order(now, candidate));
        } else {
            interested.retain(|candidate| !candidate.snubbed);
            interested.sort_by_key(|candidate| {
                (std::cmp::Reverse(candidate.down_bps), candidate.unchoked_at.is_none(), candidate.peer)
            });
        }
        let mut unchoked: Vec<PeerKey> = interested.iter().take(self.slots).map(|candidate| candidate.peer).collect();
        unchoked.extend(self.pick_optimistic(now, candidates, &unchoked, chance));
        unchoked
    }

    fn pick_optimistic(
        &mut self,
        now: Instant,
        candidates: &[Candidate],
        regular: &[PeerKey],
        chance: &mut ChaCha8Rng,
    ) -> Option<PeerKey> {
        let eligible: Vec<&Candidate> =
            candidates.iter().filter(|candidate| candidate.interested && !regular.contains(&candidate.peer)).collect();
        let fresh = self.optimistic_since.is_some_and(|since| now < since + OPTIMISTIC_ROUND);
        let stays = |peer: &PeerKey| fresh && eligible.iter().any(|candidate| candidate.peer == *peer);
        if self.optimistic.as_ref().is_some_and(stays) {
            return self.optimistic;
        }
        // Another one than the last, where there is another.
        let last = self.optimistic.filter(|_| eligible.len() > 1);
        let weight = |candidate: &&Candidate| match candidate {
            candidate if Some(candidate.peer) == last => 0,
            candidate if now < candidate.connected_at + NEW_FOR => NEW_WEIGHT,
            _ => 1,
        };
        let total: u32 = eligible.iter().map(weight).sum();
        self.optimistic = None;
        if total > 0 {
            let mut ticket = below(chance, total);
            for candidate in &eligible {
                let weight = weight(candidate);
                if ticket < weight {
                    self.optimistic = Some(candidate.peer);
                    self.optimistic_since = Some(now);
                    break;
                }
                ticket -= weight;
            }
        }
        self.optimistic
    }
}

/// As a seed: who is served keeps the slot for its turn, then who waits longest comes, fast peers before slow ones.
fn seed_order(now: Instant, candidate: &Candidate) -> (u8, Option<Instant>, std::cmp::Reverse<u64>, PeerKey) {
    let in_turn = candidate.unchoked_at.is_some_and(|since| now < since + SEED_TURN);
    let waiting_since = candidate.choked_at.or(Some(candidate.connected_at));
    match candidate.unchoked_at {
        Some(_) if in_turn => (0, None, std::cmp::Reverse(candidate.up_bps), candidate.peer),
        None => (1, waiting_since, std::cmp::Reverse(0), candidate.peer),
        Some(since) => (2, Some(since), std::cmp::Reverse(candidate.up_bps), candidate.peer),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    fn candidates(now: Instant, count: u64) -> Vec<Candidate> {
        let candidate = |number| Candidate {
            peer: PeerKey::new(number),
            interested: true,
            snubbed: false,
            connected_at: now,
            unchoked_at: None,
            choked_at: None,
            down_bps: number * 1000,
            up_bps: 0,
        };
        (1..=count).map(candidate).collect()
    }

    fn chance() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(1)
    }

    #[test]
    fn nobody_waits_while_slots_are_free() {
        let now = Instant::now();
        let mut all = candidates(now, 6);
        all[0].interested = false;
        assert_eq!(Choker::new(4).decide(now, false, &all, &mut chance()).len(), 5);
    }

    #[test]
    fn the_best_uploaders_have_the_regular_slots() {
        let now = Instant::now();
        let mut all = candidates(now, 10);
        all[9].snubbed = true;
        let unchoked = Choker::new(4).decide(now, false, &all, &mut chance());
        let regular: Vec<u64> = unchoked[..4].iter().map(|peer| peer.get()).collect();
        assert_eq!(regular, [9, 8, 7, 6], "a snubbed peer has no regular slot");
        assert_eq!(unchoked.len(), 5, "and one is optimistic");
    }

    #[test]
    fn the_optimistic_slot_moves_every_30_s_and_favours_new_peers() {
        let start = Instant::now();
        let mut chance = chance();
        let mut choker = Choker::new(4);
        let mut all = candidates(start, 25);
        // Numbers 1 to 10 are old; 11 to 21 are not regular and new at each turn.
        let mut new_turns = 0;
        let mut last = None;
        for turn in 0..300u32 {
            let now = start + OPTIMISTIC_ROUND * (turn + 4);
            for candidate in &mut all[10..21] {
                candidate.connected_at = now;
            }
            let chosen = choker.decide(now, false, &all, &mut chance)[4];
            let again = choker.decide(now + Duration::from_secs(29), false, &all, &mut chance)[4];
            assert_eq!(chosen, again, "it stays for its turn");
            assert_ne!(last, Some(chosen), "and then moves");
            last = Some(chosen);
            new_turns += u32::from(chosen.get() > 10);
        }
        // 11 new ones of weight 3 against 10 old ones: 33 / 43 of the turns.
        assert!((200..=258).contains(&new_turns), "{new_turns}");
    }

    #[test]
    fn a_seed_serves_everybody_in_turn() {
        let start = Instant::now();
        let mut chance = chance();
        let mut choker = Choker::new(4);
        let mut all = candidates(start, 20);
        let mut served = std::collections::BTreeSet::new();
        for round in 0..30u32 {
            let now = start + ROUND * round;
            let unchoked = choker.decide(now, true, &all, &mut chance);
            for candidate in &mut all {
                match (unchoked.contains(&candidate.peer), candidate.unchoked_at) {
                    (true, None) => candidate.unchoked_at = Some(now),
                    (false, Some(_)) => (candidate.unchoked_at, candidate.choked_at) = (None, Some(now)),
                    _ => {}
                }
            }
            served.extend(unchoked);
        }
        assert_eq!(served.len(), 20);
    }
}
