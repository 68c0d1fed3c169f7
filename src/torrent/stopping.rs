//! How a torrent ends: every connection is closed, what an unfinished torrent has is saved, and its files are let go.

use std::time::{Duration, Instant};

use super::saving::Saving;
use super::{Output, Torrent};
use crate::disk::Job;

/// How long the disk may be silent while it is to sync.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);

/// A torrent that was told to stop.
#[derive(Debug)]
pub(super) struct Stopping {
    /// Until when the disk is waited for.
    until: Instant,
    /// Whether what there is at the end was saved, or is being.
    is_saved: bool,
    is_over: bool,
}

impl Stopping {
    /// Whether nothing comes after what is said already.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Until when the disk threads are waited for. The resume file itself is always waited for.
    pub(super) fn patience(&self, saving: &Saving) -> Option<Instant> {
        Some(self.until).filter(|_| !self.is_over && saving.is_syncing())
    }
}

impl Torrent {
    /// Ends the torrent; [`Output::Stopped`] says when that is done.
    pub fn stop(&mut self, now: Instant) {
        self.begin(now);
        if self.stopping.is_some() {
            return;
        }
        self.leave_dht();
        self.swarm.pause(now);
        self.stopping = Some(Stopping { until: now + SYNC_TIMEOUT, is_saved: false, is_over: false });
        self.continue_stop();
    }

    /// The disk does something: it is waited for again.
    pub(super) fn prolong(&mut self) {
        if let Some(stopping) = &mut self.stopping {
            stopping.until = self.now + SYNC_TIMEOUT;
        }
    }

    pub(super) fn lose_patience(&mut self) {
        if self.stopping.as_ref().and_then(|stopping| stopping.patience(&self.saving)).is_some_and(|at| self.now >= at)
        {
            tracing::warn!("the disk does not sync; the data will be checked at the next start");
            self.end();
        }
    }

    /// Continues with stopping, once nothing is being saved. What is queued on the disk threads is written and hashed
    /// before they sync, so it counts too.
    pub(super) fn continue_stop(&mut self) {
        let Some(stopping) = &mut self.stopping else { return };
        if self.saving.is_saving() || stopping.is_over {
            return;
        }
        if !std::mem::replace(&mut stopping.is_saved, true) {
            // After an error too: what is verified is there.
            if self.swarm.have().is_some_and(|have| !have.is_full()) {
                self.begin_save();
            }
            if self.saving.is_saving() {
                return;
            }
        }
        self.end();
    }

    fn end(&mut self) {
        let Some(stopping) = &mut self.stopping else { return };
        stopping.is_over = true;
        for thread in 0..self.config.disk_threads {
            self.emit(Output::Disk { thread, job: Job::Close { store: self.config.store } });
        }
        self.unlock();
        self.emit(Output::Stopped);
    }
}
