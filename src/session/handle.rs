use std::net::SocketAddr;

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::task::{Command, HandleParts};
use super::{AddError, Phase, Progress, TorrentError, TorrentEvent};
use crate::engine::{Control, TorrentMail, TorrentMailbox};
use crate::model::InfoHash;
use crate::torrent::TorrentState;

/// One torrent of a session. Clones speak of the same torrent; dropping them all leaves it running.
#[derive(Debug, Clone)]
pub struct TorrentHandle {
    info_hash: InfoHash,
    mailbox: TorrentMailbox,
    state: watch::Receiver<TorrentState>,
    events: broadcast::WeakSender<TorrentEvent>,
    commands: mpsc::Sender<Command>,
}

impl TorrentHandle {
    pub(super) fn new(parts: HandleParts, commands: mpsc::Sender<Command>) -> Self {
        let HandleParts { info_hash, mailbox, state, events } = parts;
        Self { info_hash, mailbox, state, events, commands }
    }

    /// The info hash of the torrent.
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// How far the torrent is: first at once, then whenever that changes, about twice a second while bytes move.
    pub fn progress(&self) -> ProgressStream {
        let mut state = self.state.clone();
        state.mark_changed();
        ProgressStream { state }
    }

    /// What happens to the torrent from here on.
    pub fn events(&self) -> EventStream {
        EventStream { events: self.events.upgrade().map(|sender| sender.subscribe()) }
    }

    /// Waits until every piece is verified and written.
    ///
    /// # Errors
    /// Why the torrent stopped before.
    pub async fn wait_complete(&self) -> Result<(), TorrentError> {
        let mut state = self.state.clone();
        let state = state
            .wait_for(|state| state.error.is_some() || state.progress.phase == Phase::Seeding)
            .await
            .map_err(|_| TorrentError::Stopped)?;
        state.error.clone().map_or(Ok(()), Err)
    }

    /// Stops asking, serving and dialling until [`TorrentHandle::resume`].
    pub async fn pause(&self) {
        self.control(Control::Pause).await;
    }

    /// Goes on after [`TorrentHandle::pause`].
    pub async fn resume(&self) {
        self.control(Control::Resume).await;
    }

    /// Dials these addresses.
    pub async fn add_peers(&self, peers: Vec<SocketAddr>) {
        self.control(Control::AddPeers(peers)).await;
    }

    /// Takes the torrent out of its session and waits until that is done. Its files stay.
    ///
    /// # Errors
    /// [`AddError::Closed`] when the session is gone already.
    pub async fn remove(&self) -> Result<(), AddError> {
        let (done, removed) = oneshot::channel();
        let command = Command::Remove { info_hash: self.info_hash, done };
        self.commands.send(command).await.map_err(|_| AddError::Closed)?;
        removed.await.map_err(|_| AddError::Closed)
    }

    /// A torrent that is gone has nothing left to control.
    async fn control(&self, control: Control) {
        let _ = self.mailbox.send(TorrentMail::Control(control)).await;
    }
}

/// The progress of a torrent as it changes.
#[derive(Debug)]
pub struct ProgressStream {
    state: watch::Receiver<TorrentState>,
}

impl ProgressStream {
    /// The newest progress that was not seen yet; waits for it. `None` once the torrent is gone.
    pub async fn next(&mut self) -> Option<Progress> {
        self.state.changed().await.ok()?;
        Some(self.state.borrow_and_update().progress.clone())
    }
}

/// What happens to a torrent.
#[derive(Debug)]
pub struct EventStream {
    events: Option<broadcast::Receiver<TorrentEvent>>,
}

impl EventStream {
    /// The next event. A reader that falls far behind misses the oldest ones. `None` once the torrent is gone.
    pub async fn next(&mut self) -> Option<TorrentEvent> {
        let events = self.events.as_mut()?;
        loop {
            match events.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "a reader of torrent events is too slow");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
