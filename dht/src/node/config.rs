use crate::GuardConfig;

/// How a node behaves, and its limits.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Answers nothing and says so in its queries (BEP 43).
    pub read_only: bool,
    /// Budgets for answering.
    pub guard: GuardConfig,
    /// Memory for peers that others announce, in bytes a socket.
    pub peer_store_bytes: usize,
    /// Memory for items that others put (BEP 44), in bytes a socket.
    pub item_store_bytes: usize,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            read_only: false,
            guard: GuardConfig::default(),
            peer_store_bytes: 4 * 1024 * 1024,
            item_store_bytes: 2 * 1024 * 1024,
        }
    }
}
