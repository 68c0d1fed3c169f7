//! The public API: a session with torrents in it.
//!
//! [`Session::start`] binds the sockets and starts the session's own threads; the handles are `Send + Sync` and may be used
//! from any executor. See the crate's documentation for an example.
//!
//! Deliberately absent: printing, signals and exit codes (they are the program's), and trackers.

mod budget;
mod config;
mod error;
mod events;
mod handle;
mod source;
mod state;
mod streams;
mod task;

use std::net::SocketAddr;
use std::thread::JoinHandle;

use magnes_dht::Dht;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use crate::disk::{DiskError, Wanted};
pub use crate::storage::ExistingData;
pub use crate::swarm::{BanReason, Contacts, PeerStatus, Reason};
pub use crate::torrent::{FileStatus, Phase, Progress, Search, Stall, TorrentError, TorrentEvent};
pub use config::{AddOptions, Config};
pub use error::{AddError, ControlError, RemoveError, StartError};
pub use events::SessionEvent;
pub use handle::TorrentHandle;
pub use magnes_dht::NodeMode;
pub use source::TorrentSource;
pub use streams::{EventStream, ProgressStream, SessionEventStream};

use crate::engine::TorrentParts;
use crate::model::InfoHash;
use task::{AddRequest, Command, Torrents};

/// A running session. Dropping it stops everything without saving; [`Session::shutdown`] saves and leaves politely.
#[derive(Debug)]
pub struct Session {
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
    local_addrs: Vec<SocketAddr>,
    dht: Option<Dht>,
    listening: watch::Receiver<bool>,
    torrents: watch::Receiver<Torrents>,
    events: broadcast::WeakSender<SessionEvent>,
}

impl Session {
    /// Binds the sockets and starts the session.
    ///
    /// # Errors
    /// [`StartError::Bind`] when an address cannot be had, TCP and UDP both; the other variants name what the system
    /// refused.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let (thread, started) = task::spawn(config)?;
        // The thread answers before it does anything else; that it cannot answer means that it panicked.
        let started = started.await.map_err(|_| StartError::System(std::io::ErrorKind::BrokenPipe.into()))??;
        Ok(Self {
            commands: started.commands,
            thread: Some(thread),
            local_addrs: started.local_addrs,
            dht: started.dht,
            listening: started.listening,
            torrents: started.torrents,
            events: started.events,
        })
    }

    /// The addresses that are listened on, with their real ports.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Waits until peers can connect: until the first torrent has something to serve, or to ask for. The ports belong to
    /// the session before that already.
    pub async fn listening(&self) {
        // A session that is gone will not listen.
        let _ = self.listening.clone().wait_for(|listening| *listening).await;
    }

    /// The session's DHT node, unless it was turned off.
    pub fn dht(&self) -> Option<&Dht> {
        self.dht.as_ref()
    }

    /// Adds a torrent and starts it.
    ///
    /// # Errors
    /// [`AddError::Duplicate`] when the session has it already, [`AddError::InUse`] when another process has it in the same
    /// folder, [`AddError::Closed`] when the session's thread is gone.
    pub async fn add(&self, source: impl Into<TorrentSource>, options: AddOptions) -> Result<TorrentHandle, AddError> {
        let (reply, added) = oneshot::channel();
        let request = AddRequest { source: source.into(), options, reply };
        self.commands.send(Command::Add(Box::new(request))).await.map_err(|_| AddError::Closed)?;
        let parts = added.await.map_err(|_| AddError::Closed)??;
        Ok(self.handle(parts))
    }

    /// The torrents of the session, those that failed included, by their info hashes.
    pub fn torrents(&self) -> Vec<TorrentHandle> {
        self.torrents.borrow().values().map(|parts| self.handle(parts.clone())).collect()
    }

    /// The torrent with this info hash, if the session has it.
    pub fn torrent(&self, info_hash: &InfoHash) -> Option<TorrentHandle> {
        let parts = self.torrents.borrow().get(info_hash).cloned()?;
        Some(self.handle(parts))
    }

    /// What happens in the session and to all its torrents from now on. Nothing that happens to a torrent that is added
    /// later is missed.
    pub fn events(&self) -> SessionEventStream {
        SessionEventStream::new(self.events.upgrade().map(|events| events.subscribe()))
    }

    fn handle(&self, parts: TorrentParts) -> TorrentHandle {
        TorrentHandle::new(parts, self.commands.downgrade())
    }

    /// Saves what is to be kept, closes every connection and ends the session's threads.
    pub async fn shutdown(mut self) {
        let (done, ended) = oneshot::channel();
        if self.commands.send(Command::Shutdown { done }).await.is_ok() {
            // That the thread is gone already is what was asked for.
            let _ = ended.await;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
