//! The command itself: its arguments, its start, and its loop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use magnes::model::PeerAddr;
use magnes::storage::{LockError, StateLock};
use magnes_dht::{BOOTSTRAP, Dht, DhtBuilder, Event, GuardConfig, NodeConfig, Prefix, SpawnError};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;

use super::listen::{listen_default, warnings};
use super::notify::{Manager, watchdog_interval};
use super::status::{Rates, Status};
use super::{http, lines, metrics};
use crate::cli::Outcome;
use crate::cli::args::{ReportArgs, host_names, parse_socket, state_dir};
use crate::cli::block::block_on;
use crate::cli::exit::{Exit, Failure};
use crate::cli::report::{Reporter, print_json};
use crate::cli::signals::{Signal, Signals};

/// How often a log without a terminal is told how it goes; besides whenever readiness changes.
const LOG_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Run a DHT node that others can bootstrap from.
///
/// It answers queries within rate limits, stores announces and items for others, and keeps its routing table and ids in
/// the state folder. Without --bootstrap it bootstraps from the built-in list of public nodes. See docs/operator.md.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// UDP address to listen on; port 0 picks a free one. May be repeated: one node id each. Default: port 6881 of
    /// every IPv4 address, and of each public IPv6 address that lasts.
    #[arg(long, value_name = "IP:PORT", value_parser = parse_socket)]
    listen: Vec<SocketAddr>,
    /// DHT node to bootstrap from, instead of the built-in list: NAME:PORT, IPv4:PORT or [IPv6]:PORT. May be repeated.
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Vec<PeerAddr>,
    /// Bootstrap from nothing but the saved table: for the first node of a network.
    #[arg(long, conflicts_with = "bootstrap")]
    no_bootstrap: bool,
    /// Folder for the routing table. Default: $XDG_STATE_HOME/magnes or ~/.local/state/magnes.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// TCP address of GET /metrics (for Prometheus) and GET /health (200 when ready, else 503). Do not expose it
    /// publicly.
    #[arg(long, value_name = "IP:PORT", value_parser = parse_socket)]
    metrics: Option<SocketAddr>,
    /// Print one JSON object per line on stdout: listening, status, external_address, error.
    #[arg(long)]
    json: bool,
    /// Print nothing but errors.
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,
    /// Seconds between status updates, on a terminal and in JSON.
    #[arg(long, value_name = "SECS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    status_interval: u64,
    #[command(flatten)]
    limits: LimitArgs,
}

/// What the node gives at most.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Bytes of replies per second in total, for each --listen address. Default: 1 MiB.
    #[arg(long, value_name = "BYTES")]
    max_reply_rate: Option<u32>,
    /// Network, such as 192.0.2.0/24, that no rate limit applies to. May be repeated. Loopback and private networks are
    /// always exempt.
    #[arg(long, value_name = "PREFIX")]
    exempt: Vec<Prefix>,
    /// Memory for announced peers, in MiB per --listen address. Default: 4.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    peer_memory: Option<u32>,
    /// Memory for stored items, in MiB per --listen address. Default: 2.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    item_memory: Option<u32>,
    /// Do not limit queries to new addresses. The limit is 40 per second, and 600 in 30 seconds, as home routers fail
    /// beyond.
    #[arg(long)]
    no_endpoint_limit: bool,
}

impl LimitArgs {
    fn config(&self) -> NodeConfig {
        let defaults = NodeConfig::default();
        let bytes = |mib: Option<u32>, default| mib.map_or(default, |mib| (mib as usize).saturating_mul(1 << 20));
        let total_bytes_per_s = self.max_reply_rate.unwrap_or(defaults.guard.total_bytes_per_s);
        NodeConfig::default()
            .guard(GuardConfig::default().total_bytes_per_s(total_bytes_per_s).exempt(self.exempt.clone()))
            .peer_store_bytes(bytes(self.peer_memory, defaults.peer_store_bytes))
            .item_store_bytes(bytes(self.item_memory, defaults.item_store_bytes))
            .endpoints(defaults.endpoints.filter(|_| !self.no_endpoint_limit))
    }
}

pub(crate) fn run(args: NodeArgs) -> Outcome {
    let json = args.json;
    block_on(serve(args)).map_err(|failure| failure.told_as_json(json))
}

async fn serve(args: NodeArgs) -> Outcome {
    let mut signals =
        Signals::catch().map_err(|error| Failure::new(Exit::Failed, format!("cannot catch signals: {error}")))?;
    let reporter = Reporter::new(ReportArgs { json: args.json, quiet: args.quiet });
    let listen = if args.listen.is_empty() { listen_default() } else { args.listen.clone() };
    for warning in warnings(&listen) {
        tracing::warn!("{warning}");
    }
    let monitor = bind_metrics(args.metrics).await?;
    let metrics_addr = monitor.as_ref().and_then(|listener| listener.local_addr().ok());
    let folder = state_dir(args.state_dir.as_deref()).filter(|folder| is_made(folder));
    // Held to the end.
    let _lock = folder.as_deref().map(lock).transpose()?;
    let dht = start(builder(&args, folder.as_deref(), listen)).await?;
    if let Some(listener) = monitor {
        let dht = dht.clone();
        tokio::spawn(http::serve(listener, move |path| metrics::page(dht.clone(), path)));
    }
    let mut told = Told { reporter, json: args.json, last: None, logged: None };
    told.listening(&dht, metrics_addr).await;
    let manager = Manager::from_environment();
    manager.ready();
    let signal = watch(&dht, &mut told, &mut signals, &manager, Duration::from_secs(args.status_interval)).await;
    manager.stopping();
    told.reporter.finish();
    signals.leave(async { dht.shutdown().await }).await;
    Ok(match signal {
        Some(Signal::Terminate) => Exit::Done,
        Some(Signal::Interrupt) => Exit::Interrupted,
        None => Exit::Failed,
    })
}

async fn bind_metrics(addr: Option<SocketAddr>) -> Result<Option<TcpListener>, Failure> {
    let Some(addr) = addr else { return Ok(None) };
    let listener = http::bind(addr).await;
    let failure = |error| Failure::new(Exit::CannotBind, format!("cannot listen on TCP {addr} for metrics: {error}"));
    listener.map(Some).map_err(failure)
}

/// Makes the state folder where it is missing. Without it the node runs all the same.
fn is_made(folder: &Path) -> bool {
    let made = std::fs::create_dir_all(folder);
    if let Err(error) = &made {
        let folder = folder.display();
        tracing::warn!(
            "cannot use {folder} as the state folder: {error}; the table and the ids are not kept between runs \
             (--state-dir names another folder)"
        );
    }
    made.is_ok()
}

/// Keeps other nodes from the state folder.
fn lock(folder: &Path) -> Result<Option<StateLock>, Failure> {
    match StateLock::take(&folder.join("dht-node.lock"), &std::process::id().to_string()) {
        Ok(lock) => Ok(Some(lock)),
        Err(LockError::Held { note, .. }) => Err(Failure::new(
            Exit::Failed,
            format!(
                "another node (process {note}) keeps its table in {}: end it, or choose another folder with --state-dir",
                folder.display()
            ),
        )),
        Err(error) => {
            tracing::warn!("{error}; other nodes are not kept from the same state (--state-dir names another folder)");
            Ok(None)
        }
    }
}

fn builder(args: &NodeArgs, folder: Option<&Path>, listen: Vec<SocketAddr>) -> DhtBuilder {
    let mut builder = Dht::builder().config(args.limits.config());
    for addr in listen {
        builder = builder.listen(addr);
    }
    let bootstrap = match (args.no_bootstrap, args.bootstrap.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => BOOTSTRAP.map(str::to_owned).to_vec(),
        (false, false) => host_names(&args.bootstrap),
    };
    for host in bootstrap {
        builder = builder.bootstrap(host);
    }
    match folder {
        Some(folder) => builder.state_file(folder.join("dht-node.state")),
        None => builder,
    }
}

async fn start(builder: DhtBuilder) -> Result<Dht, Failure> {
    builder.spawn().await.map_err(|error| match error {
        SpawnError::Bind { .. } => Failure::new(Exit::CannotBind, error),
        error => Failure::new(Exit::Failed, error),
    })
}

/// Tells how it goes until a signal comes; `None` when the node ended by itself.
async fn watch(
    dht: &Dht,
    told: &mut Told,
    signals: &mut Signals,
    manager: &Manager,
    interval: Duration,
) -> Option<Signal> {
    let mut events = dht.events();
    let mut ticks = tokio::time::interval(interval);
    let watchdog = watchdog_interval().filter(|_| manager.is_there());
    let mut alive = tokio::time::interval(watchdog.unwrap_or(interval).min(interval));
    loop {
        tokio::select! {
            signal = signals.next() => return Some(signal),
            _ = ticks.tick() => told.status(Status::of(dht).await.ok()?),
            // The answer of the node's own task is the sign of life; nothing else would prove one.
            _ = alive.tick(), if manager.is_there() => manager.alive(&lines::summary(&Status::of(dht).await.ok()?)),
            event = events.recv() => match event {
                Ok(Event::ExternalAddress { addr, .. }) => told.external(addr),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            },
        }
    }
}

/// What was told so far, and how.
#[derive(Debug)]
struct Told {
    reporter: Reporter,
    json: bool,
    last: Option<Status>,
    /// What the log was told last.
    logged: Option<Status>,
}

impl Told {
    async fn listening(&self, dht: &Dht, metrics: Option<SocketAddr>) {
        let ids = dht.node_ids().await.unwrap_or_default();
        if self.json {
            return print_json("listening", lines::listening_json(dht.local_addrs(), &ids, metrics));
        }
        for (addr, id) in dht.local_addrs().iter().zip(&ids) {
            self.reporter.line(&format!("listening on {addr} (UDP), node id {id}"));
        }
        if let Some(addr) = metrics {
            self.reporter.line(&format!("metrics at http://{addr}/metrics"));
        }
    }

    fn external(&self, addr: SocketAddr) {
        match self.json {
            true => print_json("external_address", json!({ "addr": addr.to_string() })),
            false => self.reporter.line(&format!("other nodes see us at {addr}")),
        }
    }

    fn status(&mut self, status: Status) {
        if self.json {
            print_json("status", lines::status_json(&status));
        } else if self.reporter.is_terminal() {
            self.reporter.status(&lines::block(&status, &Rates::between(self.last.as_ref(), &status)));
        } else if self.is_due(&status) {
            self.reporter.line(&lines::summary(&status));
            self.logged = Some(status.clone());
        }
        self.last = Some(status);
    }

    fn is_due(&self, status: &Status) -> bool {
        self.logged.as_ref().is_none_or(|logged| {
            logged.is_ready() != status.is_ready() || status.uptime.saturating_sub(logged.uptime) >= LOG_INTERVAL
        })
    }
}
