use std::net::SocketAddr;
use std::time::Instant;

use magnes_dht::Readiness;

use super::search::SearchSchedule;

/// Nodes of one torrent that are remembered: its maker chose how many there are.
const NODES_MAX: usize = 64;

/// Where a torrent's peers come from: when the DHT is asked, and what it is told of us.
#[derive(Debug)]
pub(super) struct Sources {
    schedule: SearchSchedule,
    /// Nodes that the torrent names, for as long as the DHT has not answered.
    nodes: Vec<SocketAddr>,
    is_ready: bool,
    /// What we are announced as, once we are: a seed, or not.
    announced: Option<bool>,
}

impl Sources {
    /// The first search is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { schedule: SearchSchedule::new(now), nodes: Vec::new(), is_ready: false, announced: None }
    }

    /// When a search is due, given that the torrent wants peers.
    pub(super) fn next_search(&self) -> Option<Instant> {
        self.schedule.next_search()
    }

    /// A search begins. Returns the nodes that are to be met before: as long as the DHT has not answered, those that the
    /// torrent names may know its peers.
    pub(super) fn handle_search_started(&mut self) -> Vec<SocketAddr> {
        self.schedule.handle_started();
        if self.is_ready { Vec::new() } else { self.nodes.clone() }
    }

    /// Whether a search is under way.
    pub(super) fn is_searching(&self) -> bool {
        self.schedule.next_search().is_none()
    }

    pub(super) fn handle_search_ended(&mut self, now: Instant) {
        self.schedule.handle_finished(now);
    }

    /// Remembers nodes that the torrent names. Returns those that are to be met.
    pub(super) fn add_nodes(&mut self, addrs: &[SocketAddr]) -> Vec<SocketAddr> {
        let room = NODES_MAX.saturating_sub(self.nodes.len());
        self.nodes.extend(addrs.iter().take(room));
        self.nodes.clone()
    }

    pub(super) fn handle_readiness(&mut self, readiness: Readiness) {
        self.is_ready = matches!(readiness, Readiness::Ready);
    }

    /// What we are to be announced as. Returns whether that is news.
    pub(super) fn set_announced(&mut self, seed: bool) -> bool {
        self.announced.replace(seed) != Some(seed)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin at some instant")]
mod tests {
    use super::*;

    #[test]
    fn named_nodes_are_met_until_the_dht_answers_and_no_more_than_a_bounded_number() {
        let mut sources = Sources::new(Instant::now());
        let node: SocketAddr = ([10, 0, 0, 1], 6881).into();
        assert_eq!(sources.add_nodes(&[node; 100]).len(), NODES_MAX);
        assert_eq!(sources.handle_search_started().len(), NODES_MAX);
        sources.handle_readiness(Readiness::Ready);
        assert_eq!(sources.handle_search_started(), []);
    }

    #[test]
    fn an_announce_is_made_when_it_is_news() {
        let mut sources = Sources::new(Instant::now());
        let news = [false, false, true, true, false].map(|seed| sources.set_announced(seed));
        assert_eq!(news, [true, false, true, false, true]);
    }
}
