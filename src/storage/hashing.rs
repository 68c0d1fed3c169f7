use std::ops::Range;

use bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::model::BLOCK_LEN;

/// The hash of a piece while its blocks arrive. In order they are hashed as they come; a block that comes too early is
/// only noted, and read back once the blocks before it are there. When bytes that are hashed already are written again,
/// everything is read back: the hash is that of what stands on the disk, whatever came twice.
#[derive(Debug)]
pub(super) struct Hashing {
    sha: Sha1,
    piece_len: u32,
    /// Bytes hashed so far.
    hashed: u32,
    /// Blocks beyond that which are written.
    early: Vec<bool>,
}

impl Hashing {
    pub(super) fn new(piece_len: u32) -> Self {
        Self { sha: Sha1::new(), piece_len, hashed: 0, early: Vec::new() }
    }

    /// Consecutive blocks from offset `begin` were written.
    pub(super) fn add(&mut self, begin: u32, blocks: &[Bytes]) {
        let mut at = begin;
        for block in blocks {
            if at < self.hashed {
                self.begin_again();
            }
            if at == self.hashed {
                self.add_read_back(block);
            } else {
                self.note_early((at / BLOCK_LEN) as usize);
            }
            at += block.len() as u32;
        }
    }

    /// What was hashed is on the disk only, from now on.
    fn begin_again(&mut self) {
        for index in 0..self.hashed.div_ceil(BLOCK_LEN) as usize {
            self.note_early(index);
        }
        self.sha = Sha1::new();
        self.hashed = 0;
    }

    fn note_early(&mut self, index: usize) {
        if self.early.len() <= index {
            self.early.resize(index + 1, false);
        }
        self.early[index] = true;
    }

    /// The bytes that follow what is hashed, as far as they are on the disk only.
    pub(super) fn readable_gap(&self) -> Option<Range<u32>> {
        let first = self.hashed.div_ceil(BLOCK_LEN) as usize;
        let count = self.early.iter().skip(first).take_while(|early| **early).count();
        let end = ((first + count) as u32).saturating_mul(BLOCK_LEN).min(self.piece_len);
        (count > 0).then_some(self.hashed..end)
    }

    /// The bytes that follow what is hashed.
    pub(super) fn add_read_back(&mut self, data: &[u8]) {
        self.sha.update(data);
        self.hashed += data.len() as u32;
    }

    /// The hash, when every byte is hashed.
    pub(super) fn finish(self) -> Result<[u8; 20], Box<Self>> {
        if self.hashed < self.piece_len { Err(Box::new(self)) } else { Ok(self.sha.finalize().into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE_LEN: u32 = 3 * BLOCK_LEN + 100;

    #[test]
    fn any_order_of_blocks_gives_the_hash_of_the_piece() {
        let piece: Vec<u8> = (0..PIECE_LEN).map(|at| (at % 253) as u8).collect();
        let right: [u8; 20] = Sha1::digest(&piece).into();
        let block = |index: u32| {
            let start = (index * BLOCK_LEN) as usize;
            Bytes::copy_from_slice(&piece[start..piece.len().min(start + BLOCK_LEN as usize)])
        };
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]] {
            let mut hashing = Hashing::new(PIECE_LEN);
            for index in order {
                hashing.add(index * BLOCK_LEN, &[block(index)]);
                while let Some(gap) = hashing.readable_gap() {
                    hashing.add_read_back(&piece[gap.start as usize..gap.end as usize]);
                }
            }
            assert_eq!(hashing.finish().ok(), Some(right), "{order:?}");
        }
    }

    #[test]
    fn a_block_that_is_written_twice_counts_as_it_stands_on_the_disk() {
        let mut disk = vec![0; PIECE_LEN as usize];
        let mut hashing = Hashing::new(PIECE_LEN);
        for (index, fill) in [(0, 1), (1, 2), (3, 3), (0, 9), (2, 4), (0, 5)] {
            let start = index as usize * BLOCK_LEN as usize;
            let end = disk.len().min(start + BLOCK_LEN as usize);
            disk[start..end].fill(fill);
            hashing.add(index * BLOCK_LEN, &[Bytes::copy_from_slice(&disk[start..end])]);
            while let Some(gap) = hashing.readable_gap() {
                hashing.add_read_back(&disk[gap.start as usize..gap.end as usize]);
            }
        }
        assert_eq!(hashing.finish().ok(), Some(Sha1::digest(&disk).into()));
    }

    #[test]
    fn a_missing_block_leaves_it_unfinished() {
        let mut hashing = Hashing::new(PIECE_LEN);
        hashing.add(BLOCK_LEN, &[Bytes::from(vec![0; BLOCK_LEN as usize])]);
        assert!(hashing.readable_gap().is_none() && hashing.finish().is_err());
    }
}
