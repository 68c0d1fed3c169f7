//! From metadata to open files: what is there already is found out first.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::progress::TorrentError;
use crate::model::{Bitfield, FileSelection, Info, PieceIndex};
use crate::storage::{ExistingData, Layout, Survey, prepare, survey};

/// Checks that one disk thread has in its queue: enough to keep it busy.
const CHECKS_PER_THREAD: usize = 4;

/// Files that are being looked at, and then checked.
#[derive(Debug)]
pub(super) struct Opening {
    survey: Option<JoinHandle<Result<Surveyed, TorrentError>>>,
    have: Bitfield,
    unknown: VecDeque<PieceIndex>,
    unknown_count: usize,
    checking: usize,
    checking_max: usize,
}

/// What looking at the files came to.
#[derive(Debug)]
pub(super) struct Surveyed {
    pub(super) layout: Arc<Layout>,
    /// The pieces that are to be fetched, where those are not all.
    pub(super) wanted: Option<Bitfield>,
    survey: Survey,
}

impl Opening {
    /// Looks at the files, off the network thread: there may be a million of them.
    pub(super) fn start(
        folder: PathBuf,
        info: Arc<Info>,
        existing: ExistingData,
        selection: Option<FileSelection>,
        resume_path: Option<PathBuf>,
        threads: usize,
    ) -> Self {
        let piece_count = info.geometry().piece_count();
        let survey = tokio::task::spawn_blocking(move || {
            let mut layout = Layout::new(&folder, info);
            let wanted = selection.map(|selection| layout.select(&selection)).transpose()?;
            let survey = survey(&layout, existing, resume_path.as_deref());
            if !survey.have.is_full() {
                prepare(&layout)?;
            }
            Ok(Surveyed { layout: Arc::new(layout), wanted, survey })
        });
        Self {
            survey: Some(survey),
            have: Bitfield::empty(piece_count),
            unknown: VecDeque::new(),
            unknown_count: 0,
            checking: 0,
            checking_max: threads * CHECKS_PER_THREAD,
        }
    }

    /// Waits until the files were looked at; for ever when that is over. `None`: it was given up.
    pub(super) async fn surveyed(&mut self) -> Option<Result<Surveyed, TorrentError>> {
        match &mut self.survey {
            Some(survey) => {
                let result = survey.await.ok();
                self.survey = None;
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
    pub(super) fn handle_checked(&mut self, piece: PieceIndex, verified: bool) {
        self.checking -= 1;
        if verified {
            self.have.insert(piece);
        }
    }

    /// The pieces that are there, once nothing is left to find out.
    pub(super) fn finished(&self) -> Option<Bitfield> {
        let finished = self.survey.is_none() && self.unknown.is_empty() && self.checking == 0;
        finished.then(|| self.have.clone())
    }

    /// Pieces that were checked, and that have to be.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.unknown_count - self.unknown.len() - self.checking, self.unknown_count)
    }
}
