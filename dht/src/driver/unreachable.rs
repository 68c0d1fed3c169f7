//! Whom the network says it cannot reach (ICMP), read from the sockets' error queues where the system has them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::SocketIndex;

/// Unreachable addresses that wait for the task; more are forgotten, and their queries end by their timers.
pub(super) const UNREACHABLE_MAX: usize = 256;

/// Errors within [`RUSH_WINDOW`] that are more than our own queries can cause: someone has us answer to closed ports.
#[cfg(any(target_os = "linux", target_os = "android"))]
const RUSH: usize = 256;
#[cfg(any(target_os = "linux", target_os = "android"))]
const RUSH_WINDOW: Duration = Duration::from_secs(1);

/// For how long nothing is reported then. A socket's error queue takes its memory from the room for datagrams, and each
/// error interrupts what the system was asked for: honest queries would be lost for the sake of made up ones.
#[cfg(any(target_os = "linux", target_os = "android"))]
const RUSH_PAUSE: Duration = Duration::from_secs(5);

/// Hands on whom the network reports as unreachable over `socket`, until nobody listens any more.
///
/// What finds no room is forgotten, and so is what comes in a rush: the queries end by their timers then.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) async fn watch(
    socket: Arc<UdpSocket>,
    index: SocketIndex,
    unreachable: mpsc::Sender<(SocketIndex, SocketAddr)>,
) {
    use super::sys;
    use std::time::Instant;
    use tokio::io::Interest;

    if let Err(error) = sys::report_errors(&socket, true) {
        tracing::debug!(%error, "the system does not report unreachable addresses");
        return;
    }
    let mut room = sys::ErrorRoom::default();
    let (mut since, mut count) = (Instant::now(), 0);
    loop {
        tokio::select! {
            ready = socket.ready(Interest::ERROR) => if ready.is_err() { return },
            () = unreachable.closed() => return,
        }
        let read = socket.try_io(Interest::ERROR, || {
            sys::receive_errors(&socket, &mut room, |to| {
                // Without room the query ends by its timer.
                let _ = unreachable.try_send((index, to));
                count += 1;
            })
        });
        if let Err(error) = read
            && error.kind() != std::io::ErrorKind::WouldBlock
        {
            tracing::debug!(%error, "the error queue cannot be read");
        }
        if since.elapsed() >= RUSH_WINDOW {
            (since, count) = (Instant::now(), 0);
        } else if count >= RUSH {
            tracing::debug!(count, "a rush of unreachable addresses is not looked at");
            pause(&socket, &mut room, &unreachable).await;
            (since, count) = (Instant::now(), 0);
        }
        // However much of it there is, datagrams have their turn.
        tokio::task::yield_now().await;
    }
}

/// Has nothing reported for a while, and empties the queue.
#[cfg(any(target_os = "linux", target_os = "android"))]
async fn pause(
    socket: &UdpSocket,
    room: &mut super::sys::ErrorRoom,
    unreachable: &mpsc::Sender<(SocketIndex, SocketAddr)>,
) {
    use super::sys;

    // That it can be switched shows in that it was before.
    let _ = sys::report_errors(socket, false);
    while sys::receive_errors(socket, room, |_| {}).is_ok() {
        tokio::task::yield_now().await;
    }
    tokio::select! {
        () = tokio::time::sleep(RUSH_PAUSE) => {}
        () = unreachable.closed() => {}
    }
    let _ = sys::report_errors(socket, true);
}

/// Other systems do not tell an unconnected socket.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) async fn watch(_: Arc<UdpSocket>, _: SocketIndex, _: mpsc::Sender<(SocketIndex, SocketAddr)>) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

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

    #[tokio::test]
    async fn a_rush_is_not_looked_at_and_leaves_the_room_for_datagrams_free() {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (sender, mut receiver) = mpsc::channel(UNREACHABLE_MAX);
        let watching = tokio::spawn(watch(socket.clone(), SocketIndex(0), sender));
        tokio::task::yield_now().await;
        let mut told = 0;
        for _ in 0..20 * RUSH {
            // One that fails has an error of an earlier one in front of it.
            let _ = socket.send_to(&[7; 500], closed).await;
            tokio::task::yield_now().await;
            while receiver.try_recv().is_ok() {
                told += 1;
            }
        }
        assert!((1..3 * RUSH).contains(&told), "{told} of {} were told", 20 * RUSH);
        let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        other.send_to(b"still heard", socket.local_addr().unwrap()).await.unwrap();
        let mut buffer = [0; 64];
        let heard = async {
            loop {
                if let Ok(len) = socket.recv(&mut buffer).await {
                    return len;
                }
            }
        };
        assert_eq!(tokio::time::timeout(Duration::from_secs(20), heard).await.expect("it arrives"), 11);
        drop(receiver);
        tokio::time::timeout(Duration::from_secs(20), watching).await.expect("it ends").unwrap();
    }
}
