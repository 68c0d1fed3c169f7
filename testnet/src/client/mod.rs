//! A whole client as a host: a DHT node, a torrent, a link for each connection, and a disk in memory. It makes the loop of the
//! engine over virtual bytes; every decision is the machines'.

mod connection;
mod discovery;
mod disk;
mod files;
mod manners;
mod seen;
mod vice;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use magnes::model::{Block, InfoHash};
use magnes::swarm::{CloseCause, PeerKey};
use magnes::torrent::{Output, Torrent, TorrentConfig, TorrentEvent, TorrentState, link_config};
use magnes::wire::{Link, LinkConfig, LinkEvent, Message, SendError};
use magnes_dht::NodeConfig;

use crate::host::{Datagram, Host, StreamAction, StreamEvent, StreamId};
use connection::{Connection, Stage};
use discovery::{Discovery, Found};
use files::{Answer, Files};
use manners::Filter;

pub use disk::Disk;
pub use files::{Kept, Remains};
pub use manners::Manners;
pub use seen::Seen;
pub use vice::Vice;

/// What a client is made with.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where it is, with datagrams and streams.
    pub addr: SocketAddr,
    /// Its torrent.
    pub torrent: TorrentConfig,
    /// Its DHT node, if it has one, and whom that bootstraps from.
    pub node: Option<(NodeConfig, Vec<SocketAddr>)>,
    /// From any job of its disk to the answer.
    pub disk_latency: Duration,
    /// How it stands towards others, besides what its torrent decides.
    pub manners: Manners,
    /// The invariants of its machines are checked after every this many of its steps.
    pub check_every: u64,
    /// Repeats it.
    pub seed: u64,
}

/// A client with one torrent.
#[derive(Debug)]
pub struct Client {
    torrent: Torrent,
    info_hash: InfoHash,
    /// What a link needs before its torrent is known.
    link: LinkConfig,
    /// Connections that others opened and that have not said which torrent they want.
    greetings: BTreeMap<StreamId, (SocketAddr, Link)>,
    connections: BTreeMap<PeerKey, Connection>,
    by_stream: BTreeMap<StreamId, PeerKey>,
    actions: VecDeque<StreamAction>,
    files: Files,
    discovery: Option<Discovery>,
    /// When it starts; `None`: it has.
    starts_at: Option<Instant>,
    is_serving: bool,
    is_over: bool,
    state: Option<TorrentState>,
    events: Vec<(Instant, TorrentEvent)>,
    seen: Seen,
    filter: Filter,
    check_every: u64,
    steps: u64,
}

/// Asking.
impl Client {
    /// A client that finds what remained of its earlier session, and starts at once.
    pub fn new(now: Instant, config: ClientConfig, remains: Remains) -> Self {
        let ClientConfig { addr, torrent, node, disk_latency, manners, check_every, seed } = config;
        let (mut node_seed, mut torrent_seed) = ([1; 32], [2; 32]);
        node_seed[..8].copy_from_slice(&seed.to_be_bytes());
        torrent_seed[..8].copy_from_slice(&seed.to_be_bytes());
        let (info_hash, filter) = (torrent.info_hash, Filter::new(manners));
        let discovery =
            node.map(|(config, bootstrap)| Discovery::new(now, addr, config, &bootstrap, info_hash, node_seed));
        Self {
            link: filter.link_config(link_config(torrent.peer_id, discovery.is_some())),
            filter,
            torrent: Torrent::new(torrent, torrent_seed, now),
            info_hash,
            greetings: BTreeMap::new(),
            connections: BTreeMap::new(),
            by_stream: BTreeMap::new(),
            actions: VecDeque::new(),
            files: Files::new(remains, disk_latency),
            discovery,
            starts_at: Some(now),
            is_serving: false,
            is_over: false,
            state: None,
            events: Vec::new(),
            seen: Seen::default(),
            check_every,
            steps: 0,
        }
    }

    /// Its torrent.
    pub fn torrent(&self) -> &Torrent {
        &self.torrent
    }

    /// What it showed of its torrent last.
    pub fn state(&self) -> Option<&TorrentState> {
        self.state.as_ref()
    }

    /// What its torrent told, and when.
    pub fn events(&self) -> &[(Instant, TorrentEvent)] {
        &self.events
    }

    /// What it was seen to do.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Its open connections, and the address that it knows each by.
    pub fn connections(&self) -> impl Iterator<Item = (PeerKey, SocketAddr)> {
        let open = self.connections.iter().filter(|(_, connection)| connection.is_open());
        open.map(|(peer, connection)| (*peer, connection.addr))
    }

    /// The blocks that wait to leave on each connection.
    pub fn blocks_waiting(&mut self) -> Vec<(PeerKey, SocketAddr, Block)> {
        let of = |(peer, connection): (&PeerKey, &mut Connection)| {
            let (peer, addr) = (*peer, connection.addr);
            connection.blocks_waiting().into_iter().map(move |block| (peer, addr, block)).collect::<Vec<_>>()
        };
        self.connections.iter_mut().flat_map(of).collect()
    }

    /// Its disk, and what it kept so far.
    pub fn remains(&self) -> &Remains {
        self.files.remains()
    }

    /// Ends it without a word, as a process that is killed: what remains are its files.
    pub fn kill(self) -> Remains {
        self.files.into_remains()
    }

    /// Whether its torrent stopped, as [`Torrent::stop`] asked for.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Has the user do something to the torrent.
    pub fn command<T>(
        &mut self,
        now: Instant,
        out: &mut Vec<Datagram>,
        command: impl FnOnce(&mut Torrent, Instant) -> T,
    ) -> T {
        let result = command(&mut self.torrent, now);
        self.carry_out(now, out);
        result
    }

    /// Panics when the parts of one of its machines disagree.
    pub fn check_invariants(&self) {
        self.torrent.check_invariants();
        self.discovery.iter().for_each(Discovery::check_invariants);
        for connection in self.connections.values() {
            if let Stage::Open(link) = &connection.stage {
                link.check_invariants();
            }
        }
    }
}

/// What happens.
impl Client {
    fn handle_received(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) {
        if self.greetings.contains_key(&stream) {
            return self.greet(now, stream, bytes);
        }
        let Some(peer) = self.by_stream.get(&stream).copied() else { return };
        let Some(link) = self.connections.get_mut(&peer).and_then(Connection::link) else { return };
        let mut events = Vec::new();
        let received = connection::receive(link, now, bytes, &mut events);
        self.handle_events(now, peer, events);
        if let Err(fault) = received {
            self.lose(now, peer, CloseCause::Fault(fault));
        }
    }

    /// Finds the torrent of a connection that another host opened.
    fn greet(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) {
        let Some((addr, mut link)) = self.greetings.remove(&stream) else { return };
        let mut events = Vec::new();
        if connection::receive(&mut link, now, bytes, &mut events).is_err() {
            return self.actions.push_back(StreamAction::Close(stream));
        }
        let Some(LinkEvent::Greeting { info_hash, .. }) = events.pop() else {
            self.greetings.insert(stream, (addr, link));
            return;
        };
        let is_ours = info_hash == self.info_hash && !self.is_over;
        let Some(peer) = is_ours.then(|| self.torrent.handle_incoming(now, addr)).flatten() else {
            return self.actions.push_back(StreamAction::Close(stream));
        };
        let extended = self.filter.link_config(self.torrent.link_config()).extended;
        let accepted = link.accept(now, extended);
        let drained = accepted.and_then(|()| connection::drain(&mut link, &mut events));
        self.connections.insert(peer, Connection::open(stream, addr, link));
        self.by_stream.insert(stream, peer);
        self.actions.push_back(StreamAction::Offer(stream));
        self.handle_events(now, peer, events);
        if let Err(fault) = drained {
            self.lose(now, peer, CloseCause::Fault(fault));
        }
    }

    fn handle_events(&mut self, now: Instant, peer: PeerKey, events: Vec<LinkEvent>) {
        let mut messages = Vec::with_capacity(events.len());
        for event in events {
            match event {
                LinkEvent::Message(message) => messages.push(message),
                LinkEvent::Established(hello) => {
                    self.torrent.handle_connected(now, peer, hello);
                    self.offer(peer);
                }
                LinkEvent::Greeting { .. } => {}
            }
        }
        let mut passed = Vec::with_capacity(messages.len());
        for message in messages {
            self.seen.note_received(&message);
            let mut led_to = self.filter.on_receive(peer, message);
            passed.append(&mut led_to.passed);
            led_to.answers.into_iter().for_each(|answer| self.send(now, peer, answer));
        }
        self.seen.requests_waiting_max = self.filter.waiting_max();
        if !passed.is_empty() {
            self.torrent.handle_messages(now, peer, passed);
        }
    }

    fn handle_opened(&mut self, now: Instant, stream: StreamId) {
        let Some(peer) = self.by_stream.get(&stream).copied() else { return };
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        if let Stage::Dialing(config) = &connection.stage {
            let link = Link::outgoing(now, (**config).clone(), self.info_hash);
            connection.stage = Stage::Open(Box::new(link));
            self.offer(peer);
        }
    }

    fn handle_left(&mut self, now: Instant, stream: StreamId) {
        let Some(peer) = self.by_stream.get(&stream).copied() else { return };
        let payload_bytes = self.connections.get_mut(&peer).map_or(0, Connection::take_left);
        if payload_bytes > 0 {
            self.torrent.handle_sent(now, peer, payload_bytes);
        }
    }

    /// A connection is gone, and the torrent learns of it.
    fn lose(&mut self, now: Instant, peer: PeerKey, cause: CloseCause) {
        if let Some(connection) = self.connections.remove(&peer) {
            self.by_stream.remove(&connection.stream);
            self.filter.forget(peer);
            self.actions.push_back(StreamAction::Close(connection.stream));
            self.torrent.handle_closed(now, peer, cause);
        }
    }

    fn handle_ended(&mut self, now: Instant, stream: StreamId, cause: CloseCause) {
        self.greetings.remove(&stream);
        if let Some(peer) = self.by_stream.get(&stream).copied() {
            self.lose(now, peer, cause);
        }
    }

    fn handle_found(&mut self, now: Instant, found: Found) {
        match found {
            Found::Peers(peers) => self.torrent.handle_found(now, &peers),
            Found::End => self.torrent.handle_search_ended(now),
            Found::State(state) => self.torrent.handle_dht(now, state),
        }
    }

    fn handle_answer(&mut self, now: Instant, answer: Answer) {
        match answer {
            Answer::Done(done) => self.torrent.handle_done(now, done),
            Answer::Resumed(resumed) => self.torrent.handle_resumed(now, resumed),
            Answer::Surveyed(surveyed) => self.torrent.handle_surveyed(now, surveyed),
            Answer::Settled(is_locked) => self.torrent.handle_settled(now, is_locked),
            Answer::Locked => self.torrent.handle_locked(now, Ok(())),
            Answer::Saved => self.torrent.handle_saved(now),
        }
    }

    /// The timers of the links.
    fn handle_silence(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        let due: Vec<StreamId> =
            self.greetings.iter().filter(|(_, (_, link))| is_due(link.next_timeout())).map(|(key, _)| *key).collect();
        for stream in due {
            if self.greetings.get_mut(&stream).is_some_and(|(_, link)| link.handle_timeout(now).is_err()) {
                self.greetings.remove(&stream);
                self.actions.push_back(StreamAction::Close(stream));
            }
        }
        let due = self.connections.iter().filter(|(_, connection)| is_due(connection.next_timeout()));
        for peer in due.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            let Some(link) = self.connections.get_mut(&peer).and_then(Connection::link) else { continue };
            match link.handle_timeout(now) {
                Ok(()) => self.offer(peer),
                Err(fault) => self.lose(now, peer, CloseCause::Fault(fault)),
            }
        }
    }
}

/// What to do.
impl Client {
    /// Does what the machines say.
    fn carry_out(&mut self, now: Instant, out: &mut Vec<Datagram>) {
        loop {
            while let Some(output) = self.torrent.poll_output() {
                self.carry(now, output);
            }
            let Some(found) = self.discovery.as_mut().and_then(|discovery| discovery.next(out)) else { break };
            self.handle_found(now, found);
        }
        let over = self.connections.iter().filter(|(_, connection)| connection.is_over(now));
        for peer in over.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.lose(now, peer, CloseCause::ByUs);
        }
        self.steps += 1;
        if self.steps.is_multiple_of(self.check_every) {
            self.check_invariants();
        }
    }

    fn carry(&mut self, now: Instant, output: Output) {
        match output {
            Output::Send { peer, message } => self.send(now, peer, message),
            Output::TakeBack { peer, blocks } => {
                let link = self.connections.get_mut(&peer).and_then(Connection::link);
                let taken = link.map(|link| link.take_back(|block| blocks.contains(block))).unwrap_or_default();
                self.seen.taken_back += taken.len();
                self.seen.payload_sent -= taken.iter().map(|block| u64::from(block.len)).sum::<u64>();
                self.torrent.handle_taken_back(now, peer, &taken);
            }
            Output::Dial { peer, addr } => self.dial(now, peer, addr),
            Output::Close { peer, reason: _ } => {
                self.connections.get_mut(&peer).into_iter().for_each(|connection| connection.close(now));
            }
            // All threads of the disk are one: they are answered in the order of their jobs.
            Output::Disk { thread: _, job } => self.files.job(now, job),
            Output::Resume => self.files.resume(now),
            Output::Survey { info, selection } => self.files.survey(now, info, selection),
            Output::Settle { layout, have, unreadable } => self.files.settle(now, &layout, have, &unreadable),
            Output::Lock(_) => self.files.lock(now),
            Output::Unlock => {}
            Output::Save(save) => self.files.save(now, save),
            Output::Resolve { role, addrs } => {
                // There are no names in this world.
                let literal: Vec<SocketAddr> = addrs.iter().filter_map(|addr| addr.to_string().parse().ok()).collect();
                self.torrent.handle_resolved(now, role, &literal);
            }
            Output::Search => self.with_dht(|discovery| discovery.search(now)),
            Output::Announce { seed } => self.with_dht(|discovery| discovery.announce(now, seed)),
            Output::LeaveDht => self.with_dht(|discovery| discovery.leave(now)),
            Output::DhtNode(addr) => self.with_dht(|discovery| discovery.add_node(now, addr)),
            // A client has one torrent, which shares nothing.
            Output::Ask(_) => {}
            Output::Event(event) => self.events.push((now, event)),
            Output::State(state) => self.state = Some(*state),
            Output::Serving => self.is_serving = true,
            Output::Stopped => self.leave(),
        }
    }

    fn send(&mut self, now: Instant, peer: PeerKey, message: Message) {
        let Some(connection) = self.connections.get_mut(&peer).filter(|connection| connection.is_open()) else {
            return;
        };
        self.seen.note_sent(now, connection.addr, &message);
        let Some(message) = self.filter.on_send(peer, message) else { return };
        let Some(link) = connection.link() else { return };
        match link.send(now, message) {
            Ok(()) => self.offer(peer),
            // What the peer does not take, it does not miss.
            Err(SendError::NotNegotiated) => {}
            Err(SendError::QueueFull) => self.lose(now, peer, CloseCause::TooSlow),
        }
    }

    fn dial(&mut self, now: Instant, peer: PeerKey, to: SocketAddr) {
        self.seen.dials.push((now, to));
        let stream = StreamId::Dialed(peer.get());
        let config = self.filter.link_config(self.torrent.link_config());
        self.connections.insert(peer, Connection::dialing(stream, to, config));
        self.by_stream.insert(stream, peer);
        self.actions.push_back(StreamAction::Dial { number: peer.get(), to });
    }

    fn offer(&mut self, peer: PeerKey) {
        if let Some(connection) = self.connections.get(&peer).filter(|connection| connection.has_bytes()) {
            self.actions.push_back(StreamAction::Offer(connection.stream));
        }
    }

    fn with_dht(&mut self, ask: impl FnOnce(&mut Discovery)) {
        if let Some(discovery) = &mut self.discovery {
            ask(discovery);
        }
    }

    /// The torrent is over: nobody is left to talk to.
    fn leave(&mut self) {
        self.is_over = true;
        self.greetings.clear();
        self.connections.clear();
        let streams = std::mem::take(&mut self.by_stream).into_keys();
        self.actions.extend(streams.map(StreamAction::Close));
    }
}

impl Host for Client {
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], out: &mut Vec<Datagram>) {
        self.with_dht(|discovery| discovery.handle_datagram(now, from, datagram));
        self.carry_out(now, out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Datagram>) {
        if self.starts_at.take().is_some() {
            self.torrent.start(now);
        }
        while let Some(answer) = self.files.next(now) {
            self.handle_answer(now, answer);
        }
        self.with_dht(|discovery| discovery.handle_timeout(now));
        self.handle_silence(now);
        if self.torrent.next_timeout().is_some_and(|due| now >= due) {
            self.torrent.handle_timeout(now);
        }
        self.carry_out(now, out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let discovery = self.discovery.as_ref().and_then(Discovery::next_timeout);
        let own = [self.starts_at, self.files.next_at(), discovery, self.torrent.next_timeout()];
        let greetings = self.greetings.values().filter_map(|(_, link)| link.next_timeout());
        let connections = self.connections.values().filter_map(Connection::next_timeout);
        own.into_iter().flatten().chain(greetings).chain(connections).min()
    }

    fn listens(&self) -> bool {
        self.is_serving
    }

    fn handle_stream(&mut self, now: Instant, event: StreamEvent, out: &mut Vec<Datagram>) {
        match event {
            StreamEvent::Accepted { stream, .. } if self.filter.hangs_up() => {
                self.actions.push_back(StreamAction::Close(stream));
            }
            StreamEvent::Accepted { stream, from } => {
                self.greetings.insert(stream, (from, Link::incoming(now, self.link.clone())));
            }
            StreamEvent::Opened(stream) => self.handle_opened(now, stream),
            StreamEvent::Failed { stream, kind } => self.handle_ended(now, stream, CloseCause::DialFailed(kind)),
            StreamEvent::Received { stream, bytes } => self.handle_received(now, stream, &bytes),
            StreamEvent::Left(stream) => self.handle_left(now, stream),
            StreamEvent::Ended(stream) => self.handle_ended(now, stream, CloseCause::Eof),
        }
        self.carry_out(now, out);
    }

    fn poll_stream(&mut self) -> Option<StreamAction> {
        self.actions.pop_front()
    }

    fn transmit(
        &mut self,
        now: Instant,
        stream: StreamId,
        len_max: usize,
        into: &mut Vec<u8>,
        out: &mut Vec<Datagram>,
    ) {
        let Some(peer) = self.by_stream.get(&stream).copied() else { return };
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        connection.transmit(now, len_max, into);
        self.carry_out(now, out);
    }
}
