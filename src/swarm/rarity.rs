use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use crate::model::PieceIndex;

/// Not in the order: we have the piece, or it is being fetched.
const ABSENT: u32 = u32::MAX;

/// The pieces that may be started, from the rarest to the commonest, ties in random order.
///
/// One array holds them sorted by availability, one the place of each piece, one the start of each availability's run. A
/// piece that gains or loses a holder moves by one swap, so a `have` costs O(1) and the rarest piece is always in front.
/// Peers that have everything change no order and are not counted.
#[derive(Debug)]
pub(super) struct Rarity {
    /// Holders of each piece, seeds excluded.
    availability: Vec<u16>,
    order: Vec<u32>,
    place: Vec<u32>,
    /// `starts[a]` is where the pieces with `a` holders begin; one more entry than the highest availability.
    starts: Vec<u32>,
}

impl Rarity {
    /// All pieces that `wanted` says yes to, with no holder each.
    pub(super) fn new(piece_count: u32, chance: &mut ChaCha8Rng, wanted: impl Fn(PieceIndex) -> bool) -> Self {
        let mut rarity = Self {
            availability: vec![0; piece_count as usize],
            order: (0..piece_count).filter(|index| wanted(PieceIndex::new(*index))).collect(),
            place: vec![ABSENT; piece_count as usize],
            starts: vec![0],
        };
        for at in (1..rarity.order.len()).rev() {
            rarity.order.swap(at, below(chance, at as u32 + 1) as usize);
        }
        for (at, index) in rarity.order.iter().enumerate() {
            rarity.place[*index as usize] = at as u32;
        }
        rarity.starts.push(rarity.order.len() as u32);
        rarity
    }

    /// Number of pieces that may be started.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The pieces that may be started, the rarest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.order.iter().copied().map(PieceIndex::new)
    }

    /// How many peers have the piece, seeds excluded.
    pub(super) fn holders(&self, piece: PieceIndex) -> u16 {
        self.availability[piece.as_usize()]
    }

    /// The piece at a place of the order.
    pub(super) fn at(&self, place: usize) -> PieceIndex {
        PieceIndex::new(self.order[place])
    }

    /// One more peer has the piece.
    pub(super) fn gain(&mut self, piece: PieceIndex, chance: &mut ChaCha8Rng) {
        let availability = self.availability[piece.as_usize()];
        let Some(more) = availability.checked_add(1) else { return };
        self.availability[piece.as_usize()] = more;
        self.ensure_runs(more);
        if self.place[piece.as_usize()] != ABSENT {
            self.move_up(piece, availability);
            self.shuffle_into(piece, more, chance);
        }
    }

    /// One peer less has the piece.
    pub(super) fn lose(&mut self, piece: PieceIndex, chance: &mut ChaCha8Rng) {
        let availability = self.availability[piece.as_usize()];
        let Some(less) = availability.checked_sub(1) else { return };
        self.availability[piece.as_usize()] = less;
        if self.place[piece.as_usize()] != ABSENT {
            self.move_down(piece, availability);
            self.shuffle_into(piece, less, chance);
        }
    }

    /// The piece is started: it leaves the order.
    pub(super) fn take(&mut self, piece: PieceIndex) {
        if self.place[piece.as_usize()] == ABSENT {
            return;
        }
        let highest = self.starts.len() - 2;
        for availability in usize::from(self.availability[piece.as_usize()])..=highest {
            let last = self.starts[availability + 1] - 1;
            self.swap(self.place[piece.as_usize()], last);
            self.starts[availability + 1] = last;
        }
        let taken = self.order.pop();
        debug_assert_eq!(taken, Some(piece.get()));
        self.place[piece.as_usize()] = ABSENT;
    }

    /// The piece may be started again.
    pub(super) fn put_back(&mut self, piece: PieceIndex, chance: &mut ChaCha8Rng) {
        if self.place[piece.as_usize()] != ABSENT {
            return;
        }
        self.place[piece.as_usize()] = self.order.len() as u32;
        self.order.push(piece.get());
        let availability = self.availability[piece.as_usize()];
        let highest = self.starts.len() - 2;
        self.starts[highest + 1] += 1;
        for run in (usize::from(availability)..highest).rev() {
            // The piece stands at the front end of the run above: give that run's start to the run below.
            let first = self.starts[run + 1];
            self.swap(self.place[piece.as_usize()], first);
            self.starts[run + 1] = first + 1;
        }
        self.shuffle_into(piece, availability, chance);
    }

    fn ensure_runs(&mut self, availability: u16) {
        while self.starts.len() < usize::from(availability) + 2 {
            self.starts.push(self.order.len() as u32);
        }
    }

    /// From the run of `availability` into the one above: swapped to its end, which then belongs to the next.
    fn move_up(&mut self, piece: PieceIndex, availability: u16) {
        let last = self.starts[usize::from(availability) + 1] - 1;
        self.swap(self.place[piece.as_usize()], last);
        self.starts[usize::from(availability) + 1] = last;
    }

    /// From the run of `availability` into the one below: swapped to its front, which then belongs to the one below.
    fn move_down(&mut self, piece: PieceIndex, availability: u16) {
        let first = self.starts[usize::from(availability)];
        self.swap(self.place[piece.as_usize()], first);
        self.starts[usize::from(availability)] = first + 1;
    }

    /// Gives the piece a random place within its run, so that peers with the same view do not want the same piece.
    fn shuffle_into(&mut self, piece: PieceIndex, availability: u16, chance: &mut ChaCha8Rng) {
        let run = usize::from(availability);
        let (start, end) = (self.starts[run], self.starts[run + 1]);
        let target = start + below(chance, end - start);
        self.swap(self.place[piece.as_usize()], target);
    }

    fn swap(&mut self, a: u32, b: u32) {
        self.order.swap(a as usize, b as usize);
        self.place[self.order[a as usize] as usize] = a;
        self.place[self.order[b as usize] as usize] = b;
    }

    /// Panics when the arrays disagree.
    pub(super) fn check_invariants(&self) {
        assert_eq!(self.starts.last().copied(), Some(self.order.len() as u32), "the runs cover the order");
        assert!(self.starts.is_sorted(), "runs follow one another");
        for (at, index) in self.order.iter().enumerate() {
            assert_eq!(self.place[*index as usize], at as u32, "place of piece {index}");
            let run = usize::from(self.availability[*index as usize]);
            let range = self.starts[run] as usize..self.starts[run + 1] as usize;
            assert!(range.contains(&at), "piece {index} stands in the run of its availability");
        }
        let placed = self.place.iter().filter(|place| **place != ABSENT).count();
        assert_eq!(placed, self.order.len(), "every place is in the order");
    }
}

/// A random number below `bound`, which is at least 1. The bias is under 2^-32.
pub(super) fn below(chance: &mut ChaCha8Rng, bound: u32) -> u32 {
    ((u64::from(chance.next_u32()) * u64::from(bound)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    #[test]
    fn the_order_stays_sorted_through_any_sequence_of_changes() {
        let mut chance = ChaCha8Rng::seed_from_u64(7);
        let mut rarity = Rarity::new(40, &mut chance, |piece| piece.get() % 5 != 0);
        rarity.check_invariants();
        assert_eq!(rarity.len(), 32);
        for _ in 0..20_000 {
            let piece = PieceIndex::new(below(&mut chance, 40));
            match below(&mut chance, 5) {
                0 | 1 => rarity.gain(piece, &mut chance),
                2 => rarity.lose(piece, &mut chance),
                3 => rarity.take(piece),
                _ => rarity.put_back(piece, &mut chance),
            }
            rarity.check_invariants();
        }
    }

    #[test]
    fn the_rarest_piece_is_in_front() {
        let mut chance = ChaCha8Rng::seed_from_u64(7);
        let mut rarity = Rarity::new(3, &mut chance, |_| true);
        for (piece, holders) in [(0, 3), (1, 1), (2, 2)] {
            for _ in 0..holders {
                rarity.gain(PieceIndex::new(piece), &mut chance);
            }
        }
        let order: Vec<u32> = rarity.iter().map(PieceIndex::get).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn ties_are_in_random_order() {
        let first = |seed| {
            let mut chance = ChaCha8Rng::seed_from_u64(seed);
            Rarity::new(1000, &mut chance, |_| true).at(0)
        };
        assert!((0..10).map(first).collect::<std::collections::BTreeSet<_>>().len() > 5);
    }
}
