use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::handle::Dht;
use super::state::StateFile;
use super::task::{self, Started};
use crate::NodeConfig;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// An address cannot be listened on.
    #[error("cannot listen on UDP {addr}: {source}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A socket cannot be driven by tokio.
    #[error("cannot use the UDP socket: {0}")]
    Socket(#[source] io::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Chance(#[source] io::Error),
}

/// Describes a node, and starts it. See [`Dht::builder`].
#[derive(Debug, Default)]
pub struct DhtBuilder {
    listen: Vec<SocketAddr>,
    sockets: Vec<std::net::UdpSocket>,
    bootstrap: Vec<String>,
    state_file: Option<PathBuf>,
    seed: Option<[u8; 32]>,
    config: NodeConfig,
}

impl Dht {
    /// Describes a node to be started.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use magnes_dht::{AnnouncePort, Dht, InfoHash, PeerRole};
    ///
    /// let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let first = Dht::builder().listen(local).spawn().await?;
    /// let second = Dht::builder().listen(local).bootstrap(first.local_addrs()[0]).spawn().await?;
    /// second.ready().await?;
    ///
    /// let info_hash = InfoHash::new([1; 20]);
    /// second.announce(info_hash, AnnouncePort::Explicit(6881), PeerRole::Seed).await?;
    /// let mut peers = second.get_peers(info_hash);
    /// assert_eq!(peers.next().await, Some(vec!["127.0.0.1:6881".parse()?]));
    /// assert_eq!(peers.next().await, None);
    ///
    /// second.shutdown().await;
    /// assert!(second.stats().await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> DhtBuilder {
        DhtBuilder::default()
    }
}

impl DhtBuilder {
    /// Listens on this address too. Port 0 picks a free one. Without any address or socket: free ports of every IPv4
    /// address and, where the machine has IPv6, of every IPv6 address.
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen.push(addr);
        self
    }

    /// Uses a socket that is bound already, for one whose port number is shared with TCP.
    pub fn socket(mut self, socket: std::net::UdpSocket) -> Self {
        self.sockets.push(socket);
        self
    }

    /// Bootstraps from this host too: `HOST:PORT` with a name or an address. Names are resolved while the node runs.
    pub fn bootstrap(mut self, host: impl ToString) -> Self {
        self.bootstrap.push(host.to_string());
        self
    }

    /// Keeps the table in this file between runs.
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_file = Some(path.into());
        self
    }

    /// Seeds the node's chance, so that a test repeats. Without it the system's random numbers do.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// How the node behaves.
    pub fn config(mut self, config: NodeConfig) -> Self {
        self.config = config;
        self
    }

    /// Starts the node in the current tokio runtime, which has to have its I/O and time drivers enabled.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn spawn(self) -> Result<Dht, SpawnError> {
        let mut sockets = self.sockets;
        let bind_one = |addr: SocketAddr| bind(addr).map_err(|source| SpawnError::Bind { addr, source });
        if self.listen.is_empty() && sockets.is_empty() {
            sockets.push(bind_one((Ipv4Addr::UNSPECIFIED, 0).into())?);
            match bind((Ipv6Addr::UNSPECIFIED, 0).into()) {
                Ok(v6) => sockets.push(v6),
                Err(error) => tracing::debug!(%error, "no IPv6 on this machine"),
            }
        }
        for addr in self.listen {
            sockets.push(bind_one(addr)?);
        }
        let sockets: Result<Vec<_>, io::Error> = sockets.into_iter().map(adopt).collect();
        let seed = match self.seed {
            Some(seed) => seed,
            None => system_chance().map_err(SpawnError::Chance)?,
        };
        let started = Started {
            sockets: sockets.map_err(SpawnError::Socket)?,
            bootstrap: self.bootstrap,
            state_file: self.state_file.map(StateFile::new),
            seed,
            config: self.config,
        };
        task::spawn(started).await.map_err(SpawnError::Socket)
    }
}

fn bind(addr: SocketAddr) -> io::Result<std::net::UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        // The two families never mix, and another socket may hold the same port for IPv4 (BEP 32).
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Room for datagrams that wait to be read or sent, in bytes. A burst of queries is lost without it; the system may grant
/// less.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

fn adopt(socket: std::net::UdpSocket) -> io::Result<tokio::net::UdpSocket> {
    let options = socket2::SockRef::from(&socket);
    for granted in
        [options.set_recv_buffer_size(SOCKET_BUFFER_BYTES), options.set_send_buffer_size(SOCKET_BUFFER_BYTES)]
    {
        if let Err(error) = granted {
            tracing::debug!(%error, "the socket keeps the system's buffers");
        }
    }
    socket.set_nonblocking(true)?;
    tokio::net::UdpSocket::from_std(socket)
}

/// Thirty-two random bytes of the system.
fn system_chance() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(seed)
}
