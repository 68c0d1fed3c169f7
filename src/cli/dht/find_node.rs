use clap::Args;
use magnes_dht::NodeId;
use serde_json::json;

use super::asking::{AskArgs, OutputArgs, failed};
use crate::cli::Outcome;
use crate::cli::exit::Exit;

/// Find the nodes nearest to an id.
#[derive(Debug, Args)]
pub(super) struct FindNodeArgs {
    /// The id, 40 hexadecimal digits.
    target: NodeId,
    #[command(flatten)]
    ask: AskArgs,
}

pub(super) fn run(args: &FindNodeArgs, output: &OutputArgs) -> Outcome {
    args.ask.ask(async |dht| {
        for contact in dht.find_node(args.target.into()).await.map_err(failed)? {
            let fields = json!({ "node_id": contact.id.to_string(), "addr": contact.addr.to_string() });
            output.tell("node", fields, || format!("{} {}", contact.id, contact.addr));
        }
        Ok(Exit::Done)
    })
}
