use std::net::SocketAddr;

use magnes_bencode::{Kind, Reader};

use super::compact::{self, Contact, Family};
use crate::{InfoHash, NodeId, Target};

/// A KRPC message, borrowed from the datagram it came in, or from what it is to be written from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Message<'a> {
    /// Transaction id, echoed verbatim in responses.
    pub transaction: &'a [u8],
    /// `v`: client name and version.
    pub version: Option<&'a [u8]>,
    /// `ip`: the receiver's own address as the sender sees it (BEP 42).
    pub ip: Option<SocketAddr>,
    /// What it says.
    pub body: Body<'a>,
}

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "lives on the stack for the time of one datagram")]
pub enum Body<'a> {
    /// `y` = `q`.
    Query(Query<'a>),
    /// `y` = `r`.
    Response(Response<'a>),
    /// `y` = `e`.
    Error {
        /// The number, one of [`super::ErrorCode`] if the sender keeps to the specifications.
        code: i64,
        /// The text, of unknown encoding.
        text: &'a [u8],
    },
}

/// A query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Query<'a> {
    /// The sender's id.
    pub id: NodeId,
    /// `ro`: the sender answers no queries (BEP 43).
    pub read_only: bool,
    /// `want`: the families of which the sender wants nodes (BEP 32).
    pub want: Want,
    /// What it asks.
    pub method: Method<'a>,
}

/// The families of which nodes are wanted (BEP 32). None at all means: the family of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Want {
    /// `n4`.
    pub v4: bool,
    /// `n6`.
    pub v6: bool,
}

/// What a query asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method<'a> {
    /// `ping` (BEP 5).
    Ping,
    /// `find_node` (BEP 5).
    FindNode {
        /// The point whose neighbours are wanted.
        target: Target,
    },
    /// `get_peers` (BEP 5).
    GetPeers {
        /// The torrent.
        info_hash: InfoHash,
        /// Seeds are useless to the sender (BEP 33).
        noseed: bool,
        /// The sender wants bloom filters of the swarm (BEP 33).
        scrape: bool,
    },
    /// `announce_peer` (BEP 5).
    AnnouncePeer {
        /// The torrent.
        info_hash: InfoHash,
        /// The port peers reach the sender on.
        port: Option<u16>,
        /// The UDP source port counts instead of `port`.
        implied_port: bool,
        /// The sender is a seed (BEP 33).
        seed: bool,
        /// What a get_peers reply of the receiver gave.
        token: &'a [u8],
    },
    /// `get` (BEP 44).
    Get {
        /// The item's key.
        target: Target,
        /// Only a value with a higher sequence number is wanted.
        seq: Option<i64>,
    },
    /// `put` (BEP 44).
    Put {
        /// What a get reply of the receiver gave.
        token: &'a [u8],
        /// The value as it stands in the packet, bencoded.
        value: &'a [u8],
        /// What a mutable item has besides.
        mutable: Option<MutablePut<'a>>,
        /// Where the item lives, which follows from the other fields and is not in BEP 44: the `mainline` crate drops puts
        /// without it. Never to be believed.
        target: Option<Target>,
    },
    /// `sample_infohashes` (BEP 51).
    SampleInfohashes {
        /// The point whose neighbours are wanted.
        target: Target,
    },
    /// Any other method.
    Unknown {
        /// Its name.
        name: &'a [u8],
        /// The 20 bytes of `target` or `info_hash`, if it has such.
        target: Option<Target>,
    },
}

/// The fields that only the `put` of a mutable item has (BEP 44).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MutablePut<'a> {
    /// Public key.
    pub key: &'a [u8; 32],
    /// Signature.
    pub signature: &'a [u8; 64],
    /// Sequence number.
    pub seq: i64,
    /// The sequence number the stored item has to have.
    pub cas: Option<i64>,
    /// Salt, empty if there is none.
    pub salt: &'a [u8],
}

/// A response: the sender's id and whatever else it gave. Fields of a wrong type or length read as absent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Response<'a> {
    /// The sender's id.
    pub id: NodeId,
    /// `nodes`: concatenated compact IPv4 nodes.
    pub nodes: Option<&'a [u8]>,
    /// `nodes6`: concatenated compact IPv6 nodes (BEP 32).
    pub nodes6: Option<&'a [u8]>,
    /// `values`: peers of the info hash that was asked for.
    pub values: Values<'a>,
    /// `token`: what an announce or a put to the sender has to carry.
    pub token: Option<&'a [u8]>,
    /// Mutable item: its public key (BEP 44).
    pub key: Option<&'a [u8; 32]>,
    /// Mutable item: its signature (BEP 44).
    pub signature: Option<&'a [u8; 64]>,
    /// Mutable item: its sequence number (BEP 44).
    pub seq: Option<i64>,
    /// An item's value as it stands in the packet, bencoded (BEP 44).
    pub value: Option<&'a [u8]>,
    /// `BFsd`: bloom filter of the seeds (BEP 33).
    pub seeds_filter: Option<&'a [u8; 256]>,
    /// `BFpe`: bloom filter of the other peers (BEP 33).
    pub peers_filter: Option<&'a [u8; 256]>,
    /// `samples`: concatenated info hashes (BEP 51).
    pub samples: Option<&'a [u8]>,
    /// `interval`: seconds for which the samples stay the same (BEP 51).
    pub interval_s: Option<i64>,
    /// `num`: how many info hashes the sender stores (BEP 51).
    pub num: Option<i64>,
}

impl<'a> Response<'a> {
    /// A response that gives nothing but the sender's id.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            nodes: None,
            nodes6: None,
            values: Values::default(),
            token: None,
            key: None,
            signature: None,
            seq: None,
            value: None,
            seeds_filter: None,
            peers_filter: None,
            samples: None,
            interval_s: None,
            num: None,
        }
    }

    /// The nodes of one family.
    pub fn nodes_of(&self, family: Family) -> impl Iterator<Item = Contact> + 'a {
        let bytes = match family {
            Family::V4 => self.nodes,
            Family::V6 => self.nodes6,
        };
        compact::parse_nodes(bytes.unwrap_or_default(), family)
    }
}

/// The peers of a response.
#[derive(Debug, Clone, Copy, Default)]
pub struct Values<'a>(ValuesSource<'a>);

#[derive(Debug, Clone, Copy, Default)]
pub(super) enum ValuesSource<'a> {
    #[default]
    Absent,
    /// A bencoded list of compact peers, or one string of concatenated IPv4 ones (as very old nodes send).
    Wire(&'a [u8]),
    Peers(&'a [SocketAddr]),
}

impl<'a> Values<'a> {
    /// Peers to be written.
    pub fn of(peers: &'a [SocketAddr]) -> Self {
        Self(ValuesSource::Peers(peers))
    }

    pub(super) fn from_wire(raw: &'a [u8]) -> Self {
        Self(ValuesSource::Wire(raw))
    }

    pub(super) fn source(&self) -> ValuesSource<'a> {
        self.0
    }

    /// Whether the message has such a field at all, even an empty one.
    pub fn is_present(&self) -> bool {
        !matches!(self.0, ValuesSource::Absent)
    }

    /// The peers. Compact peers of both families may stand side by side; those of another length are left out.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> + 'a {
        let (listed, wire) = match self.0 {
            ValuesSource::Absent => (&[][..], &[][..]),
            ValuesSource::Wire(raw) => (&[][..], raw),
            ValuesSource::Peers(peers) => (peers, &[][..]),
        };
        listed.iter().copied().chain(WireValues::new(wire))
    }
}

impl PartialEq for Values<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.is_present() == other.is_present() && self.iter().eq(other.iter())
    }
}

/// Walks the encoded form of `values`, which was checked to be one well-formed value.
struct WireValues<'a> {
    strings: Reader<'a>,
    /// What is left of one long string.
    concatenated: &'a [u8],
}

impl<'a> WireValues<'a> {
    fn new(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let (concatenated, content) = match reader.kind() {
            Ok(Kind::Bytes) => (reader.bytes().unwrap_or_default(), &[][..]),
            Ok(Kind::List) => (&[][..], &raw[1..]),
            _ => (&[][..], &[][..]),
        };
        Self { strings: Reader::new(content), concatenated }
    }
}

impl Iterator for WireValues<'_> {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        if let Some((peer, rest)) = self.concatenated.split_at_checked(Family::V4.peer_len()) {
            self.concatenated = rest;
            return compact::parse_peer(peer);
        }
        loop {
            // The end of the list is not a value, so that asking for its kind fails there.
            if self.strings.kind().ok()? != Kind::Bytes {
                self.strings.skip().ok()?;
                continue;
            }
            if let Some(peer) = compact::parse_peer(self.strings.bytes().ok()?) {
                return Some(peer);
            }
        }
    }
}
