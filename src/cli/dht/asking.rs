#![allow(clippy::disallowed_methods, reason = "the program starts its runtime and its timer")]

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use magnes_dht::{BootstrapState, Dht, DhtBuilder, NodeConfig, NodeMode, OperationError, SpawnError, StartError};
use serde_json::Value;
use tokio::runtime;
use tokio::time::timeout;

use crate::cli::Outcome;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print;
use crate::cli::report::print_json;

/// When a question is given up that has no other limit.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How answers are printed.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Print one JSON object a line.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// From where a question is asked, and for how long.
#[derive(Debug, Args)]
pub(super) struct SocketArgs {
    /// UDP address to ask from; port 0 picks a free one. Default: any, of IPv4 and of IPv6.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Give up after so many seconds, with exit code 3. Default: 15, and never with --follow.
    #[arg(long, value_name = "SECS")]
    timeout: Option<u64>,
}

/// How a question finds the nodes that can answer it.
#[derive(Debug, Args)]
pub(super) struct AskArgs {
    /// DHT node to begin with, instead of the built-in list. May repeat.
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Vec<String>,
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
        run(self.socket.ask_within(self.socket.limit(), &self.hosts(), Wait::UntilReady, ask))
    }

    /// The same for a question that is asked until the user has enough: without a limit, unless the user gave one.
    pub(super) fn follow<F: Future<Output = Outcome>>(&self, ask: impl FnOnce(Dht) -> F) -> Outcome {
        let limit = self.socket.timeout.map_or(Duration::MAX, Duration::from_secs);
        run(self.socket.ask_within(limit, &self.hosts(), Wait::UntilReady, ask))
    }

    fn hosts(&self) -> Vec<String> {
        if self.bootstrap.is_empty() {
            return magnes::session::BOOTSTRAP.iter().map(ToString::to_string).collect();
        }
        self.bootstrap.clone()
    }
}

impl SocketArgs {
    /// Has `ask` ask one node, and nobody else.
    pub(super) fn ask_node<F: Future<Output = Outcome>>(
        &self,
        node: SocketAddr,
        wait: Wait,
        ask: impl FnOnce(Dht) -> F,
    ) -> Outcome {
        run(self.ask_within(self.limit(), &[node.to_string()], wait, ask))
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
        let config = NodeConfig { mode: NodeMode::Client, ..NodeConfig::default() };
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
    /// An answer of somebody, who is asked until it comes.
    UntilReady,
    No,
}

fn run(ask: impl Future<Output = Outcome>) -> Outcome {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))?;
    runtime.block_on(ask)
}

/// Says what is known about why nothing came.
async fn timed_out(dht: &Dht, limit: Duration) -> Failure {
    let readiness = dht.readiness().await.map(|readiness| readiness.to_string()).unwrap_or_default();
    let hosts = dht.bootstrap_hosts().await.unwrap_or_default();
    let faults = hosts.iter().filter(|host| host.state != BootstrapState::Answered);
    let faults: String = faults.map(|host| format!("; {}: {}", host.name, host.state)).collect();
    Failure::new(Exit::TimedOut, format!("no answer after {} s: {readiness}{faults}", limit.as_secs()))
}

/// Why a question has no answer.
pub(super) fn failed(error: OperationError) -> Failure {
    match error {
        // What was to be put is wrong, whoever is asked.
        OperationError::Refused(StartError::Item(error)) => usage(error),
        error => Failure::new(Exit::Failed, error),
    }
}

/// What the user gave cannot be used.
pub(super) fn usage(why: impl fmt::Display) -> Failure {
    Failure::new(Exit::Usage, why)
}
