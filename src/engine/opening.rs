//! From metadata to open files: what is there already is found out first.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::keeper;
use super::progress::TorrentError;
use crate::disk::{DiskError, Layout, Verdict};
use crate::model::{Bitfield, FileSelection, Info, PieceIndex};
use crate::storage::{ExistingData, FitNames, Resume, Settled, Survey, fit, settle, survey};

/// Checks that one disk thread has in its queue: enough to keep it busy.
const CHECKS_PER_THREAD: usize = 4;

/// Files that are being looked at, then checked, then made where something is missing.
#[derive(Debug)]
pub(super) struct Opening {
    /// What is done off the network thread.
    task: Option<JoinHandle<Result<Step, TorrentError>>>,
    have: Bitfield,
    /// Pieces that could not be read, and the first error.
    unreadable: Bitfield,
    first_error: Option<DiskError>,
    unknown: VecDeque<PieceIndex>,
    unknown_count: usize,
    checking: usize,
    checking_max: usize,
    overwrite: bool,
    resume: Option<Resume>,
}

/// What came of a step that was done off the network thread: there may be a million files.
#[derive(Debug)]
pub(super) enum Step {
    /// The files were looked at.
    Surveyed(Surveyed),
    /// What is to be written is ready.
    Settled(Settled),
}

/// What looking at the files came to.
#[derive(Debug)]
pub(super) struct Surveyed {
    pub(super) layout: Arc<Layout>,
    /// The pieces that are to be fetched, where those are not all.
    pub(super) wanted: Option<Bitfield>,
    survey: Survey,
}

/// How files are opened.
#[derive(Debug)]
pub(super) struct OpeningConfig {
    pub(super) folder: PathBuf,
    pub(super) existing: ExistingData,
    pub(super) overwrite: bool,
    pub(super) portable_names: bool,
    pub(super) selection: Option<FileSelection>,
    pub(super) resume_path: Option<PathBuf>,
    /// Disk threads.
    pub(super) threads: usize,
}

impl Opening {
    /// Looks at the files.
    pub(super) fn start(info: Arc<Info>, config: OpeningConfig) -> Self {
        let piece_count = info.geometry().piece_count();
        let OpeningConfig { folder, existing, overwrite, portable_names, selection, resume_path, threads } = config;
        let task = tokio::task::spawn_blocking(move || {
            let mut layout = match (existing, portable_names) {
                // They are hashed under the names that they have.
                (ExistingData::Verified, _) => Layout::new(&folder, info),
                (_, true) => fit(&folder, info, FitNames::Portable),
                (_, false) => fit(&folder, info, FitNames::Try),
            };
            let wanted = selection.map(|selection| layout.select(&selection)).transpose()?;
            let survey = survey(&layout, existing, resume_path.as_deref());
            Ok(Step::Surveyed(Surveyed { layout: Arc::new(layout), wanted, survey }))
        });
        Self {
            task: Some(task),
            have: Bitfield::empty(piece_count),
            unreadable: Bitfield::empty(piece_count),
            first_error: None,
            unknown: VecDeque::new(),
            unknown_count: 0,
            checking: 0,
            checking_max: threads * CHECKS_PER_THREAD,
            overwrite,
            resume: None,
        }
    }

    /// Waits until the step that is being done is done; for ever when there is none. `None`: it was given up.
    pub(super) async fn step(&mut self) -> Option<Result<Step, TorrentError>> {
        match &mut self.task {
            Some(task) => {
                let result = task.await.ok();
                self.task = None;
                result
            }
            None => std::future::pending().await,
        }
    }

    /// The files were looked at.
    pub(super) fn handle_surveyed(&mut self, surveyed: Surveyed) {
        self.have = surveyed.survey.have;
        self.unknown = surveyed.survey.unknown.into();
        self.unknown_count = self.unknown.len();
        self.resume = surveyed.survey.resume;
    }

    /// The next piece to check, while the disk threads are not busy enough.
    pub(super) fn next_check(&mut self) -> Option<PieceIndex> {
        if self.checking >= self.checking_max {
            return None;
        }
        let piece = self.unknown.pop_front()?;
        self.checking += 1;
        Some(piece)
    }

    /// A piece was checked.
    pub(super) fn handle_checked(&mut self, piece: PieceIndex, verdict: Verdict) {
        self.checking -= 1;
        match verdict {
            Verdict::Verified => {
                self.have.insert(piece);
            }
            Verdict::Absent => {}
            Verdict::Unreadable(error) => {
                self.unreadable.insert(piece);
                self.first_error.get_or_insert(error);
            }
        }
    }

    /// Whether nothing is left to find out.
    pub(super) fn is_checked(&self) -> bool {
        self.task.is_none() && self.unknown.is_empty() && self.checking == 0
    }

    /// Makes what is missing ready to be written. That the files are ours is kept before the first block comes: a download
    /// that is killed finds them as its own.
    pub(super) fn settle(&mut self, layout: Arc<Layout>, resume_path: Option<PathBuf>) {
        let (have, unreadable) = (self.have.clone(), self.unreadable.clone());
        let (overwrite, resume) = (self.overwrite, self.resume.take());
        let mut known = have.clone();
        for piece in unreadable.iter() {
            known.insert(piece);
        }
        self.task = Some(tokio::task::spawn_blocking(move || {
            let settled = settle(&layout, &known, resume.as_ref(), overwrite)?;
            if let Some(path) = resume_path.filter(|_| settled.lock.is_some()) {
                let peers = resume.map(|resume| resume.peers).unwrap_or_default();
                let mut resume = Resume::new(&layout, &have, &settled.own, peers);
                resume.doubt(&layout, &unreadable);
                keeper::save(&path, &resume);
            }
            Ok(Step::Settled(settled))
        }));
    }

    /// The pieces that are there, those that cannot be read, and why.
    pub(super) fn finish(self) -> (Bitfield, Bitfield, Option<DiskError>) {
        let pieces = self.unreadable.count();
        let error = self.first_error.map(|first| DiskError::Unreadable { pieces, first: first.into() });
        (self.have, self.unreadable, error)
    }

    /// Pieces that were checked, and that have to be.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.unknown_count - self.unknown.len() - self.checking, self.unknown_count)
    }
}
