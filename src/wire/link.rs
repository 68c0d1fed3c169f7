use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

use crate::model::{BLOCK_LEN, Block, INFO_LEN_MAX, InfoHash, PeerId};

use super::codec::{self, Frame, Limits, PREFIX_LEN, id};
use super::extension::{self, HANDSHAKE_ID, UT_METADATA_ID_OURS};
use super::handshake::{HANDSHAKE_LEN, Handshake};
use super::recv_buffer::RecvBuffer;
use super::send_queue::SendQueue;
use super::{ExtendedHandshake, Features, Message, MetadataMessage, PeerFault, PeerHello, SendError, Transmitted};

/// Bytes that may wait behind a handshake which is not accepted yet: an extension handshake and a long bitfield.
const EAGER_LEN_MAX: usize = 256 * 1024;
/// A link that received nothing for this long gives its receive buffer back.
const RELEASE_AFTER: Duration = Duration::from_secs(5);
/// A peer whose time is over has this much longer. The call that finds it so may be the first after the process stood still
/// for minutes (a suspended laptop), and what waits in the socket is read before anybody is judged.
const LAST_CALL: Duration = Duration::from_secs(1);
/// Events that wait to be drained, at most, before parsing pauses: the smallest messages are four bytes, and take more as
/// events.
const EVENTS_MAX: usize = 4096;
/// While more than this waits to be written, requests for metadata are rejected: their answers are copies, and a peer that
/// reads what it asks for has few of them waiting.
const METADATA_QUEUE_MAX: usize = 256 * 1024;
/// The longest bitfield of a torrent whose info dictionary is accepted: 20 bytes of it a piece.
const BITFIELD_LEN_MAX: u32 = (INFO_LEN_MAX / 20 / 8) as u32 + 1;

/// What a connection is opened with.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Our id.
    pub peer_id: PeerId,
    /// What we can do.
    pub features: Features,
    /// Our extension handshake. Goes out by itself once both handshakes are there.
    pub extended: ExtendedHandshake,
    /// The longest block that is taken, in bytes.
    pub recv_piece_max: u32,
    /// How many bytes may wait to be written before blocks are refused.
    pub send_budget_bytes: usize,
    /// How long the handshake may take.
    pub handshake_timeout: Duration,
    /// How long the peer may send nothing.
    pub idle_timeout: Duration,
    /// How long what waits to be written may wait for the peer to read anything.
    pub write_timeout: Duration,
    /// After this much silence of ours a keep-alive goes out.
    pub keep_alive_interval: Duration,
}

impl LinkConfig {
    /// The usual limits for a client with this id: 16 KiB blocks, 1 MiB to send, 15 s for the handshake, 130 s of the
    /// peer's silence and 110 s of ours (BEP 3: "generally two minutes"), 120 s in which it reads nothing.
    pub fn new(peer_id: PeerId) -> Self {
        Self {
            peer_id,
            features: Features::ALL,
            extended: ExtendedHandshake::default(),
            recv_piece_max: BLOCK_LEN,
            send_budget_bytes: 1024 * 1024,
            handshake_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(130),
            write_timeout: Duration::from_secs(120),
            keep_alive_interval: Duration::from_secs(110),
        }
    }
}

/// What happened on the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// An incoming connection asks for this torrent: call [`Link::accept`] or drop the link.
    Greeting {
        /// The torrent.
        info_hash: InfoHash,
        /// The peer's id; our own when the connection leads back to us.
        peer_id: PeerId,
    },
    /// Both handshakes are there; messages may be sent.
    Established(PeerHello),
    /// A message of the peer. The block of a piece shares the receive buffer.
    Message(Message),
}

/// Counts of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Bytes received, of all kinds.
    pub received_bytes: u64,
    /// Bytes written, of all kinds.
    pub sent_bytes: u64,
    /// Messages ignored because their id, or extended id, is not known here.
    pub unknown_messages: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// We connected, said our handshake and wait for the peer's.
    Dialed(InfoHash),
    /// The peer connected; its handshake is not there.
    Listening,
    /// The peer's handshake is there and waits for [`Link::accept`].
    Greeted(Handshake),
    /// Messages flow; the features are those of both sides.
    Open(Features),
    /// The peer broke a rule.
    Failed(PeerFault),
}

/// One connection to a peer: bytes in and messages out, messages in and bytes out.
///
/// The driver reads the socket into [`Link::recv_buf`] when the socket is readable, calls [`Link::handle_received`] and
/// drains [`Link::poll_event`], and again while there is a backlog; when the socket is writable it writes what [`Link::poll_transmit`] shows and reports the
/// count to [`Link::handle_transmitted`]. After a [`PeerFault`] the events before it can still be drained.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    state: State,
    recv: RecvBuffer,
    send: SendQueue,
    events: VecDeque<LinkEvent>,
    /// The peer's id for ut_metadata.
    ut_metadata_theirs: Option<u8>,
    stats: LinkStats,
    opened_at: Instant,
    received_at: Instant,
    sent_at: Instant,
    /// When the peer read something last, or something began to wait for it.
    taken_at: Instant,
    /// The limits of what the peer sends, and of what it reads.
    silence: Limit,
    refusal: Limit,
    /// Whether parsing paused because enough events wait.
    has_backlog: bool,
}

/// A time that is over only after a last call.
#[derive(Debug, Clone, Copy, Default)]
struct Limit {
    last_call: Option<Instant>,
}

impl Limit {
    fn at(self, due: Instant) -> Instant {
        self.last_call.unwrap_or(due)
    }

    fn is_over(&mut self, now: Instant, due: Instant) -> bool {
        let is_over = now >= self.at(due);
        if is_over && self.last_call.is_none() {
            self.last_call = Some(now + LAST_CALL);
            return false;
        }
        is_over
    }
}

impl Link {
    /// A connection that we made for this torrent. Our handshake is queued at once.
    pub fn outgoing(now: Instant, config: LinkConfig, info_hash: InfoHash) -> Self {
        let mut link = Self::with_state(now, config, State::Dialed(info_hash));
        link.queue_handshake(info_hash);
        link
    }

    /// A connection that a peer made. Nothing is sent before [`Link::accept`].
    pub fn incoming(now: Instant, config: LinkConfig) -> Self {
        Self::with_state(now, config, State::Listening)
    }

    fn with_state(now: Instant, config: LinkConfig, state: State) -> Self {
        Self {
            send: SendQueue::new(config.send_budget_bytes),
            config,
            state,
            recv: RecvBuffer::default(),
            events: VecDeque::new(),
            ut_metadata_theirs: None,
            stats: LinkStats::default(),
            opened_at: now,
            received_at: now,
            sent_at: now,
            taken_at: now,
            silence: Limit::default(),
            refusal: Limit::default(),
            has_backlog: false,
        }
    }

    /// Answers a [`LinkEvent::Greeting`] with our handshake and this extension handshake, then takes up what the peer
    /// has sent already: drain events afterwards. Without a greeting to answer nothing happens.
    pub fn accept(&mut self, now: Instant, extended: ExtendedHandshake) -> Result<(), PeerFault> {
        let State::Greeted(theirs) = self.state else { return Ok(()) };
        self.config.extended = extended;
        self.sent_at = now;
        self.queue_handshake(theirs.info_hash);
        self.establish(&theirs);
        self.parse_or_fail()
    }

    /// The buffer to append received bytes to. It always has room, more while blocks flow; call this when the socket is
    /// readable and not before, so that idle connections hold no memory.
    pub fn recv_buf(&mut self) -> &mut BytesMut {
        self.recv.offer()
    }

    /// Takes up what the driver appended to [`Link::recv_buf`].
    pub fn handle_received(&mut self, now: Instant) -> Result<(), PeerFault> {
        let read = self.recv.note_read();
        if read > 0 {
            self.received_at = now;
            if matches!(self.state, State::Open(_)) {
                self.silence = Limit::default();
            }
            self.stats.received_bytes += read as u64;
        }
        self.parse_or_fail()
    }

    /// Whether more was received than was turned into events: once they are drained, call [`Link::handle_backlog`].
    pub fn has_backlog(&self) -> bool {
        self.has_backlog
    }

    /// Takes up more of what was received.
    pub fn handle_backlog(&mut self) -> Result<(), PeerFault> {
        self.parse_or_fail()
    }

    /// The next thing that happened, `None` when all is told.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// Queues a message. Blocks are kept as they are and not copied; all else gathers in one buffer.
    pub fn send(&mut self, now: Instant, message: Message) -> Result<(), SendError> {
        let State::Open(features) = self.state else { return Err(SendError::NotNegotiated) };
        let fast = matches!(
            message,
            Message::Suggest(_) | Message::HaveAll | Message::HaveNone | Message::Reject(_) | Message::AllowedFast(_)
        );
        if fast && !features.fast {
            return Err(SendError::NotNegotiated);
        }
        if self.send.is_empty() {
            self.taken_at = now;
        }
        match message {
            Message::Piece { piece, begin, data } => self.send.push_piece(piece, begin, data)?,
            Message::ExtendedHandshake(handshake) => self.queue_extended(features, HANDSHAKE_ID, |out| {
                extension::encode_handshake(&handshake, out);
            })?,
            Message::Metadata(mut message) => {
                if let MetadataMessage::Data { piece, .. } = message
                    && self.send.len() > METADATA_QUEUE_MAX
                {
                    message = MetadataMessage::Reject { piece };
                }
                let id = self.ut_metadata_theirs.ok_or(SendError::NotNegotiated)?;
                self.queue_extended(features, id, |out| extension::encode_metadata(&message, out))?;
            }
            other => self.send.push_control(|out| {
                codec::encode(&other, out);
            })?,
        }
        self.sent_at = now;
        Ok(())
    }

    /// Takes queued blocks back of which nothing is written: the peer cancelled them, or we choke. Returns those that will
    /// not be sent.
    pub fn take_back(&mut self, is_wanted: impl Fn(&Block) -> bool) -> Vec<Block> {
        self.send.take_back(is_wanted)
    }

    /// Appends what is to be written next, at most [`TRANSMIT_SLICES_MAX`](super::TRANSMIT_SLICES_MAX) slices; returns
    /// the number of bytes.
    pub fn poll_transmit<'a>(&'a self, slices: &mut Vec<IoSlice<'a>>) -> usize {
        self.send.poll_transmit(slices)
    }

    /// Takes written bytes off the queue.
    pub fn handle_transmitted(&mut self, now: Instant, bytes: usize) -> Transmitted {
        if bytes > 0 {
            self.sent_at = now;
            self.taken_at = now;
            self.refusal = Limit::default();
            self.stats.sent_bytes += bytes as u64;
        }
        self.send.handle_transmitted(bytes)
    }

    /// Bytes that wait to be written.
    pub fn send_queue_bytes(&self) -> usize {
        self.send.len()
    }

    /// Counts of this connection.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    /// When [`Link::handle_timeout`] is due; `None` after a fault.
    pub fn next_timeout(&self) -> Option<Instant> {
        let release = self.recv.is_releasable().then(|| self.received_at + RELEASE_AFTER);
        let silent = self.silence.at(self.silent_at());
        let due = match self.state {
            State::Failed(_) => return None,
            State::Open(_) => {
                let refused = self.refused_at().map_or(silent, |due| self.refusal.at(due));
                silent.min(refused).min(self.keep_alive_at())
            }
            _ => silent,
        };
        Some(release.map_or(due, |release| release.min(due)))
    }

    /// Does what is due: a keep-alive, memory given back, or the end of a peer that fell silent.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerFault> {
        let fault = match self.state {
            State::Failed(fault) => return Err(fault),
            State::Open(_) => PeerFault::IdleTimeout,
            _ => PeerFault::HandshakeTimeout,
        };
        let is_silent = self.silence.is_over(now, self.silent_at());
        let refuses = self.refused_at().is_some_and(|due| self.refusal.is_over(now, due));
        if is_silent || refuses {
            let fault = if is_silent { fault } else { PeerFault::WriteTimeout };
            self.state = State::Failed(fault);
            return Err(fault);
        }
        if self.recv.is_releasable() && now >= self.received_at + RELEASE_AFTER {
            self.recv.release();
        }
        if matches!(self.state, State::Open(_)) && now >= self.keep_alive_at() {
            // Bytes that already wait serve as well as a keep-alive would.
            if self.send.is_empty() {
                self.taken_at = now;
                self.send
                    .push_control(|out| {
                        codec::encode(&Message::KeepAlive, out);
                    })
                    .expect("an empty queue has room");
            }
            self.sent_at = now;
        }
        Ok(())
    }

    /// Asserts what always holds between calls.
    pub fn check_invariants(&self) {
        self.send.check_invariants();
        assert!(!matches!(self.state, State::Listening | State::Greeted(_)) || self.send.is_empty());
        assert!(self.ut_metadata_theirs != Some(0), "0 is the extension handshake");
    }

    /// When the peer has sent nothing for too long.
    fn silent_at(&self) -> Instant {
        match self.state {
            State::Open(_) => self.received_at + self.config.idle_timeout,
            _ => self.opened_at + self.config.handshake_timeout,
        }
    }

    /// When the peer has read nothing for too long, while something waits for it.
    fn refused_at(&self) -> Option<Instant> {
        (!self.send.is_empty()).then(|| self.taken_at + self.config.write_timeout)
    }

    fn keep_alive_at(&self) -> Instant {
        self.sent_at + self.config.keep_alive_interval
    }

    fn queue_handshake(&mut self, info_hash: InfoHash) {
        let handshake = Handshake { features: self.config.features, info_hash, peer_id: self.config.peer_id };
        self.send
            .push_control(|out| out.extend_from_slice(&handshake.encode()))
            .expect("the handshake is the first thing in the queue");
    }

    fn queue_extended(
        &mut self,
        features: Features,
        extended_id: u8,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SendError> {
        if !features.extension {
            return Err(SendError::NotNegotiated);
        }
        let mut payload = vec![extended_id];
        encode(&mut payload);
        self.send.push_control(|out| codec::frame(out, id::EXTENDED, &payload))
    }

    fn parse_or_fail(&mut self) -> Result<(), PeerFault> {
        self.parse().inspect_err(|fault| self.state = State::Failed(*fault))
    }

    fn parse(&mut self) -> Result<(), PeerFault> {
        loop {
            match self.state {
                State::Failed(fault) => return Err(fault),
                State::Open(features) => return self.parse_messages(features),
                State::Greeted(_) => {
                    let waiting = self.recv.bytes.len();
                    return if waiting > EAGER_LEN_MAX { Err(PeerFault::TooEager(waiting)) } else { Ok(()) };
                }
                State::Dialed(_) | State::Listening => {
                    let Some(theirs) = Handshake::parse(&self.recv.bytes)? else { return Ok(()) };
                    self.recv.bytes.advance(HANDSHAKE_LEN);
                    self.handle_handshake(theirs)?;
                }
            }
        }
    }

    fn handle_handshake(&mut self, theirs: Handshake) -> Result<(), PeerFault> {
        match self.state {
            State::Dialed(info_hash) if info_hash != theirs.info_hash => return Err(PeerFault::WrongInfoHash),
            State::Dialed(_) => self.establish(&theirs),
            _ => {
                self.state = State::Greeted(theirs);
                let (info_hash, peer_id) = (theirs.info_hash, theirs.peer_id);
                self.events.push_back(LinkEvent::Greeting { info_hash, peer_id });
            }
        }
        Ok(())
    }

    /// Opens the link for messages; ours begin with the extension handshake (BEP 10).
    fn establish(&mut self, theirs: &Handshake) {
        let features = self.config.features.both(theirs.features);
        self.state = State::Open(features);
        self.silence = Limit::default();
        if features.extension {
            let extended = self.config.extended.clone();
            self.queue_extended(features, HANDSHAKE_ID, |out| extension::encode_handshake(&extended, out))
                .expect("only our handshake is in the queue");
        }
        self.events.push_back(LinkEvent::Established(PeerHello { peer_id: theirs.peer_id, features }));
    }

    fn parse_messages(&mut self, features: Features) -> Result<(), PeerFault> {
        let limits = Limits { piece_len_max: self.config.recv_piece_max, bitfield_len_max: BITFIELD_LEN_MAX };
        self.has_backlog = false;
        while let Some((id, len)) = codec::peek(&self.recv.bytes, &limits)? {
            if self.events.len() >= EVENTS_MAX {
                self.has_backlog = true;
                break;
            }
            let Some(id) = id else {
                self.recv.bytes.advance(PREFIX_LEN);
                self.events.push_back(LinkEvent::Message(Message::KeepAlive));
                continue;
            };
            self.check_order(id, features)?;
            if self.recv.bytes.len() < PREFIX_LEN + len {
                break;
            }
            match codec::take(&mut self.recv.bytes, id, len)? {
                Frame::Message(message) => self.events.push_back(LinkEvent::Message(message)),
                Frame::Extended(id, payload) => self.handle_extended(id, &payload)?,
                Frame::Unknown => self.note_unknown(),
            }
        }
        Ok(())
    }

    fn check_order(&self, id: u8, features: Features) -> Result<(), PeerFault> {
        if codec::is_fast(id) && !features.fast {
            return Err(PeerFault::FastNotNegotiated(id));
        }
        if id == id::EXTENDED && !features.extension {
            return Err(PeerFault::ExtensionNotNegotiated);
        }
        Ok(())
    }

    fn handle_extended(&mut self, extended_id: u8, payload: &[u8]) -> Result<(), PeerFault> {
        let message = match extended_id {
            HANDSHAKE_ID => {
                let (mut handshake, ut_metadata) = extension::parse_handshake(payload)?;
                // A later handshake changes what it names and leaves the rest (BEP 10).
                if let Some(id) = ut_metadata {
                    self.ut_metadata_theirs = (id != 0).then_some(id);
                }
                handshake.ut_metadata = self.ut_metadata_theirs.is_some();
                Some(Message::ExtendedHandshake(handshake))
            }
            UT_METADATA_ID_OURS if self.config.extended.ut_metadata => {
                extension::parse_metadata(payload)?.map(|message: MetadataMessage| Message::Metadata(message))
            }
            _ => None,
        };
        match message {
            Some(message) => self.events.push_back(LinkEvent::Message(message)),
            None => self.note_unknown(),
        }
        Ok(())
    }

    fn note_unknown(&mut self) {
        self.stats.unknown_messages += 1;
        self.events.push_back(LinkEvent::Message(Message::Unknown));
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
