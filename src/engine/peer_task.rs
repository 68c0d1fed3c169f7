//! One connection: moves bytes between its stream and its [`Link`], and messages between the link and the torrent.
#![allow(clippy::disallowed_methods, reason = "a driver reads the clock")]

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Sleep, sleep_until, timeout, timeout_at};

use super::greetings::Greeting;
use super::mail::{Admission, PeerMail, RouteRequest, TorrentMail, TorrentMailbox};
use super::transport::PeerStream;
use crate::model::{Block, InfoHash};
use crate::swarm::{CloseCause, PeerKey};
use crate::wire::{Link, LinkConfig, LinkEvent, Message, SendError, TRANSMIT_SLICES_MAX};

/// Bytes read from one socket before the other tasks get their turn.
const READ_PER_TURN_MAX: usize = 1024 * 1024;
/// Mails taken from the inbox at once.
const MAILS_PER_TURN: usize = 64;
/// How long a closing connection may take to send what is queued.
const LINGER: Duration = Duration::from_millis(500);

/// Dials `addr` and serves the connection until it ends.
pub(super) async fn dial(
    peer: PeerKey,
    addr: SocketAddr,
    config: LinkConfig,
    info_hash: InfoHash,
    inbox: mpsc::Receiver<PeerMail>,
    mailbox: TorrentMailbox,
) {
    let cause = match PeerStream::connect(addr).await {
        Ok(stream) => {
            let link = Link::outgoing(Instant::now(), config, info_hash);
            Connection::new(peer, stream, link, inbox, mailbox.clone()).run().await
        }
        Err(error) => CloseCause::DialFailed(error.kind()),
    };
    // A torrent that is gone does not want to know.
    let _ = mailbox.send(TorrentMail::Closed { peer, cause }).await;
}

/// Serves a connection that someone else opened: finds its torrent by the handshake first. Its place among the
/// connections without a torrent is given back once the torrent has admitted it.
pub(super) async fn accept(
    stream: PeerStream,
    addr: SocketAddr,
    config: LinkConfig,
    routes: mpsc::Sender<RouteRequest>,
    mut greeting: Greeting,
) {
    let mut link = Link::incoming(Instant::now(), config);
    let admitted = tokio::select! {
        // Whom the torrent has admitted already does not give way.
        biased;
        admitted = admit(&stream, addr, &mut link, routes) => admitted,
        () = greeting.ended() => {
            tracing::debug!(%addr, "a connection that has no torrent yet gives way to others");
            None
        }
    };
    drop(greeting);
    let Some((mailbox, Admission { peer, inbox, link: config })) = admitted else { return };
    if let Err(fault) = link.accept(Instant::now(), config.extended) {
        let _ = mailbox.send(TorrentMail::Closed { peer, cause: CloseCause::Fault(fault) }).await;
        return;
    }
    let cause = Connection::new(peer, stream, link, inbox, mailbox.clone()).run().await;
    let _ = mailbox.send(TorrentMail::Closed { peer, cause }).await;
}

/// Has a connection admitted by the torrent that it asks for. `None`: it is not wanted.
async fn admit(
    stream: &PeerStream,
    addr: SocketAddr,
    link: &mut Link,
    routes: mpsc::Sender<RouteRequest>,
) -> Option<(TorrentMailbox, Admission)> {
    let info_hash = read_greeting(stream, link).await?;
    let (reply, route) = oneshot::channel();
    routes.send(RouteRequest { info_hash, reply }).await.ok()?;
    let Ok(mailbox) = route.await else {
        tracing::debug!(%addr, %info_hash, "a peer asked for a torrent that is not here");
        return None;
    };
    let (admit, admission) = oneshot::channel();
    mailbox.send(TorrentMail::Incoming { addr, admit }).await.ok()?;
    Some((mailbox, admission.await.ok()?))
}

/// Reads until the peer has said which torrent it wants. `None` when it goes, errs or takes too long.
async fn read_greeting(stream: &PeerStream, link: &mut Link) -> Option<InfoHash> {
    loop {
        match timeout_at(link.next_timeout()?.into(), stream.readable()).await {
            Ok(ready) => ready.ok()?,
            Err(_) => {
                link.handle_timeout(Instant::now()).ok()?;
                continue;
            }
        }
        match stream.try_read_buf(link.recv_buf()) {
            Ok(0) => return None,
            Ok(_) => link.handle_received(Instant::now()).ok()?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return None,
        }
        if let Some(LinkEvent::Greeting { info_hash, .. }) = link.poll_event() {
            return Some(info_hash);
        }
    }
}

struct Connection {
    peer: PeerKey,
    stream: PeerStream,
    link: Link,
    inbox: mpsc::Receiver<PeerMail>,
    mailbox: TorrentMailbox,
    /// What was read and not yet mailed.
    messages: Vec<Message>,
    /// Payload written and not yet mailed, in bytes.
    payload_sent: u32,
    /// Blocks that will not be written, and not yet mailed.
    taken_back: Vec<Block>,
    mails: Vec<PeerMail>,
    closing: bool,
}

impl Connection {
    fn new(
        peer: PeerKey,
        stream: PeerStream,
        link: Link,
        inbox: mpsc::Receiver<PeerMail>,
        mailbox: TorrentMailbox,
    ) -> Self {
        Self {
            peer,
            stream,
            link,
            inbox,
            mailbox,
            messages: Vec::new(),
            payload_sent: 0,
            taken_back: Vec::new(),
            mails: Vec::with_capacity(MAILS_PER_TURN),
            closing: false,
        }
    }

    async fn run(mut self) -> CloseCause {
        match self.serve().await {
            Ok(()) => CloseCause::ByUs,
            Err(cause) => cause,
        }
    }

    /// Moves bytes and mails until the connection ends. `Ok` when the torrent ended it.
    async fn serve(&mut self) -> Result<(), CloseCause> {
        let timer = sleep_until(Instant::now().into());
        tokio::pin!(timer);
        // What arrived together with the handshake waits in the link already.
        self.handle_events().await?;
        while self.link.has_backlog() {
            self.link.handle_backlog().map_err(CloseCause::Fault)?;
            self.handle_events().await?;
        }
        loop {
            self.write()?;
            self.mail().await?;
            if self.closing {
                return self.linger().await;
            }
            arm(timer.as_mut(), self.link.next_timeout());
            tokio::select! {
                count = self.inbox.recv_many(&mut self.mails, MAILS_PER_TURN) => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.handle_mails()?;
                }
                ready = self.stream.readable() => {
                    ready.map_err(|error| CloseCause::Io(error.kind()))?;
                    self.read().await?;
                }
                ready = self.stream.writable(), if self.link.send_queue_bytes() > 0 => {
                    ready.map_err(|error| CloseCause::Io(error.kind()))?;
                }
                () = timer.as_mut() => {
                    self.link.handle_timeout(Instant::now()).map_err(CloseCause::Fault)?;
                }
            }
        }
    }

    fn handle_mails(&mut self) -> Result<(), CloseCause> {
        let now = Instant::now();
        for mail in self.mails.drain(..) {
            match mail {
                PeerMail::Send(messages) => {
                    for message in messages {
                        match self.link.send(now, message) {
                            // What the peer does not take, it does not miss.
                            Ok(()) | Err(SendError::NotNegotiated) => {}
                            Err(SendError::QueueFull) => return Err(CloseCause::TooSlow),
                        }
                    }
                }
                PeerMail::TakeBack(blocks) => {
                    self.taken_back.append(&mut self.link.take_back(|block| blocks.contains(block)));
                }
                PeerMail::Close => self.closing = true,
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), CloseCause> {
        let mut budget = READ_PER_TURN_MAX;
        loop {
            match self.stream.try_read_buf(self.link.recv_buf()) {
                Ok(0) => return Err(CloseCause::Eof),
                Ok(count) => {
                    self.link.handle_received(Instant::now()).map_err(CloseCause::Fault)?;
                    self.handle_events().await?;
                    while self.link.has_backlog() {
                        // A flood of tiny messages: the torrent judges what it has before more is read.
                        tokio::task::yield_now().await;
                        self.link.handle_backlog().map_err(CloseCause::Fault)?;
                        self.handle_events().await?;
                    }
                    budget = budget.saturating_sub(count);
                    if budget == 0 {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(CloseCause::Io(error.kind())),
            }
        }
    }

    async fn handle_events(&mut self) -> Result<(), CloseCause> {
        while let Some(event) = self.link.poll_event() {
            match event {
                LinkEvent::Message(message) => self.messages.push(message),
                LinkEvent::Established(hello) => {
                    self.post(TorrentMail::Connected { peer: self.peer, hello }).await?;
                }
                LinkEvent::Greeting { .. } => {}
            }
        }
        self.mail().await
    }

    /// Tells the torrent what was read and written since the last time. Waits while its mailbox is full.
    async fn mail(&mut self) -> Result<(), CloseCause> {
        if self.messages.is_empty() && self.payload_sent == 0 && self.taken_back.is_empty() {
            return Ok(());
        }
        let messages = std::mem::take(&mut self.messages);
        let payload_sent = std::mem::take(&mut self.payload_sent);
        let taken_back = std::mem::take(&mut self.taken_back);
        self.post(TorrentMail::Run { peer: self.peer, messages, payload_sent, taken_back }).await
    }

    async fn post(&self, mail: TorrentMail) -> Result<(), CloseCause> {
        self.mailbox.send(mail).await.map_err(|_| CloseCause::ByUs)
    }

    /// Writes what the socket takes.
    fn write(&mut self) -> Result<(), CloseCause> {
        while self.link.send_queue_bytes() > 0 {
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(TRANSMIT_SLICES_MAX);
            self.link.poll_transmit(&mut slices);
            match self.stream.try_write_vectored(&slices) {
                Ok(written) => {
                    self.payload_sent += self.link.handle_transmitted(Instant::now(), written).payload_bytes as u32;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(CloseCause::Io(error.kind())),
            }
        }
        Ok(())
    }

    /// Sends what is queued, for a short while, and leaves.
    async fn linger(&mut self) -> Result<(), CloseCause> {
        let flush = async {
            while self.link.send_queue_bytes() > 0 {
                self.stream.writable().await.map_err(|error| CloseCause::Io(error.kind()))?;
                self.write()?;
            }
            Ok(())
        };
        timeout(LINGER, flush).await.unwrap_or(Ok(()))
    }
}

/// Sets the timer to the next thing the machine waits for; far away when there is none.
pub(super) fn arm(timer: std::pin::Pin<&mut Sleep>, deadline: Option<Instant>) {
    let deadline = deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600)).into();
    if timer.deadline() != deadline {
        timer.reset(deadline);
    }
}
