//! How the node is at one moment, and how much happened since another.

use std::time::Duration;

use magnes_dht::{BootstrapHost, Closed, Dht, NodeId, Readiness, Stats, Traffic};

use super::process;
use crate::cli::report::elapsed;

/// How the node is at one moment.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) stats: Stats,
    pub(super) readiness: Readiness,
    pub(super) ids: Vec<NodeId>,
    pub(super) hosts: Vec<BootstrapHost>,
    pub(super) resident_bytes: Option<u64>,
    /// Datagrams that the system lost before they were read, for each address.
    pub(super) receive_drops: Option<Vec<u64>>,
    pub(super) uptime: Duration,
}

impl Status {
    /// Asks the node.
    pub(super) async fn of(dht: &Dht) -> Result<Self, Closed> {
        Ok(Self {
            stats: dht.stats().await?,
            readiness: dht.readiness().await?,
            ids: dht.node_ids().await?,
            hosts: dht.bootstrap_hosts().await?,
            resident_bytes: process::resident_bytes(),
            receive_drops: process::receive_drops(dht.local_addrs()),
            uptime: elapsed(),
        })
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.readiness, Readiness::Ready)
    }
}

/// How much happened between two moments.
#[derive(Debug, Clone)]
pub(super) struct Rates {
    before: Traffic,
    after: Traffic,
    /// In seconds, at least one: what a start of a few milliseconds had to do is no rate.
    time_s: f64,
}

impl Rates {
    /// What happened from `before` on. Without that, everything since the start.
    pub(super) fn between(before: Option<&Status>, after: &Status) -> Self {
        let since = before.map_or(Duration::ZERO, |before| before.uptime);
        let time_s = after.uptime.saturating_sub(since).as_secs_f64().max(1.0);
        let before = before.map_or(Traffic::default(), |before| before.stats.traffic);
        Self { before, after: after.stats.traffic, time_s }
    }

    /// One count, a second.
    pub(super) fn per_s(&self, count: impl Fn(&Traffic) -> u64) -> f64 {
        count(&self.after).saturating_sub(count(&self.before)) as f64 / self.time_s
    }

    /// Those counts that grew, a second, the fastest first.
    pub(super) fn grown<I>(&self, counts: impl Fn(&Traffic) -> I) -> Vec<(&'static str, f64)>
    where
        I: IntoIterator<Item = (&'static str, u64)>,
    {
        let pairs = counts(&self.before).into_iter().zip(counts(&self.after));
        let mut grown: Vec<(&'static str, f64)> = pairs
            .map(|((name, before), (_, after))| (name, after.saturating_sub(before) as f64 / self.time_s))
            .collect();
        grown.retain(|(_, rate)| *rate > 0.0);
        grown.sort_by(|one, other| other.1.total_cmp(&one.1));
        grown
    }
}
