use std::ffi::OsString;

use clap::Args;
use serde_json::json;

use super::asking::{AskArgs, OutputArgs, failed};
use super::hex;
use crate::cli::Outcome;
use crate::cli::exit::{Exit, Failure};

const AFTER_HELP: &str = "\
Examples:
  magnes dht scrape dd8255ecdc7ca55fb0bbf81323d87062db1f6d1c

The numbers are estimates: nodes answer with filters of 256 bytes, from which addresses can be counted, not read.";

/// Count the seeds and downloaders of a torrent (BEP 33).
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ScrapeArgs {
    /// Its info hash, magnet link or .torrent file.
    #[arg(value_name = "INFO_HASH|MAGNET")]
    info_hash: OsString,
    #[command(flatten)]
    ask: AskArgs,
}

pub(super) fn run(args: &ScrapeArgs, output: &OutputArgs) -> Outcome {
    let info_hash = hex::info_hash(&args.info_hash)?;
    args.ask.ask(async |dht| {
        let count = dht.scrape(info_hash).await.map_err(failed)?;
        if count.counted == 0 {
            let answered = count.answered;
            return Err(Failure::new(Exit::Failed, format!("nobody knows the torrent; {answered} nodes answered")));
        }
        let fields = json!({
            "seeds": count.seeds,
            "downloaders": count.downloaders,
            "counted_nodes": count.counted,
            "answered": count.answered,
        });
        output.tell("scrape", fields, || {
            format!("about {} seeds and {} downloaders, as {} nodes say", count.seeds, count.downloaders, count.counted)
        });
        Ok(Exit::Done)
    })
}
