//! The session's network thread: owns the torrents' mailboxes, the DHT node, the listeners and the disk threads.
#![allow(clippy::disallowed_methods, reason = "the session starts its thread")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, Builder};
use std::time::Duration;

use magnes_dht::{BOOTSTRAP, Dht, NodeConfig};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use tokio::runtime;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet, LocalSet, spawn_blocking, spawn_local};
use tokio::time::timeout;

use super::budget::budget_of;
use super::config::{AddOptions, Config};
use super::error::{AddError, RemoveError, StartError};
use super::events::{Readers, SessionEvent, relay};
use super::source::TorrentSource;
use super::state::{Kept, StateDir};
use crate::engine::{
    Bound, Control, DiskPool, FilesConfig, Listener, RouteRequest, Shares, TorrentMail, TorrentParts, TorrentTask,
    TorrentTaskConfig, bind, channel_of_routes,
};
use crate::model::{InfoHash, PeerId};
use crate::storage::{WorkerConfig, connections_max};
use crate::torrent::{TorrentConfig, link_config};

/// Commands that may wait for the network thread.
const COMMANDS_MAX: usize = 64;
/// Events that a slow reader of the session may lag behind.
const EVENTS_MAX: usize = 4096;
/// How long the torrents may take to save and leave.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(15);

/// What reaches the network thread from the public handles.
#[derive(Debug)]
pub(super) enum Command {
    Add(Box<AddRequest>),
    Remove { parts: TorrentParts, done: oneshot::Sender<Result<(), RemoveError>> },
    Shutdown { done: oneshot::Sender<()> },
}

#[derive(Debug)]
pub(super) struct AddRequest {
    pub(super) source: TorrentSource,
    pub(super) options: AddOptions,
    pub(super) reply: oneshot::Sender<Result<TorrentParts, AddError>>,
}

/// A torrent that is to be added, and what is kept of it.
#[derive(Debug)]
struct Prepared {
    request: AddRequest,
    kept: Result<Option<Kept>, AddError>,
}

/// The torrents of a session.
pub(super) type Torrents = BTreeMap<InfoHash, TorrentParts>;

/// What a session knows of its thread once it runs.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) local_addrs: Vec<SocketAddr>,
    pub(super) dht: Option<Dht>,
    /// Whether peers can connect.
    pub(super) listening: watch::Receiver<bool>,
    pub(super) torrents: watch::Receiver<Torrents>,
    /// Weak: the thread alone keeps the events going.
    pub(super) events: broadcast::WeakSender<SessionEvent>,
}

type StartReply = oneshot::Receiver<Result<Started, StartError>>;

/// Starts the network thread; it answers once its sockets are bound.
pub(super) fn spawn(config: Config) -> Result<(thread::JoinHandle<()>, StartReply), StartError> {
    let (reply, started) = oneshot::channel();
    let thread = Builder::new()
        .name("magnes-net".into())
        .spawn(move || {
            let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    // Nobody waits any more if this cannot be told.
                    let _ = reply.send(Err(StartError::System(error)));
                    return;
                }
            };
            let local = LocalSet::new();
            let done = local.block_on(&runtime, run(config, reply));
            drop(local);
            // Whatever was to be saved is; a resolver that nobody waits for any more may take its time.
            runtime.shutdown_background();
            // Last, so that whoever joins the thread does not wait for it.
            let _ = done.map(|done| done.send(()));
        })
        .map_err(StartError::System)?;
    Ok((thread, started))
}

/// Runs the session until it is shut down, and returns who waits for that, or until it is dropped.
async fn run(config: Config, reply: oneshot::Sender<Result<Started, StartError>>) -> Option<oneshot::Sender<()>> {
    let (commands_sender, mut commands) = mpsc::channel(COMMANDS_MAX);
    let (routes_sender, mut routes) = channel_of_routes();
    let mut task = match SessionTask::start(config, routes_sender).await {
        Ok(task) => task,
        Err(error) => {
            let _ = reply.send(Err(error));
            return None;
        }
    };
    let local_addrs = task.local_addrs.clone();
    let started = Started {
        commands: commands_sender,
        local_addrs,
        dht: task.dht.clone(),
        listening: task.listening.subscribe(),
        torrents: task.torrents.subscribe(),
        events: task.readers.0.downgrade(),
    };
    if reply.send(Ok(started)).is_err() {
        return None;
    }
    let serving = task.serving.clone();
    let done = loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Add(request)) => task.add(*request),
                Some(Command::Remove { parts, done }) => task.remove(&parts, done),
                Some(Command::Shutdown { done }) => {
                    task.shutdown().await;
                    break Some(done);
                }
                None => break None,
            },
            Some(request) = routes.recv() => task.route(request),
            () = serving.notified() => {
                task.listen();
                task.tell_listening();
            }
            Some(prepared) = task.preparing.join_next() => match prepared {
                Ok(prepared) => task.start_torrent(prepared),
                Err(error) => tracing::error!(%error, "a torrent could not be added"),
            },
            () = task.shares.changed() => task.shares.settle(),
            Some(_) = task.torrent_tasks.join_next() => {}
        }
    };
    // A torrent keeps the disk threads going, and what is dropped next waits for those.
    task.torrent_tasks.shutdown().await;
    done
}

struct SessionTask {
    config: Config,
    state: Option<StateDir>,
    /// Locked as long as the DHT runs.
    _table: Option<Kept>,
    torrents: watch::Sender<Torrents>,
    readers: Readers,
    /// Torrents whose state is being looked at, and what that came to.
    adding: BTreeSet<InfoHash>,
    preparing: JoinSet<Prepared>,
    torrent_tasks: JoinSet<()>,
    shares: Shares,
    /// Each tells the session's readers of one torrent, until that is gone.
    relays: BTreeMap<InfoHash, JoinHandle<()>>,
    disk: DiskPool,
    dht: Option<Dht>,
    local_addrs: Vec<SocketAddr>,
    /// Bound and not listening yet: nothing is served so far.
    bound: Vec<Bound>,
    listeners: JoinSet<()>,
    listening: watch::Sender<bool>,
    routes: mpsc::Sender<RouteRequest>,
    /// Told by a torrent that is able to serve.
    serving: Rc<Notify>,
    peer_id: PeerId,
    chance: ChaCha8Rng,
    stores: u32,
}

impl SessionTask {
    async fn start(config: Config, routes: mpsc::Sender<RouteRequest>) -> Result<Self, StartError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| StartError::System(error.into()))?;
        let mut chance = ChaCha8Rng::from_seed(seed);
        let bound = bind_all(&config.listen)?;
        let local_addrs = bound.iter().map(|bound| bound.addr).collect();
        let (state, table) = open_state(config.state_dir.clone(), config.dht).await?;
        let dht = match config.dht {
            true => Some(start_dht(&config, &bound, table.as_ref(), &mut chance).await?),
            false => None,
        };
        let worker_config = WorkerConfig::new([chance.next_u64(), chance.next_u64()], config.disk_threads);
        let disk = DiskPool::start(config.disk_threads, &worker_config).map_err(StartError::System)?;
        let shares = Shares::new(budget_of(&config));
        let mut peer_id = [0; 12];
        chance.fill_bytes(&mut peer_id);
        Ok(Self {
            config,
            state,
            _table: table,
            torrents: watch::Sender::new(Torrents::new()),
            readers: Readers(broadcast::Sender::new(EVENTS_MAX)),
            adding: BTreeSet::new(),
            preparing: JoinSet::new(),
            torrent_tasks: JoinSet::new(),
            shares,
            relays: BTreeMap::new(),
            disk,
            dht,
            local_addrs,
            bound,
            listeners: JoinSet::new(),
            listening: watch::Sender::new(false),
            routes,
            serving: Rc::new(Notify::new()),
            peer_id: PeerId::ours(peer_id),
            chance,
            stores: 0,
        })
    }

    fn add(&mut self, request: AddRequest) {
        let info_hash = request.source.info_hash();
        if self.torrents.borrow().contains_key(&info_hash) || !self.adding.insert(info_hash) {
            let _ = request.reply.send(Err(AddError::Duplicate(info_hash)));
            return;
        }
        let (state, folder) = (self.state.clone(), request.options.folder.clone());
        self.preparing.spawn_local(async move {
            let look = spawn_blocking(move || match state {
                Some(state) => state.lock_resume(info_hash, &folder),
                None => Ok(None),
            });
            let kept = look.await.unwrap_or(Err(AddError::Closed));
            Prepared { request, kept }
        });
    }

    fn start_torrent(&mut self, prepared: Prepared) {
        let Prepared { request: AddRequest { source, options, reply }, kept } = prepared;
        let info_hash = source.info_hash();
        self.adding.remove(&info_hash);
        let kept = match kept {
            Ok(kept) => kept,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        let config = self.torrent_config(source, options, kept);
        let (task, parts) = TorrentTask::new(config, &self.disk);
        self.readers.tell(SessionEvent::Added { info_hash });
        if let Some(events) = parts.events.upgrade() {
            let relay = relay(parts.clone(), events.subscribe(), self.readers.clone());
            self.relays.insert(info_hash, spawn_local(relay));
        }
        self.torrents.send_modify(|torrents| drop(torrents.insert(info_hash, parts.clone())));
        self.torrent_tasks.spawn_local(task.run());
        if reply.send(Ok(parts)).is_err() {
            tracing::debug!(%info_hash, "nobody waits for the torrent that was added");
        }
    }

    fn torrent_config(&mut self, source: TorrentSource, options: AddOptions, kept: Option<Kept>) -> TorrentTaskConfig {
        self.stores += 1;
        let mut seed = [0; 32];
        self.chance.fill_bytes(&mut seed);
        let info_hash = source.info_hash();
        let (resume_path, lock) = kept.map_or((None, None), |kept| (Some(kept.path), kept.lock));
        let (share, grant) = self.shares.add(self.stores);
        let mut torrent = TorrentConfig {
            grant: Some(grant),
            peers: options.peers,
            selection: options.files,
            peers_max: self.config.peers_max.min(connections_max() / 4 * 3).max(1),
            listen_port: self.local_addrs.first().map(SocketAddr::port),
            has_dht: self.dht.is_some(),
            is_kept: resume_path.is_some(),
            store: self.stores,
            disk_threads: self.disk.thread_count(),
            ..TorrentConfig::new(info_hash, self.peer_id)
        };
        match source {
            TorrentSource::Magnet(magnet) => {
                torrent.peers.extend(magnet.peers);
                torrent.link_selection = magnet.select_only;
                torrent.name = magnet.display_name;
            }
            TorrentSource::Metainfo(metainfo) => {
                torrent.dht_nodes = metainfo.nodes;
                torrent.name = Some(metainfo.info.name().to_owned());
                torrent.info = Some(Arc::new(metainfo.info));
            }
        }
        let files = FilesConfig {
            folder: options.folder,
            existing: options.existing,
            overwrite: options.overwrite,
            portable_names: options.portable_names,
            resume_path,
        };
        let (dht, serving) = (self.dht.clone(), self.serving.clone());
        TorrentTaskConfig { torrent, files, lock, dht, share, serving, seed }
    }

    /// A torrent that was added again since is another.
    fn remove(&mut self, parts: &TorrentParts, done: oneshot::Sender<Result<(), RemoveError>>) {
        let info_hash = parts.info_hash;
        let is_here = |torrent: &TorrentParts| torrent.mailbox.same_channel(&parts.mailbox);
        if !self.torrents.borrow().get(&info_hash).is_some_and(is_here) {
            let _ = done.send(Err(RemoveError::NotFound(info_hash)));
            return;
        }
        self.torrents.send_modify(|torrents| drop(torrents.remove(&info_hash)));
        let (mailbox, readers, relay) = (parts.mailbox.clone(), self.readers.clone(), self.relays.remove(&info_hash));
        spawn_local(async move {
            let (stop, stopped) = oneshot::channel();
            // A mailbox that is closed belongs to a torrent that is gone already.
            if mailbox.send(TorrentMail::Control(Control::Stop { done: stop })).await.is_ok() {
                let _ = stopped.await;
            }
            // What happened to it is told before that it is gone.
            if let Some(relay) = relay {
                let _ = relay.await;
            }
            readers.tell(SessionEvent::Removed { info_hash });
            // Whoever asked may have lost patience.
            let _ = done.send(Ok(()));
        });
    }

    fn route(&self, request: RouteRequest) {
        if let Some(torrent) = self.torrents.borrow().get(&request.info_hash) {
            let _ = request.reply.send(torrent.mailbox.clone());
        }
    }

    /// Lets the bound sockets listen; once.
    fn listen(&mut self) {
        for Bound { addr, tcp, .. } in self.bound.drain(..) {
            let config = link_config(self.peer_id, self.dht.is_some());
            match Listener::new(tcp, config, self.routes.clone()) {
                Ok(listener) => {
                    self.listeners.spawn_local(listener.run());
                }
                Err(error) => tracing::warn!(%addr, %error, "cannot listen: no peer can connect to this address"),
            }
        }
    }

    /// Tells the handles that peers can connect.
    fn tell_listening(&self) {
        self.listening.send_replace(true);
    }

    async fn shutdown(&mut self) {
        self.listeners.abort_all();
        let mut stopping = Vec::new();
        for torrent in self.torrents.send_replace(Torrents::new()).into_values() {
            let (done, stopped) = oneshot::channel();
            if torrent.mailbox.send(TorrentMail::Control(Control::Stop { done })).await.is_ok() {
                stopping.push(stopped);
            }
        }
        let all_stopped = async {
            for stopped in stopping {
                let _ = stopped.await;
            }
        };
        if timeout(SHUTDOWN_TIMEOUT, all_stopped).await.is_err() {
            tracing::warn!("a torrent did not stop in time; its data will be checked at the next start");
        }
        if let Some(dht) = self.dht.take() {
            dht.shutdown().await;
        }
    }
}

/// The state folder, and the DHT's table in it where that is to be kept by this session.
async fn open_state(folder: Option<PathBuf>, has_dht: bool) -> Result<(Option<StateDir>, Option<Kept>), StartError> {
    let open = spawn_blocking(move || {
        let state = folder.and_then(StateDir::open);
        let table = state.as_ref().filter(|_| has_dht).and_then(StateDir::lock_table);
        (state, table)
    });
    open.await.map_err(|error| StartError::System(error.into()))
}

/// Binds what was asked for; without a wish, every IPv4 address and, where there is one, every IPv6 address.
fn bind_all(listen: &[SocketAddr]) -> Result<Vec<Bound>, StartError> {
    let bind_one = |addr: SocketAddr| bind(addr).map_err(|source| StartError::Bind { addr, source });
    if !listen.is_empty() {
        return listen.iter().copied().map(bind_one).collect();
    }
    let mut bound = vec![bind_one((Ipv4Addr::UNSPECIFIED, 0).into())?];
    match bind((Ipv6Addr::UNSPECIFIED, bound[0].addr.port()).into()) {
        Ok(v6) => bound.push(v6),
        Err(error) => tracing::debug!(%error, "no IPv6 on this machine"),
    }
    Ok(bound)
}

async fn start_dht(
    config: &Config,
    bound: &[Bound],
    table: Option<&Kept>,
    chance: &mut ChaCha8Rng,
) -> Result<Dht, StartError> {
    let node = NodeConfig::default().mode(config.dht_mode);
    let mut builder = Dht::builder().config(node);
    for bound in bound {
        let socket = bound.udp.try_clone().map_err(StartError::System)?;
        builder = builder.socket(socket);
    }
    let built_in = || BOOTSTRAP.iter().map(ToString::to_string).collect();
    for host in config.bootstrap.clone().unwrap_or_else(built_in) {
        builder = builder.bootstrap(host);
    }
    if let Some(table) = table {
        builder = builder.state_file(&table.path);
    }
    let mut seed = [0; 32];
    chance.fill_bytes(&mut seed);
    builder.seed(seed).spawn().await.map_err(StartError::Dht)
}
