use std::net::SocketAddr;
use std::time::Duration;

use crate::item::{Item, ItemError, MutableItem};
use crate::{InfoHash, Target};

/// Operations under way at once, those that are kept up included, and the runs of those not: with some kilobytes for the
/// candidates of each lookup, a few dozen megabytes.
pub const OPERATIONS_MAX: usize = 4096;

/// Something that a node can be asked to do. Its events carry the [`OperationId`](crate::OperationId) that
/// [`Node::start`](crate::Node::start) returns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Looks for the nodes nearest to a target. Ends with [`Event::LookupDone`](crate::Event::LookupDone).
    FindNode(Target),
    /// Looks for the peers of a torrent: [`Event::Peers`](crate::Event::Peers) as replies arrive,
    /// [`Event::LookupDone`](crate::Event::LookupDone) at the end.
    GetPeers(InfoHash),
    /// As [`Request::GetPeers`], and reports every step: [`Event::Hop`](crate::Event::Hop).
    Trace(InfoHash),
    /// Announces once that this host has a torrent. Ends with [`Event::Announced`](crate::Event::Announced).
    Announce {
        /// The torrent.
        info_hash: InfoHash,
        /// Where its peers find us.
        port: AnnouncePort,
        /// What we have of it.
        role: PeerRole,
    },
    /// Announces a torrent at once and then again and again, until [`Node::cancel`](crate::Node::cancel).
    KeepAnnounced {
        /// The torrent.
        info_hash: InfoHash,
        /// Where its peers find us.
        port: AnnouncePort,
        /// What we have of it.
        role: PeerRole,
    },
    /// Asks an address for a sign of life. Ends with [`Event::Pinged`](crate::Event::Pinged).
    Ping(SocketAddr),
    /// Looks for an immutable item (BEP 44): [`Event::Item`](crate::Event::Item) when it is there,
    /// [`Event::GetDone`](crate::Event::GetDone) at the end, which is at once then: the hash proves the item.
    GetImmutable(Target),
    /// Looks for the newest version of a mutable item (BEP 44): [`Event::Item`](crate::Event::Item) for each that is
    /// newer than the one before, [`Event::GetDone`](crate::Event::GetDone) at the end.
    ///
    /// Only items with a valid signature count; what else nodes give is counted as rejected.
    GetMutable {
        /// The public key of its author.
        key: [u8; 32],
        /// Its salt, at most 64 bytes.
        salt: Vec<u8>,
        /// Versions up to this sequence number are of no interest.
        above: Option<i64>,
    },
    /// Puts an immutable item (BEP 44): looks for the nodes nearest to the hash of the value, which is one canonically
    /// bencoded value, and has them store it. Ends with [`Event::PutDone`](crate::Event::PutDone).
    PutImmutable(Vec<u8>),
    /// Puts a mutable item (BEP 44). When a newer version turns up on the way, or with `cas` another one, no node is
    /// asked to store this one: see [`PutOutcome::conflict`](crate::PutOutcome). Ends with
    /// [`Event::PutDone`](crate::Event::PutDone).
    PutMutable {
        /// The item, signed.
        item: MutableItem,
        /// Only nodes whose stored item has this sequence number, or that have none, take it.
        cas: Option<i64>,
    },
    /// Puts an item at once and again every hour, until [`Node::cancel`](crate::Node::cancel):
    /// [`Event::Republished`](crate::Event::Republished) after each time. When a newer version of a mutable item turns
    /// up, that one is kept.
    KeepPut(Item),
    /// Follows a mutable item, for example one that points to a torrent (BEP 46), until
    /// [`Node::cancel`](crate::Node::cancel): [`Event::Item`](crate::Event::Item) for every newer version. It is looked
    /// for at once, then after a minute, and ever less often while nothing changes, down to every quarter of an hour.
    ///
    /// No version is reported that is older than what this node ever saw while following the item; that is in
    /// [`Node::snapshot`](crate::Node::snapshot).
    Watch {
        /// The public key of its author.
        key: [u8; 32],
        /// Its salt, at most 64 bytes.
        salt: Vec<u8>,
        /// Versions up to this sequence number are not reported.
        seen: Option<i64>,
    },
    /// Counts the peers of a torrent without listing them (BEP 33). Ends with
    /// [`Event::ScrapeDone`](crate::Event::ScrapeDone).
    Scrape(InfoHash),
    /// Asks the nodes on the way to a point for some of the info hashes that they store (BEP 51):
    /// [`Event::Samples`](crate::Event::Samples) for each that gives some,
    /// [`Event::LookupDone`](crate::Event::LookupDone) at the end. A node whose interval is not over is asked for its
    /// contacts only.
    Sample(Target),
    /// Asks one node for some of the info hashes that it stores, and for its contacts near `target` (BEP 51):
    /// [`Event::Samples`](crate::Event::Samples) if it answers so, [`Event::LookupDone`](crate::Event::LookupDone) in
    /// the end. A node whose interval is not over is not asked: [`RequestError::SampledRecently`].
    SampleNode {
        /// The node.
        addr: SocketAddr,
        /// Near what its contacts are to be.
        target: Target,
    },
}

/// Which port an announce names (BEP 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum AnnouncePort {
    /// This TCP port. 0 is none, and counts as [`AnnouncePort::Implied`].
    Explicit(u16),
    /// The one that our datagrams come from: right behind address translation too, when TCP and UDP share a number.
    Implied,
}

/// What a peer that is announced has of a torrent (BEP 33).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum PeerRole {
    /// All of it.
    Seed,
    /// Not all of it.
    Downloader,
}

/// Why a request is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// As many as a node has room for are under way: end some first.
    #[error("{OPERATIONS_MAX} operations of the DHT node are under way, which is all it has room for")]
    TooManyOperations,
    /// What is to be put is no item (BEP 44).
    #[error(transparent)]
    Item(#[from] ItemError),
    /// The node gave samples and said for how long they stay the same (BEP 51).
    #[error("the node gave its samples for now; it may be asked again in {} s", wait.as_secs().saturating_add(1))]
    SampledRecently {
        /// Until it may be asked again.
        wait: Duration,
    },
}
