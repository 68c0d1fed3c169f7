//! Asks a DHT node as fast as it answers, and says how fast that is.
//!
//! `cargo run --release -p magnes-dht --example load -- 127.0.0.1:6881 --seconds 3 --window 64 --info-hashes 1000`
//!
//! Keeps `--window` get_peers queries under way over one socket; a query without an answer after a second counts as
//! lost and its place is given to another one. With `--peers N` it first announces N peers to each info hash. The info
//! hashes share 32 bits with the node's id: nodes are asked for what is near them, and some store nothing else.
//!
//! Prints one line: answers a second, lost queries and errors, and what a reply has on average.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a load generator reads the clock, waits and prints"
)]

use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use magnes_dht::krpc::{Body, Message, Method, Query, Want};
use magnes_dht::{InfoHash, NodeId};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use tokio::io::Interest;
use tokio::net::UdpSocket;

const PATIENCE: Duration = Duration::from_secs(1);
/// How often a query is sent that has to be answered before the load begins.
const ATTEMPTS: u16 = 3;
/// Peers announced to an info hash at most: as many as have a port of their own.
const PEERS_MAX: u64 = 10_000;
const FIRST_PORT: u16 = 10_000;
const NODE_LEN: usize = 26;
const USAGE: &str = "usage: load ADDR:PORT [--seconds N] [--window N] [--info-hashes N] [--peers N]";

#[derive(Debug, Clone)]
struct Options {
    server: SocketAddr,
    duration: Duration,
    window: usize,
    info_hashes: u64,
    peers: u16,
}

fn parse_options() -> Result<Options, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let server = arguments.next().ok_or(USAGE)?.parse()?;
    let mut options = Options { server, duration: Duration::from_secs(3), window: 64, info_hashes: 1000, peers: 0 };
    while let Some(name) = arguments.next() {
        let value: u64 = arguments.next().ok_or(USAGE)?.parse()?;
        match name.as_str() {
            "--seconds" => options.duration = Duration::from_secs(value),
            "--window" => options.window = (value as usize).clamp(1, 4096),
            "--info-hashes" => options.info_hashes = value.max(1),
            "--peers" => options.peers = value.min(PEERS_MAX) as u16,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

/// What came of the queries.
#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    errors: u64,
    lost: u64,
    bytes: u64,
    nodes: u64,
    peers: u64,
}

struct Generator {
    socket: UdpSocket,
    options: Options,
    rng: ChaCha8Rng,
    id: NodeId,
    /// The id of the node that is asked.
    server_id: NodeId,
    /// When the query in each place was sent. The first two bytes of a transaction id name the place, the others the round.
    places: Vec<(Instant, u16)>,
    tally: Tally,
    payload: Vec<u8>,
}

impl Generator {
    async fn new(options: Options) -> Result<Self, Box<dyn Error>> {
        let local: SocketAddr = if options.server.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(options.server).await?;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let id = NodeId::random(&mut rng);
        let places = vec![(Instant::now(), 0); options.window];
        let (tally, payload) = (Tally::default(), Vec::new());
        let mut generator = Self { socket, options, rng, id, server_id: id, places, tally, payload };
        (generator.server_id, _) = generator.exchange(id, Method::Ping).await?;
        Ok(generator)
    }

    async fn run(mut self) -> Result<Tally, Box<dyn Error>> {
        for number in 0..self.options.info_hashes {
            self.announce(self.info_hash(number)).await?;
        }
        let start = Instant::now();
        for place in 0..self.places.len() {
            self.ask(place).await?;
        }
        while start.elapsed() < self.options.duration {
            if tokio::time::timeout(Duration::from_millis(100), self.socket.readable()).await.is_ok() {
                self.receive().await?;
            }
            self.give_up_on_the_lost().await?;
        }
        Ok(self.tally)
    }

    /// Announces the peers of an info hash, each in the name of another node, since some store one peer a node.
    async fn announce(&mut self, info_hash: InfoHash) -> Result<(), Box<dyn Error>> {
        for number in 0..self.options.peers {
            let id = NodeId::random(&mut self.rng);
            let (_, token) = self.exchange(id, Method::GetPeers { info_hash, noseed: false, scrape: false }).await?;
            let (port, token) = (Some(FIRST_PORT + number), &token[..]);
            let announce = Method::AnnouncePeer { info_hash, port, implied_port: false, seed: false, token };
            self.exchange(id, announce).await?;
        }
        Ok(())
    }

    /// Asks a query by itself, and waits for the answer: the id and the token in it.
    async fn exchange(&mut self, id: NodeId, method: Method<'_>) -> Result<(NodeId, Vec<u8>), Box<dyn Error>> {
        let body = Body::Query(Query { id, read_only: true, want: Want::default(), method });
        for attempt in 0..ATTEMPTS {
            let transaction = &[0xff, 0xff, 0, attempt as u8];
            self.payload.clear();
            Message { transaction, version: None, ip: None, body }.encode(&mut self.payload);
            self.socket.send(&self.payload).await?;
            let mut buffer = [0; 2048];
            while let Ok(received) = tokio::time::timeout(PATIENCE, self.socket.recv(&mut buffer)).await {
                match Message::decode(&buffer[..received?]) {
                    Ok(Message { transaction: answered, body: Body::Response(response), .. })
                        if answered == transaction =>
                    {
                        return Ok((response.id, response.token.unwrap_or_default().to_vec()));
                    }
                    _ => {}
                }
            }
        }
        Err(format!("{} does not answer {method:?}", self.options.server).into())
    }

    fn info_hash(&self, number: u64) -> InfoHash {
        let mut info_hash = *self.server_id.as_bytes();
        info_hash[4..12].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        InfoHash::new(info_hash)
    }

    /// Sends the next query of a place.
    async fn ask(&mut self, place: usize) -> Result<(), Box<dyn Error>> {
        let number = self.rng.next_u64() % self.options.info_hashes;
        let info_hash = self.info_hash(number);
        let round = self.places[place].1.wrapping_add(1);
        self.places[place] = (Instant::now(), round);
        let [place_high, place_low] = (place as u16).to_be_bytes();
        let [round_high, round_low] = round.to_be_bytes();
        let method = Method::GetPeers { info_hash, noseed: false, scrape: false };
        let body = Body::Query(Query { id: self.id, read_only: true, want: Want::default(), method });
        let transaction = &[place_high, place_low, round_high, round_low];
        self.payload.clear();
        Message { transaction, version: None, ip: None, body }.encode(&mut self.payload);
        match self.socket.async_io(Interest::WRITABLE, || self.socket.try_send(&self.payload)).await {
            Err(error) if error.kind() != ErrorKind::ConnectionRefused => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Takes every answer that is there, and asks again for each.
    async fn receive(&mut self) -> Result<(), Box<dyn Error>> {
        let mut buffer = [0; 2048];
        loop {
            let len = match self.socket.try_recv(&mut buffer) {
                Ok(len) => len,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            let Ok(message) = Message::decode(&buffer[..len]) else { continue };
            let &[place_high, place_low, round_high, round_low] = message.transaction else { continue };
            let place = usize::from(u16::from_be_bytes([place_high, place_low]));
            let round = u16::from_be_bytes([round_high, round_low]);
            if self.places.get(place).is_none_or(|(_, asked)| *asked != round) {
                continue;
            }
            self.tally.bytes += len as u64;
            match message.body {
                Body::Response(response) => {
                    self.tally.answered += 1;
                    self.tally.nodes += (response.nodes.unwrap_or_default().len() / NODE_LEN) as u64;
                    self.tally.peers += response.values.iter().count() as u64;
                }
                _ => self.tally.errors += 1,
            }
            self.ask(place).await?;
        }
    }

    async fn give_up_on_the_lost(&mut self) -> Result<(), Box<dyn Error>> {
        for place in 0..self.places.len() {
            if self.places[place].0.elapsed() > PATIENCE {
                self.tally.lost += 1;
                self.ask(place).await?;
            }
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = parse_options()?;
    let duration = options.duration;
    let tally = Generator::new(options).await?.run().await?;
    let per_second = tally.answered as f64 / duration.as_secs_f64();
    let each = |sum: u64| sum as f64 / tally.answered.max(1) as f64;
    println!(
        "{per_second:.0} answers/s, {} lost, {} errors, {:.0} bytes a reply with {:.1} nodes and {:.1} peers",
        tally.lost,
        tally.errors,
        tally.bytes as f64 / (tally.answered + tally.errors).max(1) as f64,
        each(tally.nodes),
        each(tally.peers),
    );
    Ok(())
}
