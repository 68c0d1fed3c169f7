use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::resolve::Resolution;
use crate::{Node, Readiness, RouterState};

/// How long a host may take before it is said that nothing comes of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A host that the node was told to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BootstrapHost {
    /// `HOST:PORT`, as it was given.
    pub name: String,
    /// Its addresses, once they are known.
    pub addrs: Vec<SocketAddr>,
    /// How it goes.
    pub state: BootstrapState,
}

/// How it goes with a host that the node was told to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BootstrapState {
    /// Its name is being looked up.
    Resolving,
    /// Its name is not found. It is looked up again, ever less often.
    NotFound {
        /// What the system's resolver says.
        reason: String,
    },
    /// It has only addresses of a family that the node has no socket of.
    OtherFamily,
    /// It was not asked so far: there are other nodes to bootstrap from.
    NotAsked,
    /// It was asked and has not answered so far. It is asked again, ever less often.
    Silent,
    /// It has answered.
    Answered,
}

/// Whether there are hosts, and the name of none is found: so it is on a machine without a network.
pub fn is_unresolved(hosts: &[BootstrapHost]) -> bool {
    let is_lost = |host: &BootstrapHost| matches!(host.state, BootstrapState::NotFound { .. });
    !hosts.is_empty() && hosts.iter().all(is_lost)
}

/// How a node is, for whoever watches it: [`Dht::status`](super::Dht::status).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DhtStatus {
    /// Whether lookups can succeed, and why not.
    pub readiness: Readiness,
    /// Whether the machine seems to have no network: no node answers, and the name of no bootstrap host is found.
    pub is_offline: bool,
    /// Contacts in the tables.
    pub contacts: usize,
}

impl DhtStatus {
    /// Whether lookups can succeed.
    pub fn is_ready(&self) -> bool {
        matches!(self.readiness, Readiness::Ready)
    }
}

impl BootstrapState {
    /// Whether nothing came of the host so far, though it was tried.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::OtherFamily | Self::Silent)
    }
}

impl fmt::Display for BootstrapState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolving => f.write_str("its name is being looked up"),
            Self::NotFound { reason } => write!(f, "its name is not found: {reason}"),
            Self::OtherFamily => f.write_str("it has no address of a family that is listened on"),
            Self::NotAsked => f.write_str("not asked, other nodes are known"),
            Self::Silent => f.write_str("no answer"),
            Self::Answered => f.write_str("it answers"),
        }
    }
}

/// The hosts that the node was told to begin with, and what was said about them.
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: Vec<Host>,
    start: Instant,
}

#[derive(Debug)]
struct Host {
    name: String,
    resolved: Resolved,
    /// Whether it was said that nothing comes of it.
    is_told: bool,
}

#[derive(Debug)]
enum Resolved {
    NotYet,
    Failed(String),
    Found(Vec<SocketAddr>),
}

impl Hosts {
    pub(super) fn new(names: Vec<String>, start: Instant) -> Self {
        let host = |name| Host { name, resolved: Resolved::NotYet, is_told: false };
        Self { hosts: names.into_iter().map(host).collect(), start }
    }

    /// Takes what came of looking up a name. Returns the addresses, those of an earlier time where it failed this time.
    pub(super) fn handle_resolution(&mut self, Resolution { host, result }: Resolution) -> &[SocketAddr] {
        let Some(host) = self.hosts.get_mut(host) else { return &[] };
        match (result, &host.resolved) {
            (Ok(addrs), _) => host.resolved = Resolved::Found(addrs),
            (Err(_), Resolved::Found(_)) => {}
            (Err(error), _) => host.resolved = Resolved::Failed(reason(&error)),
        }
        match &host.resolved {
            Resolved::Found(addrs) => addrs,
            _ => &[],
        }
    }

    /// How the node is.
    pub(super) fn status(&self, node: &Node) -> DhtStatus {
        let readiness = node.readiness();
        let is_lost = |host: &Host| matches!(host.resolved, Resolved::Failed(_));
        let is_offline =
            !matches!(readiness, Readiness::Ready) && !self.hosts.is_empty() && self.hosts.iter().all(is_lost);
        DhtStatus { readiness, is_offline, contacts: node.contacts() }
    }

    /// Whether there is a host of which nothing is known to have come so far.
    pub(super) fn is_waiting(&self, node: &Node) -> bool {
        self.hosts.iter().any(|host| host.is_told || host.state(node).0 != BootstrapState::Answered)
    }

    /// Says of which hosts nothing came for a while, once each, and when one of these answers after all.
    pub(super) fn report(&mut self, now: Instant, node: &Node) {
        for host in &mut self.hosts {
            let (state, since) = host.state(node);
            let waited = now.saturating_duration_since(since.unwrap_or(self.start));
            if state.is_fault() && !host.is_told && waited >= PATIENCE {
                host.is_told = true;
                tracing::warn!("cannot bootstrap from {}: {state}; it is tried on", host.name);
            } else if state == BootstrapState::Answered && host.is_told {
                host.is_told = false;
                tracing::info!("bootstrap host {} answers after all", host.name);
            }
        }
    }

    /// What is known about each.
    pub(super) fn list(&self, node: &Node) -> Vec<BootstrapHost> {
        let list = self.hosts.iter().map(|host| BootstrapHost {
            name: host.name.clone(),
            addrs: match &host.resolved {
                Resolved::Found(addrs) => addrs.clone(),
                _ => Vec::new(),
            },
            state: host.state(node).0,
        });
        list.collect()
    }
}

impl Host {
    /// The best of what its addresses came to, and since when that is so, where that is not the start.
    fn state(&self, node: &Node) -> (BootstrapState, Option<Instant>) {
        let addrs = match &self.resolved {
            Resolved::NotYet => return (BootstrapState::Resolving, None),
            Resolved::Failed(reason) => return (BootstrapState::NotFound { reason: reason.clone() }, None),
            Resolved::Found(addrs) => addrs,
        };
        let mut best = (BootstrapState::OtherFamily, None);
        for addr in addrs {
            best = match (node.router_state(*addr), best) {
                (RouterState::Answered, _) => return (BootstrapState::Answered, None),
                (RouterState::Silent { since }, _) => (BootstrapState::Silent, Some(since)),
                (RouterState::NotAsked, (BootstrapState::OtherFamily, _)) => (BootstrapState::NotAsked, None),
                (_, best) => best,
            };
        }
        best
    }
}

/// The resolver's reason without the preamble that every such error has.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeConfig;

    const HOST: ([u8; 4], u16) = ([127, 0, 0, 1], 6881);

    fn found(addrs: &[SocketAddr]) -> Resolution {
        Resolution { host: 0, result: Ok(addrs.to_vec()) }
    }

    #[test]
    fn every_stage_of_a_host_has_a_name() {
        let now = Instant::now();
        let mut node = Node::new(NodeConfig::default(), [1; 32], now);
        node.add_socket(now, ([127, 0, 0, 1], 7000).into());
        let mut hosts = Hosts::new(vec!["router.example:6881".to_owned()], now);
        let state = |hosts: &Hosts, node: &Node| hosts.list(node)[0].state.clone();
        assert_eq!(state(&hosts, &node), BootstrapState::Resolving);
        assert!(!is_unresolved(&hosts.list(&node)) && !is_unresolved(&[]), "nothing is known of it yet");

        let error = io::Error::other("failed to lookup address information: Name or service not known");
        assert!(hosts.handle_resolution(Resolution { host: 0, result: Err(error) }).is_empty());
        assert_eq!(state(&hosts, &node).to_string(), "its name is not found: Name or service not known");
        assert!(is_unresolved(&hosts.list(&node)));
        hosts.report(now + PATIENCE / 2, &node);
        assert!(!hosts.hosts[0].is_told, "it is given some time");
        hosts.report(now + PATIENCE, &node);
        assert!(hosts.hosts[0].is_told);

        hosts.handle_resolution(found(&["[::1]:6881".parse().unwrap()]));
        assert_eq!(state(&hosts, &node), BootstrapState::OtherFamily);
        assert!(!is_unresolved(&hosts.list(&node)));

        let addrs = hosts.handle_resolution(found(&["[::1]:6881".parse().unwrap(), HOST.into()])).to_vec();
        node.add_bootstrap(now + PATIENCE, &addrs);
        assert_eq!(state(&hosts, &node), BootstrapState::Silent);
        let later = Resolution { host: 0, result: Err(io::Error::other("the resolver is down")) };
        assert_eq!(hosts.handle_resolution(later), addrs, "what was found once is kept");
        assert!(hosts.is_waiting(&node));

        let mut other = Node::new(NodeConfig::default(), [2; 32], now);
        let socket = other.add_socket(now, HOST.into());
        exchange(now, &mut node, &mut other, socket);
        assert_eq!(state(&hosts, &node), BootstrapState::Answered);
        hosts.report(now + PATIENCE, &node);
        assert!(!hosts.is_waiting(&node));
    }

    /// Carries what `node` has to say to `other`, and its answers back.
    fn exchange(now: Instant, node: &mut Node, other: &mut Node, socket: crate::SocketIndex) {
        use crate::Output;
        let mut queries = Vec::new();
        while let Some(output) = node.poll_output() {
            if let Output::Transmit { payload, .. } = output {
                queries.push(payload.to_vec());
            }
        }
        for query in queries {
            other.handle_datagram(now, socket, ([127, 0, 0, 1], 7000).into(), &query);
        }
        let mut answers = Vec::new();
        while let Some(output) = other.poll_output() {
            if let Output::Transmit { payload, .. } = output {
                answers.push(payload.to_vec());
            }
        }
        for answer in answers {
            node.handle_datagram(now, socket, HOST.into(), &answer);
        }
    }
}
