use bytes::Bytes;

use crate::model::{InfoHash, PeerId};
use crate::swarm::limits::Amounts;

/// What a torrent is started with, and its limits.
#[derive(Debug, Clone)]
pub struct SwarmConfig {
    /// The info hash.
    pub info_hash: InfoHash,
    /// Our peer id: a connection to a peer that has it is one to ourselves.
    pub peer_id: PeerId,
    /// The info dictionary, when it is known from the start.
    pub info_raw: Option<Bytes>,
    /// How we name ourselves to peers (BEP 10).
    pub client: &'static str,
    /// The TCP port that we listen on, told to peers (BEP 10).
    pub listen_port: Option<u16>,
    /// The UDP port of our DHT node, told to peers that have one too (BEP 5, PORT). `None`: there is none.
    pub dht_port: Option<u16>,
    /// Connections at most, those being set up included.
    pub peers_max: usize,
    /// Connections that are being set up by us at most: home routers count them.
    pub half_open_max: usize,
    /// Regular upload slots; one optimistic slot comes on top.
    pub upload_slots: usize,
    /// Bytes that may be asked for or wait to be written, over all peers. Bounds the memory of a download.
    pub credit_bytes_max: u64,
    /// Bytes that are read for peers at a time, each read counted as a block at least: no more than 512 reads.
    pub read_bytes_max: u64,
    /// Requests to one peer at most.
    pub request_depth_max: usize,
    /// Requests of one peer that we queue at most, as we tell it (`reqq`, BEP 10); what comes on top is rejected.
    pub request_queue_max: usize,
}

impl SwarmConfig {
    /// The usual limits.
    pub fn new(info_hash: InfoHash, peer_id: PeerId) -> Self {
        Self {
            info_hash,
            peer_id,
            info_raw: None,
            client: concat!("magnes ", env!("CARGO_PKG_VERSION")),
            listen_port: None,
            dht_port: None,
            peers_max: 200,
            half_open_max: 30,
            upload_slots: 4,
            credit_bytes_max: 12 * 1024 * 1024,
            read_bytes_max: 8 * 1024 * 1024,
            request_depth_max: 400,
            request_queue_max: 2000,
        }
    }

    /// The most that the torrent uses, whatever it is granted.
    pub(super) fn limits(&self) -> Amounts {
        Amounts {
            credit_bytes: self.credit_bytes_max,
            read_bytes: self.read_bytes_max,
            dials: self.half_open_max as u64,
            connections: self.peers_max as u64,
            searches: 1,
        }
    }
}
