use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::payload::Payload;
use crate::disk::Done;
use crate::model::{Block, PieceIndex};

/// The files of one host: keeps what is written, hashes whole pieces, and reads back only what was verified.
#[derive(Debug)]
pub(super) struct Disk {
    payload: Payload,
    /// Blocks of pieces that are not whole yet.
    written: BTreeMap<PieceIndex, BTreeMap<u32, Bytes>>,
    failed: BTreeSet<PieceIndex>,
}

impl Disk {
    pub(super) fn new(payload: Payload) -> Self {
        Self { payload, written: BTreeMap::new(), failed: BTreeSet::new() }
    }

    /// Writes consecutive blocks; says what the torrent is told of it.
    pub(super) fn write(&mut self, piece: PieceIndex, begin: u32, blocks: Vec<Bytes>) -> Vec<Done> {
        let bytes = blocks.iter().map(|block| block.len() as u32).sum();
        let mut events = vec![Done::Written { piece, bytes }];
        let written = self.written.entry(piece).or_default();
        let mut at = begin;
        for block in blocks {
            let len = block.len() as u32;
            assert!(written.insert(at, block).is_none(), "a block of piece {piece} is written twice");
            at += len;
        }
        let geometry = &self.payload.geometry;
        if written.len() == geometry.block_count(piece) as usize {
            let written = self.written.remove(&piece).unwrap();
            let right = |(begin, data): (&u32, &Bytes)| {
                *data == self.payload.read(&Block { piece, begin: *begin, len: data.len() as u32 })
            };
            let verified = written.iter().all(right);
            if !verified {
                self.failed.insert(piece);
            }
            let digest = |data: &Bytes| data.iter().take(4).fold(0, |digest, byte| digest << 8 | u64::from(*byte));
            let digests = self.failed.contains(&piece).then(|| written.values().map(digest).collect());
            events.push(Done::Hashed { piece, verified, digests });
        }
        events
    }

    /// The content of a range that the torrent says it has.
    pub(super) fn read(&self, run: &Block) -> Bytes {
        self.payload.read(run)
    }
}
