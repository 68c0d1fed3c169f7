//! Arguments that several commands share.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use magnes::session::{Config, NodeMode};

/// How to listen and to find peers.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// Address to listen on, TCP and UDP with the same port number; port 0 picks a free one. May repeat.
    /// Default: every address of the machine, on a free port.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
    /// DHT node to begin with, instead of the built-in list. May repeat.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) bootstrap: Vec<String>,
    /// Peer to dial at once, besides those that are found. May repeat.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) peer: Vec<SocketAddr>,
    /// Do not use the DHT: only --peer, peers that the magnet link names, and peers that connect to us.
    #[arg(long)]
    pub(crate) no_dht: bool,
    /// Whether to answer the queries of other DHT nodes.
    #[arg(long, value_name = "MODE", value_enum, default_value_t, conflicts_with = "no_dht")]
    pub(crate) dht_mode: DhtMode,
    /// Folder of resume files and of the DHT's table. Several downloads may use it at the same time.
    /// Default: $XDG_STATE_HOME/magnes or ~/.local/state/magnes.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Whether others' queries are answered (BEP 43).
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum DhtMode {
    /// As soon as a query of a stranger arrives, which shows that others reach this machine; on local networks always.
    #[default]
    Adaptive,
    /// Always: for a machine that others reach.
    Server,
    /// Never, and other nodes are told so.
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
        Config {
            listen: self.listen.clone(),
            dht: !self.no_dht,
            dht_mode: self.dht_mode.into(),
            bootstrap: (!self.bootstrap.is_empty()).then(|| self.bootstrap.clone()),
            state_dir: self.state_dir.clone().or_else(state_dir_default),
            ..Config::default()
        }
    }
}

/// How to tell what happens.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ReportArgs {
    /// Print one JSON object a line on stdout: listening, metadata, progress, piece_failed, complete, error.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but errors.
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

/// Where state is kept when nothing else is said.
pub(crate) fn state_dir_default() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("XDG_STATE_HOME").or_else(|| from("HOME").map(|home| home.join(".local/state"))).map(|dir| dir.join("magnes"))
}
