use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::{Contact, NodeId, Traffic};

/// A socket of the node, as [`Node::add_socket`](crate::Node::add_socket) numbered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketIndex(pub(crate) usize);

/// An operation that was started. Never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub(crate) u64);

/// Which port an announce names (BEP 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnouncePort {
    /// This TCP port.
    Explicit(u16),
    /// The one that our datagrams come from: right behind address translation too, when TCP and UDP share a number.
    Implied,
}

/// What is to be done, or to be known.
#[derive(Debug, PartialEq)]
pub enum Output<'a> {
    /// Send a datagram.
    Transmit {
        /// From this socket.
        socket: SocketIndex,
        /// To this address.
        to: SocketAddr,
        /// The datagram.
        payload: &'a [u8],
    },
    /// Something happened.
    Event(Event),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A reply named peers of the torrent that is looked for.
    Peers {
        /// The lookup.
        operation: OperationId,
        /// The peers. The same may come again from another node.
        peers: Vec<SocketAddr>,
        /// The node that named them.
        from: SocketAddr,
    },
    /// A lookup is over.
    LookupDone {
        /// The lookup.
        operation: OperationId,
        /// What it came to.
        outcome: LookupOutcome,
    },
    /// An announce is over.
    Announced {
        /// The announce.
        operation: OperationId,
        /// Nodes that were told.
        asked: usize,
        /// Nodes that said they have it.
        acknowledged: usize,
        /// From the start of the lookup to the last answer.
        elapsed: Duration,
    },
    /// A ping is over.
    Pinged {
        /// The ping.
        operation: OperationId,
        /// The node's id and the round-trip time; `None`: no answer.
        answer: Option<(NodeId, Duration)>,
    },
    /// Enough nodes agree on what our address is, seen from outside; the node has an id that fits it (BEP 42).
    ExternalAddress {
        /// The socket.
        socket: SocketIndex,
        /// The address.
        addr: SocketAddr,
    },
}

impl Event {
    /// The operation that it belongs to.
    pub fn operation(&self) -> Option<OperationId> {
        match self {
            Self::Peers { operation, .. }
            | Self::LookupDone { operation, .. }
            | Self::Announced { operation, .. }
            | Self::Pinged { operation, .. } => Some(*operation),
            Self::ExternalAddress { .. } => None,
        }
    }

    /// Whether it is the last of its operation.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::LookupDone { .. } | Self::Announced { .. } | Self::Pinged { .. })
    }
}

/// What a lookup came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupOutcome {
    /// Nodes that were asked.
    pub asked: usize,
    /// Nodes that answered.
    pub answered: usize,
    /// From its start to its end.
    pub elapsed: Duration,
    /// The nearest nodes that answered, nearest first, at most 8 a socket.
    pub closest: Vec<Contact>,
}

/// Numbers about a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Contacts in the tables.
    pub contacts: usize,
    /// Those of them that are good (BEP 5).
    pub good_contacts: usize,
    /// Queries that were answered.
    pub queries_answered: u64,
    /// Queries that were sent.
    pub queries_sent: u64,
    /// Responses to them.
    pub responses: u64,
    /// Datagrams that were dropped: malformed, not matched, or over a budget.
    pub dropped: u64,
    /// Peers stored for others.
    pub stored_peers: usize,
    /// Items stored for others (BEP 44).
    pub stored_items: usize,
    /// What was received and sent, by kind.
    pub traffic: Traffic,
}

/// Whether lookups can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// At least one node has answered.
    Ready,
    /// Not yet, and why.
    NotReady(NotReady),
}

/// Why lookups cannot succeed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReady {
    /// No address of any node is known: no name was resolved so far, or none was given.
    NoAddress,
    /// Nodes were asked and none answered so far.
    NoAnswer {
        /// Queries that were sent.
        sent: u64,
    },
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("the DHT is ready"),
            Self::NotReady(NotReady::NoAddress) => f.write_str("the DHT knows no node yet"),
            Self::NotReady(NotReady::NoAnswer { sent }) => {
                write!(f, "no DHT node answered yet, {sent} queries sent")
            }
        }
    }
}
