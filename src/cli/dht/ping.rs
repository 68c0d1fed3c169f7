use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use clap::Args;
use serde_json::json;

use super::asking::{OutputArgs, SocketArgs, Wait, failed};
use crate::cli::Outcome;
use crate::cli::exit::{Exit, Failure};

/// Ask a node for a sign of life.
#[derive(Debug, Args)]
pub(super) struct PingArgs {
    /// The node. Of a name the first IPv4 address is asked, or else the first IPv6 address.
    #[arg(value_name = "HOST:PORT")]
    host: String,
    #[command(flatten)]
    socket: SocketArgs,
}

pub(super) fn run(args: &PingArgs, output: &OutputArgs) -> Outcome {
    let addr = resolve(&args.host)?;
    // It answers whatever it thinks of us.
    args.socket.ask_node(addr, Wait::No, async |dht| match dht.ping(addr).await.map_err(failed)? {
        Some((id, rtt)) => {
            let rtt_ms = rtt.as_secs_f64() * 1000.0;
            output.tell("pong", json!({ "node_id": id.to_string(), "rtt_ms": rtt_ms }), || {
                format!("{id} answered after {rtt_ms:.1} ms")
            });
            Ok(Exit::Done)
        }
        None => Err(Failure::new(Exit::Failed, format!("{} does not answer", args.host))),
    })
}

fn resolve(host: &str) -> Result<SocketAddr, Failure> {
    let failure = |error: io::Error| {
        // A port is missing, or is none; anything else comes from the resolver.
        let exit = if error.kind() == io::ErrorKind::InvalidInput { Exit::Usage } else { Exit::Failed };
        Failure::new(exit, format!("cannot ask {host}: {error}"))
    };
    let addrs: Vec<SocketAddr> = host.to_socket_addrs().map_err(failure)?.collect();
    let first = addrs.iter().find(|addr| addr.is_ipv4()).or(addrs.first());
    first.copied().ok_or_else(|| Failure::new(Exit::Failed, format!("{host} has no address")))
}
