// What has to hold for any bytes. Shared by the seeded runner in `dht/tests/fuzz/main.rs` and the libFuzzer targets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use magnes_dht::internals::{AddressFilter, Guard, ItemStore, PeerStore, Verdict};
use magnes_dht::krpc::{Body, Message, MutablePut, Response};
use magnes_dht::{
    AnnouncePort, GuardConfig, InfoHash, Node, NodeConfig, NodeMode, Output, PeerRole, Request, SocketIndex, item,
};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

/// Decodes, and what was decoded is written and read again unchanged.
pub(crate) fn krpc(datagram: &[u8]) {
    let Ok(message) = Message::decode(datagram) else {
        return;
    };
    let mut encoded = Vec::new();
    message.encode(&mut encoded);
    let again = Message::decode(&encoded).expect("what is written can be read");
    assert_eq!(message.transaction, again.transaction);
    match (&message.body, &again.body) {
        // A response may lose nodes and peers that it has no room for.
        (Body::Response(response), Body::Response(again)) => assert_eq!(response.id, again.id),
        (body, again) => assert_eq!(body, again),
    }
}

/// Puts, finds and announces whatever the bytes say, and the stores stay sound and within their budgets.
pub(crate) fn stores(now: Instant, bytes: &[u8]) {
    let mut rng = ChaCha8Rng::from_seed([1; 32]);
    let mut peers = PeerStore::new(0, now, &mut rng);
    let mut items = ItemStore::new(0, now, &mut rng);
    let mut guard = Guard::new(GuardConfig::default(), AddressFilter::new(([0; 4], 6881).into()), now, &mut rng);
    let mut sample = Vec::new();
    for (index, step) in bytes.chunks(60).enumerate() {
        let now = now + Duration::from_secs(97 * index as u64);
        let field = |at: usize| step.get(at).copied().unwrap_or_default();
        let addr = SocketAddr::from(([field(0), 1, 2, field(1)], u16::from_be_bytes([field(2), field(3)])));
        let info_hash = magnes_dht::InfoHash::new([field(4); 20]);
        if guard.admit_query(now, addr) == Verdict::Admit {
            guard.charge_reply(now, addr, usize::from(field(5)));
        }
        peers.announce(now, info_hash, addr, field(6) & 1 == 1);
        peers.sample(now, &info_hash, 50, field(6) & 2 == 2, &mut rng, &mut sample);
        peers.scrape(now, &info_hash);
        peers.sample_info_hashes(now, &mut rng);
        let (key, signature) = ([field(7); 32], [field(8); 64]);
        let put = MutablePut { key: &key, signature: &signature, seq: i64::from(field(9)), cas: None, salt: &[] };
        let value = step.get(10..).unwrap_or_default();
        if let Ok(target) = items.put(now, addr.ip(), value, (field(9) & 1 == 1).then_some(&put)) {
            assert!(items.find(now, &target).is_some(), "what was put is found");
        }
        item::parse_torrent_pointer(value);
        peers.check_invariants();
        items.check_invariants();
    }
    assert!(sample.iter().all(|addr| addr.port() >= 1024));
}

/// The longest datagram that a node sends (an item's value with its nodes).
const DATAGRAM_LEN_MAX: usize = 1400;

/// A fresh node, and what is told to it.
struct Told {
    node: Node,
    now: Instant,
    sockets: [SocketIndex; 2],
    /// The last query of the node: over which socket, to whom, and its transaction id.
    asked: Option<(SocketIndex, SocketAddr, Vec<u8>)>,
}

/// Tells a fresh node whatever the bytes say, step by step: datagrams from anywhere, answers to what it asks, commands,
/// time, saved tables. It stays sound, sends nothing too long and nothing to where no node can be.
///
/// A step is a kind, a parameter, a length and as many bytes.
pub(crate) fn node(now: Instant, bytes: &[u8]) {
    let (mode, mut rest) = bytes.split_first().unwrap_or((&0, &[]));
    let mode = [NodeMode::Server, NodeMode::Client, NodeMode::Adaptive, NodeMode::Server][usize::from(mode & 3)];
    let config = NodeConfig::default().mode(mode).peer_store_bytes(0).item_store_bytes(0);
    let mut node = Node::new(config, [5; 32], now);
    let v4 = node.add_socket(now, ([80, 1, 2, 3], 6881).into());
    let v6 = node.add_socket(now, ([0x2a01, 0, 0, 0, 0, 0, 0, 1], 6881).into());
    let mut told = Told { node, now, sockets: [v4, v6], asked: None };
    while let [kind, parameter, len, after @ ..] = rest {
        let (content, after) = after.split_at(usize::from(*len).min(after.len()));
        told.step(*kind, *parameter, content);
        told.drain();
        rest = after;
    }
    told.node.check_invariants();
    let snapshot = told.node.snapshot();
    assert!(told.node.restore(told.now, &snapshot).is_ok(), "what was saved is read");
    told.drain();
}

impl Told {
    fn step(&mut self, kind: u8, parameter: u8, content: &[u8]) {
        let now = self.now;
        let [v4, v6] = self.sockets;
        let addr = SocketAddr::from(([81, 2, parameter, 4], 6881));
        match kind % 20 {
            0..=3 => self.node.handle_datagram(now, v4, addr, content),
            4 => {
                self.node.handle_datagram(now, v6, ([0x2a01, parameter.into(), 0, 0, 0, 0, 0, 1], 6881).into(), content)
            }
            5 => self.node.handle_datagram(now, v4, ([127, 0, 0, parameter], parameter.into()).into(), content),
            6..=9 => self.answer(parameter, content),
            10..=16 => {
                for request in requests(kind % 20, parameter, content) {
                    // What is refused is refused: no event, and nothing sent.
                    let _ = self.node.start(now, request);
                }
            }
            17 => {
                self.node.add_node(now, addr);
                self.node.add_bootstrap(now, &[addr]);
            }
            18 => {
                // Whatever the file holds; and now and then what a crash left of a real one.
                let mut saved = self.node.snapshot();
                if parameter & 1 == 1 {
                    saved.truncate(content.len());
                } else {
                    saved = content.to_vec();
                }
                let _ = self.node.restore(now, &saved);
            }
            _ => {
                self.now += Duration::from_millis(1 << (parameter % 24));
                if let Some((socket, to, _)) = self.asked.take().filter(|_| parameter >= 128) {
                    self.node.handle_unreachable(self.now, socket, to);
                }
                self.node.handle_timeout(self.now);
            }
        }
    }

    /// Answers the last query of the node with these return values, or an error.
    fn answer(&mut self, parameter: u8, content: &[u8]) {
        let Some((socket, to, transaction)) = self.asked.take() else { return };
        let len = transaction.len().to_string();
        let (body, kind): (&[u8], &[u8]) = if parameter.is_multiple_of(8) { (b"d1:e", b"e") } else { (b"d1:r", b"r") };
        let datagram = [body, content, b"1:t", len.as_bytes(), b":", &transaction, b"1:y1:", kind, b"e"].concat();
        self.node.handle_datagram(self.now, socket, to, &datagram);
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            let Output::Transmit { socket, to, payload } = output else { continue };
            assert!(payload.len() <= DATAGRAM_LEN_MAX, "{} bytes to {to}", payload.len());
            let message = Message::decode(payload).expect("what is sent can be read");
            assert!(to.port() != 0 && !to.ip().is_unspecified(), "a datagram to {to}");
            // The machine itself is told that the node lives, and nothing else.
            let is_pong = |response: &Response<'_>| *response == Response::new(response.id);
            let is_pong = matches!(&message.body, Body::Response(response) if is_pong(response));
            assert!(is_pong || !to.ip().is_loopback(), "a datagram to {to}");
            if let Body::Query(_) = message.body {
                self.asked = Some((socket, to, message.transaction.to_vec()));
            }
        }
        let due = self.node.next_timeout();
        assert!(due.is_some_and(|due| due <= self.now + Duration::from_secs(60)), "the node wants to be woken");
    }
}

/// A saved table is read or refused, whatever it holds, and what was read is saved and read again.
pub(crate) fn snapshot(now: Instant, bytes: &[u8]) {
    let mut node = Node::new(NodeConfig::default(), [5; 32], now);
    node.add_socket(now, ([0, 0, 0, 0], 6881).into());
    // The checksum keeps nearly everything else out: with a right one the rest is tried too.
    let sealed = bytes.split_at_checked(12).map(|(head, body)| {
        let checksum = crc32c::crc32c(body).to_le_bytes();
        [&head[..8], &checksum, body].concat()
    });
    for bytes in [Some(bytes.to_vec()), sealed].into_iter().flatten() {
        if node.restore(now, &bytes).is_ok() {
            while node.poll_output().is_some() {}
            node.check_invariants();
            let again = node.snapshot();
            assert!(node.restore(now, &again).is_ok());
        }
    }
}

/// What a step has the node do.
fn requests(kind: u8, parameter: u8, content: &[u8]) -> Vec<Request> {
    let info_hash = InfoHash::new([parameter; 20]);
    let (key, salt) = ([parameter; 32], content.to_vec());
    let role = if parameter & 1 == 1 { PeerRole::Seed } else { PeerRole::Downloader };
    match kind {
        10 => vec![Request::GetPeers(info_hash)],
        11 => vec![Request::Announce { info_hash, port: AnnouncePort::Implied, role }],
        12 => {
            let port = AnnouncePort::Explicit(parameter.into());
            vec![Request::KeepAnnounced { info_hash, port, role: PeerRole::Downloader }]
        }
        13 => vec![Request::PutImmutable(content.to_vec())],
        14 => vec![Request::GetMutable { key, salt, above: None }],
        15 => vec![Request::Watch { key, salt, seen: None }],
        _ => vec![Request::Scrape(info_hash), Request::Sample(info_hash.into())],
    }
}
