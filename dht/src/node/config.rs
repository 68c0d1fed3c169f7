use crate::{EndpointBudget, GuardConfig};

/// Public nodes to bootstrap from, `HOST:PORT`; reported alive in 2026. No node uses them unless it is told to.
pub const BOOTSTRAP: [&str; 3] =
    ["dht.libtorrent.org:25401", "dht.transmissionbt.com:6881", "router.bt.ouinet.work:6881"];

/// Whether a node answers queries (BEP 43).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum NodeMode {
    /// Always.
    #[default]
    Server,
    /// Never, and says so in its queries.
    Client,
    /// As [`NodeMode::Client`] until a query arrives over a socket from an address that was sent nothing for ten minutes
    /// at least: then others reach it, and it is a server, until its external address changes. On a loopback or private
    /// network that it is part of it always is a server: nothing stands between.
    Adaptive,
}

/// How a node behaves, and its limits. The default is a server of the public network.
///
/// ```
/// use magnes_dht::{NodeConfig, NodeMode};
///
/// let config = NodeConfig::default().mode(NodeMode::Client).endpoints(None);
/// assert_eq!(config.mode, NodeMode::Client);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeConfig {
    /// Whether it answers queries.
    pub mode: NodeMode,
    /// Budgets for answering.
    pub guard: GuardConfig,
    /// Memory for peers that others announce, in bytes per socket.
    pub peer_store_bytes: usize,
    /// Memory for items that others put (BEP 44), in bytes per socket.
    pub item_store_bytes: usize,
    /// How many new addresses may be sent queries, for the sake of home routers; `None` for no limit. Local networks have
    /// none.
    pub endpoints: Option<EndpointBudget>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            mode: NodeMode::default(),
            guard: GuardConfig::default(),
            peer_store_bytes: 4 * 1024 * 1024,
            item_store_bytes: 2 * 1024 * 1024,
            endpoints: Some(EndpointBudget::default()),
        }
    }
}

impl NodeConfig {
    /// With this [mode](Self::mode).
    #[must_use]
    pub fn mode(mut self, mode: NodeMode) -> Self {
        self.mode = mode;
        self
    }

    /// With these [budgets for answering](Self::guard).
    #[must_use]
    pub fn guard(mut self, guard: GuardConfig) -> Self {
        self.guard = guard;
        self
    }

    /// With this many bytes per socket for [peers](Self::peer_store_bytes).
    #[must_use]
    pub fn peer_store_bytes(mut self, bytes: usize) -> Self {
        self.peer_store_bytes = bytes;
        self
    }

    /// With this many bytes per socket for [items](Self::item_store_bytes).
    #[must_use]
    pub fn item_store_bytes(mut self, bytes: usize) -> Self {
        self.item_store_bytes = bytes;
        self
    }

    /// With this [limit on new addresses](Self::endpoints); `None` for no limit.
    #[must_use]
    pub fn endpoints(mut self, endpoints: Option<EndpointBudget>) -> Self {
        self.endpoints = endpoints;
        self
    }
}
