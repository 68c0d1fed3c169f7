use std::fmt;

/// Length in bytes of the blocks that are requested, by convention of the network (BEP 3). Only the last block of a
/// piece may be shorter.
pub const BLOCK_LEN: u32 = 16 * 1024;

/// The index of a piece, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PieceIndex(u32);

impl PieceIndex {
    /// The piece with this index.
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The index as it goes over the wire.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The index as a position in memory.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A range of bytes of one piece: what a request asks for (BEP 3, "peer messages").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The piece.
    pub piece: PieceIndex,
    /// Offset in bytes within the piece.
    pub begin: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Block {
    /// Position of the block among the blocks of its piece.
    pub const fn index(&self) -> u32 {
        self.begin / BLOCK_LEN
    }
}

/// Why numbers are not the geometry of a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// A piece length of zero.
    #[error("the piece length is zero")]
    PieceLengthZero,
    /// A piece length over [`Geometry::PIECE_LEN_MAX`].
    #[error("the piece length of {0} bytes is over the limit of {max}", max = Geometry::PIECE_LEN_MAX)]
    PieceLengthTooLarge(u64),
    /// More pieces than 32 bits count.
    #[error("{0} pieces are more than the protocol can number")]
    TooManyPieces(u64),
}

/// How the bytes of a torrent divide into pieces and blocks. All casts between offsets, pieces and blocks are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    total_len: u64,
    piece_len: u32,
    piece_count: u32,
}

impl Geometry {
    /// The largest piece length that is accepted, in bytes, which need not be a power of two. Other clients load torrents
    /// of as much; most stay under 64 MiB.
    pub const PIECE_LEN_MAX: u32 = 512 * 1024 * 1024;

    /// The geometry of `total_len` bytes in pieces of `piece_len` bytes, of which the last may be shorter.
    pub fn new(total_len: u64, piece_len: u64) -> Result<Self, GeometryError> {
        if piece_len == 0 {
            return Err(GeometryError::PieceLengthZero);
        }
        let piece_count = total_len.div_ceil(piece_len);
        let piece_len = u32::try_from(piece_len)
            .ok()
            .filter(|len| *len <= Self::PIECE_LEN_MAX)
            .ok_or(GeometryError::PieceLengthTooLarge(piece_len))?;
        let piece_count = u32::try_from(piece_count).map_err(|_| GeometryError::TooManyPieces(piece_count))?;
        Ok(Self { total_len, piece_len, piece_count })
    }

    /// All bytes of the torrent.
    pub const fn total_len(&self) -> u64 {
        self.total_len
    }

    /// Length in bytes of every piece but the last.
    pub const fn piece_len_nominal(&self) -> u32 {
        self.piece_len
    }

    /// Number of pieces.
    pub const fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// All pieces in order.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + use<> {
        (0..self.piece_count).map(PieceIndex)
    }

    /// The pieces that hold any of the `len` bytes from `offset` on; those behind the torrent's end are left out.
    pub fn pieces_of(&self, offset: u64, len: u64) -> impl DoubleEndedIterator<Item = PieceIndex> + use<> {
        let piece_len = u64::from(self.piece_len);
        let index = |piece: u64| u32::try_from(piece).map_or(self.piece_count, |piece| piece.min(self.piece_count));
        let end = if len == 0 { 0 } else { index(offset.saturating_add(len).div_ceil(piece_len)) };
        (index(offset / piece_len)..end).map(PieceIndex)
    }

    /// Whether the torrent has this piece.
    pub const fn contains(&self, piece: PieceIndex) -> bool {
        piece.0 < self.piece_count
    }

    /// Offset in bytes of the piece from the start of the torrent.
    pub const fn piece_offset(&self, piece: PieceIndex) -> u64 {
        piece.0 as u64 * self.piece_len as u64
    }

    /// Length in bytes of the piece; 0 when the torrent does not have it.
    pub fn piece_len(&self, piece: PieceIndex) -> u32 {
        let rest = self.total_len.saturating_sub(self.piece_offset(piece));
        u32::try_from(rest).map_or(self.piece_len, |rest| rest.min(self.piece_len))
    }

    /// Number of blocks of the piece.
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.piece_len(piece).div_ceil(BLOCK_LEN)
    }

    /// The block at a position of the piece. The position is below [`Geometry::block_count`].
    pub fn block(&self, piece: PieceIndex, index: u32) -> Block {
        debug_assert!(index < self.block_count(piece), "block {index} of piece {piece}");
        let begin = index * BLOCK_LEN;
        Block { piece, begin, len: (self.piece_len(piece) - begin).min(BLOCK_LEN) }
    }

    /// All blocks of the piece in order.
    pub fn blocks(&self, piece: PieceIndex) -> impl DoubleEndedIterator<Item = Block> + use<> {
        let geometry = *self;
        (0..self.block_count(piece)).map(move |index| geometry.block(piece, index))
    }

    /// Whether the range lies within one piece of the torrent and is not empty.
    pub fn contains_range(&self, block: &Block) -> bool {
        let end = block.begin.checked_add(block.len);
        block.len > 0 && end.is_some_and(|end| end <= self.piece_len(block.piece))
    }

    /// Whether this is exactly one of the blocks that [`Geometry::block`] yields.
    pub fn contains_block(&self, block: &Block) -> bool {
        self.contains_range(block)
            && block.begin.is_multiple_of(BLOCK_LEN)
            && *block == self.block(block.piece, block.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_piece_and_the_last_block_are_shorter() {
        let geometry = Geometry::new(100_000, 40_000).unwrap();
        assert_eq!(geometry.piece_count(), 3);
        let lens: Vec<u32> = geometry.pieces().map(|piece| geometry.piece_len(piece)).collect();
        assert_eq!(lens, [40_000, 40_000, 20_000]);
        let lens: Vec<u32> = geometry.blocks(PieceIndex::new(2)).map(|block| block.len).collect();
        assert_eq!(lens, [16_384, 3_616]);
        assert_eq!(geometry.piece_len(PieceIndex::new(3)), 0);
        assert_eq!(geometry.piece_len(PieceIndex::new(u32::MAX)), 0);
    }

    #[test]
    fn a_torrent_of_no_bytes_has_no_pieces() {
        assert_eq!(Geometry::new(0, 16_384).unwrap().piece_count(), 0);
    }

    #[test]
    fn numbers_that_make_no_torrent_are_refused() {
        assert_eq!(Geometry::new(1, 0), Err(GeometryError::PieceLengthZero));
        assert_eq!(Geometry::new(1, 1 << 40), Err(GeometryError::PieceLengthTooLarge(1 << 40)));
        assert_eq!(Geometry::new(u64::MAX, 16_384), Err(GeometryError::TooManyPieces(1 << 50)));
    }

    #[test]
    fn ranges_never_reach_over_their_piece() {
        let geometry = Geometry::new(100_000, 40_000).unwrap();
        let block = |piece, begin, len| Block { piece: PieceIndex::new(piece), begin, len };
        assert!(geometry.contains_range(&block(0, 1, 39_999)));
        assert!(!geometry.contains_range(&block(0, 1, 40_000)));
        assert!(!geometry.contains_range(&block(0, u32::MAX, 2)));
        assert!(!geometry.contains_range(&block(0, 0, 0)));
        assert!(!geometry.contains_range(&block(3, 0, 1)));
        assert!(geometry.contains_block(&block(2, 16_384, 3_616)));
        assert!(!geometry.contains_block(&block(2, 16_384, 3_615)));
        assert!(!geometry.contains_block(&block(2, 1, 16_384)));
    }
}
