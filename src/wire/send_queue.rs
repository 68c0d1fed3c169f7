use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::model::{Block, PieceIndex};

use super::codec::{self, PIECE_HEADER_LEN};

/// The most slices handed to one vectored write.
pub const TRANSMIT_SLICES_MAX: usize = 64;

/// Control messages may pass the byte budget by this much: the longest bitfield and many small answers.
const CONTROL_RESERVE: usize = 256 * 1024;
/// A control segment that is this long is not extended, so that written memory is given back.
const CONTROL_SEGMENT_LEN_MAX: usize = 16 * 1024;

/// Why a message was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The byte budget is used up: wait until something is transmitted, or drop the connection.
    #[error("the send queue is full")]
    QueueFull,
    /// The two sides did not agree on what the message needs, or the handshakes are not done.
    #[error("the peer does not take this message")]
    NotNegotiated,
}

/// What a write took off the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transmitted {
    /// Bytes of blocks among the bytes written.
    pub payload_bytes: usize,
}

#[derive(Debug)]
enum Segment {
    Control(Vec<u8>),
    Piece { block: Block, header: [u8; PIECE_HEADER_LEN], data: Bytes },
}

impl Segment {
    fn len(&self) -> usize {
        match self {
            Self::Control(bytes) => bytes.len(),
            Self::Piece { data, .. } => PIECE_HEADER_LEN + data.len(),
        }
    }
}

/// What waits to be written, in its order: runs of control messages, and blocks that are never copied.
#[derive(Debug)]
pub(super) struct SendQueue {
    segments: VecDeque<Segment>,
    /// Bytes of the first segment that are written.
    front_sent: usize,
    /// Bytes that are queued and not written.
    len: usize,
    len_max: usize,
}

impl SendQueue {
    pub(super) fn new(len_max: usize) -> Self {
        Self { segments: VecDeque::new(), front_sent: 0, len: 0, len_max }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Queues what `write` appends. Refused, with nothing queued, when the budget is used up beforehand.
    pub(super) fn push_control(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), SendError> {
        if self.len >= self.len_max.saturating_add(CONTROL_RESERVE) {
            return Err(SendError::QueueFull);
        }
        let extend =
            matches!(self.segments.back(), Some(Segment::Control(last)) if last.len() < CONTROL_SEGMENT_LEN_MAX);
        if !extend {
            self.segments.push_back(Segment::Control(Vec::new()));
        }
        if let Some(Segment::Control(bytes)) = self.segments.back_mut() {
            let before = bytes.len();
            write(bytes);
            self.len += bytes.len() - before;
        }
        Ok(())
    }

    pub(super) fn push_piece(&mut self, piece: PieceIndex, begin: u32, data: Bytes) -> Result<(), SendError> {
        let segment_len = PIECE_HEADER_LEN + data.len();
        // A block longer than the whole budget goes alone; one whose length the frame cannot tell, not at all.
        let len = u32::try_from(data.len()).map_err(|_| SendError::QueueFull)?;
        if self.len > 0 && self.len.saturating_add(segment_len) > self.len_max {
            return Err(SendError::QueueFull);
        }
        let header = codec::piece_header(piece, begin, data.len());
        self.segments.push_back(Segment::Piece { block: Block { piece, begin, len }, header, data });
        self.len += segment_len;
        Ok(())
    }

    /// Takes blocks back of which nothing is written.
    pub(super) fn take_back(&mut self, is_wanted: impl Fn(&Block) -> bool) -> Vec<Block> {
        let mut taken = Vec::new();
        let mut is_started = self.front_sent > 0;
        self.segments.retain(|segment| {
            let is_started = std::mem::take(&mut is_started);
            match segment {
                Segment::Piece { block, .. } if !is_started && is_wanted(block) => {
                    self.len -= segment.len();
                    taken.push(*block);
                    false
                }
                _ => true,
            }
        });
        taken
    }

    pub(super) fn poll_transmit<'a>(&'a self, slices: &mut Vec<IoSlice<'a>>) -> usize {
        let mut skip = self.front_sent;
        let mut count = 0;
        let mut push = |bytes: &'a [u8]| {
            let skipped = skip.min(bytes.len());
            skip -= skipped;
            if skipped < bytes.len() {
                slices.push(IoSlice::new(&bytes[skipped..]));
                count += bytes.len() - skipped;
            }
        };
        // Two slices at most for each segment.
        for segment in self.segments.iter().take(TRANSMIT_SLICES_MAX / 2) {
            match segment {
                Segment::Control(bytes) => push(bytes),
                Segment::Piece { header, data, .. } => {
                    push(header);
                    push(data);
                }
            }
        }
        count
    }

    pub(super) fn handle_transmitted(&mut self, bytes: usize) -> Transmitted {
        debug_assert!(bytes <= self.len, "{bytes} bytes written of {} queued", self.len);
        let mut left = bytes.min(self.len);
        let mut transmitted = Transmitted::default();
        self.len -= left;
        while left > 0 {
            let Some(front) = self.segments.front() else { break };
            let taken = left.min(front.len() - self.front_sent);
            if matches!(front, Segment::Piece { .. }) {
                let header_left = PIECE_HEADER_LEN.saturating_sub(self.front_sent);
                transmitted.payload_bytes += taken.saturating_sub(header_left);
            }
            left -= taken;
            self.front_sent += taken;
            if self.front_sent == front.len() {
                self.segments.pop_front();
                self.front_sent = 0;
            }
        }
        transmitted
    }

    pub(super) fn check_invariants(&self) {
        let queued: usize = self.segments.iter().map(Segment::len).sum();
        assert_eq!(queued - self.front_sent, self.len, "the count of queued bytes");
        assert!(self.segments.front().map_or(self.front_sent == 0, |front| self.front_sent < front.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(queue: &SendQueue) -> Vec<u8> {
        let mut slices = Vec::new();
        let count = queue.poll_transmit(&mut slices);
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        assert_eq!(bytes.len(), count);
        bytes
    }

    #[test]
    fn any_sizes_of_writes_send_the_same_bytes_and_count_the_blocks() {
        for step in 1..60 {
            let mut queue = SendQueue::new(1000);
            queue.push_control(|out| out.extend_from_slice(b"abc")).unwrap();
            queue.push_piece(PieceIndex::new(1), 2, Bytes::from_static(b"0123456789")).unwrap();
            queue.push_control(|out| out.extend_from_slice(b"de")).unwrap();
            let all = queued(&queue);
            let (mut sent, mut payload) = (Vec::new(), 0);
            while !queue.is_empty() {
                let bytes = queued(&queue);
                let taken = step.min(bytes.len());
                sent.extend_from_slice(&bytes[..taken]);
                payload += queue.handle_transmitted(taken).payload_bytes;
                queue.check_invariants();
            }
            assert_eq!((sent, payload), (all, 10));
        }
    }

    #[test]
    fn blocks_are_taken_back_only_before_their_first_byte_is_written() {
        let block = |begin| Block { piece: PieceIndex::new(0), begin, len: 4 };
        for (wanted, taken) in [(vec![0], vec![]), (vec![4], vec![block(4)]), (vec![0, 4], vec![block(4)])] {
            let mut queue = SendQueue::new(1000);
            queue.push_piece(PieceIndex::new(0), 0, Bytes::from_static(b"aaaa")).unwrap();
            queue.push_piece(PieceIndex::new(0), 4, Bytes::from_static(b"bbbb")).unwrap();
            queue.push_control(|out| out.push(0)).unwrap();
            let before = queue.len();
            queue.handle_transmitted(1);
            assert_eq!(queue.take_back(|block| wanted.contains(&block.begin)), taken);
            queue.check_invariants();
            assert_eq!(queue.len(), before - 1 - taken.len() * (PIECE_HEADER_LEN + 4));
            assert_eq!(queue.take_back(|block| wanted.contains(&block.begin)), []);
        }
    }

    #[test]
    fn the_budget_holds_blocks_back_and_lets_control_messages_pass() {
        let mut queue = SendQueue::new(100);
        queue.push_piece(PieceIndex::new(0), 0, Bytes::from(vec![0; 200])).unwrap();
        let refused = queue.push_piece(PieceIndex::new(0), 0, Bytes::from_static(b"a"));
        assert_eq!(refused, Err(SendError::QueueFull));
        queue.push_control(|out| out.push(0)).unwrap();
        queue.push_control(|out| out.resize(CONTROL_RESERVE + 200, 0)).unwrap();
        assert_eq!(queue.push_control(|out| out.push(0)), Err(SendError::QueueFull));
        queue.check_invariants();
    }
}
