//! What a torrent has done to its files: at once in memory, and answered after the time that a disk takes.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use magnes::disk::{DiskError, Done, Job, Layout};
use magnes::model::{Bitfield, Block, FileSelection, Info};
use magnes::torrent::{Resumed, Save, Surveyed, TorrentError};

use super::disk::Disk;

/// The folder that everything is written to.
const FOLDER: &str = "/downloads";

/// What stays of a client when it ends: its files, and what it kept for its next session.
#[derive(Debug, Default)]
pub struct Remains {
    /// The files.
    pub disk: Disk,
    /// What was saved last.
    pub kept: Option<Kept>,
}

/// What a client keeps for its next session.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The info dictionary.
    pub info_raw: Bytes,
    /// Pieces that were verified, and synced.
    pub have: Bitfield,
    /// Peers that worked.
    pub peers: Vec<std::net::SocketAddr>,
}

/// What a job came to.
#[derive(Debug)]
pub(super) enum Answer {
    Done(Done),
    Resumed(Option<Resumed>),
    Surveyed(Result<Surveyed, TorrentError>),
    Settled(Result<bool, DiskError>),
    Locked,
    Saved,
}

/// The files of one client, and the jobs under way.
#[derive(Debug)]
pub(super) struct Files {
    remains: Remains,
    latency: Duration,
    layout: Option<Arc<Layout>>,
    /// In the order of their times: every job takes as long.
    answers: VecDeque<(Instant, Answer)>,
}

impl Remains {
    /// The disk of a host that has these pieces of a torrent, and knows that it has.
    pub fn with(info: &Arc<Info>, have: Bitfield, content: &[u8]) -> Self {
        let (mut disk, layout) = (Disk::default(), Layout::new(Path::new(FOLDER), info.clone()));
        let geometry = info.geometry();
        if !have.is_empty() {
            disk.make(&layout);
        }
        for piece in have.iter() {
            let (start, len) = (geometry.piece_offset(piece) as usize, geometry.piece_len(piece));
            let bytes = &content[start..start + len as usize];
            disk.put(&layout, &Block { piece, begin: 0, len }, bytes);
        }
        Self { disk, kept: Some(Kept { info_raw: info.raw().clone(), have, peers: Vec::new() }) }
    }

    /// The bytes of a torrent of one file, if it is there.
    pub fn content(&self, info: &Arc<Info>) -> Option<&[u8]> {
        self.disk.file(&Layout::new(Path::new(FOLDER), info.clone()).path(0))
    }
}

/// Jobs, each answered by [`Files::next`].
impl Files {
    pub(super) fn new(mut remains: Remains, latency: Duration) -> Self {
        remains.disk.restart();
        Self { remains, latency, layout: None, answers: VecDeque::new() }
    }

    pub(super) fn remains(&self) -> &Remains {
        &self.remains
    }

    pub(super) fn into_remains(self) -> Remains {
        self.remains
    }

    pub(super) fn job(&mut self, now: Instant, job: Job) {
        self.remains.disk.handle(job).into_iter().for_each(|done| self.answers(now, Answer::Done(done)));
    }

    /// Reads the metadata that an earlier session fetched, and the peers it knew.
    pub(super) fn resume(&mut self, now: Instant) {
        let resumed = self.remains.kept.as_ref().and_then(|kept| {
            let info = Info::parse(kept.info_raw.clone()).ok()?;
            Some(Resumed { info: Arc::new(info), peers: kept.peers.clone() })
        });
        self.answers(now, Answer::Resumed(resumed));
    }

    /// Looks at the files: what was kept is believed, what else is within a file must be checked.
    pub(super) fn survey(&mut self, now: Instant, info: Arc<Info>, selection: Option<FileSelection>) {
        let mut layout = Layout::new(Path::new(FOLDER), info.clone());
        let wanted = selection.map(|selection| layout.select(&selection)).transpose();
        let surveyed = wanted.map_err(TorrentError::from).map(|wanted| {
            let geometry = *info.geometry();
            let kept = self.remains.kept.as_ref().filter(|kept| kept.info_raw == *info.raw());
            let have = kept.map_or_else(|| Bitfield::empty(geometry.piece_count()), |kept| kept.have.clone());
            let is_there = |span: magnes::disk::Span| {
                let is_padding = layout.files()[span.file].padding;
                is_padding || span.offset + u64::from(span.len) <= self.remains.disk.len(&layout.path(span.file))
            };
            let unknown = have.missing().filter(|piece| {
                layout.spans(&Block { piece: *piece, begin: 0, len: geometry.piece_len(*piece) }).all(is_there)
            });
            let unknown = unknown.collect();
            let layout = Arc::new(layout);
            self.layout = Some(layout.clone());
            Surveyed { layout, wanted, have, unknown }
        });
        self.answers(now, Answer::Surveyed(surveyed));
    }

    /// Makes what is missing. That there is such a torrent is kept before the first block comes.
    pub(super) fn settle(&mut self, now: Instant, layout: &Layout, have: Bitfield, unreadable: &Bitfield) {
        let mut known = have.clone();
        unreadable.iter().for_each(|piece| {
            known.insert(piece);
        });
        let is_locked = !known.is_full();
        if is_locked {
            self.remains.disk.make(layout);
            let peers = self.remains.kept.take().map(|kept| kept.peers).unwrap_or_default();
            self.keep(Save { have, unreadable: None, peers });
        }
        self.answers(now, Answer::Settled(Ok(is_locked)));
    }

    /// Nobody else writes in this memory.
    pub(super) fn lock(&mut self, now: Instant) {
        self.answers(now, Answer::Locked);
    }

    /// Keeps what the next session begins with.
    pub(super) fn save(&mut self, now: Instant, save: Save) {
        self.keep(save);
        self.answers(now, Answer::Saved);
    }

    /// When the next job ends.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.answers.front().map(|(at, _)| *at)
    }

    /// What a job that has ended by now came to.
    pub(super) fn next(&mut self, now: Instant) -> Option<Answer> {
        self.answers.pop_front_if(|(at, _)| *at <= now).map(|(_, answer)| answer)
    }

    fn keep(&mut self, save: Save) {
        if let Some(layout) = &self.layout {
            let info_raw = layout.info().raw().clone();
            self.remains.kept = Some(Kept { info_raw, have: save.have, peers: save.peers });
        }
    }

    fn answers(&mut self, now: Instant, answer: Answer) {
        self.answers.push_back((now + self.latency, answer));
    }
}
