use std::collections::BTreeSet;
use std::net::SocketAddr;

use clap::Args;
use magnes::model::PeerAddr;
use magnes_dht::{Dht, NodeId, Target};
use serde_json::json;

use super::asking::{AskArgs, OutputArgs, Wait, failed};
use crate::cli::Outcome;
use crate::cli::exit::{Exit, Failure};

const AFTER_HELP: &str = "\
Examples:
  magnes dht sample                           info hashes from nodes on the way to a random point
  magnes dht sample --node 192.0.2.1:6881     from one node

Each node says how long its samples stay the same; asking it again sooner shows nothing new.";

/// List some of the info hashes that nodes store (BEP 51).
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct SampleArgs {
    /// The point towards which nodes are queried, 40 hexadecimal digits. Default: a random one.
    target: Option<NodeId>,
    /// Query only this node.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "bootstrap")]
    node: Option<PeerAddr>,
    #[command(flatten)]
    ask: AskArgs,
}

pub(super) fn run(args: &SampleArgs, output: &OutputArgs) -> Outcome {
    let ask = async |dht: Dht, node: Option<SocketAddr>| {
        // Our own id was drawn by lot.
        let own_id = dht.node_ids().await.map_err(|closed| failed(closed.into()))?.first().copied();
        let target = args.target.or(own_id).map_or(Target::new([0; 20]), Target::from);
        let mut samples = match node {
            Some(node) => dht.sample_node(node, target),
            None => dht.sample(target),
        };
        let (mut found, mut nodes) = (BTreeSet::new(), 0);
        while let Some(of_one) = samples.next().await {
            nodes += 1;
            let fields = json!({
                "node_id": of_one.from.id.to_string(),
                "addr": of_one.from.addr.to_string(),
                "samples": of_one.info_hashes.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "num": of_one.total,
                "interval_s": of_one.interval.as_secs(),
            });
            let unseen: Vec<String> = of_one.info_hashes.iter().map(ToString::to_string).collect();
            let unseen: Vec<String> = unseen.into_iter().filter(|text| found.insert(text.clone())).collect();
            if output.json || !unseen.is_empty() {
                output.tell_lines("samples", fields, || unseen);
            }
        }
        match samples.outcome() {
            Some(Err(error)) => Err(failed(*error)),
            Some(Ok(outcome)) if nodes == 0 => {
                let why = format!("no node gave samples; {} of {} answered", outcome.answered, outcome.asked);
                Err(Failure::new(Exit::Failed, why))
            }
            _ => Ok(Exit::Done),
        }
    };
    match &args.node {
        Some(node) => args.ask.socket.ask_node(node, Wait::UntilReady, async |dht, addr| ask(dht, Some(addr)).await),
        None => args.ask.ask(async |dht| ask(dht, None).await),
    }
}
