use std::net::Ipv4Addr;

use sha1::{Digest, Sha1};

use crate::model::{InfoHash, PieceIndex};

/// How many pieces a peer may ask for while it is choked (BEP 6).
pub const ALLOWED_FAST_COUNT: usize = 10;

/// The pieces that a peer at `ip` may ask for while it is choked, in the order of BEP 6, "Allowed Fast Set Generation".
/// They depend on the /24 of the address, so that many connections from one place gain nothing. Fewer than `count` when
/// the torrent has fewer pieces.
pub fn allowed_fast_set(ip: Ipv4Addr, info_hash: &InfoHash, piece_count: u32, count: usize) -> Vec<PieceIndex> {
    let count = count.min(piece_count as usize);
    let mut set = Vec::with_capacity(count);
    let [a, b, c, _] = ip.octets();
    let mut digest: [u8; 20] =
        Sha1::new().chain_update([a, b, c, 0]).chain_update(info_hash.as_bytes()).finalize().into();
    while set.len() < count {
        for word in digest.as_chunks::<4>().0 {
            let piece = PieceIndex::new(u32::from_be_bytes(*word) % piece_count);
            if set.len() < count && !set.contains(&piece) {
                set.push(piece);
            }
        }
        digest = Sha1::digest(digest).into();
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_of_bep_6() {
        let ip = Ipv4Addr::new(80, 4, 4, 200);
        let hash = InfoHash::new([0xaa; 20]);
        let set: Vec<u32> = allowed_fast_set(ip, &hash, 1313, 9).iter().map(|piece| piece.get()).collect();
        assert_eq!(set, [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
        assert_eq!(allowed_fast_set(ip, &hash, 1313, 7).len(), 7);
    }

    #[test]
    fn small_torrents_have_small_sets() {
        let set = |pieces| allowed_fast_set(Ipv4Addr::LOCALHOST, &InfoHash::new([1; 20]), pieces, ALLOWED_FAST_COUNT);
        assert_eq!((set(0).len(), set(1).len(), set(3).len()), (0, 1, 3));
    }
}
