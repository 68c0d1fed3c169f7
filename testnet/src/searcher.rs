use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use magnes_dht::krpc::{Body, Message, Response};
use magnes_dht::{Contact, Event, Node, NodeConfig, Output, SocketIndex};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use crate::host::{Datagram, Host};
use crate::network::Network;

/// How long before a searcher enters the world its table is filled: every contact of a table answers in that time.
const WARM_UP: Duration = Duration::from_secs(10 * 60);

/// A real node ([`magnes_dht::Node`]) as a host of the world.
#[derive(Debug)]
pub struct Searcher {
    node: Node,
    socket: SocketIndex,
    events: Vec<(Instant, Event)>,
    heard: BTreeSet<SocketAddr>,
}

impl Searcher {
    /// A node at `own` that knows nobody.
    pub fn new(now: Instant, own: SocketAddr, config: NodeConfig, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut node = Node::new(config, bytes, now);
        let socket = node.add_socket(now, own);
        Self { node, socket, events: Vec::new(), heard: BTreeSet::new() }
    }

    /// A node at `own` that heard of every contact of a table within the last ten minutes, after round trips as `network`
    /// has them where `delay` is what the node itself contributes. `draw_table` is given the node's id.
    pub fn warm(
        now: Instant,
        own: SocketAddr,
        config: NodeConfig,
        network: &Network,
        delay: Duration,
        seed: u64,
        draw_table: impl FnOnce(&magnes_dht::NodeId) -> Vec<Contact>,
    ) -> Self {
        let mut time = now - WARM_UP;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut searcher = Self::new(time, own, config, seed);
        let table = draw_table(&searcher.node.node_ids()[0]);
        for contact in &table {
            time += WARM_UP / 2 / table.len() as u32;
            searcher.node.handle_timeout(time);
            searcher.node.add_node(time, contact.addr);
            let there = network.draw_host_delay(&mut rng);
            let draw = |rng: &mut _| network.draw_travel(delay, there, rng);
            searcher.answer_all(time, draw(&mut rng) + draw(&mut rng), &table);
        }
        while let Some(due) = searcher.node.next_timeout().filter(|due| *due <= now) {
            searcher.node.handle_timeout(due);
            searcher.answer_all(due, network.delay_median + delay, &table);
        }
        searcher
    }

    /// Answers everything that the node asks, in the name of the contacts of its table.
    fn answer_all(&mut self, now: Instant, rtt: Duration, table: &[Contact]) {
        let mut out = Vec::new();
        loop {
            self.drain(now, &mut out);
            if out.is_empty() {
                return;
            }
            for Datagram { to, payload } in std::mem::take(&mut out) {
                let Some(contact) = table.iter().find(|contact| contact.addr == to) else { continue };
                let Ok(Message { transaction, .. }) = Message::decode(&payload) else { continue };
                let mut answer = Vec::new();
                let body = Body::Response(Response::new(contact.id));
                Message { transaction, version: None, ip: None, body }.encode(&mut answer);
                self.node.handle_datagram(now + rtt, self.socket, to, &answer);
            }
        }
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Gives the node a command.
    pub fn command<T>(
        &mut self,
        now: Instant,
        out: &mut Vec<Datagram>,
        command: impl FnOnce(&mut Node, Instant) -> T,
    ) -> T {
        let result = command(&mut self.node, now);
        self.drain(now, out);
        self.node.check_invariants();
        result
    }

    /// What happened so far, and when.
    pub fn events(&self) -> &[(Instant, Event)] {
        &self.events
    }

    /// Who sent it something: everyone who can be in its table.
    pub fn heard(&self) -> &BTreeSet<SocketAddr> {
        &self.heard
    }

    fn drain(&mut self, now: Instant, out: &mut Vec<Datagram>) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Transmit { to, payload, .. } => out.push(Datagram { to, payload: payload.to_vec() }),
                Output::Event(event) => self.events.push((now, event)),
            }
        }
    }
}

impl Host for Searcher {
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], out: &mut Vec<Datagram>) {
        self.heard.insert(from);
        self.node.handle_datagram(now, self.socket, from, datagram);
        self.drain(now, out);
        self.node.check_invariants();
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Datagram>) {
        self.node.handle_timeout(now);
        self.drain(now, out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.node.next_timeout()
    }
}
