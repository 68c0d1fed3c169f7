use std::sync::Arc;

use crate::disk::StoreId;
use crate::fleet::Grant;
use crate::model::{FileSelection, Info, InfoHash, PeerAddr, PeerId};

/// What a torrent is made with.
#[derive(Debug, Clone)]
pub struct TorrentConfig {
    /// The info hash.
    pub info_hash: InfoHash,
    /// What it is called until the metadata are known.
    pub name: Option<String>,
    /// The metadata, when they are known from the start.
    pub info: Option<Arc<Info>>,
    /// Addresses of peers that the user or the source gives.
    pub peers: Vec<PeerAddr>,
    /// DHT nodes that the source gives (BEP 5, `nodes`).
    pub dht_nodes: Vec<PeerAddr>,
    /// The files to fetch; `None`: what the link asks for, or all.
    pub selection: Option<FileSelection>,
    /// The files that a link asks for (BEP 53): those that the torrent has.
    pub link_selection: Option<FileSelection>,
    /// Our id.
    pub peer_id: PeerId,
    /// Connections at most.
    pub peers_max: usize,
    /// Regular upload slots; one optimistic slot comes on top.
    pub upload_slots: usize,
    /// What it may use at first of what it shares with others, to which it says what it wants. `None`: it shares nothing.
    pub grant: Option<Grant>,
    /// The port that is listened on, TCP and UDP.
    pub listen_port: Option<u16>,
    /// Whether there is a DHT to ask.
    pub has_dht: bool,
    /// Whether what is had is kept between sessions.
    pub is_kept: bool,
    /// Its name among the torrents on the disk threads.
    pub store: StoreId,
    /// Disk threads. Each owns every piece whose number falls to it.
    pub disk_threads: usize,
}

impl TorrentConfig {
    /// A torrent of which nothing but the info hash is known.
    pub fn new(info_hash: InfoHash, peer_id: PeerId) -> Self {
        Self {
            info_hash,
            name: None,
            info: None,
            peers: Vec::new(),
            dht_nodes: Vec::new(),
            selection: None,
            link_selection: None,
            peer_id,
            peers_max: 200,
            upload_slots: 4,
            grant: None,
            listen_port: None,
            has_dht: false,
            is_kept: false,
            store: 0,
            disk_threads: 1,
        }
    }

    /// Whether the torrent is kept out of the DHT (BEP 27).
    pub(super) fn is_private(&self) -> bool {
        self.info.as_ref().is_some_and(|info| info.is_private())
    }
}
