use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;

use super::config::{NodeConfig, NodeMode};
use super::contacted::Contacted;
use super::health::Health;
use super::routers::Routers;
use super::silent::SilentNodes;
use super::votes::Votes;
use crate::guard::{AddressFilter, Guard};
use crate::lookup::{NearestCache, SizeEstimate};
use crate::store::{ItemStore, PeerStore, Tokens};
use crate::table::Table;
use crate::{Contact, Family, NodeId};

/// Pause before the network is looked for again; it doubles up to [`BOOTSTRAP_MAX`] and never ends.
pub(super) const BOOTSTRAP_MIN: Duration = Duration::from_secs(1);
pub(super) const BOOTSTRAP_MAX: Duration = Duration::from_secs(60);

/// Searches after an outage before the pause begins to double: each goes to another point, should those around one have
/// left. Without one there is no hurry: in a small network each search asks the same few again.
const BOOTSTRAP_QUICK: u32 = 6;

/// For how long nobody asks again who left a query unanswered while others answered.
const SILENT_FOR: Duration = Duration::from_secs(5 * 60);
/// How many of those are remembered: as many as the lookups of that time meet.
const SILENT_MAX: usize = 2048;

/// No id is changed before this: each change costs the others a contact, whoever claims what about our address.
pub(super) const ID_LIFETIME_MIN: Duration = Duration::from_secs(30 * 60);

/// Everything that belongs to one socket: its own id, table and stores, never mixed with another's (BEP 32, 42, 45).
#[derive(Debug)]
pub(super) struct SocketState {
    /// The address it is bound to.
    pub(super) local: SocketAddr,
    pub(super) family: Family,
    pub(super) table: Table,
    pub(super) tokens: Tokens,
    pub(super) guard: Guard,
    pub(super) peers: PeerStore,
    pub(super) items: ItemStore,
    pub(super) votes: Votes,
    /// The address that others see, once enough of them agree.
    pub(super) external: Option<IpAddr>,
    /// When the id was changed last for the sake of that.
    pub(super) rebased_at: Option<Instant>,
    /// Whom it sent something: kept as long as it is not known whether others reach it, and that matters.
    pub(super) contacted: Option<Box<Contacted>>,
    /// Addresses to begin with. Never in the table.
    pub(super) routers: Routers,
    /// Contacts of an earlier session, not verified in this one.
    pub(super) saved: Vec<Contact>,
    pub(super) health: Health,
    /// Who left a query unanswered recently. Lookups pass them over.
    pub(super) silent: SilentNodes,
    /// Where lookups for the latest targets ended.
    pub(super) nearest: NearestCache,
    pub(super) size: SizeEstimate,
    /// When the network is looked for next, while the table is empty or small.
    pub(super) bootstrap_at: Instant,
    pub(super) bootstrap_pause: Duration,
    /// Searches since it was known where the network is, or something to ask became known.
    pub(super) bootstraps: u32,
    /// Of those to come, this many follow each other quickly.
    pub(super) quick_bootstraps: u32,
}

impl SocketState {
    pub(super) fn new(now: Instant, local: SocketAddr, config: &NodeConfig, chance: &mut ChaCha8Rng) -> Self {
        let id =
            if local.ip().is_unspecified() { NodeId::random(chance) } else { NodeId::for_address(local.ip(), chance) };
        Self {
            local,
            family: Family::of(local),
            table: Table::new(id, now),
            tokens: Tokens::new(now, chance),
            guard: Guard::new(config.guard.clone(), AddressFilter::new(local), now, chance),
            peers: PeerStore::new(config.peer_store_bytes, now, chance),
            items: ItemStore::new(config.item_store_bytes, now, chance),
            votes: Votes::default(),
            external: None,
            rebased_at: None,
            contacted: (config.mode == NodeMode::Adaptive).then(|| Box::new(Contacted::new(now, chance))),
            routers: Routers::default(),
            saved: Vec::new(),
            health: Health::default(),
            silent: SilentNodes::new(SILENT_FOR, SILENT_MAX),
            nearest: NearestCache::default(),
            size: SizeEstimate::default(),
            bootstrap_at: now,
            bootstrap_pause: BOOTSTRAP_MIN,
            bootstraps: 0,
            quick_bootstraps: 0,
        }
    }

    /// Whether it answers nothing to `other`, and says so in its queries (BEP 43).
    pub(super) fn is_read_only(&self, mode: NodeMode, other: SocketAddr) -> bool {
        match mode {
            NodeMode::Server => false,
            NodeMode::Client => true,
            NodeMode::Adaptive => self.contacted.is_some() && !self.guard.filter().is_local(other),
        }
    }

    /// Takes an id that fits the address others see (BEP 42), if it has none such and it is time for another.
    pub(super) fn fit_id(&mut self, now: Instant, chance: &mut ChaCha8Rng) {
        let Some(external) = self.external.filter(|ip| !self.table.own_id().is_valid_for(*ip)) else { return };
        let is_early = self.rebased_at.is_some_and(|at| now.saturating_duration_since(at) < ID_LIFETIME_MIN);
        if !is_early {
            self.rebased_at = Some(now);
            self.table.rebase(NodeId::for_address(external, chance));
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
        self.bootstraps = 0;
    }

    /// Answers come again after an outage: who is there must be found out again.
    pub(super) fn bootstrap_after_outage(&mut self, now: Instant) {
        self.bootstrap_now(now);
        self.quick_bootstraps = BOOTSTRAP_QUICK;
    }
}
