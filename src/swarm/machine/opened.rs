//! A swarm that is open, and peers of it, for the tests of the machine's parts.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::{Swarm, SwarmConfig};
use crate::model::{Bitfield, Geometry, InfoHash, PeerId};
use crate::swarm::event::PeerKey;
use crate::wire::{Features, PeerHello};

/// A swarm of so many bytes in pieces of so many, with these pieces.
pub(super) fn opened(now: Instant, total_len: u64, piece_len: u64, have: Bitfield) -> Swarm {
    let config = SwarmConfig {
        info_raw: Some(Bytes::new()),
        ..SwarmConfig::new(InfoHash::new([1; 20]), PeerId::new([255; 20]))
    };
    let mut swarm = Swarm::new(config, [3; 32], now);
    swarm.handle_opened(now, Geometry::new(total_len, piece_len).unwrap(), have, None);
    swarm
}

/// A peer with an id of its own that connects from `addr`; `None` when there is no room.
pub(super) fn connect(swarm: &mut Swarm, now: Instant, addr: SocketAddr, extension: bool) -> Option<PeerKey> {
    let peer = swarm.handle_incoming(now, addr)?;
    let mut peer_id = [4; 20];
    peer_id[..8].copy_from_slice(&peer.get().to_be_bytes());
    let features = Features { fast: true, extension, dht: false };
    swarm.handle_connected(now, peer, PeerHello { peer_id: PeerId::new(peer_id), features });
    Some(peer)
}
