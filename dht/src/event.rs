use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::item::Item;
use crate::{Contact, InfoHash, NodeId, Traffic};

/// A socket of the node, as [`Node::add_socket`](crate::Node::add_socket) numbered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketIndex(pub(crate) usize);

/// An operation that was started. Never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub(crate) u64);

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
    /// A step of a lookup that is traced.
    Hop {
        /// The lookup.
        operation: OperationId,
        /// The node that it concerns.
        addr: SocketAddr,
        /// What happened.
        hop: Hop,
    },
    /// An announce is over.
    Announced {
        /// The announce.
        operation: OperationId,
        /// What it came to.
        outcome: AnnounceOutcome,
    },
    /// A ping is over.
    Pinged {
        /// The ping.
        operation: OperationId,
        /// What came back; `None`: nothing.
        answer: Option<PingAnswer>,
    },
    /// A search for an item found it, or a version that is newer than the one it found before (BEP 44).
    Item {
        /// The search, or what follows the item.
        operation: OperationId,
        /// The item, verified.
        item: Item,
        /// The node that gave it.
        from: SocketAddr,
    },
    /// A search for an item is over.
    GetDone {
        /// The search.
        operation: OperationId,
        /// What it came to.
        outcome: GetOutcome,
    },
    /// A put is over.
    PutDone {
        /// The put.
        operation: OperationId,
        /// What it came to.
        outcome: PutOutcome,
    },
    /// An item that is kept was put again.
    Republished {
        /// What keeps it.
        operation: OperationId,
        /// What it came to.
        outcome: PutOutcome,
    },
    /// The count of a swarm is over (BEP 33).
    ScrapeDone {
        /// The count.
        operation: OperationId,
        /// What it came to.
        outcome: ScrapeOutcome,
    },
    /// A node gave some of the info hashes that it stores (BEP 51).
    Samples {
        /// What asked it.
        operation: OperationId,
        /// What it gave.
        samples: NodeSamples,
    },
    /// Enough nodes agree on what our address is, seen from outside. The node takes an id that fits it (BEP 42), at most
    /// every 30 minutes another one.
    ExternalAddress {
        /// The socket.
        socket: SocketIndex,
        /// The address.
        addr: SocketAddr,
    },
    /// Others reach this node over a socket: it answers queries from now on (BEP 43, in adaptive mode).
    Reachable {
        /// The socket.
        socket: SocketIndex,
    },
    /// Lookups can succeed from now on: a node answered.
    Ready,
    /// Lookups cannot succeed any more, and why.
    NotReady(NotReady),
}

impl Event {
    /// The operation that it belongs to.
    pub fn operation(&self) -> Option<OperationId> {
        match self {
            Self::Peers { operation, .. }
            | Self::Hop { operation, .. }
            | Self::LookupDone { operation, .. }
            | Self::Announced { operation, .. }
            | Self::Pinged { operation, .. }
            | Self::Item { operation, .. }
            | Self::GetDone { operation, .. }
            | Self::PutDone { operation, .. }
            | Self::Republished { operation, .. }
            | Self::ScrapeDone { operation, .. }
            | Self::Samples { operation, .. } => Some(*operation),
            Self::ExternalAddress { .. } | Self::Reachable { .. } | Self::Ready | Self::NotReady(_) => None,
        }
    }

    /// Whether it is the last of its operation.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::LookupDone { .. }
                | Self::Announced { .. }
                | Self::Pinged { .. }
                | Self::GetDone { .. }
                | Self::PutDone { .. }
                | Self::ScrapeDone { .. }
        )
    }
}

/// A step of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Hop {
    /// A node was sent a query.
    Asked {
        /// The id it is known under; `None` for an address to begin with.
        id: Option<NodeId>,
        /// The node that named it; `None` where it was known before.
        suggester: Option<SocketAddr>,
    },
    /// It answered.
    Answered {
        /// The id it has.
        id: NodeId,
        /// From the query to the answer.
        rtt: Duration,
        /// Nodes that it named.
        nodes: usize,
        /// Peers that it named.
        values: usize,
        /// Whether it gave a token, without which nobody can announce to it.
        has_token: bool,
        /// Whether its id belongs to its address (BEP 42). One that does not is asked, and does not count.
        is_compliant: bool,
    },
    /// It is silent for longer than 85 of 100 answers take, or for 250 ms: another is asked in its stead.
    Stalled,
    /// It is silent for so long that few answers are still to come: nobody waits for it any more.
    GivenUp,
    /// It does not answer, or cannot be reached.
    Failed,
}

/// What a lookup came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
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

/// What an announce came to. That nobody took it is an outcome too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AnnounceOutcome {
    /// Nodes that were told.
    pub asked: usize,
    /// Nodes that said they have it.
    pub acknowledged: usize,
    /// From the start of the lookup to the last answer.
    pub elapsed: Duration,
}

/// What the search for an item came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GetOutcome {
    /// The newest version that was found, verified.
    pub item: Option<Item>,
    /// Nodes that gave it.
    pub holders: usize,
    /// Nodes that gave something that does not fit the hash or the signature.
    pub rejected: usize,
    /// Nodes that were asked.
    pub asked: usize,
    /// Nodes that answered.
    pub answered: usize,
    /// From its start to its end.
    pub elapsed: Duration,
}

/// What a put came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PutOutcome {
    /// Nodes that were told.
    pub asked: usize,
    /// Nodes that said they have it.
    pub acknowledged: usize,
    /// Nodes that said they do not take it, by error code.
    pub refused: Vec<Refusal>,
    /// Why nobody was told: another version of the item is stored.
    pub conflict: Option<Conflict>,
    /// From the start of the lookup to the last answer.
    pub elapsed: Duration,
}

/// Nodes that refused a put with the same error code (BEP 44).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Refusal {
    /// The code, an [`ErrorCode`](crate::krpc::ErrorCode) if the node keeps to the specifications.
    pub code: i64,
    /// How many nodes.
    pub nodes: usize,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.code {
            201 => "an error of theirs",
            202 => "busy",
            203 => "malformed, or the token is out of date",
            204 => "they do not store items",
            205 => "the value is too big",
            206 => "the signature does not fit",
            207 => "the salt is too big",
            301 => "the stored sequence number is not the expected one",
            302 => "a version with the same or a higher sequence number is stored",
            _ => "unknown error",
        };
        let nodes = if self.nodes == 1 { "node" } else { "nodes" };
        write!(f, "{} {nodes} refused it with {}: {why}", self.nodes, self.code)
    }
}

/// Another version of an item is stored than a put expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Conflict {
    /// Not the version that the put is to replace.
    #[error("sequence number {stored} is stored and {expected} was expected")]
    Cas {
        /// Of the version that was found.
        stored: i64,
        /// `cas` of the put.
        expected: i64,
    },
    /// A newer one.
    #[error("sequence number {stored} is stored, higher than {given}")]
    SequenceTooLow {
        /// Of the version that was found.
        stored: i64,
        /// Of the put.
        given: i64,
    },
    /// Another value under the same sequence number: whoever has that one would not take this.
    #[error("another value has sequence number {seq} already; a higher one replaces it")]
    SameSequence {
        /// Of both.
        seq: i64,
    },
}

/// What the count of a swarm came to (BEP 33).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ScrapeOutcome {
    /// About how many addresses have the whole torrent.
    pub seeds: u64,
    /// About how many others there are.
    pub downloaders: u64,
    /// Nodes that this is from: those of the nearest that know the torrent. None: nobody does.
    pub counted: usize,
    /// Nodes that were asked.
    pub asked: usize,
    /// Nodes that answered.
    pub answered: usize,
    /// From its start to its end.
    pub elapsed: Duration,
}

/// Some of the info hashes that a node stores (BEP 51).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NodeSamples {
    /// The node.
    pub from: Contact,
    /// The info hashes.
    pub info_hashes: Vec<InfoHash>,
    /// How many it stores in all, if it says.
    pub total: Option<u64>,
    /// For how long it gives the same ones; until then it is not asked again.
    pub interval: Duration,
}

/// Numbers about a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Contacts in the tables.
    pub contacts: usize,
    /// Those of them that are good (BEP 5).
    pub good_contacts: usize,
    /// Queries that were answered.
    pub queries_answered: u64,
    /// Peers stored for others.
    pub stored_peers: usize,
    /// Items stored for others (BEP 44).
    pub stored_items: usize,
    /// Nodes of the network, of the larger one where there are two families, as the lookups of this session tell; `None`
    /// while they were too few.
    pub network_nodes: Option<u64>,
    /// What was received and sent, by kind.
    pub traffic: Traffic,
}

impl Stats {
    /// What a node has: each number by a name that stays, with what it is.
    pub fn gauges(&self) -> [(&'static str, &'static str, u64); 4] {
        [
            ("contacts", "Contacts in the routing tables.", self.contacts as u64),
            ("good_contacts", "Those that are good (BEP 5).", self.good_contacts as u64),
            ("stored_peers", "Peers stored for others.", self.stored_peers as u64),
            ("stored_items", "Items stored for others (BEP 44).", self.stored_items as u64),
        ]
    }
}

/// Whether lookups can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Readiness {
    /// Nodes answer.
    Ready,
    /// Not yet, and why.
    NotReady(NotReady),
}

/// What a node said to a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum PingAnswer {
    /// It lives.
    Pong {
        /// Its id.
        id: NodeId,
        /// The round-trip time.
        rtt: Duration,
    },
    /// It lives too, and answers with an error.
    Refused {
        /// Of the error (BEP 5, "Errors").
        code: i64,
        /// The round-trip time.
        rtt: Duration,
    },
}

/// Why lookups cannot succeed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum NotReady {
    /// No address of any node is known: no name was resolved so far, or none was given.
    NoAddress,
    /// Nodes were asked and none answered so far.
    NoAnswer {
        /// Queries that were sent.
        sent: u64,
    },
    /// Nodes answered, and all of them with errors so far.
    Refused {
        /// How many errors.
        errors: u64,
    },
    /// Nodes answered once, and none does any more: the network is gone. It is looked for every few seconds.
    NetworkLost {
        /// Queries that failed since the last answer.
        unanswered: u64,
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
            Self::NotReady(NotReady::Refused { errors }) => {
                write!(f, "the DHT nodes answer with errors only, {errors} so far")
            }
            Self::NotReady(NotReady::NetworkLost { unanswered }) => {
                write!(f, "the network is gone: no DHT node answers any more, {unanswered} queries in a row")
            }
        }
    }
}
