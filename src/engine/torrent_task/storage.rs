//! The storage of a torrent: what is there, what is read and written, and what is kept.
#![allow(clippy::disallowed_methods, reason = "a driver reads the clock")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::TorrentTask;
use crate::disk::{DiskError, Done, Job, Verdict};
use crate::engine::keeper;
use crate::engine::mail::TorrentMail;
use crate::engine::opening::{Opening, OpeningConfig, Step, Surveyed};
use crate::engine::progress::{TorrentError, TorrentEvent};
use crate::model::{Bitfield, Info, PieceIndex};
use crate::storage::{Resume, Settled, WriteLock};

/// How long the disk may take to sync when the torrent is stopped.
const SAVE_TIMEOUT: Duration = Duration::from_secs(10);

impl TorrentTask {
    pub(super) fn open(&mut self, info: Arc<Info>) {
        self.tell(TorrentEvent::Metadata {
            name: info.name().to_owned(),
            bytes: info.geometry().total_len(),
            pieces: info.geometry().piece_count(),
            files: info.files().len(),
        });
        info.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        let renamed = info.renamed().count();
        if renamed > 0 {
            tracing::warn!(renamed, "names of the torrent that no disk takes were changed");
        }
        self.config.name = Some(info.name().to_owned());
        self.config.info = Some(info.clone());
        if self.is_private() {
            self.discovery = None;
        }
        self.torrent.handle_info(info.raw().clone(), info.is_private());
        let linked = self.config.link_selection.as_ref().map(|selection| selection.within(info.files().len()));
        let config = OpeningConfig {
            folder: self.config.folder.clone(),
            existing: self.config.existing,
            overwrite: self.config.overwrite,
            portable_names: self.config.portable_names,
            selection: self.config.selection.clone().or(linked),
            resume_path: self.keeper.path().cloned(),
            threads: self.disk.thread_count(),
        };
        self.opening = Some(Opening::start(info, config));
        self.publish_now(Instant::now());
    }

    /// A step of the opening was done.
    pub(super) fn handle_step(&mut self, step: Option<Result<Step, TorrentError>>) {
        match step {
            Some(Ok(Step::Surveyed(surveyed))) => self.handle_surveyed(surveyed),
            Some(Ok(Step::Settled(settled))) => self.handle_settled(settled),
            Some(Err(error)) => self.fail(error),
            None => self.fail(TorrentError::Stopped),
        }
    }

    fn handle_surveyed(&mut self, surveyed: Surveyed) {
        self.layout = Some(surveyed.layout.clone());
        self.wanted.clone_from(&surveyed.wanted);
        for thread in 0..self.disk.thread_count() {
            let job = Job::Open { store: self.config.store, layout: surveyed.layout.clone() };
            self.submit_to(thread, job);
        }
        if let Some(opening) = &mut self.opening {
            opening.handle_surveyed(surveyed);
        }
        self.check_more();
    }

    /// Keeps the disk threads busy with pieces whose state is unknown; when there are none left, what is missing is made
    /// ready to be written.
    fn check_more(&mut self) {
        let store = self.config.store;
        while let Some(piece) = self.opening.as_mut().and_then(Opening::next_check) {
            self.submit(piece, Job::Check { store, piece });
        }
        let path = self.keeper.path().cloned();
        if let (Some(opening), Some(layout)) = (&mut self.opening, &self.layout)
            && opening.is_checked()
        {
            opening.settle(layout.clone(), path);
        }
    }

    /// The files are ready: the torrent starts.
    fn handle_settled(&mut self, settled: Settled) {
        let (Some(opening), Some(info)) = (self.opening.take(), &self.config.info) else { return };
        let now = Instant::now();
        let geometry = *info.geometry();
        self.write_lock = settled.lock;
        self.own = settled.own.into();
        let (have, unreadable, error) = opening.finish();
        let mut wanted = self.wanted.take();
        if let Some(error) = error {
            tracing::warn!("{error}");
            let wanted = wanted.get_or_insert_with(|| Bitfield::full(geometry.piece_count()));
            for piece in unreadable.iter() {
                wanted.remove(piece);
            }
            if have.is_empty() && wanted.is_empty() {
                // Neither anything to serve nor anything to fetch.
                return self.fail(TorrentError::Disk(error));
            }
            self.unreadable = Some((unreadable, TorrentError::Disk(error)));
        }
        self.torrent.handle_opened(now, geometry, have, wanted);
        self.config.serving.notify_one();
        self.publish_now(now);
    }

    pub(super) fn handle_done(&mut self, now: Instant, done: Done) {
        match done {
            Done::Unread { block, ref error, .. } => {
                let is_had = self.torrent.have().is_some_and(|have| have.contains(block.piece));
                if is_had && self.faults.handle_unread(block.piece, error) {
                    self.submit(block.piece, Job::Check { store: self.config.store, piece: block.piece });
                }
                self.torrent.handle_disk(now, done);
            }
            Done::Lost { piece, error } => {
                if !self.faults.handle_lost(piece, &error) {
                    return self.fail(TorrentError::Disk(error));
                }
                self.torrent.handle_lost(now, piece);
            }
            Done::Checked { piece, verdict } => {
                if let Some(opening) = &mut self.opening {
                    opening.handle_checked(piece, verdict);
                    return self.check_more();
                }
                self.faults.handle_checked(piece);
                if !matches!(verdict, Verdict::Absent) {
                    // What cannot be read just now may be there all the same.
                    return;
                }
                self.submit(piece, Job::Measure { store: self.config.store, piece });
                self.torrent.handle_lost(now, piece);
            }
            Done::Measured { absent } => {
                for piece in absent {
                    if self.torrent.have().is_some_and(|have| have.contains(piece)) {
                        self.torrent.handle_lost(now, piece);
                    }
                }
            }
            Done::Synced(result) => return self.handle_synced(result),
            Done::Failed(error) => return self.fail_on_disk(error),
            done @ (Done::Written { .. } | Done::Hashed { .. } | Done::Read { .. }) => {
                self.torrent.handle_disk(now, done);
            }
        }
        self.lock_files();
    }

    /// Keeps others from writing the files as long as pieces are to be fetched.
    fn lock_files(&mut self) {
        if self.write_lock.is_some() || self.torrent.is_complete() || self.error.is_some() {
            return;
        }
        let Some(layout) = self.layout.as_ref().filter(|_| self.torrent.have().is_some()) else { return };
        match WriteLock::take(layout) {
            Ok(lock) => self.write_lock = Some(lock),
            Err(error) => self.fail(TorrentError::Disk(error)),
        }
    }

    pub(super) fn submit(&mut self, piece: PieceIndex, job: Job) {
        self.submit_to(piece.as_usize() % self.disk.thread_count(), job);
    }

    fn submit_to(&mut self, thread: usize, job: Job) {
        if let Err(error) = self.disk.send_to(thread, job) {
            tracing::error!(%error, "the torrent stops");
            self.fail(TorrentError::DiskThread);
        }
    }

    pub(super) fn begin_save(&mut self) {
        let threads = self.disk.thread_count();
        let Some(have) = self.torrent.have().cloned() else { return };
        if self.keeper.begin(have, threads) {
            for thread in 0..threads {
                self.submit_to(thread, Job::Sync { store: self.config.store });
            }
        }
    }

    fn handle_synced(&mut self, result: Result<(), DiskError>) {
        let have = self.keeper.handle_synced(result.is_ok());
        if let Err(error) = result {
            self.fail_on_disk(error);
        }
        let Some(have) = have else { return };
        if let (Some(path), Some(layout)) = (self.keeper.path().cloned(), self.layout.clone()) {
            let peers = self.torrent.good_addrs();
            let (own, unreadable) = (self.own.clone(), self.unreadable.as_ref().map(|(pieces, _)| pieces.clone()));
            self.saves.spawn_blocking(move || {
                let mut resume = Resume::new(&layout, &have, &own, peers);
                unreadable.iter().for_each(|pieces| resume.doubt(&layout, pieces));
                keeper::save(&path, &resume);
            });
        }
    }

    fn fail_on_disk(&mut self, error: DiskError) {
        let status = self.torrent.status();
        let needed_bytes = status.bytes_total.saturating_sub(status.bytes_done);
        self.fail(TorrentError::Disk(error.with_needed(needed_bytes)));
    }

    /// Stops the torrent for good. What was downloaded stays.
    pub(super) fn fail(&mut self, error: TorrentError) {
        if self.error.is_none() {
            self.error = Some(error);
            self.opening = None;
            self.discovery = None;
            self.torrent.pause(Instant::now());
            self.publish_now(Instant::now());
        }
    }

    /// Ends every connection, saves what an unfinished torrent has, and says that it is done.
    pub(super) async fn leave(mut self) {
        self.outbox.close_all();
        // After an error too: what is verified is there.
        if self.torrent.have().is_some_and(|have| !have.is_full()) && self.layout.is_some() {
            self.save_at_end().await;
        }
        for thread in 0..self.disk.thread_count() {
            self.submit_to(thread, Job::Close { store: self.config.store });
        }
        while self.saves.join_next().await.is_some() {}
        // Whoever is told that the torrent is gone may add it again.
        self.config.lock = None;
        self.write_lock = None;
        if let Some(stop) = self.stop.take() {
            // Whoever asked may have lost patience.
            let _ = stop.send(());
        }
    }

    /// What is queued on the disk threads is written and hashed before they sync, so it counts too.
    async fn save_at_end(&mut self) {
        while self.keeper.is_saving() {
            if !self.next_disk_mail().await {
                return;
            }
        }
        self.begin_save();
        while self.keeper.is_saving() {
            if !self.next_disk_mail().await {
                return;
            }
        }
    }

    async fn next_disk_mail(&mut self) -> bool {
        let mail = tokio::time::timeout(SAVE_TIMEOUT, self.inbox.recv()).await;
        match mail {
            Ok(Some(TorrentMail::Disk(done))) => {
                let now = Instant::now();
                done.into_iter().for_each(|done| self.handle_done(now, done));
                true
            }
            Ok(Some(_)) => true,
            Ok(None) | Err(_) => false,
        }
    }
}
