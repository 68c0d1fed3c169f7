//! What is kept between sessions: the own ids and the contacts, a socket each.

use std::net::SocketAddr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::{Contact, Family, Node, NodeId};

/// The first bytes of a snapshot; the last is the version of the format.
const MAGIC: [u8; 8] = *b"magnesD\x01";
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
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedFace {
    is_v6: bool,
    contacts: Vec<([u8; 20], SocketAddr)>,
}

impl Node {
    /// The contacts of every table, to be given to [`Node::restore`] in another session.
    pub fn snapshot(&self) -> Vec<u8> {
        let faces = self.snapshot_contacts().map(|(family, contacts)| SavedFace {
            is_v6: family == Family::V6,
            contacts: contacts.take(CONTACTS_MAX).map(|contact| (*contact.id.as_bytes(), contact.addr)).collect(),
        });
        let saved = Saved { faces: faces.collect() };
        let body = bincode::serde::encode_to_vec(&saved, bincode::config::standard()).unwrap_or_default();
        let mut bytes = MAGIC.to_vec();
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
        Ok(())
    }
}

fn decode(bytes: &[u8]) -> Result<Saved, SnapshotError> {
    if bytes.len() > LEN_MAX {
        return Err(SnapshotError::TooLong(bytes.len()));
    }
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(SnapshotError::Foreign)?;
    let (checksum, body) = rest.split_first_chunk::<4>().ok_or(SnapshotError::Foreign)?;
    if *magic != MAGIC {
        return Err(SnapshotError::Foreign);
    }
    if u32::from_le_bytes(*checksum) != crc32c::crc32c(body) {
        return Err(SnapshotError::Damaged);
    }
    let config = bincode::config::standard().with_limit::<LEN_MAX>();
    let (saved, len) = bincode::serde::decode_from_slice(body, config).map_err(|_| SnapshotError::Damaged)?;
    if len == body.len() { Ok(saved) } else { Err(SnapshotError::Damaged) }
}
