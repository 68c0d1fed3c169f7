//! What time brings: rates, silent peers, choking rounds, due candidates.

use std::time::{Duration, Instant};

use super::Torrent;
use crate::swarm::choker::ROUND;
use crate::swarm::event::PeerKey;
use crate::wire::Message;

/// How often rates and depths are looked at.
const TICK: Duration = Duration::from_secs(1);
/// A peer that owes blocks and sends none for so long is worked around: others are asked for them.
const STALL: Duration = Duration::from_secs(20);
/// A peer that sends nothing for so long is snubbed: it gets only the optimistic slot (Cohen 2003, "anti-snubbing").
const SNUB: Duration = Duration::from_secs(60);

impl Torrent {
    /// When [`Torrent::handle_timeout`] is to be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.paused {
            return None;
        }
        let tick = (!self.peers.is_empty()).then_some(self.next_tick);
        let dial = self.candidates.next_due().filter(|_| self.peers.len() < self.config.peers_max);
        // A candidate that waits for a half-open slot is dialled when one becomes free, by `handle_closed`.
        let dial = dial.map(|due| due.max(self.next_tick.min(due + TICK)));
        let metadata = if self.has_metadata() { None } else { self.metadata.next_timeout() };
        [tick, dial, metadata].into_iter().flatten().min()
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.paused {
            return;
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick(now);
        }
        if now >= self.next_choke && !self.peers.is_empty() {
            self.next_choke = now + ROUND;
            self.choke_round(now);
        }
        self.ask_metadata(now);
        self.dial(now);
    }

    fn tick(&mut self, now: Instant) {
        self.down.update(now);
        self.up.update(now);
        let mut stalled = Vec::new();
        for (key, peer) in &mut self.peers {
            peer.down.update(now);
            peer.up.update(now);
            match peer.asks.silent_since().map(|since| now.saturating_duration_since(since)) {
                Some(silence) if silence >= STALL => stalled.push(*key),
                _ => peer.asks.adapt(now, self.config.request_depth_max),
            }
        }
        for key in stalled {
            self.work_around(key);
        }
        let snubbed = |peer: &crate::swarm::peer::Peer| {
            peer.asks.stalled_since().is_some_and(|since| now.saturating_duration_since(since) >= SNUB)
        };
        for peer in self.peers.values_mut() {
            peer.asks.snubbed = snubbed(peer);
        }
        self.ask_all(now);
        self.rescue_all(now);
        self.choke_stuck(now);
        self.fill_slots(now);
    }

    /// Takes the requests of a silent peer back and gives them to others. It is asked for one block at a time until it
    /// sends something.
    fn work_around(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let blocks: Vec<_> = peer.asks.blocks().copied().collect();
        self.release_asks(key);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.asks.handle_stall();
        }
        if let Some(pieces) = &mut self.pieces {
            pieces.disown(key);
        }
        for block in blocks {
            self.send(key, Message::Cancel(block));
        }
    }
}
