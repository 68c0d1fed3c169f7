use std::net::SocketAddr;

use super::peer::{Peer, PeerPieces};
use crate::model::printable;

/// What is known of a connected peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PeerStatus {
    /// Its address.
    pub addr: SocketAddr,
    /// Whether we dialled it.
    pub outgoing: bool,
    /// Its client and version, as it names itself or as its peer id tells, with escapes in place of what would steer a
    /// terminal. It is not to be trusted.
    pub client: Option<String>,
    /// Whether we choke it: it gets nothing.
    pub we_choke: bool,
    /// Whether we want something that it has.
    pub we_interested: bool,
    /// Whether it chokes us.
    pub they_choke: bool,
    /// Whether it wants something that we have.
    pub they_interested: bool,
    /// Payload received from it, in bytes per second.
    pub down_bps: u64,
    /// Payload sent to it, in bytes per second.
    pub up_bps: u64,
    /// Payload received over this connection, in bytes.
    pub downloaded: u64,
    /// Payload sent over this connection, in bytes.
    pub uploaded: u64,
    /// Pieces that it has; `None` before the metadata are known.
    pub pieces: Option<u32>,
    /// Whether it has every piece.
    pub is_seed: bool,
}

impl Peer {
    /// `None` until both handshakes are done.
    pub(super) fn status(&self, piece_count: Option<u32>) -> Option<PeerStatus> {
        let hello = self.hello.as_ref()?;
        let client = self.client.clone().or_else(|| hello.peer_id.client());
        Some(PeerStatus {
            addr: self.addr,
            outgoing: self.outgoing,
            client: client.map(|client| printable(&client).into_owned()),
            we_choke: self.we_choke,
            we_interested: self.we_interested,
            they_choke: self.they_choke,
            they_interested: self.they_interested,
            down_bps: self.down.shown_bps(),
            up_bps: self.up.shown_bps(),
            downloaded: self.down.total(),
            uploaded: self.up.total(),
            pieces: match &self.pieces {
                PeerPieces::Early(_) => None,
                PeerPieces::All => piece_count,
                PeerPieces::Some(field) => Some(field.count()),
            },
            is_seed: self.is_seed(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::model::{Bitfield, PeerId, PieceIndex};
    use crate::wire::{Features, PeerHello};

    #[test]
    fn a_peer_shows_what_it_is_and_nothing_that_steers_a_terminal() {
        let start = Instant::now();
        let mut peer = Peer::new(start, "9.9.9.9:5".parse().unwrap(), true, 0);
        assert_eq!(peer.status(Some(9)), None, "it has not said hello");
        peer.hello = Some(PeerHello { peer_id: PeerId::new(*b"-TR4060-abcdefghijkl"), features: Features::ALL });
        let told = peer.status(None).unwrap();
        assert_eq!((told.client.as_deref(), told.pieces, told.is_seed), (Some("Transmission 4.0.6"), None, false));
        peer.client = Some("x\x1b[2J\u{202e}y".into());
        let mut field = Bitfield::empty(9);
        field.insert(PieceIndex::new(3));
        (peer.pieces, peer.they_choke, peer.we_interested) = (PeerPieces::Some(field), false, true);
        peer.down.add(start + Duration::from_secs(1), 5_000);
        let told = peer.status(Some(9)).unwrap();
        assert_eq!(told.client.as_deref(), Some("x\\u{1b}[2J\\u{202e}y"));
        assert_eq!((told.pieces, told.downloaded, told.down_bps, told.uploaded), (Some(1), 5_000, 5_000, 0));
        assert!(told.outgoing && told.we_choke && !told.they_choke && told.we_interested && !told.they_interested);
        peer.pieces = PeerPieces::All;
        let told = peer.status(Some(9)).unwrap();
        assert_eq!((told.pieces, told.is_seed), (Some(9), true));
    }
}
