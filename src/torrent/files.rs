//! The files of a torrent: what is there, what is read and written, and what is kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::file_lock::FileLock;
use super::opening::Opening;
use super::{Checking, Output, Resumed, Role, Save, Sources, Stage, Surveyed, Torrent, TorrentError, TorrentEvent};
use crate::disk::{DiskError, Done, Job, Layout, Verdict};
use crate::model::{Bitfield, Info, PieceIndex};
use crate::swarm::PeerSource;

/// What happened outside.
impl Torrent {
    /// What an earlier session kept was read, if there is anything.
    pub fn handle_resumed(&mut self, now: Instant, resumed: Option<Resumed>) {
        self.begin(now);
        if !matches!(self.stage, Stage::Resuming) || self.stopping.is_some() {
            return;
        }
        if let Some(Resumed { info, peers }) = resumed {
            self.swarm.handle_candidates(now, PeerSource::Resume, &peers);
            self.config.info = Some(info);
        }
        self.find_sources();
    }

    /// The files were looked at.
    pub fn handle_surveyed(&mut self, now: Instant, surveyed: Result<Surveyed, TorrentError>) {
        self.begin(now);
        if !matches!(self.stage, Stage::Looking) || self.stopping.is_some() {
            return;
        }
        let Surveyed { layout, wanted, have, unknown } = match surveyed {
            Ok(surveyed) => surveyed,
            Err(error) => return self.fail(error),
        };
        for thread in 0..self.config.disk_threads {
            let job = Job::Open { store: self.config.store, layout: layout.clone() };
            self.emit(Output::Disk { thread, job });
        }
        let opening = Opening::new(have, unknown, self.config.disk_threads);
        self.stage = Stage::Checking(Checking { layout, wanted, opening });
        self.check_more();
    }

    /// The files are ready; `is_locked` says whether others are kept from writing them already.
    pub fn handle_settled(&mut self, now: Instant, is_locked: Result<bool, DiskError>) {
        self.begin(now);
        let checking = match std::mem::replace(&mut self.stage, Stage::Resuming) {
            Stage::Settling(checking) if self.stopping.is_none() => checking,
            stage => {
                self.stage = stage;
                return self.emit(Output::Unlock);
            }
        };
        match is_locked {
            Ok(is_locked) => self.open_files(checking, is_locked),
            Err(error) => self.fail(TorrentError::Disk(error)),
        }
    }

    /// What [`Output::Lock`] came to.
    pub fn handle_locked(&mut self, now: Instant, locked: Result<(), DiskError>) {
        self.begin(now);
        match (std::mem::replace(&mut self.lock, FileLock::Free), locked) {
            (FileLock::Asked(waiting), Ok(())) => {
                self.lock = FileLock::Held;
                for (piece, job) in waiting {
                    let output = self.disk_job(piece, job);
                    self.emit(output);
                }
            }
            (FileLock::Asked(_), Err(error)) => self.fail(TorrentError::Disk(error)),
            // It is not needed any more.
            (_, Ok(())) => self.emit(Output::Unlock),
            (_, Err(_)) => {}
        }
    }

    /// What a disk thread did.
    pub fn handle_done(&mut self, now: Instant, done: Done) {
        self.begin(now);
        self.prolong();
        match done {
            Done::Unread { block, ref error, .. } => {
                if self.is_had(block.piece) && self.faults.handle_unread(block.piece, error) {
                    let job = Job::Check { store: self.config.store, piece: block.piece };
                    let check = self.disk_job(block.piece, job);
                    self.emit(check);
                }
                self.swarm.handle_disk(now, done);
            }
            Done::Lost { piece, error } => {
                if !self.faults.handle_lost(piece, &error) {
                    return self.fail(TorrentError::Disk(error));
                }
                self.swarm.handle_lost(now, piece);
            }
            Done::Checked { piece, verdict } => self.handle_checked(piece, verdict),
            Done::Measured { absent } => {
                for piece in absent {
                    if self.is_had(piece) {
                        self.swarm.handle_lost(now, piece);
                    }
                }
            }
            Done::Synced(result) => return self.handle_synced(result),
            Done::Failed(error) => return self.fail_on_disk(error),
            done @ (Done::Written { .. } | Done::Hashed { .. } | Done::Read { .. }) => {
                self.swarm.handle_disk(now, done);
            }
        }
        self.lock_if_missing();
    }

    /// The resume file was written, as well as that went.
    pub fn handle_saved(&mut self, now: Instant) {
        self.begin(now);
        self.saving.handle_saved();
        self.continue_stop();
    }

    /// A disk thread ended, which is a fault of ours.
    pub fn handle_disk_gone(&mut self, now: Instant) {
        self.begin(now);
        self.fail(TorrentError::DiskThread);
    }

    /// Work that was to be answered ended without an answer, which is a fault of ours.
    pub fn handle_job_lost(&mut self, now: Instant) {
        self.begin(now);
        self.fail(TorrentError::Stopped);
    }
}

/// What comes of it.
impl Torrent {
    /// The sources of peers are known as soon as it is known whether the torrent is private.
    pub(super) fn find_sources(&mut self) {
        if self.config.has_dht && !self.config.is_private() {
            self.sources = Some(Sources::new(self.now));
            let nodes = std::mem::take(&mut self.config.dht_nodes);
            if !nodes.is_empty() {
                self.emit(Output::Resolve { role: Role::Node, addrs: nodes });
            }
        }
        match self.config.info.clone() {
            Some(info) => self.look(info),
            None => {
                self.stage = Stage::Metadata;
                // Whoever connects may have the metadata.
                self.emit(Output::Serving);
            }
        }
        self.search_if_due();
    }

    pub(super) fn handle_metadata(&mut self, raw: Bytes) {
        match Info::parse(raw) {
            Ok(info) => self.look(Arc::new(info)),
            Err(source) => self.fail(TorrentError::Metadata { info_hash: self.config.info_hash, source }),
        }
    }

    fn look(&mut self, info: Arc<Info>) {
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
        if info.is_private() {
            self.leave_dht();
        }
        self.swarm.handle_info(info.raw().clone(), info.is_private());
        let linked = self.config.link_selection.as_ref().map(|selection| selection.within(info.files().len()));
        let selection = self.config.selection.clone().or(linked);
        self.stage = Stage::Looking;
        self.emit(Output::Survey { info, selection });
        self.report.hurry();
    }

    /// Keeps the disk threads busy with pieces of which nothing is known; when there are none left, what is missing is made
    /// ready to be written.
    fn check_more(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        let store = self.config.store;
        while let Stage::Checking(checking) = &mut self.stage
            && let Some(piece) = checking.opening.next_check()
        {
            let check = self.disk_job(piece, Job::Check { store, piece });
            self.emit(check);
        }
        match std::mem::replace(&mut self.stage, Stage::Resuming) {
            Stage::Checking(checking) if checking.opening.is_checked() => {
                let (have, unreadable) = (checking.opening.have().clone(), checking.opening.unreadable().clone());
                let layout = checking.layout.clone();
                self.stage = Stage::Settling(checking);
                self.emit(Output::Settle { layout, have, unreadable });
            }
            stage => self.stage = stage,
        }
    }

    fn handle_checked(&mut self, piece: PieceIndex, verdict: Verdict) {
        match &mut self.stage {
            Stage::Checking(checking) => {
                checking.opening.handle_checked(piece, verdict);
                self.check_more();
            }
            _ => {
                self.faults.handle_checked(piece);
                // What cannot be read just now may be there all the same.
                if matches!(verdict, Verdict::Absent) && self.swarm.have().is_some() {
                    let measure = self.disk_job(piece, Job::Measure { store: self.config.store, piece });
                    self.emit(measure);
                    self.swarm.handle_lost(self.now, piece);
                }
            }
        }
    }

    /// The files are ready: the torrent downloads and serves.
    fn open_files(&mut self, checking: Checking, is_locked: bool) {
        let Checking { layout, mut wanted, opening } = checking;
        let geometry = *layout.info().geometry();
        if is_locked {
            self.lock = FileLock::Held;
        }
        let (have, unreadable, error) = opening.finish();
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
        self.stage = Stage::Open { layout };
        self.swarm.handle_opened(self.now, geometry, have, wanted);
        self.emit(Output::Serving);
        self.report.hurry();
    }

    fn is_had(&self, piece: PieceIndex) -> bool {
        self.swarm.have().is_some_and(|have| have.contains(piece))
    }

    /// Keeps others from writing the files as long as pieces are to be fetched.
    fn lock_if_missing(&mut self) {
        let Stage::Open { layout } = &self.stage else { return };
        if matches!(self.lock, FileLock::Free) && !self.swarm.is_complete() {
            let layout: Arc<Layout> = layout.clone();
            self.lock = FileLock::Asked(VecDeque::new());
            self.emit(Output::Lock(layout));
        }
    }

    pub(super) fn unlock(&mut self) {
        if matches!(std::mem::replace(&mut self.lock, FileLock::Free), FileLock::Held) {
            self.outputs.push_back(Output::Unlock);
        }
    }

    /// Nothing is written before the files are locked.
    pub(super) fn write(&mut self, piece: PieceIndex, job: Job) {
        if matches!(self.lock, FileLock::Free) {
            self.lock_if_missing();
        }
        match &mut self.lock {
            FileLock::Asked(waiting) => waiting.push_back((piece, job)),
            FileLock::Held => {
                let output = self.disk_job(piece, job);
                self.outputs.push_back(output);
            }
            // The torrent failed: nobody waits for what came after.
            FileLock::Free => {}
        }
    }

    pub(super) fn begin_save(&mut self) {
        let Some(have) = self.swarm.have().cloned() else { return };
        if self.saving.begin(have, self.config.disk_threads) {
            for thread in 0..self.config.disk_threads {
                self.emit(Output::Disk { thread, job: Job::Sync { store: self.config.store } });
            }
        }
    }

    fn handle_synced(&mut self, result: Result<(), DiskError>) {
        let have = self.saving.handle_synced(result.is_ok());
        if let Err(error) = result {
            self.fail_on_disk(error);
        }
        if let Some(have) = have {
            let unreadable = self.unreadable.as_ref().map(|(pieces, _)| pieces.clone());
            let peers = self.swarm.good_addrs();
            self.emit(Output::Save(Save { have, unreadable, peers }));
        }
        self.continue_stop();
    }

    fn fail_on_disk(&mut self, error: DiskError) {
        let status = self.swarm.status();
        let needed_bytes = status.bytes_total.saturating_sub(status.bytes_done);
        self.fail(TorrentError::Disk(error.with_needed(needed_bytes)));
    }
}
