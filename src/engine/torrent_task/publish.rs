//! What the handles see of a torrent.

use std::time::{Duration, Instant};

use super::TorrentTask;
use crate::engine::progress::{Phase, Progress, Search, Stall, TorrentEvent, TorrentState};
use crate::swarm;

/// How often the handles are told how far the torrent is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

impl TorrentTask {
    pub(super) fn tell(&self, event: TorrentEvent) {
        // Nobody has to listen.
        let _ = self.events.send(event);
    }

    pub(super) fn publish(&mut self, now: Instant) {
        if now >= self.next_progress {
            self.publish_now(now);
        }
    }

    pub(super) fn publish_now(&mut self, now: Instant) {
        self.next_progress = now + PROGRESS_INTERVAL;
        let progress = self.progress();
        // What could not be read keeps a torrent from being complete, though nothing is left to fetch.
        let unreadable = self.unreadable.as_ref().filter(|_| progress.phase == Phase::Seeding);
        let error = self.error.clone().or_else(|| unreadable.map(|(_, error)| error.clone()));
        let state = TorrentState { progress, error };
        self.state.send_if_modified(|old| {
            let modified = old.progress != state.progress || old.error.is_some() != state.error.is_some();
            *old = state;
            modified
        });
    }

    /// How the search for peers goes, while they are what is waited for.
    fn search(&self, reason: swarm::Reason) -> Option<Search> {
        match &self.dht_state {
            _ if reason != swarm::Reason::NoPeersFound => None,
            _ if self.config.dht.is_none() => Some(Search::NoDht),
            _ if self.is_private() => Some(Search::Private),
            Some(state) if state.is_offline => Some(Search::Offline),
            Some(state) => Some(Search::Dht(state.readiness)),
            None => None,
        }
    }

    fn progress(&self) -> Progress {
        let status = self.torrent.status();
        let phase = match &status {
            _ if self.error.is_some() => Phase::Failed,
            _ if status.reason == Some(swarm::Reason::Paused) => Phase::Paused,
            _ if self.opening.is_some() => Phase::Checking,
            status if status.is_complete => Phase::Seeding,
            status if status.has_metadata => Phase::Downloading,
            _ => Phase::Metadata,
        };
        let geometry = self.config.info.as_ref().map(|info| *info.geometry());
        let checked = self.opening.as_ref().zip(geometry).map(|(opening, geometry)| {
            let (checked, all) = opening.progress();
            geometry.total_len() * checked as u64 / all.max(1) as u64
        });
        Progress {
            phase,
            name: self.config.name.clone(),
            bytes_done: checked.unwrap_or(status.bytes_done),
            bytes_total: geometry.map(|geometry| match self.torrent.have() {
                Some(_) => status.bytes_total,
                None => geometry.total_len(),
            }),
            down_bps: status.down_bps,
            up_bps: status.up_bps,
            uploaded: status.uploaded,
            peers: status.peers_connected,
            dht_nodes: self.dht_state.as_ref().map_or(0, |state| state.stats.contacts),
            stall: status.reason.map(|reason| Stall { reason, search: self.search(reason) }),
        }
    }
}
