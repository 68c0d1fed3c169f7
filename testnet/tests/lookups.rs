//! Lookups of real nodes in a virtual network: what they find, how soon, and at what cost.

use std::time::Duration;

use magnes_dht::NodeConfig;
use magnes_testnet::{LookupFigures, LookupStudy, Network, PopulationConfig};

fn study(nodes: usize, dead: f64) -> LookupFigures {
    let population = PopulationConfig { nodes, dead, ..PopulationConfig::default() };
    LookupStudy { population, network: Network::default(), node: NodeConfig::default(), lookups: 20 }.run()
}

#[test]
fn lookups_among_half_dead_nodes_find_peers_and_the_nearest_nodes() {
    let figures = study(1000, 0.5);
    assert_eq!(figures.first.len(), 20, "every lookup finds the peer");
    assert!(figures.recall_mean() > 0.8, "{figures:?}");
    assert!(figures.packets_mean() < 60.0, "{figures:?}");
    assert!(figures.complete().p50 < Duration::from_secs(3), "{figures:?}");
    assert_eq!(figures, study(1000, 0.5), "the same seed repeats it");
}
