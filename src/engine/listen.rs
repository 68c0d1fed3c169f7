//! Accepting connections, and binding TCP and UDP to one port number.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this file opens the sockets")]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;

use super::greetings::Greetings;
use super::mail::RouteRequest;
use super::peer_task;
use super::transport::PeerListener;
use crate::wire::LinkConfig;

/// How long accepting rests after an error, most likely for want of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How many ports the system may pick for TCP before one is free for UDP too.
const PICKS_MAX: u32 = 32;

/// TCP and UDP sockets on one address with one port number. The TCP socket does not listen yet: a peer that connects
/// before there is anything to serve would only wait.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) addr: SocketAddr,
    pub(crate) tcp: Socket,
    pub(crate) udp: UdpSocket,
}

/// Binds both sockets. With port 0 the system picks a number that is free for both.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<Bound> {
    let mut picks = 0;
    loop {
        let tcp = bind_tcp(addr)?;
        let bound = tcp.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        match bind_udp(bound) {
            Ok(udp) => return Ok(Bound { addr: bound, tcp, udp }),
            Err(error) if addr.port() == 0 && error.kind() == io::ErrorKind::AddrInUse && picks < PICKS_MAX => {
                picks += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn bind_tcp(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose last connections are still closing may be taken at once; a second listener may not.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn bind_udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts connections and starts a task for each.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: PeerListener,
    config: LinkConfig,
    routes: mpsc::Sender<RouteRequest>,
    greetings: Greetings,
}

impl Listener {
    /// Lets a bound socket listen. `config` is what a link needs before its torrent is known.
    pub(crate) fn new(tcp: Socket, config: LinkConfig, routes: mpsc::Sender<RouteRequest>) -> io::Result<Self> {
        Ok(Self { listener: PeerListener::listen(tcp)?, config, routes, greetings: Greetings::default() })
    }

    /// Accepts until the task is aborted.
    pub(crate) async fn run(self) {
        loop {
            let (stream, addr) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_REST).await;
                    continue;
                }
            };
            let greeting = self.greetings.admit(addr.ip());
            let (config, routes) = (self.config.clone(), self.routes.clone());
            tokio::task::spawn_local(peer_task::accept(stream, addr, config, routes, greeting));
        }
    }
}
