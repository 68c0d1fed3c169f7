use std::sync::Arc;

use bytes::Bytes;
use magnes::model::{BLOCK_LEN, Block, Geometry, Info, InfoHash, PieceIndex};
use magnes_bencode::Writer;
use sha1::{Digest, Sha1};

/// Length in bytes that the info dictionary has at least: three metadata pieces, the last one short.
const INFO_LEN_MIN: usize = 40_000;

/// A torrent of one file, with its content.
#[derive(Debug, Clone)]
pub struct Payload {
    info: Arc<Info>,
    bytes: Bytes,
}

impl Payload {
    /// This many pieces of so many KiB. No two blocks are alike.
    ///
    /// # Panics
    /// When there are no such torrents.
    pub fn new(piece_count: usize, piece_kib: usize) -> Self {
        let piece_len = piece_kib * 1024;
        let mut bytes = vec![0; piece_count * piece_len];
        for (index, block) in (1u32..).zip(bytes.chunks_mut(BLOCK_LEN as usize)) {
            block[..4].copy_from_slice(&index.to_be_bytes());
        }
        let hashes: Vec<u8> = bytes.chunks(piece_len).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
        let mut raw = Vec::new();
        Writer::new(&mut raw).dict(|info| {
            info.key(b"length").int(bytes.len() as i64);
            info.key(b"name").bytes(b"payload");
            info.key(b"piece length").int(piece_len as i64);
            info.key(b"pieces").bytes(&hashes);
            // Nobody knows this key: it makes the metadata long enough to come from several peers.
            info.key(b"x-length").bytes(&vec![b'x'; INFO_LEN_MIN.saturating_sub(hashes.len())]);
        });
        let info = Info::parse(raw.into()).expect("a torrent of one file");
        Self { info: Arc::new(info), bytes: bytes.into() }
    }

    /// What the torrent's metadata say.
    pub fn info(&self) -> &Arc<Info> {
        &self.info
    }

    /// What names it.
    pub fn info_hash(&self) -> InfoHash {
        self.info.hash()
    }

    /// Its pieces and blocks.
    pub fn geometry(&self) -> &Geometry {
        self.info.geometry()
    }

    /// The whole content.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The right content of a piece.
    pub fn piece(&self, piece: PieceIndex) -> Bytes {
        self.read(&Block { piece, begin: 0, len: self.geometry().piece_len(piece) })
    }

    /// The right content of a range.
    pub fn read(&self, block: &Block) -> Bytes {
        let start = (self.geometry().piece_offset(block.piece) + u64::from(block.begin)) as usize;
        self.bytes.slice(start..start + block.len as usize)
    }
}
