use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Instant;

/// A machine in the world. It does what it is told has happened, and puts what it sends into `out`.
///
/// A host without streams leaves the lower half as it is: it refuses every connection.
pub trait Host {
    /// A datagram arrived.
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], out: &mut Vec<Datagram>);

    /// A timer may be due.
    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Datagram>);

    /// When the next timer is due.
    fn next_timeout(&self) -> Option<Instant>;

    /// Whether others can open streams to it.
    fn listens(&self) -> bool {
        false
    }

    /// Something happened to a stream.
    fn handle_stream(&mut self, _now: Instant, _event: StreamEvent, _out: &mut Vec<Datagram>) {}

    /// What is to be done with streams. Drained after everything that happens to the host.
    fn poll_stream(&mut self) -> Option<StreamAction> {
        None
    }

    /// The line is free for a stream that has bytes to send: appends at most `len_max` of them.
    fn transmit(
        &mut self,
        _now: Instant,
        _stream: StreamId,
        _len_max: usize,
        _into: &mut Vec<u8>,
        _out: &mut Vec<Datagram>,
    ) {
    }
}

/// Something to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub payload: Vec<u8>,
}

/// A stream, as one of its two hosts names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamId {
    /// One that the host opened, by a number that it chose and does not use twice at a time.
    Dialed(u64),
    /// One that another host opened, by a number that the world chose.
    Accepted(u64),
}

/// What a host wants done with its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamAction {
    /// Open [`StreamId::Dialed`] of this number.
    Dial {
        /// The number.
        number: u64,
        /// Where to.
        to: SocketAddr,
    },
    /// There are bytes to send: [`Host::transmit`] is called until it has none.
    Offer(StreamId),
    /// End the stream, after the bytes that left already. Nothing more is told of it.
    Close(StreamId),
}

/// What happened to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// Another host opened it.
    Accepted {
        /// The stream.
        stream: StreamId,
        /// Where from: the other host's address, and a port of the moment.
        from: SocketAddr,
    },
    /// It is open, as [`StreamAction::Dial`] asked for.
    Opened(StreamId),
    /// It could not be opened. It is gone.
    Failed {
        /// The stream.
        stream: StreamId,
        /// Why not.
        kind: ErrorKind,
    },
    /// Bytes arrived, cut anywhere.
    Received {
        /// The stream.
        stream: StreamId,
        /// The bytes that follow those before.
        bytes: Vec<u8>,
    },
    /// The segment that [`Host::transmit`] gave last has left.
    Left(StreamId),
    /// The other host ended it. It is gone.
    Ended(StreamId),
}
