use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::DhtBuilder;
use super::bootstrap::BootstrapHost;
use super::command::{Command, OPERATION_EVENTS_MAX, Question, Request, Ticket};
use crate::{AnnouncePort, Contact, Event, InfoHash, NodeId, Readiness, Stats, Target};

/// The node is shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the DHT node is shut down")]
pub struct Closed;

/// A handle on a running node. Clones lead to the same node, which ends with [`Dht::shutdown`] or with its last handle.
#[derive(Debug, Clone)]
pub struct Dht {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) local_addrs: Vec<SocketAddr>,
    pub(super) runtime: Handle,
    pub(super) ticket_next: AtomicU64,
}

/// How an announce went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnounceOutcome {
    /// Nodes that were told.
    pub asked: usize,
    /// Nodes that said they have it.
    pub acknowledged: usize,
    /// From the call to the last answer.
    pub elapsed: Duration,
}

impl Dht {
    /// Describes a node to be started.
    pub fn builder() -> DhtBuilder {
        DhtBuilder::default()
    }

    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Looks for the peers of a torrent. The stream yields them as replies arrive and ends with the lookup; dropping it
    /// ends the lookup. On a closed node it is empty.
    pub fn get_peers(&self, info_hash: InfoHash) -> PeerStream {
        PeerStream { operation: self.start(Request::GetPeers(info_hash)) }
    }

    /// Announces once that this host has a torrent, as a seed or not.
    pub async fn announce(
        &self,
        info_hash: InfoHash,
        port: AnnouncePort,
        seed: bool,
    ) -> Result<AnnounceOutcome, Closed> {
        let mut operation = self.start(Request::Announce { info_hash, port, seed });
        loop {
            if let Event::Announced { asked, acknowledged, elapsed, .. } = operation.next().await.ok_or(Closed)? {
                return Ok(AnnounceOutcome { asked, acknowledged, elapsed });
            }
        }
    }

    /// Announces a torrent now and again, as long as the guard that is returned lives.
    pub fn keep_announced(&self, info_hash: InfoHash, port: AnnouncePort) -> AnnounceGuard {
        let ticket = self.ticket();
        let (wants, wanted) = oneshot::channel();
        self.send(Command::KeepAnnounced { ticket, info_hash, port, seed: false, wanted });
        AnnounceGuard { dht: self.clone(), ticket, _wants: wants }
    }

    /// The nodes nearest to a point, nearest first.
    pub async fn find_node(&self, target: Target) -> Result<Vec<Contact>, Closed> {
        let mut operation = self.start(Request::FindNode(target));
        loop {
            if let Event::LookupDone { outcome, .. } = operation.next().await.ok_or(Closed)? {
                return Ok(outcome.closest);
            }
        }
    }

    /// Asks an address for a sign of life: the node's id and the time it took, `None` if nothing came.
    pub async fn ping(&self, addr: SocketAddr) -> Result<Option<(NodeId, Duration)>, Closed> {
        let mut operation = self.start(Request::Ping(addr));
        loop {
            if let Event::Pinged { answer, .. } = operation.next().await.ok_or(Closed)? {
                return Ok(answer);
            }
        }
    }

    /// Tells of an address where a node may live, as a PORT message does (BEP 5). It is asked before it is believed.
    pub fn add_node(&self, addr: SocketAddr) {
        self.send(Command::AddNode(addr));
    }

    /// Numbers about the node.
    pub async fn stats(&self) -> Result<Stats, Closed> {
        self.ask(Question::Stats).await
    }

    /// Whether lookups can succeed, and if not, why.
    pub async fn readiness(&self) -> Result<Readiness, Closed> {
        self.ask(Question::Readiness).await
    }

    /// Returns once lookups can succeed.
    pub async fn ready(&self) -> Result<(), Closed> {
        self.ask(Question::Ready).await
    }

    /// How it goes with the hosts that the node was told to begin with.
    pub async fn bootstrap_hosts(&self) -> Result<Vec<BootstrapHost>, Closed> {
        self.ask(Question::BootstrapHosts).await
    }

    /// The ids of the node, one for each of [`Dht::local_addrs`].
    pub async fn node_ids(&self) -> Result<Vec<NodeId>, Closed> {
        self.ask(Question::NodeIds).await
    }

    /// What the state file would hold: the table, to be handed to another node.
    pub async fn snapshot(&self) -> Result<Vec<u8>, Closed> {
        self.ask(Question::Snapshot).await
    }

    /// The addresses that the node is bound to.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.shared.local_addrs
    }

    /// Everything that happens from now on. A receiver that falls behind misses the oldest events and is told so.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Saves the state and ends the node. Calls under way return [`Closed`].
    pub async fn shutdown(&self) {
        let (done, is_done) = oneshot::channel();
        if self.shared.commands.send(Command::Shutdown(done)).await.is_ok() {
            // An error means that the task ended by another shutdown, which is as good.
            let _ = is_done.await;
        }
    }

    fn start(&self, request: Request) -> Operation {
        let ticket = self.ticket();
        let (events, receiver) = mpsc::channel(OPERATION_EVENTS_MAX);
        self.send(Command::Start { ticket, request, events });
        Operation { dht: self.clone(), ticket, events: receiver, is_done: false }
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, Closed> {
        let (answer, answered) = oneshot::channel();
        self.shared.commands.send(Command::Ask(question(answer))).await.map_err(|_| Closed)?;
        answered.await.map_err(|_| Closed)
    }

    fn ticket(&self) -> Ticket {
        self.shared.ticket_next.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands a command over without waiting. When the mailbox is full, a small task of its own waits for room; a closed
    /// node needs no command.
    fn send(&self, command: Command) {
        if let Err(mpsc::error::TrySendError::Full(command)) = self.shared.commands.try_send(command) {
            let commands = self.shared.commands.clone();
            self.shared.runtime.spawn(async move { commands.send(command).await });
        }
    }
}

/// An operation under way; dropping it cancels it.
#[derive(Debug)]
struct Operation {
    dht: Dht,
    ticket: Ticket,
    events: mpsc::Receiver<Event>,
    is_done: bool,
}

impl Operation {
    async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = std::task::ready!(self.events.poll_recv(context));
        self.is_done |= event.is_none();
        Poll::Ready(event)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.is_done {
            self.dht.send(Command::Cancel(self.ticket));
        }
    }
}

/// The peers of a torrent, as replies name them. Dropping it ends the lookup.
#[derive(Debug)]
#[must_use = "dropping the stream ends the lookup"]
pub struct PeerStream {
    operation: Operation,
}

impl PeerStream {
    /// The peers of the next reply that names any; `None` when the lookup is over. The same peer may come twice.
    pub async fn next(&mut self) -> Option<Vec<SocketAddr>> {
        std::future::poll_fn(|context| self.poll_peers(context)).await
    }

    fn poll_peers(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<SocketAddr>>> {
        loop {
            match std::task::ready!(self.operation.poll_next(context)) {
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

/// Keeps a torrent announced; dropping it stops that.
#[derive(Debug)]
#[must_use = "dropping the guard stops the announces"]
pub struct AnnounceGuard {
    dht: Dht,
    ticket: Ticket,
    _wants: oneshot::Sender<Infallible>,
}

impl Drop for AnnounceGuard {
    fn drop(&mut self) {
        self.dht.send(Command::StopAnnouncing(self.ticket));
    }
}
