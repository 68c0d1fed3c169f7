//! The byte streams of peers. A peer task sees no more of a connection than this, whatever carries the bytes.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use socket2::Socket;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::storage::is_out_of_files;

/// How long a connection may take to be set up. Home routers drop the packet for an address that is gone, so this is
/// what a dead candidate costs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
/// How long dialling rests while no file descriptor is to be had.
const DESCRIPTOR_REST: Duration = Duration::from_millis(100);
/// Connections that the system sets up and keeps until they are accepted.
const BACKLOG: i32 = 256;

/// A connection to a peer: bytes in both directions. Reading and writing never wait; [`PeerStream::readable`] and
/// [`PeerStream::writable`] do, and lose nothing when they are dropped.
#[derive(Debug)]
pub(super) enum PeerStream {
    Tcp(TcpStream),
}

impl PeerStream {
    /// Connects to `addr`, for [`CONNECT_TIMEOUT`] at most.
    pub(super) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        timeout(CONNECT_TIMEOUT, connect_tcp(addr)).await.map_err(|_| io::ErrorKind::TimedOut)?.map(Self::Tcp)
    }

    /// Waits until [`PeerStream::try_read_buf`] has something to say.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
        }
    }

    /// Appends what has arrived, as far as the buffer has room; 0 once the peer sends no more.
    ///
    /// # Errors
    /// `WouldBlock` while nothing has arrived.
    pub(super) fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(buffer),
        }
    }

    /// Waits until [`PeerStream::try_write_vectored`] has something to say.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
        }
    }

    /// Writes as many bytes of the slices, in order, as are taken at once.
    ///
    /// # Errors
    /// `WouldBlock` while none are taken.
    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
        }
    }
}

async fn connect_tcp(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = loop {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        match socket {
            // Want of file descriptors is no fault of the peer.
            Err(error) if is_out_of_files(&error) => tokio::time::sleep(DESCRIPTOR_REST).await,
            socket => break socket?,
        }
    };
    socket.set_nodelay(true)?;
    socket.connect(addr).await
}

/// Takes the connections that peers open.
#[derive(Debug)]
pub(super) struct PeerListener {
    tcp: TcpListener,
}

impl PeerListener {
    /// Lets a bound TCP socket listen.
    pub(super) fn listen(tcp: Socket) -> io::Result<Self> {
        tcp.listen(BACKLOG)?;
        tcp.set_nonblocking(true)?;
        Ok(Self { tcp: TcpListener::from_std(tcp.into())? })
    }

    /// The next connection, and where it comes from.
    pub(super) async fn accept(&self) -> io::Result<(PeerStream, SocketAddr)> {
        let (stream, addr) = self.tcp.accept().await?;
        // Without this, blocks that end in a short segment would wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        Ok((PeerStream::Tcp(stream), addr))
    }
}
