//! What people are told of a torrent, and when.

use std::time::{Duration, Instant};

use super::{Output, Phase, Progress, Search, Stage, Stall, Torrent, TorrentState};
use crate::swarm;

/// How often people are told how far the torrent is, at most.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);

/// When the torrent's state is told: some time after something happened, and never when nothing did.
#[derive(Debug)]
pub(super) struct Report {
    is_due: bool,
    is_urgent: bool,
    next: Instant,
}

impl Report {
    pub(super) fn new(now: Instant) -> Self {
        Self { is_due: true, is_urgent: true, next: now }
    }

    /// Something happened that may show.
    pub(super) fn note_change(&mut self) {
        self.is_due = true;
    }

    /// Something happened that is told at once.
    pub(super) fn hurry(&mut self) {
        (self.is_due, self.is_urgent) = (true, true);
    }

    /// When the state is told next, if nothing happens before.
    pub(super) fn next(&self) -> Option<Instant> {
        Some(self.next).filter(|_| self.is_due)
    }

    /// Whether the state is to be told now.
    fn take_due(&mut self, now: Instant) -> bool {
        let tells = self.is_urgent || (self.is_due && now >= self.next);
        if tells {
            *self = Self { is_due: false, is_urgent: false, next: now + REPORT_INTERVAL };
        }
        tells
    }
}

impl Torrent {
    pub(super) fn publish(&mut self) {
        if self.report.take_due(self.now) {
            let state = Box::new(self.state());
            self.outputs.push_back(Output::State(state));
        }
    }

    /// What the torrent shows of itself.
    pub fn state(&self) -> TorrentState {
        let progress = self.progress();
        let error = match &self.stage {
            Stage::Failed(error) => Some(error.clone()),
            // What could not be read keeps a torrent from being complete, though nothing is left to fetch.
            _ if progress.phase == Phase::Seeding => self.unreadable.as_ref().map(|(_, error)| error.clone()),
            _ => None,
        };
        TorrentState { progress, error }
    }

    /// How the search for peers goes, while they are what is waited for.
    fn search(&self, reason: swarm::Reason) -> Option<Search> {
        match &self.dht_state {
            _ if reason != swarm::Reason::NoPeersFound => None,
            _ if !self.config.has_dht => Some(Search::NoDht),
            _ if self.config.is_private() => Some(Search::Private),
            Some(state) if state.is_offline => Some(Search::Offline),
            Some(state) => Some(Search::Dht(state.readiness)),
            None => None,
        }
    }

    fn progress(&self) -> Progress {
        let status = self.swarm.status();
        let phase = match &self.stage {
            Stage::Failed(_) => Phase::Failed,
            _ if status.reason == Some(swarm::Reason::Paused) => Phase::Paused,
            Stage::Looking | Stage::Checking(_) | Stage::Settling(_) => Phase::Checking,
            _ if status.is_complete => Phase::Seeding,
            _ if status.has_metadata => Phase::Downloading,
            _ => Phase::Metadata,
        };
        let geometry = self.config.info.as_ref().map(|info| *info.geometry());
        let opening = match &self.stage {
            Stage::Looking => Some((0, 0)),
            Stage::Checking(checking) | Stage::Settling(checking) => Some(checking.opening.progress()),
            _ => None,
        };
        let checked = opening
            .zip(geometry)
            .map(|((checked, all), geometry)| geometry.total_len() * checked as u64 / all.max(1) as u64);
        Progress {
            phase,
            name: self.config.name.clone(),
            bytes_done: checked.unwrap_or(status.bytes_done),
            bytes_total: geometry.map(|geometry| match self.swarm.have() {
                Some(_) => status.bytes_total,
                None => geometry.total_len(),
            }),
            down_bps: status.down_bps,
            up_bps: status.up_bps,
            uploaded: status.uploaded,
            peers: status.peers_connected,
            dht_nodes: self.dht_state.as_ref().map_or(0, |state| state.contacts),
            stall: status.reason.map(|reason| Stall { reason, search: self.search(reason) }),
        }
    }
}
