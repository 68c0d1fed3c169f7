use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::sys::{self, BATCH, DATAGRAM_LEN_MAX};

/// Errors of earlier datagrams that are passed over before a call of the system is given up. The system reports them one
/// at a time, in place of doing what it was asked for.
const PENDING_ERRORS_MAX: usize = 3;

/// Room for one batch of received datagrams, allocated once.
#[derive(Debug)]
pub(super) struct Inbox {
    buffers: Box<[u8]>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { buffers: vec![0; BATCH * DATAGRAM_LEN_MAX].into_boxed_slice() }
    }

    /// Hands every datagram that is there, up to a batch, to `each`. Returns how many there were.
    ///
    /// Errors of the network that belong to something sent earlier (a refused connection, for one) are no errors of
    /// receiving: it is tried again. No other error ends anything either: the socket is looked at again when the system
    /// next says that there is something.
    pub(super) fn receive(&mut self, socket: &UdpSocket, mut each: impl FnMut(SocketAddr, &[u8])) -> usize {
        let received = socket.try_io(Interest::READABLE, || {
            for _ in 0..PENDING_ERRORS_MAX {
                match sys::receive(socket, &mut self.buffers, &mut each) {
                    Err(error) if sys::is_of_one_peer(&error) || error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                        tracing::warn!(%error, "cannot receive");
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    received => return received,
                }
            }
            Ok(0)
        });
        received.unwrap_or(0)
    }
}

/// Datagrams waiting to be sent over one socket. Its memory is kept from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    payloads: Vec<u8>,
    datagrams: Vec<(SocketAddr, Range<usize>)>,
}

impl Outbox {
    pub(super) fn push(&mut self, to: SocketAddr, payload: &[u8]) {
        let start = self.payloads.len();
        self.payloads.extend_from_slice(payload);
        self.datagrams.push((to, start..self.payloads.len()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Sends everything. Whom the system says it cannot reach is told to `unreachable`.
    ///
    /// An error may be that of a datagram sent earlier to someone else. So the one that seems to fail is tried again:
    /// an error that stays is its own.
    pub(super) async fn flush(&mut self, socket: &UdpSocket, mut unreachable: impl FnMut(SocketAddr)) {
        let mut sent = 0;
        let mut tries = 0;
        while sent < self.datagrams.len() {
            let end = self.datagrams.len().min(sent + BATCH);
            let batch = &self.datagrams[sent..end];
            match socket.async_io(Interest::WRITABLE, || sys::send(socket, &self.payloads, batch)).await {
                Ok(count) => (sent, tries) = (sent + count.max(1), 0),
                Err(error) if sys::is_of_one_peer(&error) && tries < PENDING_ERRORS_MAX => tries += 1,
                Err(error) => {
                    let (to, _) = self.datagrams[sent];
                    tracing::trace!(%to, %error, "datagram not sent");
                    if sys::is_of_one_peer(&error) {
                        unreachable(to);
                    }
                    (sent, tries) = (sent + 1, 0);
                }
            }
        }
        self.datagrams.clear();
        self.payloads.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn bound(local: &str) -> UdpSocket {
        UdpSocket::bind(local).await.unwrap()
    }

    async fn receive_all(socket: &UdpSocket, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut inbox = Inbox::new();
        let mut received = Vec::new();
        let all = async {
            while received.len() < count {
                socket.readable().await.unwrap();
                inbox.receive(socket, |from, datagram| received.push((from, datagram.to_vec())));
            }
        };
        tokio::time::timeout(Duration::from_secs(10), all).await.expect("every datagram arrives on loopback");
        received
    }

    #[tokio::test]
    async fn batches_of_both_families_keep_addresses_and_payloads() {
        for local in ["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"] {
            let (left, right) = (bound(local).await, bound(local).await);
            let (left_addr, right_addr) = (left.local_addr().unwrap(), right.local_addr().unwrap());
            let mut outbox = Outbox::default();
            let payloads: Vec<Vec<u8>> = (0..100u8).map(|number| vec![number; 1 + 3 * usize::from(number)]).collect();
            payloads.iter().for_each(|payload| outbox.push(right_addr, payload));
            outbox.flush(&left, |to| panic!("{to} is not unreachable")).await;
            assert!(outbox.is_empty());
            let received = receive_all(&right, payloads.len()).await;
            assert!(received.iter().all(|(from, _)| *from == left_addr), "the whole address of {local}");
            assert!(received.iter().map(|(_, payload)| payload).eq(&payloads));
        }
    }

    #[tokio::test]
    async fn long_and_empty_datagrams_do_no_harm() {
        let (left, right) = (bound("127.0.0.1:0").await, bound("127.0.0.1:0").await);
        let mut outbox = Outbox::default();
        for len in [0, 5000, 7] {
            outbox.push(right.local_addr().unwrap(), &vec![9; len]);
        }
        outbox.flush(&left, |_| {}).await;
        let lens: Vec<usize> = receive_all(&right, 3).await.iter().map(|(_, payload)| payload.len()).collect();
        assert_eq!(lens, [0, DATAGRAM_LEN_MAX, 7]);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_a_closed_port_sends_back_costs_nobody_else_a_datagram() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let (left, right) = (bound(local).await, bound(local).await);
            sys::report_errors(&left, true).unwrap();
            let (left_addr, right_addr) = (left.local_addr().unwrap(), right.local_addr().unwrap());
            let closed = bound(local).await.local_addr().unwrap();
            let mut outbox = Outbox::default();
            for round in 0..20 {
                for to in [closed, right_addr, closed, closed, right_addr] {
                    outbox.push(to, &[round]);
                }
                // The closed port's answers are pending errors of the left socket, in front of what it is sent.
                outbox.flush(&left, |to| panic!("{to} is told by the error queue")).await;
                right.send_to(b"answer", left_addr).await.unwrap();
                assert_eq!(receive_all(&left, 1).await, [(right_addr, b"answer".to_vec())]);
            }
            assert_eq!(receive_all(&right, 40).await.len(), 40);
        }
    }

    #[tokio::test]
    async fn one_datagram_that_cannot_be_sent_does_not_hold_up_the_rest() {
        let (left, right) = (bound("127.0.0.1:0").await, bound("127.0.0.1:0").await);
        let mut outbox = Outbox::default();
        let right_addr = right.local_addr().unwrap();
        outbox.push(right_addr, b"first");
        // A socket bound to loopback has no way to an address of another family.
        outbox.push("[::1]:9".parse().unwrap(), b"second");
        outbox.push(right_addr, b"third");
        outbox.flush(&left, |_| {}).await;
        let received = receive_all(&right, 2).await;
        assert_eq!((&received[0].1[..], &received[1].1[..]), (&b"first"[..], &b"third"[..]));
    }
}
