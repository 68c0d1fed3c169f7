//! Compact forms of peers and nodes (BEP 5, BEP 32): 6 or 18 bytes of address, behind 20 bytes of id for a node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::NodeId;

/// The longest compact peer, an IPv6 one, in bytes.
const PEER_LEN_MAX: usize = 18;
const ID_LEN: usize = 20;

/// The two networks that never mix (BEP 32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(addr: SocketAddr) -> Self {
        if addr.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// Length of a compact peer in bytes.
    pub const fn peer_len(self) -> usize {
        match self {
            Family::V4 => 6,
            Family::V6 => 18,
        }
    }

    /// Length of a compact node in bytes.
    pub const fn node_len(self) -> usize {
        ID_LEN + self.peer_len()
    }
}

/// A DHT node as others name it: its id and where it is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Contact {
    /// The node's id.
    pub id: NodeId,
    /// Its UDP address.
    pub addr: SocketAddr,
}

/// Reads a compact peer of 6 or 18 bytes; any other length is none.
pub fn parse_peer(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip = match ip.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// A compact peer, held in place.
#[derive(Debug, Clone, Copy)]
pub struct CompactPeer {
    bytes: [u8; PEER_LEN_MAX],
    len: usize,
}

impl CompactPeer {
    /// The compact form of an address.
    pub fn new(addr: SocketAddr) -> Self {
        let mut bytes = [0; PEER_LEN_MAX];
        let len = Family::of(addr).peer_len();
        match addr.ip() {
            IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes[..16].copy_from_slice(&ip.octets()),
        }
        bytes[len - 2..len].copy_from_slice(&addr.port().to_be_bytes());
        Self { bytes, len }
    }

    /// Its 6 or 18 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Appends the compact form of a node.
pub fn push_node(out: &mut Vec<u8>, contact: &Contact) {
    out.extend_from_slice(contact.id.as_bytes());
    out.extend_from_slice(CompactPeer::new(contact.addr).as_bytes());
}

/// Reads concatenated compact nodes of one family. A trailing partial one is left out (real nodes send such).
pub fn parse_nodes(bytes: &[u8], family: Family) -> impl Iterator<Item = Contact> + '_ {
    bytes.chunks_exact(family.node_len()).filter_map(|node| {
        let (id, addr) = node.split_at(ID_LEN);
        Some(Contact { id: NodeId::from_slice(id)?, addr: parse_peer(addr)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_have_six_or_eighteen_bytes_and_a_big_endian_port() {
        let v4: SocketAddr = "127.0.0.1:6881".parse().unwrap();
        assert_eq!(CompactPeer::new(v4).as_bytes(), [127, 0, 0, 1, 0x1a, 0xe1]);
        let v6: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
        assert_eq!(CompactPeer::new(v6).as_bytes().len(), 18);
        for addr in [v4, v6] {
            assert_eq!(parse_peer(CompactPeer::new(addr).as_bytes()), Some(addr));
        }
        for len in (0..30).filter(|len| ![6, 18].contains(len)) {
            assert_eq!(parse_peer(&vec![1; len]), None, "{len} bytes");
        }
    }

    #[test]
    fn a_trailing_partial_node_is_left_out() {
        for (family, addr) in [(Family::V4, "1.2.3.4:5"), (Family::V6, "[2001:db8::7]:8")] {
            let contact = Contact { id: NodeId::new([7; 20]), addr: addr.parse().unwrap() };
            let mut bytes = Vec::new();
            push_node(&mut bytes, &contact);
            push_node(&mut bytes, &contact);
            assert_eq!(bytes.len(), 2 * family.node_len());
            assert_eq!(parse_nodes(&bytes, family).collect::<Vec<_>>(), [contact, contact]);
            bytes.pop();
            assert_eq!(parse_nodes(&bytes, family).collect::<Vec<_>>(), [contact]);
        }
    }
}
