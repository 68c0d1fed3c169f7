//! What time brings: rates, silent peers, choking rounds, due candidates.

use std::time::{Duration, Instant};

use super::Swarm;
use crate::swarm::choker::ROUND;
use crate::swarm::event::PeerKey;
use crate::wire::Message;

/// How often rates and depths are looked at.
const TICK: Duration = Duration::from_secs(1);
/// A peer that sends nothing for this long is snubbed: it gets only the optimistic slot (Cohen 2003, "anti-snubbing").
const SNUB: Duration = Duration::from_secs(60);
/// A tick that comes so late is the first after the process stood still (a suspended laptop): nobody's silence counts then.
const STANDSTILL: Duration = Duration::from_secs(5);

impl Swarm {
    /// When [`Swarm::handle_timeout`] is to be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.paused {
            return None;
        }
        let moves = self.down.shown_bps() > 0 || self.up.shown_bps() > 0;
        let tick = (moves || !self.peers.is_empty()).then_some(self.next_tick);
        let dial = self.candidates.next_due().filter(|_| !self.is_full());
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
            if now.saturating_duration_since(self.next_tick) >= STANDSTILL {
                self.peers.values_mut().for_each(|peer| peer.handle_standstill(now));
            }
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
        let (mut stalled, mut lost) = (Vec::new(), Vec::new());
        for (key, peer) in &mut self.peers {
            peer.down.update(now);
            peer.up.update(now);
            let blocks = peer.asks.take_lost(now, |piece| peer.allowed_by_them.contains(&piece));
            if !blocks.is_empty() {
                lost.push((*key, blocks));
            }
            if peer.asks.is_stalled(now) {
                stalled.push(*key);
            } else {
                peer.asks.adapt(now, self.config.request_depth_max);
            }
        }
        for (key, blocks) in lost {
            self.give_up(key, &blocks);
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
        self.close_surplus_connection(now);
        self.ask_all(now);
        self.rescue_all(now);
        self.probe_for_metadata(now);
        self.choke_stuck(now);
        self.fill_slots(now);
    }

    /// Takes the requests of a silent peer back and gives them to others. It is asked for one block at a time until it
    /// sends something.
    fn work_around(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let blocks: Vec<_> = peer.asks.blocks().copied().collect();
        peer.asks.handle_stall();
        self.release_asks(key);
        if let Some(pieces) = &mut self.pieces {
            pieces.disown(key);
        }
        for block in blocks {
            self.send(key, Message::Cancel(block));
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin at some instant")]
mod tests {
    use super::*;
    use crate::model::{BLOCK_LEN, Bitfield};
    use crate::swarm::asks::STALL;
    use crate::swarm::event::Output;
    use crate::swarm::machine::opened::{connect, opened};

    /// A torrent of one piece that asked a peer for its blocks.
    fn asking(now: Instant) -> Swarm {
        let len = u64::from(4 * BLOCK_LEN);
        let mut torrent = opened(now, len, len, Bitfield::empty(1));
        let peer = connect(&mut torrent, now, ([10, 0, 0, 1], 6881).into(), false).unwrap();
        torrent.handle_messages(now, peer, vec![Message::HaveAll, Message::Unchoke]);
        torrent
    }

    fn cancels(torrent: &mut Swarm) -> usize {
        let outputs = std::iter::from_fn(|| torrent.poll_output());
        outputs.filter(|output| matches!(output, Output::Send { message: Message::Cancel(_), .. })).count()
    }

    #[test]
    fn silence_counts_while_the_process_runs_and_not_while_it_stands_still() {
        let start = Instant::now();
        let mut torrent = asking(start);
        let mut now = start;
        while now < start + STALL {
            torrent.handle_timeout(now);
            now += TICK;
        }
        assert_eq!(cancels(&mut torrent), 0);
        torrent.handle_timeout(now);
        assert!(cancels(&mut torrent) > 0, "it was silent for all that time");

        let mut torrent = asking(start);
        torrent.handle_timeout(start);
        let mut now = start + Duration::from_secs(600);
        let awake = now;
        while now < awake + STALL {
            torrent.handle_timeout(now);
            assert_eq!((cancels(&mut torrent), torrent.snubbed_count()), (0, 0), "at {:?}", now - awake);
            now += TICK;
        }
        torrent.handle_timeout(now);
        assert!(cancels(&mut torrent) > 0);
    }
}
