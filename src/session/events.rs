use tokio::sync::{broadcast, watch};

use super::{Phase, TorrentError, TorrentEvent};
use crate::engine::TorrentParts;
use crate::model::InfoHash;
use crate::torrent::TorrentState;

/// What happens in a session: to it, and to each of its torrents.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "type", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SessionEvent {
    /// A torrent was added.
    Added {
        /// The torrent.
        info_hash: InfoHash,
    },
    /// A torrent was removed: it has let go of its files. Not sent when the session ends.
    Removed {
        /// The torrent.
        info_hash: InfoHash,
    },
    /// Every piece that is wanted is verified and written, for the first time or again. A torrent that is complete when it
    /// is added completes once its data are checked.
    Completed {
        /// The torrent.
        info_hash: InfoHash,
    },
    /// A torrent stopped. What was downloaded is kept; the torrent stays in its session until it is removed.
    Failed {
        /// The torrent.
        info_hash: InfoHash,
        /// Why; its sentence, where it is serialized.
        #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
        error: TorrentError,
    },
    /// Something happened to a torrent.
    Torrent {
        /// The torrent.
        info_hash: InfoHash,
        /// What.
        event: TorrentEvent,
    },
    /// The reader was too slow: this many of the oldest events are gone.
    /// [`Session::torrents`](super::Session::torrents) says how things stand.
    Missed {
        /// How many.
        events: u64,
    },
}

#[cfg(feature = "serde")]
fn as_text<S: serde::Serializer>(error: &TorrentError, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}

impl SessionEvent {
    /// The torrent that the event is about; `None` for [`SessionEvent::Missed`].
    pub fn info_hash(&self) -> Option<InfoHash> {
        match self {
            Self::Added { info_hash }
            | Self::Removed { info_hash }
            | Self::Completed { info_hash }
            | Self::Failed { info_hash, .. }
            | Self::Torrent { info_hash, .. } => Some(*info_hash),
            Self::Missed { .. } => None,
        }
    }
}

/// Tells the session's readers what happens to one torrent, until the torrent is gone.
pub(super) async fn relay(parts: TorrentParts, mut events: broadcast::Receiver<TorrentEvent>, into: Readers) {
    let TorrentParts { info_hash, mut state, .. } = parts;
    let mut milestones = Milestones::default();
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Ok(event) => into.tell(SessionEvent::Torrent { info_hash, event }),
                Err(broadcast::error::RecvError::Lagged(events)) => {
                    into.tell(SessionEvent::Torrent { info_hash, event: TorrentEvent::Missed { events } });
                }
                Err(broadcast::error::RecvError::Closed) => return,
            },
            changed = state.changed() => match changed {
                Ok(()) => {
                    let event = milestones.note(info_hash, &state.borrow_and_update());
                    event.into_iter().for_each(|event| into.tell(event));
                }
                Err(watch::error::RecvError { .. }) => return,
            },
        }
    }
}

/// The way to all who read a session's events.
#[derive(Debug, Clone)]
pub(super) struct Readers(pub(super) broadcast::Sender<SessionEvent>);

impl Readers {
    /// Never waits: who is slow misses the oldest.
    pub(super) fn tell(&self, event: SessionEvent) {
        // Nobody may be reading.
        let _ = self.0.send(event);
    }
}

/// What was told of a torrent's state already.
#[derive(Debug, Default)]
struct Milestones {
    completed: bool,
    failed: bool,
}

impl Milestones {
    /// What a state brings that was not told.
    fn note(&mut self, info_hash: InfoHash, state: &TorrentState) -> Option<SessionEvent> {
        if let Some(error) = state.error.clone() {
            let event = SessionEvent::Failed { info_hash, error };
            return (!std::mem::replace(&mut self.failed, true)).then_some(event);
        }
        match state.progress.phase {
            Phase::Seeding => {
                let completes = !std::mem::replace(&mut self.completed, true);
                completes.then_some(SessionEvent::Completed { info_hash })
            }
            Phase::Downloading => {
                // A piece was lost: there is something to complete.
                self.completed = false;
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torrent::Progress;

    fn state(phase: Phase, error: Option<TorrentError>) -> TorrentState {
        TorrentState { progress: Progress::new(phase), error }
    }

    #[test]
    fn a_torrent_completes_once_until_it_loses_a_piece_and_fails_once() {
        let hash = InfoHash::new([1; 20]);
        let mut milestones = Milestones::default();
        let mut note = |phase, error| milestones.note(hash, &state(phase, error));
        assert!(note(Phase::Metadata, None).is_none() && note(Phase::Downloading, None).is_none());
        assert!(matches!(note(Phase::Seeding, None), Some(SessionEvent::Completed { .. })));
        for phase in [Phase::Seeding, Phase::Paused, Phase::Seeding] {
            assert!(note(phase, None).is_none(), "{phase:?}");
        }
        assert!(note(Phase::Downloading, None).is_none());
        assert!(matches!(note(Phase::Seeding, None), Some(SessionEvent::Completed { .. })), "complete again");
        let stopped = || Some(TorrentError::Stopped);
        assert!(matches!(note(Phase::Failed, stopped()), Some(SessionEvent::Failed { .. })));
        assert!(note(Phase::Failed, stopped()).is_none());
    }
}
