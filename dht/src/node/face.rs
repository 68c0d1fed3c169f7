use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;

use super::config::NodeConfig;
use super::routers::Routers;
use crate::reach::Votes;
use crate::table::Table;
use crate::{AddressFilter, Contact, Family, Guard, ItemStore, NodeId, PeerStore, Tokens};

/// Pause before the network is looked for again; it doubles up to [`BOOTSTRAP_MAX`] and never ends.
pub(super) const BOOTSTRAP_MIN: Duration = Duration::from_secs(1);
pub(super) const BOOTSTRAP_MAX: Duration = Duration::from_secs(60);

/// Everything that belongs to one socket: its own id, table and stores, never mixed with another's (BEP 32, 42, 45).
#[derive(Debug)]
pub(super) struct Face {
    pub(super) family: Family,
    pub(super) table: Table,
    pub(super) tokens: Tokens,
    pub(super) guard: Guard,
    pub(super) peers: PeerStore,
    pub(super) items: ItemStore,
    pub(super) votes: Votes,
    /// Addresses to begin with. Never in the table.
    pub(super) routers: Routers,
    /// Contacts of an earlier session, not verified in this one.
    pub(super) saved: Vec<Contact>,
    /// When a query of ours was answered last.
    pub(super) heard_at: Option<Instant>,
    /// When the network is looked for next, while the table is empty or small.
    pub(super) bootstrap_at: Instant,
    pub(super) bootstrap_pause: Duration,
}

impl Face {
    pub(super) fn new(now: Instant, local: SocketAddr, config: &NodeConfig, chance: &mut ChaCha8Rng) -> Self {
        let id =
            if local.ip().is_unspecified() { NodeId::random(chance) } else { NodeId::for_address(local.ip(), chance) };
        Self {
            family: Family::of(local),
            table: Table::new(id, now),
            tokens: Tokens::new(now, chance),
            guard: Guard::new(config.guard.clone(), AddressFilter::new(local), now, chance),
            peers: PeerStore::new(config.peer_store_bytes, now, chance),
            items: ItemStore::new(config.item_store_bytes, now, chance),
            votes: Votes::default(),
            routers: Routers::default(),
            saved: Vec::new(),
            heard_at: None,
            bootstrap_at: now,
            bootstrap_pause: BOOTSTRAP_MIN,
        }
    }

    /// Whether a node can have this address.
    pub(super) fn admits(&self, addr: SocketAddr) -> bool {
        Family::of(addr) == self.family && self.guard.filter().check(addr).is_ok()
    }

    /// The network is looked for sooner than planned: something to ask became known.
    pub(super) fn bootstrap_now(&mut self, now: Instant) {
        self.bootstrap_at = now;
        self.bootstrap_pause = BOOTSTRAP_MIN;
    }
}
