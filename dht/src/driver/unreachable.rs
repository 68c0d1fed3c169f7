//! Whom the network says it cannot reach (ICMP), read from the sockets' error queues where the system has them.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::SocketIndex;

/// Unreachable addresses that wait for the task; more are forgotten, and their queries end by their timers.
pub(super) const UNREACHABLE_MAX: usize = 256;

/// Hands on whom the network reports as unreachable over `socket`, until nobody listens any more.
///
/// A socket's error queue takes its memory from the room for datagrams, so it is emptied even when nobody can use what it
/// says: queries end by their timers then.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) async fn watch(
    socket: Arc<UdpSocket>,
    index: SocketIndex,
    unreachable: mpsc::Sender<(SocketIndex, SocketAddr)>,
) {
    use super::sys;
    use tokio::io::Interest;

    if let Err(error) = sys::report_errors(&socket) {
        tracing::debug!(%error, "the system does not report unreachable addresses");
        return;
    }
    let mut room = sys::ErrorRoom::default();
    loop {
        tokio::select! {
            ready = socket.ready(Interest::ERROR) => if ready.is_err() { return },
            () = unreachable.closed() => return,
        }
        let read = socket.try_io(Interest::ERROR, || {
            sys::receive_errors(&socket, &mut room, |to| {
                // Without room the query ends by its timer.
                let _ = unreachable.try_send((index, to));
            })
        });
        if let Err(error) = read
            && error.kind() != std::io::ErrorKind::WouldBlock
        {
            tracing::debug!(%error, "the error queue cannot be read");
        }
        // However much of it there is, datagrams have their turn.
        tokio::task::yield_now().await;
    }
}

/// Other systems do not tell an unconnected socket.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) async fn watch(_: Arc<UdpSocket>, _: SocketIndex, _: mpsc::Sender<(SocketIndex, SocketAddr)>) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_closed_port_is_told_for_both_families() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let socket = Arc::new(UdpSocket::bind(local).await.unwrap());
            let closed = UdpSocket::bind(local).await.unwrap().local_addr().unwrap();
            let (sender, mut receiver) = mpsc::channel(4);
            let watching = tokio::spawn(watch(socket.clone(), SocketIndex(3), sender));
            // The watcher has to have its option set before anything is sent.
            tokio::task::yield_now().await;
            socket.send_to(b"anybody there?", closed).await.unwrap();
            let told = tokio::time::timeout(Duration::from_secs(20), receiver.recv()).await.expect("it is told");
            assert_eq!(told, Some((SocketIndex(3), closed)));
            drop(receiver);
            tokio::time::timeout(Duration::from_secs(20), watching).await.expect("it ends").unwrap();
        }
    }
}
