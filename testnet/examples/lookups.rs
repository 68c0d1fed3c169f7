//! How long lookups take, what they cost and what they find, in the virtual network.
//!
//! `cargo run --release -p magnes-testnet --example lookups -- --help`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its user")]

use std::process::ExitCode;
use std::time::Duration;

use magnes_testnet::{Errand, LookupStudy, PopulationConfig};

const HELP: &str = "\
lookups [OPTIONS]
  --nodes N         live nodes (10000)
  --dead SHARE      share of the table entries that are dead (0.5)
  --scattered       hardly two tables name the same dead node
  --loss SHARE      share of the datagrams that are lost (0.02)
  --hostile SHARE   share of the nodes that name made-up nodes only (0)
  --crowd           64 nodes around each of 16 targets; --crowd-fits: with ids that fit their addresses (BEP 42)
  --immutable       look for items (BEP 44) instead of peers, and put them; --mutable: for signed ones
  --size            the error of the size that is estimated from 16 lookups
  --nat             31 % of the nodes restricted, 11 % firewalled
  --lifted          no budget of new endpoints: by default 40 a second and 600 in 30 seconds
  --lookups N       lookups, each from a node of its own (400)
  --seed N          repeats a run (1)";

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(study) => {
            report(&study);
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<LookupStudy, String> {
    let population = PopulationConfig { nodes: 10_000, dead: 0.5, ..PopulationConfig::default() };
    let mut lift = false;
    let mut study = LookupStudy { population, lookups: 400, ..LookupStudy::default() };
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{name} wants a value\n\n{HELP}"));
        match name.as_str() {
            "--nodes" => study.population.nodes = number(&value()?)?,
            "--dead" => study.population.dead = number(&value()?)?,
            "--scattered" => study.population.dead_are_scattered = true,
            "--loss" => study.network.loss = number(&value()?)?,
            "--hostile" => study.population.hostile = number(&value()?)?,
            "--crowd" | "--crowd-fits" => {
                (study.crowded, study.lookups_before, study.stores) = (16, 8, true);
                study.population.crowd_fits = name == "--crowd-fits";
            }
            "--immutable" => study.errand = Errand::Immutable,
            "--mutable" => study.errand = Errand::Mutable,
            "--size" => study.lookups_before = 16,
            "--nat" => study.population.nat_mix = true,
            "--lifted" => lift = true,
            "--lookups" => study.lookups = number(&value()?)?,
            "--seed" => study.population.seed = number(&value()?)?,
            _ => return Err(HELP.to_owned()),
        }
    }
    if lift {
        study.node.endpoints = None;
    }
    Ok(study)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is no number of this kind\n\n{HELP}"))
}

fn report(study: &LookupStudy) {
    let figures = study.run();
    let (first, complete) = (figures.first(), figures.complete());
    // A get of an item does not say which nodes were nearest.
    let recall = if figures.recall.is_empty() { "-".to_owned() } else { format!("{:.3}", figures.recall_mean()) };
    println!("nodes   dead  loss  lookups  first p50/p99 ms  complete p50/p99 ms  packets  recall  found");
    println!(
        "{:6}  {:4.2}  {:4.2}  {:7}  {:7} / {:6}  {:9} / {:7}  {:7.1}  {:>6}  {:5}",
        study.population.nodes,
        study.population.dead,
        study.network.loss,
        study.lookups,
        first.p50.as_millis(),
        first.p99.as_millis(),
        complete.p50.as_millis(),
        complete.p99.as_millis(),
        figures.packets_mean(),
        recall,
        figures.first.iter().filter(|first| **first < Duration::from_secs(60)).count(),
    );
    if !figures.told.is_empty() {
        let share = |least: usize| {
            figures.told.iter().filter(|told| **told >= least).count() as f64 / figures.told.len() as f64
        };
        println!(
            "announces or puts reached {:.2} of the 8 nearest honest nodes on average, at least 4 in {:.1} % of the cases",
            figures.told.iter().sum::<usize>() as f64 / figures.told.len() as f64,
            100.0 * share(4)
        );
    }
    if study.lookups_before > 3 {
        println!(
            "size after {} lookups: {:.0} on average; error p50 {:.1} %, p90 {:.1} %, p95 {:.1} %",
            study.lookups_before,
            figures.size_mean(),
            100.0 * figures.size_error(study.population.nodes, 50),
            100.0 * figures.size_error(study.population.nodes, 90),
            100.0 * figures.size_error(study.population.nodes, 95)
        );
    }
}
