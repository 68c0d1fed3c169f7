//! Arguments that several commands share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use magnes::model::{ParsePeerAddrError, PeerAddr};
use magnes::session::{Config, NodeMode};

/// How to listen and to find peers.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// Address to listen on, TCP and UDP with the same port number; port 0 picks a free one. May be repeated. Default:
    /// every address of the machine, on a free port.
    #[arg(long, value_name = "IP:PORT", value_parser = parse_socket)]
    pub(crate) listen: Vec<SocketAddr>,
    /// DHT node to bootstrap from, instead of the built-in list: NAME:PORT, IPv4:PORT or [IPv6]:PORT. May be repeated.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) bootstrap: Vec<PeerAddr>,
    /// Peer to connect to at once, in addition to those found: NAME:PORT, IPv4:PORT or [IPv6]:PORT. May be repeated.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) peer: Vec<PeerAddr>,
    /// Do not use the DHT: only --peer, peers named in the magnet link, and incoming peers.
    #[arg(long)]
    pub(crate) no_dht: bool,
    /// Whether to answer the queries of other DHT nodes.
    #[arg(long, value_name = "MODE", value_enum, default_value_t, conflicts_with = "no_dht")]
    pub(crate) dht_mode: DhtMode,
    /// Folder for resume files and the DHT's routing table. Several downloads may share it. Default:
    /// $XDG_STATE_HOME/magnes or ~/.local/state/magnes.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Whether others' queries are answered (BEP 43).
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum DhtMode {
    /// Once a query from outside shows that this machine is reachable; always on local networks.
    #[default]
    Adaptive,
    /// Always: for a machine that is reachable from outside.
    Server,
    /// Never, and say so to other nodes.
    Client,
}

impl From<DhtMode> for NodeMode {
    fn from(mode: DhtMode) -> Self {
        match mode {
            DhtMode::Adaptive => Self::Adaptive,
            DhtMode::Server => Self::Server,
            DhtMode::Client => Self::Client,
        }
    }
}

impl NetworkArgs {
    /// The session's configuration.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default().dht_mode(self.dht_mode.into());
        config.listen.clone_from(&self.listen);
        config.dht = !self.no_dht;
        config.bootstrap = (!self.bootstrap.is_empty()).then(|| host_names(&self.bootstrap));
        config.state_dir = state_dir(self.state_dir.as_deref());
        config
    }
}

/// How to tell what happens.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ReportArgs {
    /// Print one JSON object per line on stdout: listening, metadata, progress, piece_failed, complete, error.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but errors.
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

/// Hosts as the DHT takes them.
pub(crate) fn host_names(hosts: &[PeerAddr]) -> Vec<String> {
    hosts.iter().map(ToString::to_string).collect()
}

/// An address of this machine, with the way out when it is none.
pub(crate) fn parse_socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text.parse::<PeerAddr>() {
        Ok(PeerAddr::Name { .. }) => "an address of this machine is needed, not a name".to_owned(),
        Err(error @ (ParsePeerAddrError::Brackets | ParsePeerAddrError::PortMissing)) => error.to_string(),
        _ => "write IP:PORT, such as 0.0.0.0:6881 or [::]:6881".to_owned(),
    })
}

/// The folder of what is kept between runs: what the user named, or else one of the user's. Without either there is none,
/// which is said.
pub(crate) fn state_dir(named: Option<&Path>) -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || from("XDG_STATE_HOME").or_else(|| from("HOME").map(|home| home.join(".local/state")));
    let folder = named.map(PathBuf::from).or_else(|| home().map(|home| home.join("magnes")));
    if folder.is_none() {
        tracing::warn!("HOME is not set: nothing is kept between runs; name a folder with --state-dir");
    }
    folder
}
