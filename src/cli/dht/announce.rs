use std::ffi::OsString;

use clap::Args;
use magnes_dht::{AnnouncePort, PeerRole};
use serde_json::json;

use super::asking::{AskArgs, OutputArgs, failed};
use super::hex;
use crate::cli::Outcome;
use crate::cli::exit::Exit;

/// Announce once that a peer on this machine has a torrent.
#[derive(Debug, Args)]
pub(super) struct AnnounceArgs {
    /// Its info hash, magnet link or .torrent file.
    #[arg(value_name = "INFO_HASH|MAGNET")]
    info_hash: OsString,
    /// The TCP port on which the peer listens.
    #[arg(long)]
    port: u16,
    #[command(flatten)]
    ask: AskArgs,
}

pub(super) fn run(args: &AnnounceArgs, output: &OutputArgs) -> Outcome {
    let info_hash = hex::info_hash(&args.info_hash)?;
    args.ask.ask(async |dht| {
        let outcome =
            dht.announce(info_hash, AnnouncePort::Explicit(args.port), PeerRole::Downloader).await.map_err(failed)?;
        let fields = json!({ "asked": outcome.asked, "acknowledged": outcome.acknowledged });
        output.tell("announced", fields, || {
            format!("{} of {} nodes took the announce", outcome.acknowledged, outcome.asked)
        });
        Ok(if outcome.acknowledged > 0 { Exit::Done } else { Exit::Failed })
    })
}
