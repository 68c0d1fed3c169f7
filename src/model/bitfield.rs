use super::PieceIndex;

/// A set of pieces, in the form in which it goes over the wire: the high bit of the first byte is piece 0 (BEP 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitfield {
    bytes: Box<[u8]>,
    piece_count: u32,
    /// Number of set bits, kept so that "complete" is a comparison.
    set_count: u32,
}

impl Bitfield {
    /// No piece of `piece_count`.
    pub fn empty(piece_count: u32) -> Self {
        Self { bytes: vec![0; byte_len(piece_count)].into(), piece_count, set_count: 0 }
    }

    /// Every piece of `piece_count`.
    pub fn full(piece_count: u32) -> Self {
        let mut bytes = vec![0xff; byte_len(piece_count)];
        if let (Some(last), spare @ 1..) = (bytes.last_mut(), bytes_spare_bits(piece_count)) {
            *last <<= spare;
        }
        Self { bytes: bytes.into(), piece_count, set_count: piece_count }
    }

    /// From the payload of a bitfield message. `None` when it has another length than `piece_count` needs, or spare bits
    /// at the end that are set: both are faults of the sender (BEP 3).
    pub fn from_bytes(bytes: &[u8], piece_count: u32) -> Option<Self> {
        if bytes.len() != byte_len(piece_count) {
            return None;
        }
        let spare = bytes_spare_bits(piece_count);
        if bytes.last().is_some_and(|last| last & !(0xffu8 << spare) != 0) {
            return None;
        }
        let set_count = bytes.iter().map(|byte| byte.count_ones()).sum();
        Some(Self { bytes: bytes.into(), piece_count, set_count })
    }

    /// The payload of a bitfield message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of pieces of the torrent.
    pub fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// Number of pieces in the set.
    pub fn count(&self) -> u32 {
        self.set_count
    }

    /// Whether every piece is in the set.
    pub fn is_full(&self) -> bool {
        self.set_count == self.piece_count
    }

    /// Whether no piece is in the set.
    pub fn is_empty(&self) -> bool {
        self.set_count == 0
    }

    /// Whether the piece is in the set. A piece that the torrent does not have never is.
    pub fn contains(&self, piece: PieceIndex) -> bool {
        piece.get() < self.piece_count && self.bytes[piece.as_usize() / 8] & mask(piece) != 0
    }

    /// Adds a piece; returns whether it was absent. A piece that the torrent does not have is not added.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        let added = piece.get() < self.piece_count && !self.contains(piece);
        if added {
            self.bytes[piece.as_usize() / 8] |= mask(piece);
            self.set_count += 1;
        }
        added
    }

    /// Takes a piece out; returns whether it was present.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        let removed = self.contains(piece);
        if removed {
            self.bytes[piece.as_usize() / 8] &= !mask(piece);
            self.set_count -= 1;
        }
        removed
    }

    /// The pieces of the set in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.bytes.iter().enumerate().filter(|(_, byte)| **byte != 0).flat_map(|(at, byte)| {
            let byte = *byte;
            (0..8u32).filter(move |bit| byte & (0x80 >> bit) != 0).map(move |bit| PieceIndex::new(at as u32 * 8 + bit))
        })
    }

    /// The pieces that are not in the set, in ascending order.
    pub fn missing(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        (0..self.piece_count).map(PieceIndex::new).filter(|piece| !self.contains(*piece))
    }

    /// Whether `other` has a piece that this set lacks.
    pub fn lacks_any_of(&self, other: &Bitfield) -> bool {
        self.bytes.iter().zip(other.bytes.iter()).any(|(own, theirs)| theirs & !own != 0)
    }
}

fn byte_len(piece_count: u32) -> usize {
    piece_count.div_ceil(8) as usize
}

/// Number of bits behind the last piece in the last byte.
fn bytes_spare_bits(piece_count: u32) -> u32 {
    (8 - piece_count % 8) % 8
}

fn mask(piece: PieceIndex) -> u8 {
    0x80 >> (piece.get() % 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_bits_and_wrong_lengths_are_refused() {
        assert!(Bitfield::from_bytes(&[0xff, 0xc0], 10).is_some_and(|field| field.is_full()));
        assert_eq!(Bitfield::from_bytes(&[0xff, 0xe0], 10), None);
        assert_eq!(Bitfield::from_bytes(&[0xff], 10), None);
        assert_eq!(Bitfield::from_bytes(&[0xff, 0, 0], 10), None);
        assert!(Bitfield::from_bytes(&[], 0).is_some_and(|field| field.is_full()));
        assert!(Bitfield::from_bytes(&[0xff], 8).is_some_and(|field| field.is_full()));
    }

    #[test]
    fn full_has_no_spare_bits() {
        for piece_count in 0..40 {
            let full = Bitfield::full(piece_count);
            assert_eq!(Bitfield::from_bytes(full.as_bytes(), piece_count), Some(full.clone()));
            assert_eq!(full.iter().count() as u32, piece_count);
            assert_eq!(full.missing().count(), 0);
        }
    }

    #[test]
    fn counts_follow_insert_and_remove() {
        let mut field = Bitfield::empty(10);
        assert!(field.insert(PieceIndex::new(9)));
        assert!(!field.insert(PieceIndex::new(9)));
        assert!(!field.insert(PieceIndex::new(10)), "the torrent has no such piece");
        assert_eq!((field.count(), field.as_bytes()), (1, &[0, 0x40][..]));
        assert!(Bitfield::empty(10).lacks_any_of(&field));
        assert!(!field.lacks_any_of(&field.clone()));
        assert!(field.remove(PieceIndex::new(9)) && field.is_empty());
    }
}
