//! What a torrent has done to its files off the network thread: there may be a million of them, and the disk may sleep.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::disk::{DiskError, Layout};
use crate::model::{Bitfield, FileSelection, Info, InfoHash};
use crate::storage::{ExistingData, FitNames, Resume, Settled, Survey, WriteLock, fit, settle, survey};
use crate::torrent::{Resumed, Save, Surveyed, TorrentError};

/// Where the files of a torrent go, and how.
#[derive(Debug, Clone)]
pub(crate) struct FilesConfig {
    pub(crate) folder: PathBuf,
    pub(crate) existing: ExistingData,
    /// Whether files that may be the user's own are written over.
    pub(crate) overwrite: bool,
    /// Whether files get names that work on every system.
    pub(crate) portable_names: bool,
    pub(crate) resume_path: Option<PathBuf>,
}

/// What a job came to.
#[derive(Debug)]
pub(super) enum Answer {
    Resumed(Option<Resumed>),
    Surveyed(Result<(Surveyed, Option<Resume>), TorrentError>),
    Settled(Result<Settled, DiskError>),
    Locked(Result<WriteLock, DiskError>),
    Saved,
}

/// The files of one torrent: the jobs under way, and what is held of them meanwhile.
#[derive(Debug)]
pub(super) struct Files {
    config: FilesConfig,
    jobs: JoinSet<Answer>,
    layout: Option<Arc<Layout>>,
    /// What an earlier session kept, until the files are ready.
    resume: Option<Resume>,
    /// Which files are ours to write.
    own: Arc<[bool]>,
    write_lock: Option<WriteLock>,
}

/// Jobs, each answered by [`Files::next`].
impl Files {
    pub(super) fn new(config: FilesConfig) -> Self {
        Self { config, jobs: JoinSet::new(), layout: None, resume: None, own: Arc::new([]), write_lock: None }
    }

    /// Reads the metadata that an earlier session fetched, and the peers it knew.
    pub(super) fn resume(&mut self, info_hash: InfoHash) {
        let path = self.config.resume_path.clone();
        self.jobs.spawn_blocking(move || {
            let resume = path.and_then(|path| Resume::load(&path, &info_hash).ok().flatten());
            let resumed = resume.and_then(|resume| {
                let info = Info::parse(resume.info_raw.into()).ok().filter(|info| info.hash() == info_hash)?;
                Some(Resumed { info: Arc::new(info), peers: resume.peers })
            });
            Answer::Resumed(resumed)
        });
    }

    /// Looks at the files.
    pub(super) fn survey(&mut self, info: Arc<Info>, selection: Option<FileSelection>) {
        let config = self.config.clone();
        self.jobs.spawn_blocking(move || Answer::Surveyed(look(&config, info, selection)));
    }

    /// Makes what is missing ready to be written. That the files are ours is kept before the first block comes: a download
    /// that is killed finds them as its own.
    pub(super) fn settle(&mut self, layout: Arc<Layout>, have: Bitfield, unreadable: Bitfield) {
        let (overwrite, resume, path) = (self.config.overwrite, self.resume.take(), self.config.resume_path.clone());
        self.jobs.spawn_blocking(move || {
            let mut known = have.clone();
            for piece in unreadable.iter() {
                known.insert(piece);
            }
            let settled = settle(&layout, &known, resume.as_ref(), overwrite);
            if let (Ok(Settled { lock: Some(_), own }), Some(path)) = (&settled, path) {
                let peers = resume.map(|resume| resume.peers).unwrap_or_default();
                write_resume(&path, &layout, own, Save { have, unreadable: Some(unreadable), peers });
            }
            Answer::Settled(settled)
        });
    }

    /// Keeps others from writing the files.
    pub(super) fn lock(&mut self, layout: Arc<Layout>) {
        self.jobs.spawn_blocking(move || Answer::Locked(WriteLock::take(&layout)));
    }

    pub(super) fn unlock(&mut self) {
        self.write_lock = None;
    }

    /// Writes the resume file.
    pub(super) fn save(&mut self, save: Save) {
        let (path, layout, own) = (self.config.resume_path.clone(), self.layout.clone(), self.own.clone());
        self.jobs.spawn_blocking(move || {
            if let (Some(path), Some(layout)) = (path, layout) {
                write_resume(&path, &layout, &own, save);
            }
            Answer::Saved
        });
    }

    /// What the next job that ends came to; `None` when it ended without an answer. Waits forever when there is none.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        match self.jobs.join_next().await {
            Some(answer) => answer.inspect_err(|error| tracing::error!(%error, "work on files ended")).ok(),
            None => std::future::pending().await,
        }
    }

    /// Waits until no job is under way, and lets the files go.
    pub(super) async fn finish(mut self) {
        while self.jobs.join_next().await.is_some() {}
    }
}

/// What is held of the answers.
impl Files {
    pub(super) fn keep_surveyed(&mut self, surveyed: (Surveyed, Option<Resume>)) -> Surveyed {
        let (surveyed, resume) = surveyed;
        self.resume = resume;
        self.layout = Some(surveyed.layout.clone());
        surveyed
    }

    /// `None` before the files were looked at.
    pub(super) fn layout(&self) -> Option<&Arc<Layout>> {
        self.layout.as_ref()
    }

    /// Returns whether the files are locked.
    pub(super) fn keep_settled(&mut self, settled: Settled) -> bool {
        self.own = settled.own.into();
        self.write_lock = settled.lock;
        self.write_lock.is_some()
    }

    pub(super) fn keep_lock(&mut self, lock: WriteLock) {
        self.write_lock = Some(lock);
    }
}

fn look(
    config: &FilesConfig,
    info: Arc<Info>,
    selection: Option<FileSelection>,
) -> Result<(Surveyed, Option<Resume>), TorrentError> {
    let mut layout = match (config.existing, config.portable_names) {
        // They are hashed under the names that they have.
        (ExistingData::Verified, _) => Layout::new(&config.folder, info),
        (_, true) => fit(&config.folder, info, FitNames::Portable),
        (_, false) => fit(&config.folder, info, FitNames::Try),
    };
    let wanted = selection.map(|selection| layout.select(&selection)).transpose()?;
    let Survey { have, unknown, resume } = survey(&layout, config.existing, config.resume_path.as_deref());
    Ok((Surveyed { layout: Arc::new(layout), wanted, have, unknown }, resume))
}

fn write_resume(path: &std::path::Path, layout: &Layout, own: &[bool], save: Save) {
    let peers: Vec<SocketAddr> = save.peers;
    let mut resume = Resume::new(layout, &save.have, own, peers);
    save.unreadable.iter().for_each(|pieces| resume.doubt(layout, pieces));
    if let Err(error) = resume.save(path) {
        tracing::warn!(%error, "the data will be checked at the next start");
    }
}
