/// What several torrents share, in amounts: what one may use, wants, or uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Bytes that are asked for or wait to be written, over all peers: the memory of a download.
    pub credit_bytes: u64,
    /// Bytes that are being read from the disk for peers, each read counted as a block at least.
    pub read_bytes: u64,
    /// Connections that are being set up by us: home routers count them.
    pub dials: u64,
    /// Connections, those being set up included.
    pub connections: u64,
    /// Searches of the DHT under way.
    pub searches: u64,
}

impl Amounts {
    /// How many kinds there are.
    pub const KINDS: usize = 5;

    /// Each kind in the order of the fields.
    pub fn to_array(self) -> [u64; Self::KINDS] {
        [self.credit_bytes, self.read_bytes, self.dials, self.connections, self.searches]
    }

    /// The reverse of [`Amounts::to_array`].
    pub fn from_array([credit_bytes, read_bytes, dials, connections, searches]: [u64; Self::KINDS]) -> Self {
        Self { credit_bytes, read_bytes, dials, connections, searches }
    }

    /// The same made of two, kind by kind.
    pub fn zip(self, other: Self, merge: impl Fn(u64, u64) -> u64) -> Self {
        let (one, other) = (self.to_array(), other.to_array());
        Self::from_array(std::array::from_fn(|kind| merge(one[kind], other[kind])))
    }
}

/// Of what a torrent could have used more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shortage {
    pub(super) credit: bool,
    pub(super) reads: bool,
    pub(super) dials: bool,
    pub(super) connections: bool,
}
