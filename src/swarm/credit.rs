use crate::model::{BLOCK_LEN, Block};

/// What a torrent has asked of its peers and not yet written: the memory of a download.
#[derive(Debug, Default)]
pub(super) struct Credit {
    /// Bytes that were asked for or wait to be written.
    used: u64,
    /// Those of them that wait to be written.
    unwritten: u64,
}

impl Credit {
    /// A block was asked for.
    pub(super) fn ask(&mut self, block: &Block) {
        self.used += u64::from(block.len);
    }

    /// A block that was asked for will not come, or is not wanted any more.
    pub(super) fn settle(&mut self, block: &Block) {
        self.used -= u64::from(block.len);
    }

    /// A block came and waits to be written.
    pub(super) fn arrive(&mut self, block: &Block) {
        self.unwritten += u64::from(block.len);
    }

    /// This many bytes were written. What was not waiting does not count.
    pub(super) fn written(&mut self, bytes: u32) {
        let bytes = u64::from(bytes).min(self.unwritten);
        self.unwritten -= bytes;
        self.used -= bytes;
    }

    /// Whole blocks that may be asked for when this many bytes are granted.
    pub(super) fn room(&self, granted_bytes: u64) -> usize {
        let blocks = granted_bytes.saturating_sub(self.used) / u64::from(BLOCK_LEN);
        usize::try_from(blocks).unwrap_or(usize::MAX)
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn unwritten(&self) -> u64 {
        self.unwritten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PieceIndex;

    #[test]
    fn a_block_holds_credit_from_its_request_until_it_is_written_or_given_up() {
        let block = Block { piece: PieceIndex::new(0), begin: 0, len: BLOCK_LEN };
        let mut credit = Credit::default();
        let granted = 3 * u64::from(BLOCK_LEN) + 5;
        (0..3).for_each(|_| credit.ask(&block));
        assert_eq!((credit.room(granted), credit.used()), (0, 3 * u64::from(BLOCK_LEN)));
        credit.settle(&block);
        credit.arrive(&block);
        assert_eq!((credit.room(granted), credit.unwritten()), (1, u64::from(BLOCK_LEN)));
        credit.written(BLOCK_LEN);
        credit.written(BLOCK_LEN);
        assert_eq!((credit.room(granted), credit.used()), (2, u64::from(BLOCK_LEN)), "written once");
        assert_eq!(credit.room(0), 0, "a grant that was taken back");
    }
}
