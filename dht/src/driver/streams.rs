use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::subscription::{OperationError, Subscription};
use crate::item::{Item, MutableItem};
use crate::{Event, Hop, LookupOutcome, NodeSamples, PutOutcome};

/// A lookup that yields something on its way, and what it came to.
#[derive(Debug)]
struct LookupStream {
    operation: Subscription,
    outcome: Option<Result<LookupOutcome, OperationError>>,
}

impl LookupStream {
    fn new(operation: Subscription) -> Self {
        Self { operation, outcome: None }
    }

    /// The next event of the lookup, `None` when it is over.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.outcome.is_some() {
            return Poll::Ready(None);
        }
        self.outcome = Some(match std::task::ready!(self.operation.poll_next(context)) {
            Ok(Event::LookupDone { outcome, .. }) => Ok(outcome),
            Ok(event) => return Poll::Ready(Some(event)),
            Err(error) => Err(error),
        });
        Poll::Ready(None)
    }
}

/// The peers of a torrent, as replies name them. Dropping it ends the lookup.
#[derive(Debug)]
#[must_use = "dropping the stream ends the lookup"]
pub struct PeerStream {
    lookup: LookupStream,
}

impl PeerStream {
    pub(super) fn new(operation: Subscription) -> Self {
        Self { lookup: LookupStream::new(operation) }
    }

    /// The peers of the next reply that names any; `None` when the lookup is over. The same peer may come twice.
    pub async fn next(&mut self) -> Option<Vec<SocketAddr>> {
        std::future::poll_fn(|context| self.poll_peers(context)).await
    }

    /// What the lookup came to, or why it did not go on; `None` until it is over.
    pub fn outcome(&self) -> Option<&Result<LookupOutcome, OperationError>> {
        self.lookup.outcome.as_ref()
    }

    fn poll_peers(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<SocketAddr>>> {
        loop {
            match std::task::ready!(self.lookup.poll_event(context)) {
                Some(Event::Peers { peers, .. }) => return Poll::Ready(Some(peers)),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}

impl futures_core::Stream for PeerStream {
    type Item = Vec<SocketAddr>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_peers(context)
    }
}

/// Info hashes that nodes store, as each node names some. Dropping it ends the lookup.
#[derive(Debug)]
#[must_use = "dropping the stream ends the lookup"]
pub struct SampleStream {
    lookup: LookupStream,
}

impl SampleStream {
    pub(super) fn new(operation: Subscription) -> Self {
        Self { lookup: LookupStream::new(operation) }
    }

    /// What the next node names; `None` when the lookup is over. The same info hash may come from several nodes.
    pub async fn next(&mut self) -> Option<NodeSamples> {
        std::future::poll_fn(|context| self.poll_samples(context)).await
    }

    /// What the lookup came to, or why it did not go on; `None` until it is over.
    pub fn outcome(&self) -> Option<&Result<LookupOutcome, OperationError>> {
        self.lookup.outcome.as_ref()
    }

    fn poll_samples(&mut self, context: &mut Context<'_>) -> Poll<Option<NodeSamples>> {
        loop {
            match std::task::ready!(self.lookup.poll_event(context)) {
                Some(Event::Samples { samples, .. }) => return Poll::Ready(Some(samples)),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}

impl futures_core::Stream for SampleStream {
    type Item = NodeSamples;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_samples(context)
    }
}

/// The steps of a lookup. Dropping it ends the lookup.
#[derive(Debug)]
#[must_use = "dropping the stream ends the lookup"]
pub struct TraceStream {
    lookup: LookupStream,
}

impl TraceStream {
    pub(super) fn new(operation: Subscription) -> Self {
        Self { lookup: LookupStream::new(operation) }
    }

    /// The next step and the node that it concerns; `None` when the lookup is over.
    pub async fn next(&mut self) -> Option<(SocketAddr, Hop)> {
        std::future::poll_fn(|context| self.poll_hop(context)).await
    }

    /// What the lookup came to, or why it did not go on; `None` until it is over.
    pub fn outcome(&self) -> Option<&Result<LookupOutcome, OperationError>> {
        self.lookup.outcome.as_ref()
    }

    fn poll_hop(&mut self, context: &mut Context<'_>) -> Poll<Option<(SocketAddr, Hop)>> {
        loop {
            match std::task::ready!(self.lookup.poll_event(context)) {
                Some(Event::Hop { addr, hop, .. }) => return Poll::Ready(Some((addr, hop))),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}

impl futures_core::Stream for TraceStream {
    type Item = (SocketAddr, Hop);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_hop(context)
    }
}

/// The versions of a mutable item, each newer than the one before. Dropping it ends the watch.
///
/// Versions wait until they are taken, some hundred of them at most: of an owner who does not take them, the newest are
/// dropped.
#[derive(Debug)]
#[must_use = "dropping the stream ends the watch"]
pub struct ItemStream {
    operation: Subscription,
}

impl ItemStream {
    pub(super) fn new(operation: Subscription) -> Self {
        Self { operation }
    }

    /// The next version.
    ///
    /// # Errors
    /// When there will be none: the watch was refused, or the node is shut down.
    pub async fn next(&mut self) -> Result<MutableItem, OperationError> {
        let version = |event| match event {
            Event::Item { item: Item::Mutable(item), .. } => Some(item),
            _ => None,
        };
        self.operation.find(version).await
    }
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

/// Keeps an item in the DHT; dropping it stops that, and nodes forget the item about two hours later.
#[derive(Debug)]
#[must_use = "dropping the guard stops the puts"]
pub struct PutGuard {
    operation: Subscription,
}

impl PutGuard {
    pub(super) fn new(operation: Subscription) -> Self {
        Self { operation }
    }

    /// How the next put went: the first one at once, then one every hour.
    ///
    /// # Errors
    /// When there will be none: what is to be put is no item, or the node is shut down.
    pub async fn next(&mut self) -> Result<PutOutcome, OperationError> {
        let outcome = |event| match event {
            Event::Republished { outcome, .. } => Some(outcome),
            _ => None,
        };
        self.operation.find(outcome).await
    }
}
