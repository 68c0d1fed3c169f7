use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, watch};

use super::bootstrap::DhtStatus;
use super::command::{Command, OPERATION_EVENTS_MAX, Ticket};
use crate::{Event, Request, RequestError};

/// The node is shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the DHT node is shut down")]
pub struct Closed;

/// Why an operation has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// The node was shut down before, or meanwhile.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// It was not begun.
    #[error(transparent)]
    Refused(#[from] RequestError),
}

/// What every handle and every operation of a node shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) status: watch::Receiver<DhtStatus>,
    pub(super) local_addrs: Vec<SocketAddr>,
    pub(super) runtime: Handle,
    pub(super) ticket_next: AtomicU64,
}

impl Shared {
    /// Hands a command over without waiting. When the mailbox is full, a small task of its own waits for room; a closed
    /// node needs no command.
    pub(super) fn send(&self, command: Command) {
        if let Err(mpsc::error::TrySendError::Full(command)) = self.commands.try_send(command) {
            let commands = self.commands.clone();
            self.runtime.spawn(async move { commands.send(command).await });
        }
    }
}

/// An operation under way; dropping it cancels it.
#[derive(Debug)]
pub(super) struct Subscription {
    shared: Arc<Shared>,
    ticket: Ticket,
    events: mpsc::Receiver<Result<Event, RequestError>>,
    /// Why there are no more events, once there are none.
    end: Option<OperationError>,
}

impl Subscription {
    pub(super) fn start(shared: Arc<Shared>, request: Request) -> Self {
        let ticket = shared.ticket_next.fetch_add(1, Ordering::Relaxed);
        let (events, receiver) = mpsc::channel(OPERATION_EVENTS_MAX);
        shared.send(Command::Start { ticket, request, events });
        Self { shared, ticket, events: receiver, end: None }
    }

    /// The next event; an error when there are no more: of an operation that ended, [`Closed`].
    pub(super) async fn next(&mut self) -> Result<Event, OperationError> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, OperationError>> {
        if let Some(end) = self.end {
            return Poll::Ready(Err(end));
        }
        let end = match std::task::ready!(self.events.poll_recv(context)) {
            Some(Err(error)) => error.into(),
            Some(Ok(event)) => return Poll::Ready(Ok(event)),
            None => Closed.into(),
        };
        self.end = Some(end);
        Poll::Ready(Err(end))
    }

    /// Whether there are no more events.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// The first event of which `pick` makes something.
    pub(super) async fn find<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> Result<T, OperationError> {
        loop {
            if let Some(picked) = pick(self.next().await?) {
                return Ok(picked);
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.end.is_none() {
            self.shared.send(Command::Cancel(self.ticket));
        }
    }
}
