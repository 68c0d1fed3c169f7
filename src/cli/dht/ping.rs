use clap::Args;
use magnes::model::PeerAddr;
use magnes_dht::{Dht, PingAnswer};
use serde_json::json;

use super::asking::{OutputArgs, SocketArgs, Wait, failed};
use crate::cli::Outcome;
use crate::cli::exit::{Exit, Failure};

/// Ping a node.
#[derive(Debug, Args)]
pub(super) struct PingArgs {
    /// The node. A name is resolved to its first IPv4 address, or else its first IPv6 address.
    #[arg(value_name = "HOST:PORT")]
    host: PeerAddr,
    #[command(flatten)]
    socket: SocketArgs,
}

pub(super) fn run(args: &PingArgs, output: &OutputArgs) -> Outcome {
    // It answers whatever it thinks of us.
    args.socket.ask_node(&args.host, Wait::No, async |dht: Dht, addr| match dht.ping(addr).await.map_err(failed)? {
        Some(PingAnswer::Refused { code, .. }) => {
            let why = format!("{} is reached and answers with error {code} instead of its id", args.host);
            Err(Failure::new(Exit::Failed, why))
        }
        Some(PingAnswer::Pong { id, rtt }) => {
            let rtt_ms = rtt.as_secs_f64() * 1000.0;
            output.tell("pong", json!({ "node_id": id.to_string(), "rtt_ms": rtt_ms }), || {
                format!("{id} answered after {rtt_ms:.1} ms")
            });
            Ok(Exit::Done)
        }
        None => Err(Failure::new(Exit::Failed, format!("{} does not answer", args.host))),
    })
}
