use crate::model::{PeerId, PieceIndex};

/// Rivals that are looked at: more hardly change who comes first, and each costs time with every piece.
pub(super) const RIVALS_MAX: usize = 64;

/// How good our claim to a piece is, against others that lack it too. The least comes first.
///
/// Peers that download the same rare pieces from the same seed would ask it for the same ones: at random they send it
/// several copies' worth of requests before they know of each other's pieces. Each therefore weighs every piece by a
/// number drawn from its peer id and the piece, which all others can work out as well, and prefers the pieces for which
/// its own number is the highest (rendezvous hashing); after those the pieces for which one other number is higher, and
/// so on. Peers that do not play along only meet someone who picks at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    /// How many others have a better claim.
    better: u32,
    /// Who has the best claim begins with its highest numbers; others help out from the lowest, so that they meet last.
    weight: u64,
}

impl Claim {
    /// The claim of `ours` to a piece against those of `rivals`.
    pub(super) fn new(ours: u64, rivals: &[u64], piece: PieceIndex) -> Self {
        let own = number(ours, piece);
        let (mut better, mut highest) = (0, own);
        for rival in rivals.iter().take(RIVALS_MAX) {
            let theirs = number(*rival, piece);
            better += u32::from(theirs > own);
            highest = highest.max(theirs);
        }
        Self { better, weight: if better == 0 { u64::MAX - own } else { highest } }
    }

    /// Whether nobody has a better claim.
    pub(super) fn is_first(&self) -> bool {
        self.better == 0
    }
}

/// What stands for a peer: the random end of its id.
pub(super) fn claimant(peer_id: &PeerId) -> u64 {
    peer_id.as_bytes()[12..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The number that a peer draws for a piece: the finaliser of splitmix64.
fn number(claimant: u64, piece: PieceIndex) -> u64 {
    let mut mixed = claimant ^ u64::from(piece.get()).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The claims of eight peers to a piece.
    fn claims(piece: u32) -> Vec<Claim> {
        let peers: Vec<u64> = (0..8).map(|number| claimant(&PeerId::new([number; 20]))).collect();
        let others = |own: &u64| peers.iter().copied().filter(|other| other != own).collect::<Vec<_>>();
        peers.iter().map(|own| Claim::new(*own, &others(own), PieceIndex::new(piece))).collect()
    }

    #[test]
    fn every_piece_has_one_first_claimant_and_each_about_as_many() {
        let mut first = [0; 8];
        for piece in 0..1024 {
            let claims = claims(piece);
            let mut ranks: Vec<u32> = claims.iter().map(|claim| claim.better).collect();
            first[ranks.iter().position(|better| *better == 0).unwrap()] += 1;
            ranks.sort_unstable();
            assert_eq!(ranks, [0, 1, 2, 3, 4, 5, 6, 7], "piece {piece}");
        }
        assert!(first.iter().all(|count| (95..=165).contains(count)), "{first:?}");
    }

    #[test]
    fn the_owner_begins_where_the_helper_ends() {
        let of = |peer: usize, better: u32| {
            let mut mine: Vec<(Claim, u32)> = (0..1024).map(|piece| (claims(piece)[peer], piece)).collect();
            mine.retain(|(claim, _)| claim.better == better);
            mine.sort_unstable();
            mine.into_iter().map(|(_, piece)| piece).collect::<Vec<_>>()
        };
        let (owner, helper) = (of(0, 0), of(1, 1));
        let shared: Vec<u32> = owner.iter().copied().filter(|piece| helper.contains(piece)).collect();
        let reversed: Vec<u32> = helper.iter().rev().copied().filter(|piece| owner.contains(piece)).collect();
        assert!(shared.len() > 5);
        assert_eq!(shared, reversed);
    }
}
