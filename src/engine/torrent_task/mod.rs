//! One torrent: hands what arrives to [`Swarm`] and does what it says.
#![allow(clippy::disallowed_methods, reason = "a driver reads the clock")]

mod publish;
mod storage;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use magnes_dht::Dht;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::discovery::{DhtState, Discovery, Found};
use super::disk::{DiskClient, DiskPool};
use super::faults::Faults;
use super::keeper::Keeper;
use super::mail::{Admission, Control, PeerMail, TORRENT_EVENTS_MAX, TorrentMail, TorrentMailbox, channel_of_torrent};
use super::names::{Names, Role};
use super::opening::{Opening, Step};
use super::outbox::Outbox;
use super::peer_task::{self, arm, link_config};
use super::progress::{Progress, TorrentError, TorrentEvent, TorrentState};
use crate::disk::{Job, Layout, StoreId};
use crate::model::{Bitfield, FileSelection, Info, InfoHash, PeerAddr, PeerId};
use crate::storage::{ExistingData, Resume, StateLock, WriteLock};
use crate::swarm::{self, CloseCause, Output, PeerKey, PeerSource, Swarm, SwarmConfig};
use crate::wire::LinkConfig;

/// Mails handled before the outputs are carried out.
const MAILS_PER_TURN: usize = 64;

/// What a torrent is started with.
#[derive(Debug)]
pub(crate) struct TorrentTaskConfig {
    pub(crate) info_hash: InfoHash,
    pub(crate) name: Option<String>,
    pub(crate) info: Option<Arc<Info>>,
    pub(crate) folder: PathBuf,
    pub(crate) existing: ExistingData,
    /// Whether files that may be the user's own are written over.
    pub(crate) overwrite: bool,
    /// Whether files get names that work on every system.
    pub(crate) portable_names: bool,
    /// The files to fetch; `None`: all.
    pub(crate) selection: Option<FileSelection>,
    /// The files that a link asks for, unless the user named others: those that the torrent has.
    pub(crate) link_selection: Option<FileSelection>,
    pub(crate) peers: Vec<PeerAddr>,
    /// DHT nodes that the `.torrent` file names.
    pub(crate) dht_nodes: Vec<PeerAddr>,
    pub(crate) peer_id: PeerId,
    pub(crate) peers_max: usize,
    pub(crate) listen_port: Option<u16>,
    pub(crate) resume_path: Option<PathBuf>,
    /// Held as long as the torrent runs.
    pub(crate) lock: Option<StateLock>,
    pub(crate) dht: Option<Dht>,
    pub(crate) store: StoreId,
    /// Told once the torrent is able to serve.
    pub(crate) serving: Rc<Notify>,
    pub(crate) seed: [u8; 32],
}

/// What the session keeps of a torrent.
#[derive(Debug)]
pub(crate) struct TorrentParts {
    pub(crate) mailbox: TorrentMailbox,
    pub(crate) state: watch::Receiver<TorrentState>,
    pub(crate) events: broadcast::WeakSender<TorrentEvent>,
}

/// The task of one torrent.
#[derive(Debug)]
pub(crate) struct TorrentTask {
    config: TorrentTaskConfig,
    torrent: Swarm,
    inbox: mpsc::Receiver<TorrentMail>,
    mailbox: TorrentMailbox,
    outbox: Outbox,
    peers: JoinSet<()>,
    saves: JoinSet<()>,
    disk: DiskClient,
    opening: Option<Opening>,
    keeper: Keeper,
    faults: Faults,
    discovery: Option<Discovery>,
    names: Names,
    /// What the DHT said of itself last.
    dht_state: Option<DhtState>,
    layout: Option<Arc<Layout>>,
    /// The pieces that the selected files need, until the torrent starts.
    wanted: Option<Bitfield>,
    /// Which files are ours to write.
    own: Arc<[bool]>,
    /// Pieces that could not be read when the torrent started: neither served nor fetched.
    unreadable: Option<(Bitfield, TorrentError)>,
    /// Held as long as pieces are fetched.
    write_lock: Option<WriteLock>,
    state: watch::Sender<TorrentState>,
    events: broadcast::Sender<TorrentEvent>,
    error: Option<TorrentError>,
    next_progress: Instant,
    stop: Option<oneshot::Sender<()>>,
}

impl TorrentTask {
    /// A torrent that starts with [`TorrentTask::run`].
    pub(crate) fn new(config: TorrentTaskConfig, disk: &DiskPool) -> (Self, TorrentParts) {
        let now = Instant::now();
        let (mailbox, inbox) = channel_of_torrent();
        let (events, _) = broadcast::channel(TORRENT_EVENTS_MAX);
        let swarm_config = SwarmConfig {
            peers_max: config.peers_max,
            info_raw: config.info.as_ref().map(|info| info.raw().clone()),
            listen_port: config.listen_port,
            dht_port: config.listen_port.filter(|_| config.dht.is_some()),
            ..SwarmConfig::new(config.info_hash, config.peer_id)
        };
        let torrent = Swarm::new(swarm_config, config.seed, now);
        let (state, state_reader) = watch::channel(TorrentState {
            progress: Progress::starting(config.name.clone(), config.info.is_some()),
            error: None,
        });
        let parts = TorrentParts { mailbox: mailbox.clone(), state: state_reader, events: events.downgrade() };
        let task = Self {
            torrent,
            inbox,
            outbox: Outbox::default(),
            peers: JoinSet::new(),
            saves: JoinSet::new(),
            disk: disk.client(mailbox.clone()),
            mailbox,
            opening: None,
            keeper: Keeper::new(config.resume_path.clone()),
            faults: Faults::default(),
            discovery: None,
            names: Names::default(),
            dht_state: None,
            layout: None,
            wanted: None,
            own: Arc::new([]),
            unreadable: None,
            write_lock: None,
            state,
            events,
            error: None,
            next_progress: now,
            stop: None,
            config,
        };
        (task, parts)
    }

    /// Runs until the session stops it.
    pub(crate) async fn run(mut self) {
        self.start();
        let timer = sleep_until(Instant::now().into());
        tokio::pin!(timer);
        let mut mails = Vec::with_capacity(MAILS_PER_TURN);
        loop {
            self.carry_out();
            if let Some(discovery) = &mut self.discovery {
                discovery.set_seed(self.torrent.have().is_some_and(Bitfield::is_full));
            }
            self.publish(Instant::now());
            if self.stop.is_some() {
                break;
            }
            arm(timer.as_mut(), self.next_timeout());
            tokio::select! {
                biased;
                _ = self.inbox.recv_many(&mut mails, MAILS_PER_TURN) => {
                    for mail in mails.drain(..) {
                        self.handle_mail(mail);
                    }
                }
                found = next_found(&mut self.discovery) => match found {
                    Found::Peers(peers) => self.torrent.handle_candidates(Instant::now(), PeerSource::Dht, &peers),
                    Found::State(state) => self.dht_state = Some(*state),
                },
                (role, addrs) = self.names.next() => self.handle_named(role, &addrs),
                step = next_step(&mut self.opening) => self.handle_step(step),
                () = self.disk.room() => {}
                () = timer.as_mut() => self.handle_timeout(Instant::now()),
                Some(_) = self.peers.join_next() => {}
                Some(_) = self.saves.join_next() => {}
            }
        }
        self.leave().await;
    }
}

/// Waits for ever without a DHT.
async fn next_found(discovery: &mut Option<Discovery>) -> Found {
    match discovery {
        Some(discovery) => discovery.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for ever while no files are being looked at or made.
async fn next_step(opening: &mut Option<Opening>) -> Option<Result<Step, TorrentError>> {
    match opening {
        Some(opening) => opening.step().await,
        None => std::future::pending().await,
    }
}

/// What happens.
impl TorrentTask {
    fn start(&mut self) {
        let now = Instant::now();
        let peers = self.names.add(Role::Peer, &std::mem::take(&mut self.config.peers));
        self.torrent.handle_candidates(now, PeerSource::User, &peers);
        if self.config.info.is_none() {
            self.config.info = self.resumed_info(now);
        }
        self.discovery = self
            .config
            .dht
            .clone()
            .filter(|_| !self.is_private())
            .map(|dht| Discovery::new(dht, self.config.info_hash));
        if self.discovery.is_some() {
            let nodes = self.names.add(Role::Node, &std::mem::take(&mut self.config.dht_nodes));
            self.handle_named(Role::Node, &nodes);
        }
        match self.config.info.clone() {
            Some(info) => self.open(info),
            // Whoever connects may have the metadata.
            None => self.config.serving.notify_one(),
        }
    }

    /// The metadata that an earlier session fetched, and the peers it knew.
    fn resumed_info(&mut self, now: Instant) -> Option<Arc<Info>> {
        let path = self.keeper.path()?;
        let resume = Resume::load(path, &self.config.info_hash).ok().flatten()?;
        let info = Info::parse(resume.info_raw.into()).ok().filter(|info| info.hash() == self.config.info_hash)?;
        self.torrent.handle_candidates(now, PeerSource::Resume, &resume.peers);
        Some(Arc::new(info))
    }

    /// Addresses that the link or the `.torrent` file gave.
    fn handle_named(&mut self, role: Role, addrs: &[SocketAddr]) {
        match role {
            Role::Peer => self.torrent.handle_candidates(Instant::now(), PeerSource::User, addrs),
            Role::Node => {
                if let Some(discovery) = &mut self.discovery {
                    discovery.add_nodes(addrs);
                }
            }
        }
    }

    fn handle_mail(&mut self, mail: TorrentMail) {
        let now = Instant::now();
        match mail {
            TorrentMail::Run { peer, messages, payload_sent, taken_back } => {
                if payload_sent > 0 {
                    self.torrent.handle_sent(now, peer, payload_sent);
                }
                if !taken_back.is_empty() {
                    self.torrent.handle_taken_back(peer, &taken_back);
                }
                self.torrent.handle_messages(now, peer, messages);
            }
            TorrentMail::Disk(done) => done.into_iter().for_each(|done| self.handle_done(now, done)),
            TorrentMail::Connected { peer, hello } => self.torrent.handle_connected(now, peer, hello),
            TorrentMail::Closed { peer, cause } => {
                self.outbox.forget(peer);
                self.torrent.handle_closed(now, peer, cause);
            }
            TorrentMail::Incoming { addr, admit } => self.handle_incoming(now, addr, admit),
            TorrentMail::Control(control) => self.handle_control(now, control),
        }
    }

    fn handle_incoming(&mut self, now: Instant, addr: SocketAddr, admit: oneshot::Sender<Admission>) {
        let Some(peer) = self.torrent.handle_incoming(now, addr) else { return };
        let inbox = self.outbox.open(peer);
        let admission = Admission { peer, inbox, link: self.link_config() };
        if admit.send(admission).is_err() {
            // The connection ended while it waited.
            self.outbox.forget(peer);
            self.torrent.handle_closed(now, peer, CloseCause::Eof);
        }
    }

    fn handle_control(&mut self, now: Instant, control: Control) {
        match control {
            Control::Pause => self.torrent.pause(now),
            Control::Resume => self.torrent.resume(now),
            Control::AddPeers(peers) => self.torrent.handle_candidates(now, PeerSource::User, &peers),
            Control::Stop { done } => self.stop = Some(done),
        }
        self.publish_now(now);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let search = self.discovery.as_ref().filter(|_| self.torrent.wants_peers()).and_then(Discovery::next_search);
        let deadlines = [self.torrent.next_timeout(), self.keeper.next_save(), search, Some(self.next_progress)];
        deadlines.into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.torrent.handle_timeout(now);
        if self.keeper.next_save().is_some_and(|due| now >= due) {
            self.begin_save();
        }
        if let Some(discovery) = &mut self.discovery
            && self.torrent.wants_peers()
            && discovery.next_search().is_some_and(|due| now >= due)
        {
            discovery.search();
        }
    }

    /// Does what the machine says.
    fn carry_out(&mut self) {
        while let Some(output) = self.torrent.poll_output() {
            match output {
                Output::Send { peer, message } => self.outbox.send(peer, message),
                Output::TakeBack { peer, blocks } => self.outbox.post(peer, PeerMail::TakeBack(blocks)),
                Output::Write { piece, begin, blocks } => {
                    self.submit(piece, Job::Write { store: self.config.store, piece, begin, blocks });
                }
                Output::Read { peer, run } => {
                    self.submit(run.piece, Job::Read { store: self.config.store, tag: peer.get(), block: run });
                }
                Output::Dial { peer, addr } => self.dial(peer, addr),
                Output::Close { peer, reason: _ } => {
                    self.outbox.post(peer, PeerMail::Close);
                    self.outbox.forget(peer);
                }
                Output::Metadata(raw) => self.handle_metadata(raw),
                Output::DhtNode(addr) => {
                    if let Some(discovery) = &self.discovery {
                        discovery.dht().add_node(addr);
                    }
                }
                Output::Event(event) => self.handle_event(event),
            }
        }
        if let Err(error) = self.disk.offer() {
            tracing::error!(%error, "the torrent stops");
            self.fail(TorrentError::DiskThread);
        }
        self.outbox.flush();
        for peer in self.outbox.take_overrun() {
            self.torrent.handle_closed(Instant::now(), peer, CloseCause::TooSlow);
        }
    }

    /// Whether the torrent is kept out of the DHT (BEP 27).
    fn is_private(&self) -> bool {
        self.config.info.as_ref().is_some_and(|info| info.is_private())
    }

    fn dial(&mut self, peer: PeerKey, addr: SocketAddr) {
        let inbox = self.outbox.open(peer);
        let (config, info_hash, mailbox) = (self.link_config(), self.config.info_hash, self.mailbox.clone());
        self.peers.spawn_local(peer_task::dial(peer, addr, config, info_hash, inbox, mailbox));
    }

    fn link_config(&self) -> LinkConfig {
        LinkConfig {
            extended: self.torrent.extended_handshake(),
            ..link_config(self.config.peer_id, self.discovery.is_some())
        }
    }

    fn handle_metadata(&mut self, raw: bytes::Bytes) {
        match Info::parse(raw) {
            Ok(info) => self.open(Arc::new(info)),
            Err(source) => self.fail(TorrentError::Metadata { info_hash: self.config.info_hash, source }),
        }
    }

    fn handle_event(&mut self, event: swarm::Event) {
        let now = Instant::now();
        match event {
            swarm::Event::PieceVerified(_) => self.keeper.note_change(now),
            swarm::Event::PieceFailed { piece, blamed } => self.tell(TorrentEvent::PieceFailed { piece, blamed }),
            swarm::Event::PeerBanned { addr, reason } => self.tell(TorrentEvent::PeerBanned { addr, reason }),
            swarm::Event::Completed => {
                self.write_lock = None;
                self.publish_now(now);
            }
        }
    }
}
