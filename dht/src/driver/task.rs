use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, Sleep};

use super::batch::{Inbox, Outbox};
use super::bootstrap::{DhtStatus, Hosts};
use super::command::{COMMANDS_MAX, Command, EventSender, Question, Ticket};
use super::handle::Dht;
use super::resolve::{Resolution, resolve};
use super::state::StateFile;
use super::subscription::Shared;
use super::unreachable::{UNREACHABLE_MAX, watch};
use crate::{Event, Node, NodeConfig, OperationId, Output, SocketIndex};

/// How often the state file is written.
const SAVE_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// When it is written first: whoever crashes early has something to begin with.
const SAVE_FIRST: Duration = Duration::from_secs(30);

/// How often it is looked at what came of the bootstrap hosts, while there is one of which nothing came.
const HOSTS_INTERVAL: Duration = Duration::from_secs(1);

/// Events that a slow subscriber may leave unread before it misses some.
const EVENTS_MAX: usize = 1024;

/// How soon counts that changed are shown again to those who watch the node.
const STATUS_INTERVAL: Duration = Duration::from_millis(250);

/// Batches taken from one socket before the others, the clock and the commands have their turn.
const BATCHES_PER_TURN: usize = 4;

/// Farther away than any timer that matters, for a node that has none.
const NO_TIMEOUT: Duration = Duration::from_secs(3600);

/// What a node starts from.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) sockets: Vec<UdpSocket>,
    pub(super) bootstrap: Vec<String>,
    pub(super) state_file: Option<StateFile>,
    pub(super) seed: [u8; 32],
    pub(super) config: NodeConfig,
}

/// Starts the task that owns the node, in the current runtime.
pub(super) async fn spawn(started: Started) -> io::Result<Dht> {
    let now = Instant::now();
    let mut node = Node::new(started.config, started.seed, now);
    let mut sockets = Vec::with_capacity(started.sockets.len());
    for socket in started.sockets {
        let index = node.add_socket(now, socket.local_addr()?);
        sockets.push(Port { socket: Arc::new(socket), index, outbox: Outbox::default() });
    }
    let local_addrs = sockets.iter().map(|port| port.socket.local_addr()).collect::<io::Result<Vec<_>>>()?;
    let mut state_file = started.state_file;
    if let Some(file) = &mut state_file {
        restore(&mut node, file).await;
    }
    let (resolved_sender, resolved) = mpsc::channel(started.bootstrap.len().max(1));
    let mut hosts = Hosts::new(started.bootstrap.clone(), now);
    for (host, name) in started.bootstrap.into_iter().enumerate() {
        match name.parse() {
            // Its kind is admitted from the start: whoever names an address may ask it with the first command.
            Ok(addr) => {
                let result = Ok(vec![addr]);
                node.add_bootstrap(now, hosts.handle_resolution(Resolution { host, result }));
            }
            Err(_) => {
                tokio::spawn(resolve(host, name, resolved_sender.clone()));
            }
        }
    }
    let (unreachable_sender, unreachable) = mpsc::channel(UNREACHABLE_MAX);
    let mut watchers = JoinSet::new();
    for port in &sockets {
        watchers.spawn(watch(port.socket.clone(), port.index, unreachable_sender.clone()));
    }
    let (commands_sender, commands) = mpsc::channel(COMMANDS_MAX);
    let (events, _) = broadcast::channel(EVENTS_MAX);
    let (status, status_receiver) = watch::channel(hosts.status(&node));
    let shared = Shared {
        commands: commands_sender,
        events: events.clone(),
        status: status_receiver,
        local_addrs,
        runtime: tokio::runtime::Handle::current(),
        ticket_next: AtomicU64::new(0),
    };
    let task = Task {
        node,
        sockets,
        inbox: Inbox::new(),
        socket_next: 0,
        events,
        operations: BTreeMap::new(),
        tickets: BTreeMap::new(),
        status,
        hosts,
        watchers,
        state_file,
        saving: None,
    };
    tokio::spawn(task.run(commands, resolved, unreachable));
    Ok(Dht::new(shared))
}

async fn restore(node: &mut Node, file: &mut StateFile) {
    let Some(bytes) = file.load().await else {
        return;
    };
    if let Err(error) = node.restore(Instant::now(), &bytes) {
        tracing::warn!(%error, "the saved DHT table is of no use, starting without");
        file.set_aside().await;
    }
}

/// A socket and what waits to be sent over it.
#[derive(Debug)]
struct Port {
    socket: Arc<UdpSocket>,
    index: SocketIndex,
    outbox: Outbox,
}

/// Owns the node. It moves bytes, time and commands in, and datagrams and events out, and decides nothing.
#[derive(Debug)]
struct Task {
    node: Node,
    sockets: Vec<Port>,
    inbox: Inbox,
    socket_next: usize,
    events: broadcast::Sender<Event>,
    operations: BTreeMap<OperationId, (Ticket, EventSender)>,
    tickets: BTreeMap<Ticket, OperationId>,
    status: watch::Sender<DhtStatus>,
    hosts: Hosts,
    /// They hold the sockets too.
    watchers: JoinSet<()>,
    state_file: Option<StateFile>,
    saving: Option<JoinHandle<()>>,
}

impl Task {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut resolved: mpsc::Receiver<Resolution>,
        mut unreachable: mpsc::Receiver<(SocketIndex, SocketAddr)>,
    ) {
        let mut timeout = pin!(tokio::time::sleep(Duration::ZERO));
        let start = tokio::time::Instant::now();
        let mut save = tokio::time::interval_at(start + SAVE_FIRST, SAVE_INTERVAL);
        let mut look_at_hosts = tokio::time::interval_at(start + HOSTS_INTERVAL, HOSTS_INTERVAL);
        let mut hosts_wait = true;
        let mut tell_counts = tokio::time::interval(STATUS_INTERVAL);
        tell_counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_busy = false;
        let done = loop {
            self.flush().await;
            let counts_changed = self.tell_status();
            if std::mem::take(&mut is_busy) {
                // Under full load the other tasks of this thread have their turn too.
                tokio::task::yield_now().await;
            }
            self.set_timeout(timeout.as_mut());
            tokio::select! {
                index = readable(&self.sockets, self.socket_next) => is_busy = self.receive(index),
                () = timeout.as_mut() => self.node.handle_timeout(Instant::now()),
                Some(resolution) = resolved.recv() => {
                    let addrs = self.hosts.handle_resolution(resolution);
                    self.node.add_bootstrap(Instant::now(), addrs);
                }
                Some((socket, to)) = unreachable.recv() => {
                    self.node.handle_unreachable(Instant::now(), socket, to);
                }
                command = commands.recv() => match command {
                    Some(Command::Shutdown(done)) => break Some(done),
                    Some(command) => self.handle_command(command),
                    None => break None,
                },
                _ = look_at_hosts.tick(), if hosts_wait => {
                    self.hosts.report(Instant::now(), &self.node);
                    hosts_wait = self.hosts.is_waiting(&self.node);
                }
                _ = tell_counts.tick(), if counts_changed => {
                    self.status.send_replace(self.hosts.status(&self.node));
                }
                _ = save.tick() => self.begin_save(),
            }
        };
        self.end_save().await;
        // The ports are free once nobody holds their sockets.
        self.watchers.shutdown().await;
        // Whoever waits for an operation hears that the node is closed before the shutdown returns.
        drop((self, commands));
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    fn set_timeout(&self, mut timeout: std::pin::Pin<&mut Sleep>) {
        let deadline = self.node.next_timeout().unwrap_or_else(|| Instant::now() + NO_TIMEOUT).into();
        if timeout.deadline() != deadline || timeout.is_elapsed() {
            timeout.as_mut().reset(deadline);
        }
    }

    /// Takes what has arrived over one socket. Returns whether there may be more than one turn takes.
    fn receive(&mut self, index: usize) -> bool {
        self.socket_next = index + 1;
        for _ in 0..BATCHES_PER_TURN {
            let Self { node, sockets, inbox, events, operations, tickets, .. } = self;
            let (before, rest) = sockets.split_at_mut(index);
            let Some((port, after)) = rest.split_first_mut() else { return false };
            let now = Instant::now();
            let own = port.index;
            let Port { socket, outbox, .. } = port;
            let mut outputs = Outputs { events, operations, tickets };
            let received = inbox.receive(socket, |from, datagram| {
                node.handle_datagram(now, own, from, datagram);
                while let Some(output) = node.poll_output() {
                    match output {
                        Output::Transmit { socket, to, payload } if socket == own => outbox.push(to, payload),
                        Output::Transmit { socket, to, payload } => {
                            let mut others = before.iter_mut().chain(after.iter_mut());
                            if let Some(other) = others.find(|other| other.index == socket) {
                                other.outbox.push(to, payload);
                            }
                        }
                        Output::Event(event) => outputs.handle(event),
                    }
                }
            });
            if received == 0 {
                return false;
            }
        }
        true
    }

    /// Drains the node and sends everything, until there is nothing more.
    async fn flush(&mut self) {
        loop {
            self.drain();
            if self.sockets.iter().all(|port| port.outbox.is_empty()) {
                return;
            }
            for port in &mut self.sockets {
                let node = &mut self.node;
                let unreachable = |to| node.handle_unreachable(Instant::now(), port.index, to);
                port.outbox.flush(&port.socket, unreachable).await;
            }
        }
    }

    fn drain(&mut self) {
        let Self { node, sockets, events, operations, tickets, .. } = self;
        let mut outputs = Outputs { events, operations, tickets };
        while let Some(output) = node.poll_output() {
            match output {
                Output::Transmit { socket, to, payload } => {
                    if let Some(port) = sockets.iter_mut().find(|port| port.index == socket) {
                        port.outbox.push(to, payload);
                    }
                }
                Output::Event(event) => outputs.handle(event),
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Start { ticket, request, events } => {
                if events.is_closed() {
                    return;
                }
                match self.node.start(now, request) {
                    Ok(operation) => {
                        self.operations.insert(operation, (ticket, events));
                        self.tickets.insert(ticket, operation);
                    }
                    // Its mailbox is empty; it may be gone by now.
                    Err(error) => drop(events.try_send(Err(error))),
                }
            }
            Command::Cancel(ticket) => {
                if let Some(operation) = self.tickets.remove(&ticket) {
                    self.operations.remove(&operation);
                    self.node.cancel(now, operation);
                }
            }
            Command::AddNode(addr) => self.node.add_node(now, addr),
            Command::Ask(question) => self.answer(question),
            Command::Shutdown(_) => {}
        }
    }

    /// Answers a question; whoever asked may be gone, which is no concern of the node.
    fn answer(&mut self, question: Question) {
        match question {
            Question::Stats(answer) => drop(answer.send(self.node.stats(Instant::now()))),
            Question::Readiness(answer) => drop(answer.send(self.node.readiness())),
            Question::NodeIds(answer) => drop(answer.send(self.node.node_ids())),
            Question::BootstrapHosts(answer) => drop(answer.send(self.hosts.list(&self.node))),
            Question::Snapshot(answer) => drop(answer.send(self.node.snapshot())),
        }
    }

    /// Shows those who watch the node at once that it got ready, or ceased to be, or lost its network. Returns whether
    /// mere counts have changed.
    fn tell_status(&self) -> bool {
        let (status, shown) = (self.hosts.status(&self.node), *self.status.borrow());
        if (status.is_ready(), status.is_offline) != (shown.is_ready(), shown.is_offline) {
            self.status.send_replace(status);
            return false;
        }
        status != shown
    }

    /// Has the state saved beside everything else, unless the disk is still busy with the last time.
    fn begin_save(&mut self) {
        let is_busy = self.saving.as_ref().is_some_and(|saving| !saving.is_finished());
        if let (Some(file), false) = (self.state_file.clone(), is_busy) {
            let bytes = self.node.snapshot();
            self.saving = Some(tokio::spawn(async move { file.save(bytes).await }));
        }
    }

    /// Saves the state for the last time.
    async fn end_save(&mut self) {
        if let Some(saving) = self.saving.take() {
            // That it failed was logged where it did.
            let _ = saving.await;
        }
        if let Some(file) = &self.state_file {
            file.save(self.node.snapshot()).await;
        }
    }
}

/// Where events go: to the operation they belong to, and to everybody who listens.
struct Outputs<'t> {
    events: &'t broadcast::Sender<Event>,
    operations: &'t mut BTreeMap<OperationId, (Ticket, EventSender)>,
    tickets: &'t mut BTreeMap<Ticket, OperationId>,
}

impl Outputs<'_> {
    fn handle(&mut self, event: Event) {
        if let Some(operation) = event.operation() {
            self.tell_operation(operation, &event);
        }
        if self.events.receiver_count() > 0 {
            let _ = self.events.send(event);
        }
    }

    fn tell_operation(&mut self, operation: OperationId, event: &Event) {
        if let Some((_, events)) = self.operations.get(&operation)
            && let Err(error) = events.try_send(Ok(event.clone()))
        {
            tracing::debug!(?operation, %error, "nobody took an event of an operation");
        }
        if event.is_final()
            && let Some((ticket, _)) = self.operations.remove(&operation)
        {
            self.tickets.remove(&ticket);
        }
    }
}

/// The index of a socket that has something to read, looked for from `first` on, so that none starves the others.
fn readable(sockets: &[Port], first: usize) -> impl Future<Output = usize> + '_ {
    poll_fn(move |context| {
        for offset in 0..sockets.len() {
            let index = (first + offset) % sockets.len();
            if sockets[index].socket.poll_recv_ready(context).is_ready() {
                return Poll::Ready(index);
            }
        }
        Poll::Pending
    })
}
