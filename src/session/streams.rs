//! What is read from a session or torrent as it comes. Each is a [`Stream`], and has a method `next` for those who need no
//! more.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::sync::{broadcast, watch};

use super::{Progress, SessionEvent, TorrentEvent};
use crate::torrent::TorrentState;

/// Waits for what `R` receives, and gives it back with that.
type Wait<R, T> = Pin<Box<dyn Future<Output = (R, Option<T>)> + Send + Sync>>;

/// A receiver as a stream. What is waited for is kept from poll to poll, so that nothing is lost when a poll is not
/// followed by another.
struct Receiving<R, T> {
    wait: fn(R) -> Wait<R, T>,
    /// `None` once there is nothing more to come.
    waiting: Option<Wait<R, T>>,
}

impl<R, T> Receiving<R, T> {
    fn new(receiver: Option<R>, wait: fn(R) -> Wait<R, T>) -> Self {
        Self { wait, waiting: receiver.map(wait) }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(None) };
        let (receiver, item) = ready!(waiting.as_mut().poll(context));
        self.waiting = item.is_some().then(|| (self.wait)(receiver));
        Poll::Ready(item)
    }
}

impl<R, T> fmt::Debug for Receiving<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").field("ended", &self.waiting.is_none()).finish()
    }
}

/// The progress of a torrent as it changes.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is read"]
pub struct ProgressStream {
    states: Receiving<watch::Receiver<TorrentState>, Progress>,
}

impl ProgressStream {
    pub(super) fn new(mut state: watch::Receiver<TorrentState>) -> Self {
        state.mark_changed();
        let states = Receiving::new(Some(state), |mut state| {
            Box::pin(async move {
                let changed = state.changed().await;
                let progress = changed.ok().map(|()| state.borrow_and_update().progress.clone());
                (state, progress)
            })
        });
        Self { states }
    }

    /// The newest progress that was not seen yet; waits for it. Once the torrent is gone, how far it was, and
    /// then `None`.
    pub async fn next(&mut self) -> Option<Progress> {
        poll_fn(|context| self.states.poll(context)).await
    }
}

impl Stream for ProgressStream {
    type Item = Progress;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.states.poll(context)
    }
}

/// What happens to a torrent.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is read"]
pub struct EventStream {
    events: Receiving<broadcast::Receiver<TorrentEvent>, TorrentEvent>,
}

impl EventStream {
    pub(super) fn new(events: Option<broadcast::Receiver<TorrentEvent>>) -> Self {
        Self { events: Receiving::new(events, next_event) }
    }

    /// The next event. A reader that falls more than a thousand behind misses the oldest, and is told so by
    /// [`TorrentEvent::Missed`]. `None` once the torrent is gone.
    pub async fn next(&mut self) -> Option<TorrentEvent> {
        poll_fn(|context| self.events.poll(context)).await
    }
}

impl Stream for EventStream {
    type Item = TorrentEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll(context)
    }
}

/// What happens in a session and to its torrents.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is read"]
pub struct SessionEventStream {
    events: Receiving<broadcast::Receiver<SessionEvent>, SessionEvent>,
}

impl SessionEventStream {
    pub(super) fn new(events: Option<broadcast::Receiver<SessionEvent>>) -> Self {
        Self { events: Receiving::new(events, next_event) }
    }

    /// The next event. A reader that falls some thousand behind misses the oldest, and is told so by
    /// [`SessionEvent::Missed`]; the session never waits. `None` once the session is closed.
    pub async fn next(&mut self) -> Option<SessionEvent> {
        poll_fn(|context| self.events.poll(context)).await
    }
}

impl Stream for SessionEventStream {
    type Item = SessionEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll(context)
    }
}

/// An event that is able to say that others were missed.
trait Event: Clone + Send + Sync + 'static {
    fn missed(events: u64) -> Self;
}

impl Event for TorrentEvent {
    fn missed(events: u64) -> Self {
        Self::Missed { events }
    }
}

impl Event for SessionEvent {
    fn missed(events: u64) -> Self {
        Self::Missed { events }
    }
}

fn next_event<E: Event>(mut events: broadcast::Receiver<E>) -> Wait<broadcast::Receiver<E>, E> {
    Box::pin(async move {
        let event = match events.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(E::missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        };
        (events, event)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InfoHash;

    fn added(number: u8) -> SessionEvent {
        SessionEvent::Added { info_hash: InfoHash::new([number; 20]) }
    }

    #[tokio::test]
    async fn a_slow_reader_learns_how_many_it_missed_and_then_the_rest_and_the_end() {
        let (sender, receiver) = broadcast::channel(4);
        let mut stream = SessionEventStream::new(Some(receiver));
        for number in 0..7 {
            sender.send(added(number)).unwrap();
        }
        drop(sender);
        assert!(matches!(stream.next().await, Some(SessionEvent::Missed { events: 3 })));
        let mut hashes = Vec::new();
        while let Some(event) = stream.next().await {
            hashes.extend(event.info_hash());
        }
        assert_eq!(hashes, [3, 4, 5, 6].map(|number| InfoHash::new([number; 20])));
        assert!(stream.next().await.is_none(), "an end stays an end");
    }

    #[tokio::test]
    async fn what_is_given_up_waiting_for_is_not_lost() {
        let (sender, receiver) = broadcast::channel(4);
        let mut stream = SessionEventStream::new(Some(receiver));
        tokio::select! {
            biased;
            event = stream.next() => panic!("{event:?}"),
            () = std::future::ready(()) => {}
        }
        sender.send(added(1)).unwrap();
        assert!(matches!(stream.next().await, Some(SessionEvent::Added { .. })));
    }
}
