use std::net::SocketAddr;

use tokio::sync::{mpsc, oneshot};

use super::task::Command;
use super::{
    ControlError, EventStream, FileStatus, PeerStatus, Phase, Progress, ProgressStream, RemoveError, TorrentError,
};
use crate::engine::{Control, FilesView, TorrentMail, TorrentParts};
use crate::model::InfoHash;

/// One torrent of a session. Clones speak of the same torrent; dropping them all leaves it running.
///
/// A handle may outlive its torrent, and its session: its streams end then, and its methods return errors.
#[derive(Debug, Clone)]
pub struct TorrentHandle {
    parts: TorrentParts,
    /// Weak: a session that is dropped ends, whatever handles there are.
    commands: mpsc::WeakSender<Command>,
}

impl TorrentHandle {
    pub(super) fn new(parts: TorrentParts, commands: mpsc::WeakSender<Command>) -> Self {
        Self { parts, commands }
    }

    /// The info hash of the torrent.
    pub fn info_hash(&self) -> InfoHash {
        self.parts.info_hash
    }

    /// How far the torrent is at the time; of one that is gone, how far it was.
    pub fn latest_progress(&self) -> Progress {
        self.parts.state.borrow().progress.clone()
    }

    /// How far the torrent is: first at once, then whenever that changes, about twice per second while bytes move.
    pub fn progress(&self) -> ProgressStream {
        ProgressStream::new(self.parts.state.clone())
    }

    /// What happens to the torrent from now on. [`Session::events`](super::Session::events) misses nothing of what
    /// happens first.
    pub fn events(&self) -> EventStream {
        EventStream::new(self.parts.events.upgrade().map(|sender| sender.subscribe()))
    }

    /// Waits until every piece that is wanted is verified and written.
    ///
    /// # Errors
    /// Why the torrent stopped before; [`TorrentError::Stopped`] when it was removed or its session ended.
    pub async fn wait_complete(&self) -> Result<(), TorrentError> {
        let mut state = self.parts.state.clone();
        let state = state
            .wait_for(|state| state.error.is_some() || state.progress.phase == Phase::Seeding)
            .await
            .map_err(|_| TorrentError::Stopped)?;
        state.error.clone().map_or(Ok(()), Err)
    }

    /// Stops asking, serving and dialling until [`TorrentHandle::resume`]. Does nothing to a torrent that is paused.
    ///
    /// # Errors
    /// [`ControlError::Gone`] when the torrent was removed, or its session ended.
    pub async fn pause(&self) -> Result<(), ControlError> {
        self.control(Control::Pause).await
    }

    /// Continues after [`TorrentHandle::pause`]. Does nothing to a torrent that is not paused.
    ///
    /// # Errors
    /// [`ControlError::Gone`] when the torrent was removed, or its session ended.
    pub async fn resume(&self) -> Result<(), ControlError> {
        self.control(Control::Resume).await
    }

    /// Dials these addresses.
    ///
    /// # Errors
    /// [`ControlError::Gone`] when the torrent was removed, or its session ended.
    pub async fn add_peers(&self, peers: Vec<SocketAddr>) -> Result<(), ControlError> {
        self.control(Control::AddPeers(peers)).await
    }

    /// The files of the torrent as they are at the time; none before the metadata are known and the files were looked at.
    ///
    /// # Errors
    /// [`ControlError::Gone`] when the torrent was removed, or its session ended.
    pub async fn files(&self) -> Result<Vec<FileStatus>, ControlError> {
        let FilesView { layout, have } = self.ask(Control::Files).await?;
        Ok(layout.map(|layout| FileStatus::of(&layout, have.as_ref())).unwrap_or_default())
    }

    /// The peers that are connected at the time.
    ///
    /// # Errors
    /// [`ControlError::Gone`] when the torrent was removed, or its session ended.
    pub async fn peers(&self) -> Result<Vec<PeerStatus>, ControlError> {
        self.ask(Control::Peers).await
    }

    /// Takes the torrent out of its session and waits until it has let go of its files, which stay. Other handles of the
    /// torrent speak of one that is gone from then on, even if it is added again.
    ///
    /// # Errors
    /// [`RemoveError::NotFound`] when it was removed already, [`RemoveError::Closed`] when the session ended.
    pub async fn remove(&self) -> Result<(), RemoveError> {
        let commands = self.commands.upgrade().ok_or(RemoveError::Closed)?;
        let (done, removed) = oneshot::channel();
        let command = Command::Remove { parts: self.parts.clone(), done };
        commands.send(command).await.map_err(|_| RemoveError::Closed)?;
        drop(commands);
        removed.await.map_err(|_| RemoveError::Closed)?
    }

    async fn ask<T>(&self, control: impl FnOnce(oneshot::Sender<T>) -> Control) -> Result<T, ControlError> {
        let (reply, answer) = oneshot::channel();
        self.control(control(reply)).await?;
        answer.await.map_err(|_| ControlError::Gone(self.parts.info_hash))
    }

    async fn control(&self, control: Control) -> Result<(), ControlError> {
        let gone = |_| ControlError::Gone(self.parts.info_hash);
        self.parts.mailbox.send(TorrentMail::Control(control)).await.map_err(gone)
    }
}
