//! The two system calls of the driver: many datagrams at once where the system can, one by one elsewhere.

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use errors::{ErrorRoom, receive_errors, report_errors};
pub(super) use imp::{receive, send};

use std::io;

/// Datagrams that one system call receives or sends at most.
pub(super) const BATCH: usize = 64;
/// Longer datagrams are cut; no DHT message that is acted on is as long.
pub(super) const DATAGRAM_LEN_MAX: usize = 2048;

/// Whether an error tells about one address only (what ICMP brought back, or the lack of a route), not about the socket.
pub(super) fn is_of_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod errors {
    use std::io::{self, IoSliceMut};
    use std::net::SocketAddr;
    use std::os::fd::AsRawFd;

    use nix::errno::Errno;
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
    use tokio::net::UdpSocket;

    /// Errors that are read at one go, so that datagrams have their turn.
    const ERRORS_MAX: usize = 64;

    /// Room for what the system says about one error.
    #[derive(Debug)]
    pub(in crate::driver) struct ErrorRoom(Vec<u8>);

    impl Default for ErrorRoom {
        fn default() -> Self {
            // The error itself, the address of who reports it, and as much again for what a later system may add.
            Self(nix::cmsg_space!([u64; 8], [u64; 8]))
        }
    }

    /// Has the system keep, or not, what ICMP says about what was sent over `socket`.
    pub(in crate::driver) fn report_errors(socket: &UdpSocket, report: bool) -> io::Result<()> {
        match socket.local_addr()? {
            SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &report)?,
            SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &report)?,
        }
        Ok(())
    }

    /// Reads from the error queue, without waiting, and names to `each` whom a datagram did not reach.
    pub(in crate::driver) fn receive_errors(
        socket: &UdpSocket,
        room: &mut ErrorRoom,
        mut each: impl FnMut(SocketAddr),
    ) -> io::Result<()> {
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        for _ in 0..ERRORS_MAX {
            let mut payload = [0; 8];
            let mut slices = [IoSliceMut::new(&mut payload)];
            let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut room.0), flags)?;
            let is_unreachable = message.cmsgs()?.any(|control| match control {
                ControlMessageOwned::Ipv4RecvErr(error, _) => is_unreachable(error.ee_errno),
                ControlMessageOwned::Ipv6RecvErr(error, _) => is_unreachable(error.ee_errno),
                _ => false,
            });
            if let (true, Some(to)) = (is_unreachable, message.address.as_ref().and_then(super::imp::to_std)) {
                each(to);
            }
        }
        Ok(())
    }

    fn is_unreachable(errno: u32) -> bool {
        [Errno::ECONNREFUSED, Errno::EHOSTUNREACH, Errno::ENETUNREACH].map(|error| error as u32).contains(&errno)
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
mod imp {
    use std::cell::RefCell;
    use std::io::{self, IoSlice, IoSliceMut};
    use std::net::SocketAddr;
    use std::ops::Range;
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
    use tokio::net::UdpSocket;

    use super::{BATCH, DATAGRAM_LEN_MAX};

    type Headers = MultiHeaders<SockaddrStorage>;

    // Headers hold raw pointers, so that a task that owned them could not move between threads. They are scratch memory
    // without meaning between two calls, so each thread has its own. The system leaves the length of the last address
    // in them, which would cut those of the longer family: one set for each.
    thread_local! {
        static RECEIVE_V4: RefCell<Headers> = RefCell::new(MultiHeaders::preallocate(BATCH, None));
        static RECEIVE_V6: RefCell<Headers> = RefCell::new(MultiHeaders::preallocate(BATCH, None));
        static SEND: RefCell<Headers> = RefCell::new(MultiHeaders::preallocate(BATCH, None));
    }

    /// Receives up to a batch into `buffers`, without waiting.
    pub(in crate::driver) fn receive(
        socket: &UdpSocket,
        buffers: &mut [u8],
        mut each: impl FnMut(SocketAddr, &[u8]),
    ) -> io::Result<usize> {
        let headers = if socket.local_addr()?.is_ipv4() { &RECEIVE_V4 } else { &RECEIVE_V6 };
        headers.with_borrow_mut(|headers| {
            let mut chunks = buffers.chunks_exact_mut(DATAGRAM_LEN_MAX);
            let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
                std::array::from_fn(|_| [IoSliceMut::new(chunks.next().unwrap_or_default())]);
            let messages = recvmmsg(socket.as_raw_fd(), headers, &mut slices, MsgFlags::MSG_DONTWAIT, None)?;
            let mut count = 0;
            for message in messages {
                count += 1;
                if let Some(from) = message.address.as_ref().and_then(to_std) {
                    each(from, message.iovs().next().unwrap_or_default());
                }
            }
            Ok(count)
        })
    }

    /// Sends `datagrams`, at most a batch, without waiting. An error is that of the first one.
    pub(in crate::driver) fn send(
        socket: &UdpSocket,
        payloads: &[u8],
        datagrams: &[(SocketAddr, Range<usize>)],
    ) -> io::Result<usize> {
        SEND.with_borrow_mut(|headers| {
            let count = datagrams.len().min(BATCH);
            let slices: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|index| {
                let range = datagrams.get(index).map_or(0..0, |(_, range)| range.clone());
                [IoSlice::new(&payloads[range])]
            });
            let addrs: [Option<SockaddrStorage>; BATCH] =
                std::array::from_fn(|index| datagrams.get(index).map(|(to, _)| SockaddrStorage::from(*to)));
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            let sent = sendmmsg(socket.as_raw_fd(), headers, &slices[..count], &addrs[..count], [], flags)?;
            Ok(sent.count())
        })
    }

    pub(super) fn to_std(addr: &SockaddrStorage) -> Option<SocketAddr> {
        match (addr.as_sockaddr_in(), addr.as_sockaddr_in6()) {
            (Some(v4), _) => Some(SocketAddr::V4((*v4).into())),
            (None, Some(v6)) => Some(SocketAddr::V6((*v6).into())),
            (None, None) => None,
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd")))]
mod imp {
    use std::io;
    use std::net::SocketAddr;
    use std::ops::Range;

    use socket2::SockRef;
    use tokio::net::UdpSocket;

    use super::{BATCH, DATAGRAM_LEN_MAX};

    /// Receives up to a batch through the first of `buffers`, without waiting.
    pub(in crate::driver) fn receive(
        socket: &UdpSocket,
        buffers: &mut [u8],
        mut each: impl FnMut(SocketAddr, &[u8]),
    ) -> io::Result<usize> {
        use std::io::ErrorKind::WouldBlock;
        let socket = SockRef::from(socket);
        let buffer = &mut buffers[..DATAGRAM_LEN_MAX];
        for count in 0..BATCH {
            match read_from(&socket, buffer) {
                Ok((len, Some(from))) => each(from, &buffer[..len]),
                Ok((_, None)) => {}
                Err(error) if error.kind() == WouldBlock && count > 0 => return Ok(count),
                Err(error) => return Err(error),
            }
        }
        Ok(BATCH)
    }

    fn read_from(socket: &SockRef<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<SocketAddr>)> {
        use std::io::Read;
        // `peek_sender` leaves the datagram in place, so that a safe read into initialised memory can take it.
        let from = socket.peek_sender()?;
        let len = (&**socket).read(buffer)?;
        Ok((len, from.as_socket()))
    }

    /// Sends `datagrams`, without waiting. An error is that of the first one.
    pub(in crate::driver) fn send(
        socket: &UdpSocket,
        payloads: &[u8],
        datagrams: &[(SocketAddr, Range<usize>)],
    ) -> io::Result<usize> {
        let socket = SockRef::from(socket);
        for (count, (to, range)) in datagrams.iter().enumerate() {
            match socket.send_to(&payloads[range.clone()], &(*to).into()) {
                Ok(_) => {}
                Err(error) if count == 0 => return Err(error),
                Err(_) => return Ok(count),
            }
        }
        Ok(datagrams.len())
    }
}
