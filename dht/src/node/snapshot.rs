//! What is kept between sessions: the own id and the contacts, a socket each, and the newest sequence numbers of followed items.

use std::net::SocketAddr;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Contact, Family, Node, NodeId, SocketIndex, Target};

/// The first bytes of a snapshot; a byte for the version of the format follows.
const MAGIC: [u8; 7] = *b"magnesD";
/// The version that is written. Versions 1 and 2, which are read, have no ids, and version 1 has no `seen`.
const VERSION: u8 = 3;
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
    sockets: Vec<SavedSocket>,
    /// Targets and sequence numbers of items that are or were followed, longest ago first.
    seen: Vec<([u8; 20], i64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedSocket {
    local: SocketAddr,
    id: [u8; 20],
    contacts: Vec<([u8; 20], SocketAddr)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedV1 {
    sockets: Vec<SavedFaceV1>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedV2 {
    sockets: Vec<SavedFaceV1>,
    seen: Vec<([u8; 20], i64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedFaceV1 {
    is_v6: bool,
    contacts: Vec<([u8; 20], SocketAddr)>,
}

/// What is taken up of a snapshot of any version.
#[derive(Debug, Default)]
struct Restored {
    ids: Vec<(SocketAddr, NodeId)>,
    contacts: Vec<Contact>,
    seen: Vec<(Target, i64)>,
}

impl Node {
    /// The ids, the contacts of every table and the newest sequence numbers of the items that are followed, to be given
    /// to [`Node::restore`] in another session.
    pub fn snapshot(&self) -> Vec<u8> {
        let sockets =
            self.identities().zip(self.snapshot_contacts()).map(|((_, local, id), (_, contacts))| SavedSocket {
                local,
                id: *id.as_bytes(),
                contacts: contacts.take(CONTACTS_MAX).map(|contact| (*contact.id.as_bytes(), contact.addr)).collect(),
            });
        let seen = self.seen_sequences().into_iter().map(|(target, seq)| (*target.as_bytes(), seq));
        encode(VERSION, &Saved { sockets: sockets.collect(), seen: seen.collect() })
    }

    /// Takes up what an earlier session left. The contacts go to the sockets of their family, and are asked before they
    /// are believed. A socket gets the id back that the socket of the same address had, or else one of the same IP
    /// address: where it was bound to a port that the system picked.
    ///
    /// # Errors
    /// When the bytes are not what [`Node::snapshot`] gave; nothing is taken up then.
    pub fn restore(&mut self, now: Instant, bytes: &[u8]) -> Result<(), SnapshotError> {
        let Restored { mut ids, contacts, seen } = decode(bytes)?;
        let sockets: Vec<(SocketIndex, SocketAddr, NodeId)> = self.identities().collect();
        let mut left = Vec::new();
        for (socket, local, _) in sockets {
            match ids.iter().position(|(addr, _)| *addr == local) {
                Some(found) => self.restore_id(socket, ids.remove(found).1),
                None => left.push((socket, local)),
            }
        }
        for (socket, local) in left {
            if let Some(found) = ids.iter().position(|(addr, _)| addr.ip() == local.ip()) {
                self.restore_id(socket, ids.remove(found).1);
            }
        }
        for (socket, family) in self.socket_families() {
            let of_family = contacts.iter().filter(|contact| Family::of(contact.addr) == family);
            self.restore_contacts(now, socket, of_family.copied());
        }
        self.restore_seen(seen.into_iter());
        Ok(())
    }
}

fn encode(version: u8, saved: &impl Serialize) -> Vec<u8> {
    let body = bincode::serde::encode_to_vec(saved, bincode::config::standard()).unwrap_or_default();
    let mut bytes = MAGIC.to_vec();
    bytes.push(version);
    bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

fn decode(bytes: &[u8]) -> Result<Restored, SnapshotError> {
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
        1 => decode_body(body).map(|SavedV1 { sockets }| restored(Vec::new(), contacts_v1(&sockets), &[])),
        2 => decode_body(body).map(|SavedV2 { sockets, seen }| restored(Vec::new(), contacts_v1(&sockets), &seen)),
        &VERSION => decode_body(body).map(|Saved { sockets, seen }| {
            let ids = sockets.iter().map(|state| (state.local, NodeId::new(state.id))).collect();
            let contacts = sockets.iter().flat_map(|state| &state.contacts).map(contact);
            restored(ids, contacts.collect(), &seen)
        }),
        _ => Err(SnapshotError::Foreign),
    }
}

fn restored(ids: Vec<(SocketAddr, NodeId)>, contacts: Vec<Contact>, seen: &[([u8; 20], i64)]) -> Restored {
    Restored { ids, contacts, seen: seen.iter().map(|(target, seq)| (Target::new(*target), *seq)).collect() }
}

fn contacts_v1(sockets: &[SavedFaceV1]) -> Vec<Contact> {
    sockets.iter().flat_map(|state| &state.contacts).map(contact).collect()
}

fn contact((id, addr): &([u8; 20], SocketAddr)) -> Contact {
    Contact { id: NodeId::new(*id), addr: *addr }
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

    #[test]
    fn the_earlier_versions_of_the_format_are_read() {
        let contact = ([7; 20], SocketAddr::from(([10, 0, 0, 7], 6881)));
        let state = || SavedFaceV1 { is_v6: false, contacts: vec![contact] };
        let first = encode(1, &SavedV1 { sockets: vec![state()] });
        let second = encode(2, &SavedV2 { sockets: vec![state()], seen: vec![([2; 20], 7)] });
        let restored = [decode(&first).unwrap(), decode(&second).unwrap()];
        assert_eq!(
            restored.each_ref().map(|restored| (restored.contacts.len(), restored.seen.len())),
            [(1, 0), (1, 1)]
        );
        let mut other = first.clone();
        other[7] = 9;
        assert!(matches!(decode(&other), Err(SnapshotError::Foreign)));
    }

    #[test]
    fn a_socket_gets_its_id_back_unless_it_does_not_fit_the_address() {
        let now = Instant::now();
        let node = |seed: u8, locals: &[&str]| {
            let mut node = Node::new(NodeConfig::default(), [seed; 32], now);
            for local in locals {
                node.add_socket(now, local.parse().unwrap());
            }
            node
        };
        let locals = ["0.0.0.0:6881", "0.0.0.0:6882", "[2a01::1]:6881", "80.1.2.3:6881"];
        let before = node(1, &locals);
        let mut after = node(2, &locals);
        assert!(before.node_ids().iter().all(|id| !after.node_ids().contains(id)));
        after.restore(now, &before.snapshot()).unwrap();
        assert_eq!(after.node_ids(), before.node_ids());

        let mut moved = node(3, &["0.0.0.0:7000", "80.1.2.4:6881", "0.0.0.0:6881"]);
        let own = moved.node_ids()[1];
        moved.restore(now, &before.snapshot()).unwrap();
        let expected = [before.node_ids()[1], own, before.node_ids()[0]];
        assert_eq!(moved.node_ids(), expected, "another port, another address, the same");
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
