use bytes::BytesMut;

/// Spare bytes offered to a link that receives little.
const READ_LEN_MIN: usize = 4 * 1024;
/// Spare bytes offered to a link through which pieces flow: a run of 16 blocks a system call.
const READ_LEN_MAX: usize = 256 * 1024;
/// After this many reads in a row that used less than a quarter, half is offered.
const SMALL_READS_MAX: u32 = 16;

/// The bytes that are received and not parsed, with room for more. The room follows the use.
///
/// Blocks on their way to disk share the allocation they were received into. When it is used up, only the bytes of the
/// unfinished frame move into the next one, and when all blocks are gone by then it is used again.
#[derive(Debug, Default)]
pub(super) struct RecvBuffer {
    pub(super) bytes: BytesMut,
    /// Spare bytes to offer; 0 stands for the minimum.
    read_len: usize,
    /// What the last offer was, and how much was unparsed then.
    offered: usize,
    len_before: usize,
    small_reads: u32,
}

impl RecvBuffer {
    /// The buffer with room for a read.
    pub(super) fn offer(&mut self) -> &mut BytesMut {
        let read_len = self.read_len.max(READ_LEN_MIN);
        if self.bytes.capacity() - self.bytes.len() < read_len / 4 {
            self.bytes.reserve(read_len);
        }
        self.offered = self.bytes.capacity() - self.bytes.len();
        self.len_before = self.bytes.len();
        &mut self.bytes
    }

    /// Notes what was read since the offer; returns the number of bytes.
    pub(super) fn note_read(&mut self) -> usize {
        let read = self.bytes.len().saturating_sub(self.len_before);
        let read_len = self.read_len.max(READ_LEN_MIN);
        if read > 0 && read >= self.offered {
            self.read_len = (read_len * 2).min(READ_LEN_MAX);
            self.small_reads = 0;
        } else if read < read_len / 4 {
            self.small_reads += 1;
            if self.small_reads == SMALL_READS_MAX {
                self.read_len = (read_len / 2).max(READ_LEN_MIN);
                self.small_reads = 0;
            }
        } else {
            self.small_reads = 0;
        }
        self.len_before = self.bytes.len();
        read
    }

    /// Gives the memory back, but for the bytes of an unfinished frame.
    pub(super) fn release(&mut self) {
        self.bytes = BytesMut::from(&self.bytes[..]);
        self.read_len = 0;
        self.len_before = self.bytes.len();
    }

    /// Whether [`RecvBuffer::release`] would give something back.
    pub(super) fn is_releasable(&self) -> bool {
        self.bytes.capacity() > self.bytes.len().max(READ_LEN_MIN) + READ_LEN_MIN || self.read_len > READ_LEN_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_grows_while_reads_fill_it_and_shrinks_when_they_do_not() {
        let mut buffer = RecvBuffer::default();
        for _ in 0..10 {
            let spare = buffer.offer();
            let len = spare.capacity();
            spare.resize(len, 1);
            buffer.note_read();
            buffer.bytes.clear();
        }
        assert_eq!(buffer.read_len, READ_LEN_MAX);
        for _ in 0..10 * SMALL_READS_MAX {
            buffer.offer().extend_from_slice(&[0; 5]);
            assert_eq!(buffer.note_read(), 5);
            buffer.bytes.clear();
        }
        assert_eq!(buffer.read_len, READ_LEN_MIN);
    }

    #[test]
    fn blocks_that_are_held_do_not_move() {
        let mut buffer = RecvBuffer::default();
        buffer.offer().extend_from_slice(&[7; 4000]);
        let block = buffer.bytes.split_to(3990).freeze();
        let address = block.as_ptr();
        buffer.offer().extend_from_slice(&[8; 3000]);
        assert_eq!((block.as_ptr(), &block[..]), (address, &[7; 3990][..]));
        assert_eq!(buffer.bytes[..10], [7; 10]);
    }
}
