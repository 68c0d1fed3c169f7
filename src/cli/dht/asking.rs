#![allow(clippy::disallowed_methods, reason = "the program starts its runtime and its timer")]

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use magnes::model::PeerAddr;
use magnes_dht::{
    BOOTSTRAP, BootstrapState, Dht, DhtBuilder, NodeConfig, NodeMode, OperationError, RequestError, SpawnError,
    is_unresolved,
};
use serde_json::Value;
use tokio::time::timeout;

use crate::cli::Outcome;
use crate::cli::args::{host_names, parse_socket};
use crate::cli::block::block_on;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print;
use crate::cli::report::print_json;

/// When a question is given up that has no other limit.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How answers are printed.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Print one JSON object per line.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// From where a question is asked, and for how long.
#[derive(Debug, Args)]
pub(super) struct SocketArgs {
    /// UDP address to query from; port 0 picks a free one. Default: any, IPv4 and IPv6.
    #[arg(long, value_name = "IP:PORT", value_parser = parse_socket)]
    listen: Option<SocketAddr>,
    /// Give up after this many seconds, with exit code 3. Default: 15, and never with --follow.
    #[arg(long, value_name = "SECS")]
    timeout: Option<u64>,
}

/// How a question finds the nodes that can answer it.
#[derive(Debug, Args)]
pub(super) struct AskArgs {
    /// DHT node to bootstrap from, instead of the built-in list: NAME:PORT, IPv4:PORT or [IPv6]:PORT. May be repeated.
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Vec<PeerAddr>,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
}

impl OutputArgs {
    /// Tells an answer: fields of a JSON object, or a line for people.
    pub(super) fn tell(&self, event: &str, fields: Value, text: impl FnOnce() -> String) {
        self.tell_lines(event, fields, || vec![text()]);
    }

    /// The same for an answer of several lines.
    pub(super) fn tell_lines(&self, event: &str, fields: Value, lines: impl FnOnce() -> Vec<String>) {
        if self.json {
            print_json(event, fields);
        } else {
            lines().iter().for_each(|line| print::line(line));
        }
    }
}

impl AskArgs {
    /// Starts a node, waits until it knows others, has `ask` ask them, and ends the node.
    pub(super) fn ask<F: Future<Output = Outcome>>(&self, ask: impl FnOnce(Dht) -> F) -> Outcome {
        block_on(self.socket.ask_within(self.socket.limit(), &self.hosts(), Wait::UntilReady, ask))
    }

    /// The same for a question that is asked until the user has enough: without a limit, unless the user gave one.
    pub(super) fn follow<F: Future<Output = Outcome>>(&self, ask: impl FnOnce(Dht) -> F) -> Outcome {
        let limit = self.socket.timeout.map_or(Duration::MAX, Duration::from_secs);
        block_on(self.socket.ask_within(limit, &self.hosts(), Wait::UntilReady, ask))
    }

    fn hosts(&self) -> Vec<String> {
        if self.bootstrap.is_empty() {
            return BOOTSTRAP.iter().map(ToString::to_string).collect();
        }
        host_names(&self.bootstrap)
    }
}

impl SocketArgs {
    /// Has `ask` ask one node, and nobody else. Of a name the first IPv4 address is asked, or else the first IPv6 address.
    pub(super) fn ask_node<F: Future<Output = Outcome>>(
        &self,
        node: &PeerAddr,
        wait: Wait,
        ask: impl FnOnce(Dht, SocketAddr) -> F,
    ) -> Outcome {
        block_on(async {
            let addr = resolve(node, self.limit()).await?;
            self.ask_within(self.limit(), &[addr.to_string()], wait, |dht| ask(dht, addr)).await
        })
    }

    fn limit(&self) -> Duration {
        self.timeout.map_or(TIMEOUT, Duration::from_secs)
    }

    async fn ask_within<F: Future<Output = Outcome>>(
        &self,
        limit: Duration,
        hosts: &[String],
        wait: Wait,
        ask: impl FnOnce(Dht) -> F,
    ) -> Outcome {
        let dht = self.spawn(hosts).await?;
        let answer = async {
            if wait == Wait::UntilReady {
                dht.ready().await.map_err(|closed| failed(closed.into()))?;
            }
            ask(dht.clone()).await
        };
        let outcome = match timeout(limit, answer).await {
            Ok(outcome) => outcome,
            Err(_) => Err(timed_out(&dht, limit).await),
        };
        dht.shutdown().await;
        outcome
    }

    async fn spawn(&self, hosts: &[String]) -> Result<Dht, Failure> {
        // Nobody is to remember a node that is gone in a moment (BEP 43).
        let config = NodeConfig::default().mode(NodeMode::Client);
        let builder = self.listen.into_iter().fold(Dht::builder().config(config), DhtBuilder::listen);
        let builder = hosts.iter().fold(builder, DhtBuilder::bootstrap);
        builder.spawn().await.map_err(|error| match error {
            SpawnError::Bind { .. } => Failure::new(Exit::CannotBind, error),
            error => Failure::new(Exit::Failed, error),
        })
    }
}

/// What is waited for before the question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// An answer of someone, who is asked until it comes.
    UntilReady,
    No,
}

async fn resolve(node: &PeerAddr, limit: Duration) -> Result<SocketAddr, Failure> {
    let failure = |why: &dyn fmt::Display| Failure::new(Exit::Failed, format!("cannot ask {node}: {why}"));
    let (host, port) = match node {
        PeerAddr::Socket(addr) => return Ok(*addr),
        PeerAddr::Name { host, port } => (host.as_str(), *port),
    };
    let found = timeout(limit, tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| Failure::new(Exit::TimedOut, format!("the name {host} was not found in time")))?;
    let addrs: Vec<SocketAddr> = found.map_err(|error| failure(&error))?.collect();
    let first = addrs.iter().find(|addr| addr.is_ipv4()).or(addrs.first());
    first.copied().ok_or_else(|| failure(&"it has no address"))
}

/// Says what is known about why nothing came.
async fn timed_out(dht: &Dht, limit: Duration) -> Failure {
    let readiness = dht.readiness().await.map(|readiness| readiness.to_string()).unwrap_or_default();
    let hosts = dht.bootstrap_hosts().await.unwrap_or_default();
    let offline = if is_unresolved(&hosts) { "; this machine seems to be offline" } else { "" };
    let faults = hosts.iter().filter(|host| host.state != BootstrapState::Answered);
    let faults: String = faults.map(|host| format!("; {}: {}", host.name, host.state)).collect();
    Failure::new(Exit::TimedOut, format!("no answer after {} s: {readiness}{faults}{offline}", limit.as_secs()))
}

/// Why a question has no answer.
pub(super) fn failed(error: OperationError) -> Failure {
    match error {
        // What was to be put is wrong, whoever is asked.
        OperationError::Refused(RequestError::Item(error)) => usage(error),
        error => Failure::new(Exit::Failed, error),
    }
}

/// What the user gave cannot be used.
pub(super) fn usage(why: impl fmt::Display) -> Failure {
    Failure::new(Exit::Usage, why)
}
