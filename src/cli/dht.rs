//! `magnes dht`: single questions to the DHT.
#![allow(clippy::disallowed_methods, reason = "the program starts its runtime")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::{Args, Subcommand};
use magnes::model::{InfoHash, parse_info_hash};
use magnes_dht::{AnnouncePort, Dht, NodeId, SpawnError};
use serde_json::json;
use tokio::runtime;
use tokio::time::timeout;

use super::Outcome;
use super::exit::{Exit, Failure};
use super::report::{print_json, print_line};

/// Ask the DHT a single question.
#[derive(Debug, Args)]
pub(crate) struct DhtArgs {
    #[command(subcommand)]
    question: Question,
    /// DHT node to begin with, instead of the built-in list. May repeat.
    #[arg(long, value_name = "HOST:PORT", global = true)]
    bootstrap: Vec<String>,
    /// UDP address to ask from; port 0 picks a free one.
    #[arg(long, value_name = "IP:PORT", global = true)]
    listen: Option<SocketAddr>,
    /// Give up after so many seconds, with exit code 3.
    #[arg(long, value_name = "SECS", default_value_t = 15, global = true)]
    timeout: u64,
    /// Print one JSON object a line.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Ask a node for a sign of life.
    Ping {
        /// The node.
        #[arg(value_name = "IP:PORT")]
        addr: SocketAddr,
    },
    /// Find the nodes nearest to an id.
    FindNode {
        /// The id, 40 hexadecimal digits.
        target: NodeId,
    },
    /// Find the peers of a torrent.
    GetPeers {
        /// Its info hash.
        #[arg(value_name = "INFO_HASH")]
        info_hash: String,
    },
    /// Say once that a peer of this machine has a torrent.
    Announce {
        /// Its info hash.
        #[arg(value_name = "INFO_HASH")]
        info_hash: String,
        /// The TCP port on which the peer listens.
        #[arg(long)]
        port: u16,
    },
}

pub(crate) fn run(args: DhtArgs) -> Outcome {
    let json = args.json;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))?;
    runtime.block_on(ask(args)).map_err(|failure| failure.told_as_json(json))
}

async fn ask(args: DhtArgs) -> Outcome {
    let info_hash = match &args.question {
        Question::GetPeers { info_hash } | Question::Announce { info_hash, .. } => {
            Some(parse_info_hash(info_hash).ok_or_else(|| {
                Failure::bad_torrent(format!("'{info_hash}' is no info hash: 40 hexadecimal or 32 base32 digits"))
            })?)
        }
        _ => None,
    };
    let dht = spawn(&args).await?;
    let limit = Duration::from_secs(args.timeout);
    let outcome = timeout(limit, answer(&dht, &args, info_hash)).await;
    let readiness = dht.readiness().await.map(|readiness| readiness.to_string()).unwrap_or_default();
    dht.shutdown().await;
    outcome.unwrap_or_else(|_| {
        Err(Failure::new(Exit::TimedOut, format!("no answer after {} s: {readiness}", args.timeout)))
    })
}

async fn spawn(args: &DhtArgs) -> Result<Dht, Failure> {
    let listen = args.listen.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    let mut builder = Dht::builder().listen(listen);
    if let Question::Ping { addr } = &args.question {
        // Begun with only so that its kind of address is admitted.
        builder = builder.bootstrap(addr);
    } else if args.bootstrap.is_empty() {
        builder = magnes::session::BOOTSTRAP.iter().fold(builder, |builder, host| builder.bootstrap(host));
    }
    builder = args.bootstrap.iter().fold(builder, |builder, host| builder.bootstrap(host));
    builder.spawn().await.map_err(|error| match error {
        SpawnError::Bind { .. } => Failure::new(Exit::CannotBind, error),
        error => Failure::new(Exit::Failed, error),
    })
}

async fn answer(dht: &Dht, args: &DhtArgs, info_hash: Option<InfoHash>) -> Outcome {
    dht.ready().await.map_err(closed)?;
    match (&args.question, info_hash) {
        (Question::Ping { addr }, _) => match dht.ping(*addr).await.map_err(closed)? {
            Some((id, rtt)) => {
                let rtt_ms = rtt.as_secs_f64() * 1000.0;
                tell(args.json, "pong", json!({ "node_id": id.to_string(), "rtt_ms": rtt_ms }), || {
                    format!("{id} answered after {rtt_ms:.1} ms")
                });
                Ok(Exit::Done)
            }
            None => Err(Failure::new(Exit::Failed, format!("{addr} does not answer"))),
        },
        (Question::FindNode { target }, _) => {
            for contact in dht.find_node((*target).into()).await.map_err(closed)? {
                let fields = json!({ "node_id": contact.id.to_string(), "addr": contact.addr.to_string() });
                tell(args.json, "node", fields, || format!("{} {}", contact.id, contact.addr));
            }
            Ok(Exit::Done)
        }
        (Question::Announce { port, .. }, Some(info_hash)) => {
            let outcome = dht.announce(info_hash, AnnouncePort::Explicit(*port), false).await.map_err(closed)?;
            let fields = json!({ "asked": outcome.asked, "acknowledged": outcome.acknowledged });
            tell(args.json, "announced", fields, || {
                format!("{} of {} nodes took the announce", outcome.acknowledged, outcome.asked)
            });
            Ok(if outcome.acknowledged > 0 { Exit::Done } else { Exit::Failed })
        }
        (_, Some(info_hash)) => {
            let mut found = std::collections::BTreeSet::new();
            let mut stream = dht.get_peers(info_hash);
            while let Some(peers) = stream.next().await {
                for peer in peers.into_iter().filter(|peer| found.insert(*peer)) {
                    tell(args.json, "peer", json!({ "addr": peer.to_string() }), || peer.to_string());
                }
            }
            if found.is_empty() { Err(Failure::new(Exit::Failed, "no peers found")) } else { Ok(Exit::Done) }
        }
        _ => Ok(Exit::Failed),
    }
}

fn closed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, error)
}

fn tell(json: bool, event: &str, fields: serde_json::Value, text: impl FnOnce() -> String) {
    if json {
        print_json(event, fields);
    } else {
        print_line(&text());
    }
}
