#![allow(clippy::disallowed_methods, reason = "the program starts its runtime and its timer")]
#![allow(clippy::print_stdout, reason = "the answers go to stdout")]

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use magnes_dht::{BootstrapState, Dht, NodeConfig, NodeMode, OperationError, SpawnError, StartError};
use serde_json::Value;
use tokio::runtime;
use tokio::time::timeout;

use crate::cli::Outcome;
use crate::cli::exit::{Exit, Failure};
use crate::cli::report::{print_json, print_line};

/// When a question is given up that has no other limit.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How a question is asked.
#[derive(Debug, Args)]
pub(super) struct AskArgs {
    /// DHT node to begin with, instead of the built-in list. May repeat.
    #[arg(long, value_name = "HOST:PORT", global = true)]
    bootstrap: Vec<String>,
    /// UDP address to ask from; port 0 picks a free one.
    #[arg(long, value_name = "IP:PORT", global = true)]
    listen: Option<SocketAddr>,
    /// Give up after so many seconds, with exit code 3. Default: 15, and never with --follow.
    #[arg(long, value_name = "SECS", global = true)]
    timeout: Option<u64>,
    /// Print one JSON object a line.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl AskArgs {
    /// Starts a node, waits until it knows others, has `ask` ask them, and ends the node. `only` is the one node that is
    /// begun with where the question is for it alone.
    pub(super) fn ask<F: Future<Output = Outcome>>(
        &self,
        only: Option<SocketAddr>,
        ask: impl FnOnce(Dht) -> F,
    ) -> Outcome {
        run(self.ask_within(self.limit(), only, Wait::UntilReady, ask))
    }

    /// The same without waiting: for a question to one node that answers whatever it thinks of ours.
    pub(super) fn ask_node<F: Future<Output = Outcome>>(
        &self,
        node: SocketAddr,
        ask: impl FnOnce(Dht) -> F,
    ) -> Outcome {
        run(self.ask_within(self.limit(), Some(node), Wait::No, ask))
    }

    /// The same for a question that is asked until the user has enough: without a limit, unless the user gave one.
    pub(super) fn follow<F: Future<Output = Outcome>>(&self, ask: impl FnOnce(Dht) -> F) -> Outcome {
        let limit = self.timeout.map_or(Duration::MAX, Duration::from_secs);
        run(self.ask_within(limit, None, Wait::UntilReady, ask))
    }

    fn limit(&self) -> Duration {
        self.timeout.map_or(TIMEOUT, Duration::from_secs)
    }

    async fn ask_within<F: Future<Output = Outcome>>(
        &self,
        limit: Duration,
        only: Option<SocketAddr>,
        wait: Wait,
        ask: impl FnOnce(Dht) -> F,
    ) -> Outcome {
        let dht = self.spawn(only).await?;
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

    async fn spawn(&self, only: Option<SocketAddr>) -> Result<Dht, Failure> {
        let any = match only {
            Some(SocketAddr::V6(_)) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            _ => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        };
        let listen = self.listen.unwrap_or(any);
        // Nobody is to remember a node that is gone in a moment (BEP 43).
        let config = NodeConfig { mode: NodeMode::Client, ..NodeConfig::default() };
        let mut builder = Dht::builder().listen(listen).config(config);
        if let Some(addr) = only {
            // Begun with only so that its kind of address is admitted.
            builder = builder.bootstrap(addr);
        } else if self.bootstrap.is_empty() {
            builder = magnes::session::BOOTSTRAP.iter().fold(builder, |builder, host| builder.bootstrap(host));
        }
        builder = self.bootstrap.iter().fold(builder, |builder, host| builder.bootstrap(host));
        builder.spawn().await.map_err(|error| match error {
            SpawnError::Bind { .. } => Failure::new(Exit::CannotBind, error),
            error => Failure::new(Exit::Failed, error),
        })
    }

    /// Tells an answer: fields of a JSON object, or a line for people.
    pub(super) fn tell(&self, event: &str, fields: Value, text: impl FnOnce() -> String) {
        if self.json {
            print_json(event, fields);
        } else {
            print_line(&text());
        }
    }
}

/// What is waited for before the question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
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
