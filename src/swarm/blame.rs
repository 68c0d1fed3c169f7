use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::model::PieceIndex;

/// Failed versions of pieces kept at most; beyond that the oldest piece's are given up.
const FAILED_PIECES_MAX: usize = 64;
/// Failed versions of one piece kept at most.
const VERSIONS_MAX: usize = 4;

/// Finds out who sent wrong blocks ("smart ban"): the blocks of a failed piece are compared with those of the version that
/// has the right hash, and whoever sent one that differs lied.
#[derive(Debug, Default)]
pub(super) struct Blame {
    failed: BTreeMap<PieceIndex, Vec<Version>>,
}

#[derive(Debug)]
struct Version {
    senders: Vec<SocketAddr>,
    digests: Box<[u64]>,
}

impl Blame {
    /// A piece failed: `senders` and `digests` have an entry a block. Returns whom that convicts at once: the sender of
    /// the whole piece.
    pub(super) fn handle_failed(
        &mut self,
        piece: PieceIndex,
        senders: Vec<SocketAddr>,
        digests: Option<Box<[u64]>>,
    ) -> Option<SocketAddr> {
        let first = *senders.first()?;
        if senders.iter().all(|sender| *sender == first) {
            return Some(first);
        }
        let digests = digests.filter(|digests| digests.len() == senders.len())?;
        if self.failed.len() >= FAILED_PIECES_MAX && !self.failed.contains_key(&piece) {
            self.failed.pop_first();
        }
        let versions = self.failed.entry(piece).or_default();
        if versions.len() < VERSIONS_MAX {
            versions.push(Version { senders, digests });
        }
        None
    }

    /// A piece that failed before is verified with these blocks. Returns everyone who sent another block.
    pub(super) fn handle_verified(&mut self, piece: PieceIndex, digests: Option<&[u64]>) -> Vec<SocketAddr> {
        let Some(versions) = self.failed.remove(&piece) else { return Vec::new() };
        let Some(right) = digests else { return Vec::new() };
        let mut liars = Vec::new();
        for version in versions {
            let blocks = version.senders.iter().zip(&version.digests).zip(right);
            liars.extend(blocks.filter(|((_, sent), right)| sent != right).map(|((sender, _), _)| *sender));
        }
        liars.sort_unstable();
        liars.dedup();
        liars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: PieceIndex = PieceIndex::new(7);

    fn addr(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    #[test]
    fn the_only_sender_of_a_failed_piece_is_convicted_at_once() {
        let mut blame = Blame::default();
        assert_eq!(blame.handle_failed(PIECE, vec![addr(1); 4], None), Some(addr(1)));
    }

    #[test]
    fn among_several_the_good_version_shows_who_lied() {
        let mut blame = Blame::default();
        let senders = vec![addr(1), addr(2), addr(1), addr(3)];
        assert_eq!(blame.handle_failed(PIECE, senders, Some([10, 66, 12, 13].into())), None);
        assert_eq!(blame.handle_verified(PIECE, Some(&[10, 11, 12, 13])), [addr(2)]);
        assert_eq!(blame.handle_verified(PIECE, Some(&[0, 0, 0, 0])), [], "a version is judged once");
    }

    #[test]
    fn memory_is_bounded() {
        let mut blame = Blame::default();
        for index in 0..1000 {
            let senders = vec![addr(1), addr(2)];
            blame.handle_failed(PieceIndex::new(index), senders, Some([1, 2].into()));
        }
        assert_eq!(blame.failed.len(), FAILED_PIECES_MAX);
    }
}
