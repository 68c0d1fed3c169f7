use std::net::SocketAddr;
use std::path::PathBuf;

use magnes_dht::NodeMode;

use crate::model::{FileSelection, PeerAddr};
use crate::storage::ExistingData;

/// How a session listens, finds peers and uses the machine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Addresses to listen on, TCP and UDP with one port number each. Port 0 picks a free port. Empty: every IPv4
    /// and, where the machine has it, every IPv6 address on a free port.
    pub listen: Vec<SocketAddr>,
    /// Whether the DHT is used (BEP 5). Without it, peers come from the magnet link and from [`AddOptions::peers`].
    pub dht: bool,
    /// Whether the session's DHT node answers queries (BEP 43). The default, [`NodeMode::Adaptive`], does not have others
    /// remember a node that no query reaches.
    pub dht_mode: NodeMode,
    /// `HOST:PORT` of DHT nodes to bootstrap from; these replace the built-in list. `None`: the built-in list.
    pub bootstrap: Option<Vec<String>>,
    /// Folder of the resume files and of the DHT's table. `None`: nothing is kept between sessions.
    pub state_dir: Option<PathBuf>,
    /// Threads that write, read and hash; one at least.
    pub disk_threads: usize,
    /// Connections of one torrent at most; one at least.
    pub peers_max: usize,
    /// Connections of all torrents at most; each has four in any case. No more than the process may have files open for.
    pub connections_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        let disk_threads = std::thread::available_parallelism().map_or(2, |count| count.get().min(8));
        Self {
            listen: Vec::new(),
            dht: true,
            dht_mode: NodeMode::Adaptive,
            bootstrap: None,
            state_dir: None,
            disk_threads,
            peers_max: 200,
            connections_max: 1000,
        }
    }
}

impl Config {
    /// Listens on this address too. See [`Config::listen`](#structfield.listen).
    #[must_use]
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen.push(addr);
        self
    }

    /// Without a DHT.
    #[must_use]
    pub fn without_dht(mut self) -> Self {
        self.dht = false;
        self
    }

    /// Whether the session's DHT node answers queries.
    #[must_use]
    pub fn dht_mode(mut self, mode: NodeMode) -> Self {
        self.dht_mode = mode;
        self
    }

    /// Bootstraps from these hosts (`HOST:PORT`) instead of the built-in list; without any, from none.
    #[must_use]
    pub fn bootstrap(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.bootstrap = Some(hosts.into_iter().map(Into::into).collect());
        self
    }

    /// Keeps resume files and the DHT's table in this folder.
    #[must_use]
    pub fn state_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(folder.into());
        self
    }

    /// Threads that write, read and hash; one at least.
    #[must_use]
    pub fn disk_threads(mut self, count: usize) -> Self {
        self.disk_threads = count;
        self
    }

    /// Connections of one torrent at most; one at least.
    #[must_use]
    pub fn peers_max(mut self, count: usize) -> Self {
        self.peers_max = count;
        self
    }

    /// Connections of all torrents at most, beside four that each torrent has in any case.
    #[must_use]
    pub fn connections_max(mut self, count: usize) -> Self {
        self.connections_max = count;
        self
    }
}

/// How one torrent is added.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AddOptions {
    /// Folder into which the torrent's file or folder goes.
    pub folder: PathBuf,
    /// Peers to dial at once, besides those that the magnet link names. Host names are resolved.
    pub peers: Vec<PeerAddr>,
    /// The only files to fetch; `None`: what the magnet link selects (BEP 53), or all.
    pub files: Option<FileSelection>,
    /// What is known of data that stand in the folder already.
    pub existing: ExistingData,
    /// Whether files that exist already are written over though they share no piece with the torrent, or are longer
    /// than its own. Without this, such files are the user's, and the torrent fails with
    /// [`DiskError::Foreign`](crate::disk::DiskError::Foreign) or `TooLong`.
    pub overwrite: bool,
    /// Whether files get names that work on every system. Otherwise they get those of the torrent, as far as the folder
    /// takes them.
    pub portable_names: bool,
}

impl AddOptions {
    /// Into `folder`, with nothing else known.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            peers: Vec::new(),
            files: None,
            existing: ExistingData::Resume,
            overwrite: false,
            portable_names: false,
        }
    }
    /// Dials this address at once, besides those that the magnet link names.
    #[must_use]
    pub fn peer(mut self, addr: impl Into<PeerAddr>) -> Self {
        self.peers.push(addr.into());
        self
    }

    /// Fetches these files only.
    #[must_use]
    pub fn files(mut self, files: FileSelection) -> Self {
        self.files = Some(files);
        self
    }

    /// What is known of data that stand in the folder already.
    #[must_use]
    pub fn existing(mut self, existing: ExistingData) -> Self {
        self.existing = existing;
        self
    }

    /// Whether files that may be the user's own are written over. See [`AddOptions::overwrite`](#structfield.overwrite).
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Whether files get names that work on every system.
    #[must_use]
    pub fn portable_names(mut self, portable_names: bool) -> Self {
        self.portable_names = portable_names;
        self
    }
}
