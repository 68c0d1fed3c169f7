use std::collections::BTreeMap;

use sha1::{Digest, Sha1};

/// Lengths of which the hash is kept. A torrent has two, that of its pieces and that of the last one.
const LENS_MAX: usize = 16;

/// The SHA-1 of so many zeros, computed once a length: what a piece has to have that lies in a hole of its files.
#[derive(Debug, Default)]
pub(super) struct ZeroHashes {
    of_len: BTreeMap<u32, [u8; 20]>,
}

impl ZeroHashes {
    pub(super) fn of(&mut self, len: u32) -> [u8; 20] {
        if self.of_len.len() >= LENS_MAX && !self.of_len.contains_key(&len) {
            self.of_len.clear();
        }
        *self.of_len.entry(len).or_insert_with(|| {
            let zeros = [0; 4096];
            let mut sha = Sha1::new();
            let mut left = len as usize;
            while left > 0 {
                let now = left.min(zeros.len());
                sha.update(&zeros[..now]);
                left -= now;
            }
            sha.finalize().into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_zeros() {
        let mut hashes = ZeroHashes::default();
        for len in (0..40).map(|step| step * 1021).chain([0, 1, 4096]) {
            let right: [u8; 20] = Sha1::digest(vec![0; len as usize]).into();
            assert_eq!([hashes.of(len), hashes.of(len)], [right; 2], "{len}");
        }
        assert!(hashes.of_len.len() <= LENS_MAX);
    }
}
