use super::Config;
use crate::fleet::Budget;
use crate::storage::connections_max;
use crate::swarm::Amounts;

/// What the torrents of a session share. One alone uses its own limits at most, which are less.
const TOTAL: Amounts = Amounts {
    credit_bytes: 64 * 1024 * 1024,
    read_bytes: 32 * 1024 * 1024,
    dials: 100,
    // It is the user's to say: `Config::connections_max`.
    connections: 0,
    searches: 16,
};
/// What each torrent has in any case, so that it can move.
const FLOOR: Amounts =
    Amounts { credit_bytes: 64 * 1024, read_bytes: 64 * 1024, dials: 2, connections: 4, searches: 0 };

/// What the torrents of a session share out among them.
pub(super) fn budget_of(config: &Config) -> Budget {
    let connections = config.connections_max.min(connections_max() / 4 * 3).max(1);
    Budget::new(Amounts { connections: connections as u64, ..TOTAL }, FLOOR)
}
