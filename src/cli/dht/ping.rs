use std::net::SocketAddr;

use clap::Args;
use serde_json::json;

use super::asking::{AskArgs, failed};
use crate::cli::Outcome;
use crate::cli::exit::{Exit, Failure};

/// Ask a node for a sign of life.
#[derive(Debug, Args)]
pub(super) struct PingArgs {
    /// The node.
    #[arg(value_name = "IP:PORT")]
    addr: SocketAddr,
}

pub(super) fn run(args: &PingArgs, ask: &AskArgs) -> Outcome {
    ask.ask(Some(args.addr), async |dht| match dht.ping(args.addr).await.map_err(failed)? {
        Some((id, rtt)) => {
            let rtt_ms = rtt.as_secs_f64() * 1000.0;
            ask.tell("pong", json!({ "node_id": id.to_string(), "rtt_ms": rtt_ms }), || {
                format!("{id} answered after {rtt_ms:.1} ms")
            });
            Ok(Exit::Done)
        }
        None => Err(Failure::new(Exit::Failed, format!("{} does not answer", args.addr))),
    })
}
