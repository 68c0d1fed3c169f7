use clap::{Args, Subcommand};

use super::asking::OutputArgs;
use super::{announce, find_node, get, get_peers, keygen, ping, put, sample, scrape, trace};
use crate::cli::Outcome;

const AFTER_HELP: &str = "\
Examples:
  magnes dht get-peers dd8255ecdc7ca55fb0bbf81323d87062db1f6d1c
  magnes dht put 'Hello World!'       prints the hash to get it by
  magnes dht get e5f96f6f38320f0f33959cb4d3d656452117aadb
  magnes dht ping 192.0.2.1:6881

A --bootstrap host that does not answer is reported after 5 seconds, and retried until --timeout.";

/// Run a one-off DHT query.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DhtArgs {
    #[command(subcommand)]
    question: Question,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Subcommand)]
enum Question {
    Ping(ping::PingArgs),
    FindNode(find_node::FindNodeArgs),
    GetPeers(get_peers::GetPeersArgs),
    Announce(announce::AnnounceArgs),
    Get(get::GetArgs),
    Put(put::PutArgs),
    Sample(sample::SampleArgs),
    Scrape(scrape::ScrapeArgs),
    Trace(trace::TraceArgs),
    Keygen(keygen::KeygenArgs),
}

pub(crate) fn run(args: DhtArgs) -> Outcome {
    let DhtArgs { question, output } = args;
    let outcome = match &question {
        Question::Ping(args) => ping::run(args, &output),
        Question::FindNode(args) => find_node::run(args, &output),
        Question::GetPeers(args) => get_peers::run(args, &output),
        Question::Announce(args) => announce::run(args, &output),
        Question::Get(args) => get::run(args, &output),
        Question::Put(args) => put::run(args, &output),
        Question::Sample(args) => sample::run(args, &output),
        Question::Scrape(args) => scrape::run(args, &output),
        Question::Trace(args) => trace::run(args, &output),
        Question::Keygen(args) => keygen::run(args, &output),
    };
    outcome.map_err(|failure| failure.told_as_json(output.json))
}
