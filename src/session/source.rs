use crate::model::{InfoHash, Magnet, Metainfo};

/// What a torrent is known by when it is added.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TorrentSource {
    /// A magnet link (BEP 9), or a bare info hash: the metadata come from peers.
    Magnet(Box<Magnet>),
    /// The content of a `.torrent` file (BEP 3).
    Metainfo(Box<Metainfo>),
}

impl TorrentSource {
    /// The info hash of the torrent.
    pub fn info_hash(&self) -> InfoHash {
        match self {
            Self::Magnet(magnet) => magnet.info_hash,
            Self::Metainfo(metainfo) => metainfo.info.hash(),
        }
    }
}

impl From<Magnet> for TorrentSource {
    fn from(magnet: Magnet) -> Self {
        Self::Magnet(Box::new(magnet))
    }
}

impl From<InfoHash> for TorrentSource {
    fn from(info_hash: InfoHash) -> Self {
        Magnet::new(info_hash).into()
    }
}

impl From<Metainfo> for TorrentSource {
    fn from(metainfo: Metainfo) -> Self {
        Self::Metainfo(Box::new(metainfo))
    }
}
