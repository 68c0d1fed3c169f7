use crate::guard::DropReason;
use crate::krpc::Method;

/// What kind of query a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum QueryKind {
    /// `ping` (BEP 5).
    Ping,
    /// `find_node` (BEP 5).
    FindNode,
    /// `get_peers` (BEP 5).
    GetPeers,
    /// `announce_peer` (BEP 5).
    AnnouncePeer,
    /// `get` (BEP 44).
    Get,
    /// `put` (BEP 44).
    Put,
    /// `sample_infohashes` (BEP 51).
    SampleInfohashes,
    /// A method that is not known.
    Unknown,
}

impl QueryKind {
    /// Every kind, in the order of [`PerKind::iter`].
    pub const ALL: [Self; 8] = [
        Self::Ping,
        Self::FindNode,
        Self::GetPeers,
        Self::AnnouncePeer,
        Self::Get,
        Self::Put,
        Self::SampleInfohashes,
        Self::Unknown,
    ];

    /// The method's name on the wire; `unknown` for all that are not known.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::FindNode => "find_node",
            Self::GetPeers => "get_peers",
            Self::AnnouncePeer => "announce_peer",
            Self::Get => "get",
            Self::Put => "put",
            Self::SampleInfohashes => "sample_infohashes",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) fn of(method: &Method<'_>) -> Self {
        match method {
            Method::Ping => Self::Ping,
            Method::FindNode { .. } => Self::FindNode,
            Method::GetPeers { .. } => Self::GetPeers,
            Method::AnnouncePeer { .. } => Self::AnnouncePeer,
            Method::Get { .. } => Self::Get,
            Method::Put { .. } => Self::Put,
            Method::SampleInfohashes { .. } => Self::SampleInfohashes,
            Method::Unknown { .. } => Self::Unknown,
        }
    }
}

/// One count for each kind of query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerKind([u64; QueryKind::ALL.len()]);

impl PerKind {
    /// The count of one kind.
    pub fn of(&self, kind: QueryKind) -> u64 {
        self.0[kind as usize]
    }

    /// The counts of all kinds together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every kind with its count.
    pub fn iter(&self) -> impl Iterator<Item = (QueryKind, u64)> {
        QueryKind::ALL.into_iter().zip(self.0)
    }

    pub(crate) fn add(&mut self, kind: QueryKind) {
        self.0[kind as usize] += 1;
    }
}

/// Each kind's name with its count.
#[cfg(feature = "serde")]
impl serde::Serialize for PerKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(kind, count)| (kind.name(), count)))
    }
}

/// Why datagrams came to nothing, one count for each reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Drops {
    /// Not a message of the DHT.
    pub malformed: u64,
    /// A response or error that answers nothing we asked that address.
    pub unmatched: u64,
    /// A query to a node that answers none (BEP 43).
    pub read_only: u64,
    /// A query from an address that no node can have: [`DropReason::Bogon`].
    pub bogon: u64,
    /// [`DropReason::PrefixPackets`].
    pub prefix_packets: u64,
    /// [`DropReason::PrefixBytes`].
    pub prefix_bytes: u64,
    /// [`DropReason::TotalBytes`].
    pub total_bytes: u64,
}

impl Drops {
    /// Every reason, by a name that stays, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("malformed", self.malformed),
            ("unmatched", self.unmatched),
            ("read_only", self.read_only),
            ("bogon", self.bogon),
            ("prefix_packets", self.prefix_packets),
            ("prefix_bytes", self.prefix_bytes),
            ("total_bytes", self.total_bytes),
        ]
        .into_iter()
    }

    /// The counts of all reasons together.
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }

    pub(crate) fn add(&mut self, reason: DropReason) {
        *match reason {
            DropReason::Bogon(_) => &mut self.bogon,
            DropReason::PrefixPackets => &mut self.prefix_packets,
            DropReason::PrefixBytes => &mut self.prefix_bytes,
            DropReason::TotalBytes => &mut self.total_bytes,
        } += 1;
    }
}

/// What a node received and sent since it started. Counting costs no allocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Traffic {
    /// Datagrams received, of whatever content.
    pub datagrams_in: u64,
    /// Their bytes, without the headers of UDP and IP.
    pub bytes_in: u64,
    /// Datagrams handed out to be sent.
    pub datagrams_out: u64,
    /// Their bytes, without the headers of UDP and IP.
    pub bytes_out: u64,
    /// Queries received, answered or not.
    pub queries_in: PerKind,
    /// Queries sent.
    pub queries_out: PerKind,
    /// Responses to queries of ours.
    pub responses_in: u64,
    /// Responses sent.
    pub responses_out: u64,
    /// Errors that answer queries of ours.
    pub errors_in: u64,
    /// Errors sent.
    pub errors_out: u64,
    /// What came to nothing.
    pub drops: Drops,
}

impl Traffic {
    /// The counts that are not of one kind of query or one reason: each by a name that stays, with what it counts.
    pub fn counters(&self) -> [(&'static str, &'static str, u64); 8] {
        [
            ("responses_in", "Responses to our queries.", self.responses_in),
            ("responses_out", "Queries answered with a response.", self.responses_out),
            ("errors_in", "Errors that answer our queries.", self.errors_in),
            ("errors_out", "Queries answered with an error.", self.errors_out),
            ("datagrams_in", "Datagrams received.", self.datagrams_in),
            ("datagrams_out", "Datagrams sent.", self.datagrams_out),
            ("bytes_in", "Bytes of datagrams received, without headers.", self.bytes_in),
            ("bytes_out", "Bytes of datagrams sent, without headers.", self.bytes_out),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_and_reason_has_a_count_of_its_own() {
        let mut counts = PerKind::default();
        for (times, kind) in QueryKind::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| counts.add(kind));
        }
        assert!(counts.iter().map(|(_, count)| count).eq(0..8));
        assert_eq!(counts.of(QueryKind::Put), 5);
        assert_eq!(counts.total(), 28);
        let mut names: Vec<&str> = QueryKind::ALL.map(QueryKind::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), QueryKind::ALL.len());

        let mut drops = Drops::default();
        for reason in [DropReason::PrefixBytes, DropReason::TotalBytes, DropReason::PrefixBytes] {
            drops.add(reason);
        }
        let told: Vec<_> = drops.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(told, [("prefix_bytes", 2), ("total_bytes", 1)]);
        assert_eq!(drops.total(), 3);
    }
}
