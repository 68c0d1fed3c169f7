use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::subscription::{OperationError, Subscription};
use crate::item::{Item, MutableItem};
use crate::{Event, Hop, LookupOutcome, NodeSamples, PutOutcome};

/// A lookup that yields something on its way, and what it came to. Dropping it ends the lookup.
#[derive(Debug)]
#[must_use = "dropping the stream ends the lookup"]
pub struct LookupStream<T> {
    operation: Subscription,
    pick: fn(Event) -> Option<T>,
    outcome: Option<Result<LookupOutcome, OperationError>>,
}

/// The peers of a torrent, as replies name them. The same peer may come twice.
pub type PeerStream = LookupStream<Vec<SocketAddr>>;
/// Info hashes that nodes store, as each node names some. The same one may come from several nodes.
pub type SampleStream = LookupStream<NodeSamples>;
/// The steps of a lookup, each with the node that it concerns.
pub type TraceStream = LookupStream<(SocketAddr, Hop)>;

impl<T> LookupStream<T> {
    pub(super) fn new(operation: Subscription, pick: fn(Event) -> Option<T>) -> Self {
        Self { operation, pick, outcome: None }
    }

    /// What comes next; `None` when the lookup is over.
    pub async fn next(&mut self) -> Option<T> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// What the lookup came to, or why it did not continue; `None` until it is over.
    pub fn outcome(&self) -> Option<&Result<LookupOutcome, OperationError>> {
        self.outcome.as_ref()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        while self.outcome.is_none() {
            match ready!(self.operation.poll_next(context)) {
                Ok(Event::LookupDone { outcome, .. }) => self.outcome = Some(Ok(outcome)),
                Ok(event) => {
                    if let Some(picked) = (self.pick)(event) {
                        return Poll::Ready(Some(picked));
                    }
                }
                Err(error) => self.outcome = Some(Err(error)),
            }
        }
        Poll::Ready(None)
    }
}

impl<T> futures_core::Stream for LookupStream<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll(context)
    }
}

/// Something that is kept up, and what comes of it again and again. Dropping it ends that.
///
/// What comes waits until it is taken, some hundred of it at most: of an owner who does not take it, the newest is
/// dropped. As a [`Stream`](futures_core::Stream) it ends with the one error.
#[derive(Debug)]
#[must_use = "dropping it ends what is kept up"]
pub struct KeptStream<T> {
    operation: Subscription,
    pick: fn(Event) -> Option<T>,
}

/// The versions of a mutable item, each newer than the one before. Dropping it ends the watch.
pub type ItemStream = KeptStream<MutableItem>;
/// Keeps an item in the DHT, and says how each put went: the first one at once, then one every hour. Dropping it stops
/// that, and nodes forget the item about two hours later.
pub type PutGuard = KeptStream<PutOutcome>;

impl<T> KeptStream<T> {
    pub(super) fn new(operation: Subscription, pick: fn(Event) -> Option<T>) -> Self {
        Self { operation, pick }
    }

    /// What comes next.
    ///
    /// # Errors
    /// When nothing will come: the request was refused, or the node is shut down.
    pub async fn next(&mut self) -> Result<T, OperationError> {
        self.operation.find(self.pick).await
    }
}

impl<T> futures_core::Stream for KeptStream<T> {
    type Item = Result<T, OperationError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.operation.is_over() {
            let event = ready!(self.operation.poll_next(context));
            if let Some(item) = event.map(self.pick).transpose() {
                return Poll::Ready(Some(item));
            }
        }
        Poll::Ready(None)
    }
}

pub(super) fn peers(event: Event) -> Option<Vec<SocketAddr>> {
    if let Event::Peers { peers, .. } = event { Some(peers) } else { None }
}

pub(super) fn samples(event: Event) -> Option<NodeSamples> {
    if let Event::Samples { samples, .. } = event { Some(samples) } else { None }
}

pub(super) fn hop(event: Event) -> Option<(SocketAddr, Hop)> {
    if let Event::Hop { addr, hop, .. } = event { Some((addr, hop)) } else { None }
}

pub(super) fn version(event: Event) -> Option<MutableItem> {
    if let Event::Item { item: Item::Mutable(item), .. } = event { Some(item) } else { None }
}

pub(super) fn republished(event: Event) -> Option<PutOutcome> {
    if let Event::Republished { outcome, .. } = event { Some(outcome) } else { None }
}

/// Keeps a torrent announced; dropping it stops that.
#[derive(Debug)]
#[must_use = "dropping the guard stops the announces"]
pub struct AnnounceGuard {
    _operation: Subscription,
}

impl AnnounceGuard {
    pub(super) fn new(operation: Subscription) -> Self {
        Self { _operation: operation }
    }
}
