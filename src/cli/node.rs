//! `magnes node`: a DHT node that others begin with.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the program makes its folder and tries a socket"
)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use magnes_dht::{Dht, SpawnError, Stats};
use serde_json::json;
use tokio::runtime;

use super::Outcome;
use super::args::{ReportArgs, state_dir_default};
use super::exit::{Exit, Failure};
use super::report::{Reporter, print_json};
use super::signals::{Signal, Signals};

/// How often the numbers are told.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Run a DHT node that others can begin with.
///
/// It answers queries, stores announces for others and keeps its table in the state folder. Without --bootstrap it begins
/// with the built-in list of public nodes.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// UDP address to listen on; port 0 picks a free one. May repeat: one node id each.
    /// Default: every address of the machine, port 6881.
    #[arg(long, value_name = "IP:PORT")]
    listen: Vec<SocketAddr>,
    /// DHT node to begin with, instead of the built-in list. May repeat.
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Vec<String>,
    /// Folder in which the table is kept. Default: $XDG_STATE_HOME/magnes or ~/.local/state/magnes.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    report: ReportArgs,
}

pub(crate) fn run(args: NodeArgs) -> Outcome {
    let json = args.report.json;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))?;
    runtime.block_on(serve(args)).map_err(|failure| failure.told_as_json(json))
}

async fn serve(args: NodeArgs) -> Outcome {
    let mut signals =
        Signals::catch().map_err(|error| Failure::new(Exit::Failed, format!("cannot catch signals: {error}")))?;
    let reporter = Reporter::new(args.report);
    let dht = spawn(&args).await?;
    let ids = dht.node_ids().await.unwrap_or_default();
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    if args.report.json {
        let addrs: Vec<String> = dht.local_addrs().iter().map(ToString::to_string).collect();
        print_json("listening", json!({ "udp": addrs.first(), "node_id": ids.first(), "all": addrs }));
    } else {
        for (addr, id) in dht.local_addrs().iter().zip(&ids) {
            reporter.line(&format!("listening on {addr} (UDP), node id {id}"));
        }
    }
    let mut ticks = tokio::time::interval(STATUS_INTERVAL);
    let mut told = None;
    let signal = loop {
        tokio::select! {
            signal = signals.next() => break signal,
            _ = ticks.tick() => {
                let Ok(stats) = dht.stats().await else { return Ok(Exit::Failed) };
                if told != Some(stats) {
                    tell(&reporter, args.report.json, &stats, &dht).await;
                    told = Some(stats);
                }
            }
        }
    };
    reporter.finish();
    signals.leave(async { dht.shutdown().await }).await;
    Ok(if signal == Signal::Terminate { Exit::Done } else { Exit::Interrupted })
}

async fn spawn(args: &NodeArgs) -> Result<Dht, Failure> {
    let mut builder = Dht::builder();
    let listen = if args.listen.is_empty() { listen_default() } else { args.listen.clone() };
    for addr in listen {
        builder = builder.listen(addr);
    }
    let bootstrap = match args.bootstrap.is_empty() {
        true => magnes::session::BOOTSTRAP.map(str::to_owned).to_vec(),
        false => args.bootstrap.clone(),
    };
    for host in bootstrap {
        builder = builder.bootstrap(host);
    }
    if let Some(folder) = args.state_dir.clone().or_else(state_dir_default) {
        std::fs::create_dir_all(&folder)
            .map_err(|error| Failure::new(Exit::Disk, format!("cannot use {}: {error}", folder.display())))?;
        builder = builder.state_file(folder.join("dht-node.state"));
    }
    builder.spawn().await.map_err(|error| match error {
        SpawnError::Bind { .. } => Failure::new(Exit::CannotBind, error),
        error => Failure::new(Exit::Failed, error),
    })
}

/// IPv4 always, IPv6 where the machine has it.
fn listen_default() -> Vec<SocketAddr> {
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 6881));
    let has_v6 = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let mut listen = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 6881))];
    listen.extend(has_v6.then_some(v6));
    listen
}

async fn tell(reporter: &Reporter, json: bool, stats: &Stats, dht: &Dht) {
    if json {
        let fields = json!({
            "contacts": stats.contacts, "good_contacts": stats.good_contacts,
            "queries_answered": stats.queries_answered, "queries_sent": stats.queries_sent,
            "responses": stats.responses, "dropped": stats.dropped,
            "stored_peers": stats.stored_peers, "stored_items": stats.stored_items,
        });
        return print_json("status", fields);
    }
    let readiness = dht.readiness().await.map(|readiness| readiness.to_string()).unwrap_or_default();
    reporter.status(&format!(
        "{readiness}  {} contacts ({} good)  {} queries answered  {} sent  {} dropped  {} peers and {} items stored",
        stats.contacts,
        stats.good_contacts,
        stats.queries_answered,
        stats.queries_sent,
        stats.dropped,
        stats.stored_peers,
        stats.stored_items
    ));
}
