//! How much of what a peer sends may be useless.

use std::time::{Duration, Instant};

use crate::wire::Message;

/// Useless messages that one peer may send in a burst: more than an honest one sends whose requests crossed a choke, or
/// whose blocks crossed cancels. And those that it may send each second.
const USELESS: (u32, u32) = (4000, 100);
/// Blocks that choked peers are served in a burst, all together, and each second (BEP 6): 16 MiB, and 1 MiB/s.
const COURTESY: (u32, u32) = (1024, 64);

/// Metadata pieces that all peers together are given in a burst, and each second (BEP 9): 32 MiB, and 4 MiB/s.
const METADATA: (u32, u32) = (2048, 256);

/// A budget that fills up again with time.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    burst: u32,
    per_s: u32,
    filled_at: Instant,
}

impl Allowance {
    /// For messages of one peer that change nothing. A peer that uses it up floods us, and is closed; everything it can
    /// send besides is bounded by the torrent itself.
    pub(super) fn for_useless(now: Instant) -> Self {
        Self::new(now, USELESS)
    }

    /// For blocks that go to choked peers, counted for all of them: what the choker does not decide has a limit too.
    pub(super) fn for_courtesy(now: Instant) -> Self {
        Self::new(now, COURTESY)
    }

    /// For pieces of the metadata, counted for all peers: they too are uploaded without a slot.
    pub(super) fn for_metadata(now: Instant) -> Self {
        Self::new(now, METADATA)
    }

    fn new(now: Instant, (burst, per_s): (u32, u32)) -> Self {
        Self { left: burst, burst, per_s, filled_at: now }
    }

    /// Takes `cost` out; returns whether there was so much.
    pub(super) fn charge(&mut self, now: Instant, cost: u32) -> bool {
        let per_s = u128::from(self.per_s);
        let elapsed = now.saturating_duration_since(self.filled_at);
        let filled = elapsed.as_millis().saturating_mul(per_s) / 1000;
        if filled > 0 {
            self.left = self.left.saturating_add(u32::try_from(filled).unwrap_or(self.burst)).min(self.burst);
            // What is less than one stays to be counted.
            let counted_ms = (filled * 1000).div_ceil(per_s);
            self.filled_at += Duration::from_millis(u64::try_from(counted_ms).unwrap_or(u64::MAX));
        }
        let is_enough = self.left >= cost;
        self.left = self.left.saturating_sub(cost);
        is_enough
    }
}

/// What a message costs whatever comes of it. Requests, cancels, rejects and blocks cost 1 when they turn out to be
/// useless; a `have` and the first word about pieces are free, as nobody has more than one of each to say.
pub(super) fn cost(message: &Message) -> u32 {
    match message {
        Message::KeepAlive | Message::Unknown | Message::AllowedFast(_) | Message::Suggest(_) => 1,
        // The largest metadata are 1,024 pieces.
        Message::Metadata(_) => 1,
        // A choking round takes ten seconds, and interest changes with a piece at most.
        Message::Choke | Message::Unchoke | Message::Interested | Message::NotInterested => 5,
        Message::ExtendedHandshake(_) => 50,
        Message::Port(_) => 100,
        _ => 0,
    }
}

/// What a metadata piece costs that nobody asked for, or a request for one beyond what a peer may have.
pub(super) const METADATA_UNWANTED: u32 = 10;
/// What each further `have all` and `have none` costs: nobody has reason for a second one.
pub(super) const PIECES_AGAIN: u32 = 500;

/// What each further bitfield costs. aria2 sends one in place of many `have`s as soon as it is shorter than they, several
/// a second on a fast line; it is counted piece by piece.
pub(super) fn bitfield_again(pieces: u32) -> u32 {
    (pieces / 200).max(10)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_what_goes_on_is_not() {
        let start = Instant::now();
        let mut budget = Allowance::for_useless(start);
        assert!((0..USELESS.0).all(|_| budget.charge(start, 1)) && !budget.charge(start, 1));
        // Ninety a second, for ever.
        let mut now = start + Duration::from_secs(1);
        for _ in 0..100_000 {
            now += Duration::from_micros(11_111);
            assert!(budget.charge(now, 1));
        }
        assert!((0..).find(|_| !budget.charge(now, 10)).unwrap() <= USELESS.0 / 10);
    }
}
