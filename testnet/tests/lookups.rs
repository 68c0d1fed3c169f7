//! Lookups of real nodes in a virtual network: what they find, how soon, and at what cost.

use std::time::Duration;

use magnes_dht::{EndpointBudget, NodeConfig};
use magnes_testnet::{Errand, LookupFigures, LookupStudy, Network, PopulationConfig};

fn study(lookups: usize, endpoints: EndpointBudget) -> LookupFigures {
    let population = PopulationConfig { nodes: 1000, dead: 0.5, ..PopulationConfig::default() };
    let node = NodeConfig::default().endpoints(Some(endpoints));
    LookupStudy { population, network: Network::default(), node, lookups, ..LookupStudy::default() }.run()
}

#[test]
fn lookups_among_half_dead_nodes_are_quick_and_find_peers_and_the_nearest_nodes() {
    let figures = study(20, EndpointBudget::default());
    assert_eq!(figures.first.len(), 20, "every lookup finds the peer");
    assert!(figures.first().p50 < Duration::from_millis(400), "{figures:?}");
    assert!(figures.complete().p50 < Duration::from_millis(1300), "{figures:?}");
    assert!(figures.complete().p99 < Duration::from_millis(2500), "{figures:?}");
    assert!(figures.packets_mean() < 55.0, "{figures:?}");
    assert!(figures.recall_mean() > 0.88, "{figures:?}");
}

#[test]
fn no_room_for_new_endpoints_makes_lookups_wait_and_fails_nobody() {
    let figures = study(5, EndpointBudget { per_second: 5, per_half_minute: 600 });
    assert_eq!(figures.first.len(), 5, "every lookup finds the peer");
    assert!(figures.recall_mean() > 0.75, "{figures:?}");
    for (complete, packets) in figures.complete.iter().zip(&figures.packets) {
        let least_s = (*packets as u64).saturating_sub(10) / 5;
        assert!(*complete >= Duration::from_secs(least_s / 2 * 2), "{packets} queries in {complete:?}");
    }
}

#[test]
fn a_crowd_around_a_target_hides_neither_peers_nor_the_honest_nodes() {
    let population = PopulationConfig { nodes: 1000, dead: 0.5, ..PopulationConfig::default() };
    let study =
        LookupStudy { population, lookups: 6, lookups_before: 4, crowded: 2, stores: true, ..Default::default() };
    let figures = study.run();
    assert_eq!(figures.first.len(), 6, "every lookup finds the peer");
    assert_eq!(figures.told.len(), 6);
    assert!(figures.told.iter().sum::<usize>() >= 4 * 6, "{figures:?}");
}

#[test]
fn a_crowd_whose_ids_fit_its_addresses_hides_no_item_and_keeps_none_from_the_honest_nodes() {
    let population =
        PopulationConfig { nodes: 400, dead: 0.5, crowd: 48, crowd_fits: true, ..PopulationConfig::default() };
    let (lookups, lookups_before, crowded, stores, errand) = (3, 6, 3, true, Errand::Mutable);
    let study = LookupStudy { population, lookups, lookups_before, crowded, stores, errand, ..LookupStudy::default() };
    let figures = study.run();
    assert_eq!(figures.first.len(), lookups, "every get finds the item: {figures:?}");
    assert!(figures.told.iter().all(|told| *told >= 4), "every put reaches four of the eight: {figures:?}");
}

#[test]
fn who_names_only_made_up_nodes_costs_some_queries_and_hides_nothing() {
    let population = PopulationConfig { nodes: 1000, dead: 0.3, hostile: 0.3, ..PopulationConfig::default() };
    let figures = LookupStudy { population, lookups: 30, ..Default::default() }.run();
    assert_eq!(figures.first.len(), 30, "every lookup finds the peer");
    assert!(figures.recall_mean() > 0.7, "{figures:?}");
    assert!(figures.packets_mean() < 120.0, "{figures:?}");
}

#[test]
fn lookups_tell_the_size_of_the_network() {
    let population = PopulationConfig { nodes: 1000, dead: 0.5, ..PopulationConfig::default() };
    let figures = LookupStudy { population, lookups: 2, lookups_before: 16, ..Default::default() }.run();
    assert!((800.0..1250.0).contains(&figures.size_mean()), "{figures:?}");
    assert!(figures.size_error(1000, 99) < 0.35, "{figures:?}");
}
