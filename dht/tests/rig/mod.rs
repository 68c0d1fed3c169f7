// A node without sockets, and what the tests and benches tell it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use magnes_dht::krpc::{Body, Message, Method, Query, Response, Want};
use magnes_dht::{GuardConfig, NodeConfig, NodeId, Output, Prefix, SocketIndex, Target};

pub(crate) const LOCAL: ([u8; 4], u16) = ([80, 1, 2, 3], 6881);

/// A node on a public address.
pub(crate) struct Rig {
    pub(crate) node: magnes_dht::Node,
    pub(crate) socket: SocketIndex,
    pub(crate) now: Instant,
}

/// An address of its own /24 for each number below 2^21.
pub(crate) fn addr(number: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from_bits(0x2000_0000 + (number << 8) + 7).into(), 6881)
}

/// Budgets that nobody can use up.
pub(crate) fn lifted() -> NodeConfig {
    let guard = GuardConfig::default()
        .prefix_packets_per_s(1_000_000)
        .prefix_bytes_per_s(1_000_000_000)
        .total_bytes_per_s(u32::MAX);
    NodeConfig::default().guard(guard).endpoints(None)
}

/// No budgets for anybody.
#[allow(dead_code, reason = "not every test that shares this file needs it")]
pub(crate) fn exempt() -> NodeConfig {
    let everybody = Prefix::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    NodeConfig::default().guard(GuardConfig::default().exempt(vec![everybody]))
}

/// A query, as it comes over the wire.
pub(crate) fn query(id: NodeId, read_only: bool, method: Method<'_>) -> Vec<u8> {
    let body = Body::Query(Query { id, read_only, want: Want::default(), method });
    let mut datagram = Vec::new();
    Message { transaction: b"abcd", version: Some(b"LT12"), ip: None, body }.encode(&mut datagram);
    datagram
}

impl Rig {
    pub(crate) fn new(config: NodeConfig, now: Instant) -> Self {
        let mut node = magnes_dht::Node::new(config, [7; 32], now);
        let socket = node.add_socket(now, LOCAL.into());
        Self { node, socket, now }
    }

    /// Lets the node meet contacts until its table has `count`, and gives it time to calm down.
    pub(crate) fn fill(&mut self, count: usize) {
        for number in 0..100_000 {
            if self.node.stats(self.now).contacts >= count {
                break;
            }
            self.node.add_node(self.now, addr(number));
            self.answer();
            self.now += Duration::from_millis(10);
        }
        for _ in 0..120 {
            self.now += Duration::from_secs(1);
            self.node.handle_timeout(self.now);
            self.answer();
        }
    }

    /// Answers every query of the node in the name of whoever it was sent to.
    fn answer(&mut self) {
        let own = self.node.node_ids()[0];
        let mut answers: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
        while let Some(output) = self.node.poll_output() {
            let Output::Transmit { to, payload, .. } = output else { continue };
            let Ok(Message { transaction, body: Body::Query(_), .. }) = Message::decode(payload) else { continue };
            let SocketAddr::V4(v4) = to else { continue };
            let number = v4.ip().to_bits() >> 8;
            let mut rng = <rand_chacha::ChaCha8Rng as rand_core::SeedableRng>::seed_from_u64(number.into());
            // As many in each bucket as a node in a network of millions knows.
            let id = own.random_sharing(number % 30, &mut rng);
            let mut datagram = Vec::new();
            let body = Body::Response(Response::new(id));
            Message { transaction, version: None, ip: None, body }.encode(&mut datagram);
            answers.push((to, datagram));
        }
        for (from, datagram) in answers {
            self.node.handle_datagram(self.now, self.socket, from, &datagram);
        }
    }

    /// Hands the node a datagram and drains it. Returns how many bytes it sent, to whomever.
    pub(crate) fn tell(&mut self, from: SocketAddr, datagram: &[u8]) -> usize {
        self.node.handle_datagram(self.now, self.socket, from, datagram);
        let mut bytes = 0;
        while let Some(output) = self.node.poll_output() {
            if let Output::Transmit { payload, .. } = output {
                bytes += payload.len();
            }
        }
        bytes
    }

    /// Asks the node for a token for `target`, as BEP 44's `get` and BEP 5's `get_peers` do.
    #[allow(dead_code, reason = "not every test that shares this file needs it")]
    pub(crate) fn token(&mut self, from: SocketAddr, target: Target) -> Option<Vec<u8>> {
        let datagram = query(NodeId::new([9; 20]), true, Method::Get { target, seq: None });
        self.node.handle_datagram(self.now, self.socket, from, &datagram);
        let mut token = None;
        while let Some(output) = self.node.poll_output() {
            let Output::Transmit { to, payload, .. } = output else { continue };
            if let Ok(Message { body: Body::Response(response), .. }) = Message::decode(payload)
                && to == from
            {
                token = response.token.map(<[u8]>::to_vec);
            }
        }
        token
    }
}
