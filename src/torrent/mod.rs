//! The life of one torrent: [`Torrent`] is the machine. It stands above [`Swarm`], which decides among peers, and says when
//! files are looked at, checked, made, written, locked and saved, when the DHT is asked, and what people are told.
//!
//! Deliberately absent: sockets, files, clocks and tasks. What takes time outside is an [`Output`], and its end comes back by
//! a `handle_*`.

mod config;
mod error;
mod file_status;
mod output;
mod progress;

mod disk_faults;
mod file_lock;
mod opening;
mod saving;
mod search;
mod sharing;
mod sources;

mod files;
mod peers;
mod report;
mod stopping;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin at some instant")]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::disk::{Job, Layout};
use crate::model::{Bitfield, PieceIndex};
use crate::swarm::{self, Swarm, SwarmConfig};
use disk_faults::DiskFaults;
use file_lock::FileLock;
use opening::Opening;
use report::Report;
use saving::Saving;
use sharing::Sharing;
use sources::Sources;
use stopping::Stopping;

pub use config::TorrentConfig;
pub use error::TorrentError;
pub use file_status::FileStatus;
pub use output::{DhtState, Output, Resumed, Role, Save, Surveyed};
pub use peers::link_config;
pub use progress::{Phase, Progress, Search, Stall, TorrentEvent, TorrentState};

/// One torrent, from its source to its end.
///
/// What happened is told with `handle_*`; what is to be done is drained with [`Torrent::poll_output`] after each of them.
#[derive(Debug)]
pub struct Torrent {
    config: TorrentConfig,
    swarm: Swarm,
    stage: Stage,
    /// Pieces that could not be read when the files were checked: neither served nor fetched.
    unreadable: Option<(Bitfield, TorrentError)>,
    lock: FileLock,
    saving: Saving,
    faults: DiskFaults,
    /// `None`: the DHT is not asked, as there is none, or the torrent is private or failed.
    sources: Option<Sources>,
    /// What the DHT said of itself last.
    dht_state: Option<DhtState>,
    /// `None`: the torrent shares nothing, and keeps to its own limits.
    sharing: Option<Sharing>,
    report: Report,
    stopping: Option<Stopping>,
    outputs: VecDeque<Output>,
    /// When something happened last.
    now: Instant,
}

/// How far the torrent is on its way to its data.
#[derive(Debug)]
enum Stage {
    /// What an earlier session kept is being read.
    Resuming,
    /// The info dictionary is fetched from peers.
    Metadata,
    /// The files are being looked at.
    Looking,
    /// What the look left open is being read and hashed.
    Checking(Checking),
    /// What is missing is being made ready to be written.
    Settling(Checking),
    /// The torrent downloads and serves.
    Open { layout: Arc<Layout> },
    /// It stopped for good. What was downloaded stays.
    Failed(TorrentError),
}

/// Files that are being found out about.
#[derive(Debug)]
struct Checking {
    layout: Arc<Layout>,
    /// The pieces that are to be fetched; `None`: all.
    wanted: Option<Bitfield>,
    opening: Opening,
}

impl Torrent {
    /// A torrent that begins with [`Torrent::start`].
    pub fn new(config: TorrentConfig, seed: [u8; 32], now: Instant) -> Self {
        let swarm = SwarmConfig {
            peers_max: config.peers_max,
            upload_slots: config.upload_slots,
            info_raw: config.info.as_ref().map(|info| info.raw().clone()),
            listen_port: config.listen_port,
            dht_port: config.listen_port.filter(|_| config.has_dht && !config.is_private()),
            ..SwarmConfig::new(config.info_hash, config.peer_id)
        };
        let mut swarm = Swarm::new(swarm, seed, now);
        if let Some(grant) = config.grant {
            swarm.set_granted(now, grant.amounts);
        }
        Self {
            swarm,
            stage: Stage::Resuming,
            unreadable: None,
            lock: FileLock::Free,
            saving: Saving::new(config.is_kept),
            faults: DiskFaults::default(),
            sources: None,
            dht_state: None,
            sharing: config.grant.map(Sharing::new),
            report: Report::new(now),
            stopping: None,
            outputs: VecDeque::new(),
            now,
            config,
        }
    }

    /// Begins.
    pub fn start(&mut self, now: Instant) {
        self.begin(now);
        let peers = std::mem::take(&mut self.config.peers);
        if !peers.is_empty() {
            self.emit(Output::Resolve { role: Role::Peer, addrs: peers });
        }
        match self.config.info {
            None if self.config.is_kept => self.emit(Output::Resume),
            _ => self.find_sources(),
        }
    }

    /// What it decides among its peers, to be looked at.
    pub fn swarm(&self) -> &Swarm {
        &self.swarm
    }

    /// What to do next. Drain it after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        while self.outputs.is_empty() {
            let Some(output) = self.swarm.poll_output() else { break };
            self.pass_on(output);
        }
        if self.outputs.is_empty() && !self.stopping.as_ref().is_some_and(Stopping::is_over) {
            self.announce();
            self.ask_for_share();
            self.publish();
        }
        self.outputs.pop_front()
    }

    /// When [`Torrent::handle_timeout`] is to be called next. `None`: only when something happens.
    pub fn next_timeout(&self) -> Option<Instant> {
        if let Some(stopping) = &self.stopping {
            return stopping.patience(&self.saving);
        }
        let search = self.sources.as_ref().filter(|_| self.swarm.wants_peers()).and_then(Sources::next_search);
        // One that is due and not granted waits for the others, not for the clock.
        let search = search.filter(|due| *due > self.now || self.may_search());
        let deadlines = [self.swarm.next_timeout(), self.saving.next_save(), search, self.report.next()];
        deadlines.into_iter().flatten().min()
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.begin(now);
        if self.stopping.is_some() {
            return self.lose_patience();
        }
        self.swarm.handle_timeout(now);
        if self.saving.next_save().is_some_and(|due| now >= due) {
            self.begin_save();
        }
        self.search_if_due();
        self.note_used();
    }

    /// Something happens at `now`.
    fn begin(&mut self, now: Instant) {
        self.now = now;
        self.report.note_change();
    }

    /// Queues an output behind those of the swarm.
    fn emit(&mut self, output: Output) {
        while let Some(earlier) = self.swarm.poll_output() {
            self.pass_on(earlier);
        }
        self.outputs.push_back(output);
    }

    fn pass_on(&mut self, output: swarm::Output) {
        let output = match output {
            swarm::Output::Dial { peer, addr } => Output::Dial { peer, addr },
            swarm::Output::Send { peer, message } => Output::Send { peer, message },
            swarm::Output::TakeBack { peer, blocks } => Output::TakeBack { peer, blocks },
            swarm::Output::Close { peer, reason } => Output::Close { peer, reason },
            swarm::Output::DhtNode(_) if self.sources.is_none() => return,
            swarm::Output::DhtNode(addr) => Output::DhtNode(addr),
            swarm::Output::Read { peer, run } => {
                self.disk_job(run.piece, Job::Read { store: self.config.store, tag: peer.get(), block: run })
            }
            swarm::Output::Write { piece, begin, blocks } => {
                return self.write(piece, Job::Write { store: self.config.store, piece, begin, blocks });
            }
            swarm::Output::Metadata(raw) => return self.handle_metadata(raw),
            swarm::Output::Event(event) => return self.handle_event(event),
        };
        self.outputs.push_back(output);
    }

    fn handle_event(&mut self, event: swarm::Event) {
        match event {
            swarm::Event::PieceVerified(_) => self.saving.note_change(self.now),
            swarm::Event::PieceFailed { piece, blamed } => self.tell(TorrentEvent::PieceFailed { piece, blamed }),
            swarm::Event::PeerBanned { addr, reason } => self.tell(TorrentEvent::PeerBanned { addr, reason }),
            swarm::Event::Completed => {
                self.unlock();
                self.report.hurry();
            }
        }
    }

    fn tell(&mut self, event: TorrentEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    /// A job for the thread that owns the piece.
    fn disk_job(&self, piece: PieceIndex, job: Job) -> Output {
        Output::Disk { thread: piece.as_usize() % self.config.disk_threads, job }
    }

    /// Stops the torrent for good. What was downloaded stays.
    fn fail(&mut self, error: TorrentError) {
        if matches!(self.stage, Stage::Failed(_)) {
            return;
        }
        self.stage = Stage::Failed(error);
        self.leave_dht();
        self.swarm.pause(self.now);
        self.report.hurry();
    }

    /// Panics when the parts of the machine disagree. For tests and the simulator, after every step.
    pub fn check_invariants(&self) {
        self.swarm.check_invariants();
        let is_open = matches!(self.stage, Stage::Open { .. });
        assert!(!is_open || self.swarm.have().is_some(), "open files without pieces");
        assert!(self.sources.is_none() || !self.config.is_private(), "a private torrent asks the DHT (BEP 27)");
        let is_over = matches!(self.stage, Stage::Failed(_)) || self.stopping.is_some();
        assert!(!is_over || self.sources.is_none(), "a torrent that is over asks the DHT");
    }
}
