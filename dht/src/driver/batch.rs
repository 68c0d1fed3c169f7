use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::sys;

/// Datagrams that one system call receives or sends at most.
pub(super) const BATCH: usize = 64;

/// Longer datagrams are cut; no DHT message that is acted on is as long.
pub(super) const DATAGRAM_LEN_MAX: usize = 2048;

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
    /// receiving: they count as a batch of none, and the loop goes on.
    pub(super) fn receive(&mut self, socket: &UdpSocket, each: impl FnMut(SocketAddr, &[u8])) -> io::Result<usize> {
        match socket.try_io(Interest::READABLE, || sys::receive(socket, &mut self.buffers, each)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || sys::is_of_one_peer(&error) => Ok(0),
            received => received,
        }
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

    /// Sends everything. Whom the system says it cannot reach is told to `unreachable`; nothing is tried twice.
    pub(super) async fn flush(&mut self, socket: &UdpSocket, mut unreachable: impl FnMut(SocketAddr)) {
        let mut sent = 0;
        while sent < self.datagrams.len() {
            let end = self.datagrams.len().min(sent + BATCH);
            let batch = &self.datagrams[sent..end];
            match socket.async_io(Interest::WRITABLE, || sys::send(socket, &self.payloads, batch)).await {
                Ok(count) => sent += count.max(1),
                Err(error) => {
                    let (to, _) = self.datagrams[sent];
                    tracing::trace!(%to, %error, "datagram not sent");
                    if sys::is_of_one_peer(&error) {
                        unreachable(to);
                    }
                    sent += 1;
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
                inbox.receive(socket, |from, datagram| received.push((from, datagram.to_vec()))).unwrap();
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
