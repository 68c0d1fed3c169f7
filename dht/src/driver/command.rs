use std::net::SocketAddr;

use tokio::sync::{mpsc, oneshot};

use super::BootstrapHost;
use crate::{Event, NodeId, Readiness, Request, RequestError, Stats};

/// Commands that wait for the task at most. A handle that finds no room waits in a task of its own.
pub(super) const COMMANDS_MAX: usize = 1024;

/// Events of one operation that wait for whoever started it. A lookup asks fewer nodes than this.
pub(super) const OPERATION_EVENTS_MAX: usize = 512;

/// Names an operation before the node has given it its own name.
pub(super) type Ticket = u64;

/// Where the events of one operation go, or why there will be none.
pub(super) type EventSender = mpsc::Sender<Result<Event, RequestError>>;

/// What a handle wants of the task that owns the node.
#[derive(Debug)]
pub(super) enum Command {
    /// Begin an operation, whose events go to `events`, or why it is not begun. Nothing is begun when that is closed already, which is how a
    /// `Cancel` is noticed that overtook its start in a full mailbox.
    Start { ticket: Ticket, request: Request, events: EventSender },
    /// Nobody waits for this operation any more.
    Cancel(Ticket),
    /// Ask an address whether a node lives there.
    AddNode(SocketAddr),
    /// Say something about the node.
    Ask(Question),
    /// Save the state, end, and then say so.
    Shutdown(oneshot::Sender<()>),
}

/// Questions that the node answers at once.
#[derive(Debug)]
pub(super) enum Question {
    Stats(oneshot::Sender<Stats>),
    Readiness(oneshot::Sender<Readiness>),
    NodeIds(oneshot::Sender<Vec<NodeId>>),
    BootstrapHosts(oneshot::Sender<Vec<BootstrapHost>>),
    Snapshot(oneshot::Sender<Vec<u8>>),
}
