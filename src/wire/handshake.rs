use crate::model::{InfoHash, PeerId};

use super::PeerFault;

/// Length of the handshake in bytes (BEP 3).
pub const HANDSHAKE_LEN: usize = 68;

/// Length and name of the protocol, by which every connection begins (BEP 3).
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// What one side, or both, can do: the reserved bits of the handshake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// The extension protocol (BEP 10).
    pub extension: bool,
    /// The Fast extension (BEP 6).
    pub fast: bool,
    /// A DHT node (BEP 5).
    pub dht: bool,
}

impl Features {
    /// Everything that a [`Link`](super::Link) speaks.
    pub const ALL: Self = Self { extension: true, fast: true, dht: true };

    /// What both sides can do.
    pub const fn both(self, other: Self) -> Self {
        Self { extension: self.extension && other.extension, fast: self.fast && other.fast, dht: self.dht && other.dht }
    }

    fn to_reserved(self) -> [u8; 8] {
        let last = if self.fast { 0x04 } else { 0 } | if self.dht { 0x01 } else { 0 };
        [0, 0, 0, 0, 0, if self.extension { 0x10 } else { 0 }, 0, last]
    }

    fn from_reserved(reserved: [u8; 8]) -> Self {
        Self { extension: reserved[5] & 0x10 != 0, fast: reserved[7] & 0x04 != 0, dht: reserved[7] & 0x01 != 0 }
    }
}

/// Who the peer says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerHello {
    /// The peer's id; our own when the connection leads back to us.
    pub peer_id: PeerId,
    /// What both sides can do.
    pub features: Features,
}

/// The first 68 bytes of each direction (BEP 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handshake {
    pub(super) features: Features,
    pub(super) info_hash: InfoHash,
    pub(super) peer_id: PeerId,
}

impl Handshake {
    pub(super) fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut out = [0; HANDSHAKE_LEN];
        out[..20].copy_from_slice(PROTOCOL);
        out[20..28].copy_from_slice(&self.features.to_reserved());
        out[28..48].copy_from_slice(self.info_hash.as_bytes());
        out[48..].copy_from_slice(self.peer_id.as_bytes());
        out
    }

    /// Reads the handshake at the start of `bytes`; `None` when it is not all there. Another protocol, such as an
    /// encrypted handshake or HTTP, is refused at its first differing byte.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, PeerFault> {
        let seen = bytes.len().min(PROTOCOL.len());
        if bytes[..seen] != PROTOCOL[..seen] {
            return Err(PeerFault::NotBitTorrent);
        }
        let Some(bytes) = bytes.first_chunk::<HANDSHAKE_LEN>() else { return Ok(None) };
        let (mut reserved, mut info_hash, mut peer_id) = ([0; 8], [0; 20], [0; 20]);
        reserved.copy_from_slice(&bytes[20..28]);
        info_hash.copy_from_slice(&bytes[28..48]);
        peer_id.copy_from_slice(&bytes[48..]);
        Ok(Some(Self {
            features: Features::from_reserved(reserved),
            info_hash: InfoHash::new(info_hash),
            peer_id: PeerId::new(peer_id),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_stand_where_the_network_looks_for_them() {
        let handshake = Handshake {
            features: Features::ALL,
            info_hash: InfoHash::new([1; 20]),
            peer_id: PeerId::new(*b"-MG0100-abcdefghijkl"),
        };
        let bytes = handshake.encode();
        assert_eq!(bytes[20..28], [0, 0, 0, 0, 0, 0x10, 0, 0x05]);
        assert_eq!(Handshake::parse(&bytes), Ok(Some(handshake)));
        assert_eq!(Handshake::parse(&bytes[..67]), Ok(None));
    }

    #[test]
    fn another_protocol_is_refused_at_its_first_byte() {
        assert_eq!(Handshake::parse(b"G"), Err(PeerFault::NotBitTorrent));
        assert_eq!(Handshake::parse(b"\x13BitTorrent protocoX"), Err(PeerFault::NotBitTorrent));
    }
}
