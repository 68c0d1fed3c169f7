//! What is kept between sessions: the contacts, a socket each, and the newest sequence numbers of followed items.

use std::net::SocketAddr;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Contact, Family, Node, NodeId, Target};

/// The first bytes of a snapshot; a byte for the version of the format follows.
const MAGIC: [u8; 7] = *b"magnesD";
/// The version that is written. Version 1 has no `seen`, and is read.
const VERSION: u8 = 2;
/// The largest snapshot that is read, in bytes.
const LEN_MAX: usize = 1024 * 1024;
/// Contacts of one socket that are kept.
const CONTACTS_MAX: usize = 400;

/// Why bytes are not a snapshot of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Larger than any snapshot.
    #[error("{0} bytes are more than a saved table has")]
    TooLong(usize),
    /// Not a snapshot of this version.
    #[error("not a saved table of this version")]
    Foreign,
    /// The checksum does not fit.
    #[error("the saved table is damaged")]
    Damaged,
}

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    faces: Vec<SavedFace>,
    /// Targets and sequence numbers of items that are or were followed, longest ago first.
    seen: Vec<([u8; 20], i64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedV1 {
    faces: Vec<SavedFace>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedFace {
    is_v6: bool,
    contacts: Vec<([u8; 20], SocketAddr)>,
}

impl Node {
    /// The contacts of every table and the newest sequence numbers of the items that are followed, to be given to
    /// [`Node::restore`] in another session.
    pub fn snapshot(&self) -> Vec<u8> {
        let faces = self.snapshot_contacts().map(|(family, contacts)| SavedFace {
            is_v6: family == Family::V6,
            contacts: contacts.take(CONTACTS_MAX).map(|contact| (*contact.id.as_bytes(), contact.addr)).collect(),
        });
        let seen = self.seen_sequences().into_iter().map(|(target, seq)| (*target.as_bytes(), seq));
        let saved = Saved { faces: faces.collect(), seen: seen.collect() };
        let body = bincode::serde::encode_to_vec(&saved, bincode::config::standard()).unwrap_or_default();
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Takes up the contacts of an earlier session, each for the sockets of its family. They are asked before they are
    /// believed.
    ///
    /// # Errors
    /// When the bytes are not what [`Node::snapshot`] gave; nothing is taken up then.
    pub fn restore(&mut self, now: Instant, bytes: &[u8]) -> Result<(), SnapshotError> {
        let saved = decode(bytes)?;
        for (socket, family) in self.socket_families() {
            let of_family = saved.faces.iter().filter(|face| face.is_v6 == (family == Family::V6));
            let contacts = of_family.flat_map(|face| &face.contacts);
            let contacts = contacts.map(|(id, addr)| Contact { id: NodeId::new(*id), addr: *addr });
            self.restore_contacts(now, socket, contacts);
        }
        self.restore_seen(saved.seen.iter().map(|(target, seq)| (Target::new(*target), *seq)));
        Ok(())
    }
}

fn decode(bytes: &[u8]) -> Result<Saved, SnapshotError> {
    if bytes.len() > LEN_MAX {
        return Err(SnapshotError::TooLong(bytes.len()));
    }
    let (magic, rest) = bytes.split_first_chunk::<7>().ok_or(SnapshotError::Foreign)?;
    let (version, rest) = rest.split_first().ok_or(SnapshotError::Foreign)?;
    let (checksum, body) = rest.split_first_chunk::<4>().ok_or(SnapshotError::Foreign)?;
    if *magic != MAGIC {
        return Err(SnapshotError::Foreign);
    }
    if u32::from_le_bytes(*checksum) != crc32c::crc32c(body) {
        return Err(SnapshotError::Damaged);
    }
    match version {
        1 => decode_body(body).map(|SavedV1 { faces }| Saved { faces, seen: Vec::new() }),
        &VERSION => decode_body(body),
        _ => Err(SnapshotError::Foreign),
    }
}

fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, SnapshotError> {
    let config = bincode::config::standard().with_limit::<LEN_MAX>();
    let (saved, len) = bincode::serde::decode_from_slice(body, config).map_err(|_| SnapshotError::Damaged)?;
    if len == body.len() { Ok(saved) } else { Err(SnapshotError::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeConfig;

    /// What a session with version 1 of the format left: one IPv4 socket with one contact.
    fn version_1() -> Vec<u8> {
        let contact = ([7; 20], SocketAddr::from(([10, 0, 0, 7], 6881)));
        let saved = SavedV1 { faces: vec![SavedFace { is_v6: false, contacts: vec![contact] }] };
        let body = bincode::serde::encode_to_vec(&saved, bincode::config::standard()).unwrap();
        [&b"magnesD\x01"[..], &crc32c::crc32c(&body).to_le_bytes(), &body].concat()
    }

    #[test]
    fn the_first_version_of_the_format_is_read() {
        let saved = decode(&version_1()).unwrap();
        assert_eq!((saved.faces[0].contacts.len(), saved.seen.len()), (1, 0));
        let mut other = version_1();
        other[7] = 3;
        assert!(matches!(decode(&other), Err(SnapshotError::Foreign)));
    }

    #[test]
    fn sequence_numbers_of_followed_items_are_kept() {
        let now = Instant::now();
        let mut node = Node::new(NodeConfig::default(), [1; 32], now);
        let seen = [(Target::new([2; 20]), 7), (Target::new([1; 20]), i64::MAX)];
        node.restore_seen(seen.into_iter());
        let mut other = Node::new(NodeConfig::default(), [2; 32], now);
        other.restore(now, &node.snapshot()).unwrap();
        assert_eq!(other.seen_sequences(), seen);
    }
}
