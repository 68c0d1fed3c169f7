use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::Args;
use serde_json::json;

use super::asking::{AskArgs, OutputArgs, failed};
use super::hex;
use crate::cli::Outcome;
use crate::cli::exit::{Exit, Failure};

/// Find the peers of a torrent.
#[derive(Debug, Args)]
pub(super) struct GetPeersArgs {
    /// Its info hash, magnet link or .torrent file.
    #[arg(value_name = "INFO_HASH|MAGNET")]
    info_hash: OsString,
    #[command(flatten)]
    ask: AskArgs,
}

pub(super) fn run(args: &GetPeersArgs, output: &OutputArgs) -> Outcome {
    let info_hash = hex::info_hash(&args.info_hash)?;
    args.ask.ask(async |dht| {
        let mut found = BTreeSet::new();
        let mut stream = dht.get_peers(info_hash);
        while let Some(peers) = stream.next().await {
            for peer in peers.into_iter().filter(|peer| found.insert(*peer)) {
                output.tell("peer", json!({ "addr": peer.to_string() }), || peer.to_string());
            }
        }
        match stream.outcome() {
            Some(Err(error)) => Err(failed(*error)),
            Some(Ok(outcome)) if found.is_empty() => {
                Err(Failure::new(Exit::Failed, format!("no peers found; {} nodes answered", outcome.answered)))
            }
            _ => Ok(Exit::Done),
        }
    })
}
