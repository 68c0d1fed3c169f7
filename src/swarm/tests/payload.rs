use bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::model::{Block, Geometry, InfoHash};

/// Length in bytes of the made-up info dictionary: three metadata pieces, the last one short.
const INFO_LEN: usize = 40_000;

/// A torrent's content, and what names it.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    pub(super) geometry: Geometry,
    pub(super) info_raw: Bytes,
    pub(super) info_hash: InfoHash,
    bytes: Bytes,
}

impl Payload {
    /// This many pieces of so many KiB. No two blocks are alike.
    pub(super) fn new(piece_count: u64, piece_kib: u64) -> Self {
        let geometry = Geometry::new(piece_count * piece_kib * 1024, piece_kib * 1024).unwrap();
        let mut bytes = vec![0; geometry.total_len() as usize];
        for (index, block) in bytes.chunks_mut(crate::model::BLOCK_LEN as usize).enumerate() {
            block[..4].copy_from_slice(&(index as u32 + 1).to_be_bytes());
        }
        let info_raw: Bytes = (0..INFO_LEN).map(|at| (at % 251) as u8).collect();
        let info_hash = InfoHash::from_slice(&Sha1::digest(&info_raw)).unwrap();
        Self { geometry, info_raw, info_hash, bytes: bytes.into() }
    }

    /// The right content of a range.
    pub(super) fn read(&self, block: &Block) -> Bytes {
        let start = (self.geometry.piece_offset(block.piece) + u64::from(block.begin)) as usize;
        self.bytes.slice(start..start + block.len as usize)
    }
}
