use std::cell::RefCell;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use magnes::model::Block;
use magnes::wire::{Link, LinkConfig, LinkEvent, PeerFault, TRANSMIT_SLICES_MAX};

use crate::host::StreamId;

/// How long a closing connection may take to send what is queued.
const LINGER: Duration = Duration::from_millis(500);

/// A connection of the torrent: a stream, and the link that makes messages of its bytes.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: StreamId,
    /// The address that we know the other side by.
    pub(super) addr: SocketAddr,
    pub(super) stage: Stage,
    /// Payload that was taken to be sent and that the torrent was not told of, in bytes.
    payload_leaving: u32,
    /// The torrent ended it: until when what is queued may still leave.
    linger: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The stream is being opened; what the link will be made with.
    Dialing(Box<LinkConfig>),
    /// Bytes flow.
    Open(Box<Link>),
}

impl Connection {
    pub(super) fn dialing(stream: StreamId, addr: SocketAddr, config: LinkConfig) -> Self {
        Self { stream, addr, stage: Stage::Dialing(Box::new(config)), payload_leaving: 0, linger: None }
    }

    pub(super) fn open(stream: StreamId, addr: SocketAddr, link: Link) -> Self {
        Self { stream, addr, stage: Stage::Open(Box::new(link)), payload_leaving: 0, linger: None }
    }

    /// The link of a connection that the torrent has not ended.
    pub(super) fn link(&mut self) -> Option<&mut Link> {
        match &mut self.stage {
            Stage::Open(link) if self.linger.is_none() => Some(link),
            _ => None,
        }
    }

    /// Whether bytes flow, and the torrent has not ended it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_)) && self.linger.is_none()
    }

    /// Blocks of which nothing has left.
    pub(super) fn blocks_waiting(&mut self) -> Vec<Block> {
        let waiting = RefCell::new(Vec::new());
        if let Stage::Open(link) = &mut self.stage {
            // None is taken.
            link.take_back(|block| {
                waiting.borrow_mut().push(*block);
                false
            });
        }
        waiting.into_inner()
    }

    /// The torrent ends it.
    pub(super) fn close(&mut self, now: Instant) {
        self.linger.get_or_insert(now + LINGER);
    }

    /// Whether it was ended, and nothing is left to be sent or the time for it is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.linger.is_some_and(|until| now >= until || !self.has_bytes())
    }

    pub(super) fn has_bytes(&self) -> bool {
        matches!(&self.stage, Stage::Open(link) if link.send_queue_bytes() > 0)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match &self.stage {
            _ if self.linger.is_some() => self.linger,
            Stage::Open(link) => link.next_timeout(),
            Stage::Dialing(_) => None,
        }
    }

    /// Takes at most `len_max` bytes off what is to be sent.
    pub(super) fn transmit(&mut self, now: Instant, len_max: usize, into: &mut Vec<u8>) {
        let Stage::Open(link) = &mut self.stage else { return };
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(TRANSMIT_SLICES_MAX);
        link.poll_transmit(&mut slices);
        for slice in &slices {
            let room = len_max - into.len();
            into.extend_from_slice(&slice[..room.min(slice.len())]);
        }
        self.payload_leaving += link.handle_transmitted(now, into.len()).payload_bytes as u32;
    }

    /// What was taken has left; returns how many bytes of it are payload.
    pub(super) fn take_left(&mut self) -> u32 {
        std::mem::take(&mut self.payload_leaving)
    }
}

/// Hands received bytes to a link, as many at once as its buffer has room for. What happened is appended to `events`.
pub(super) fn receive(
    link: &mut Link,
    now: Instant,
    mut bytes: &[u8],
    events: &mut Vec<LinkEvent>,
) -> Result<(), PeerFault> {
    while !bytes.is_empty() {
        let buffer = link.recv_buf();
        let (taken, later) = bytes.split_at(bytes.len().min(buffer.capacity() - buffer.len()));
        buffer.extend_from_slice(taken);
        bytes = later;
        link.handle_received(now)?;
        drain(link, events)?;
    }
    Ok(())
}

/// Appends what happened to a link, whatever number of events that is.
pub(super) fn drain(link: &mut Link, events: &mut Vec<LinkEvent>) -> Result<(), PeerFault> {
    events.extend(std::iter::from_fn(|| link.poll_event()));
    while link.has_backlog() {
        link.handle_backlog()?;
        events.extend(std::iter::from_fn(|| link.poll_event()));
    }
    Ok(())
}
