use bytes::{Buf, Bytes, BytesMut};

use crate::model::{Block, PieceIndex};

use super::{Message, PeerFault};

/// Length in bytes of the length that precedes a frame (BEP 3).
pub(super) const PREFIX_LEN: usize = 4;
/// Bytes of a piece frame before the block: length, id, piece, begin (BEP 3).
pub(super) const PIECE_HEADER_LEN: usize = PREFIX_LEN + 9;
/// The longest request that is accepted, in bytes; convention asks for 16 KiB, some clients for more.
pub const REQUEST_LEN_MAX: u32 = 128 * 1024;
/// The longest frame of an extended or unknown message, in bytes: what is received of a frame is memory until the rest
/// comes. The longest that we ask for is a metadata piece of 16 KiB.
const FRAME_LEN_MAX: u32 = 128 * 1024;

/// Message ids (BEP 3, 5, 6, 10).
pub(super) mod id {
    pub(crate) const CHOKE: u8 = 0;
    pub(crate) const UNCHOKE: u8 = 1;
    pub(crate) const INTERESTED: u8 = 2;
    pub(crate) const NOT_INTERESTED: u8 = 3;
    pub(crate) const HAVE: u8 = 4;
    pub(crate) const BITFIELD: u8 = 5;
    pub(crate) const REQUEST: u8 = 6;
    pub(crate) const PIECE: u8 = 7;
    pub(crate) const CANCEL: u8 = 8;
    pub(crate) const PORT: u8 = 9;
    pub(crate) const SUGGEST: u8 = 13;
    pub(crate) const HAVE_ALL: u8 = 14;
    pub(crate) const HAVE_NONE: u8 = 15;
    pub(crate) const REJECT: u8 = 16;
    pub(crate) const ALLOWED_FAST: u8 = 17;
    pub(crate) const EXTENDED: u8 = 20;
}

/// The longest blocks and bitfields that are taken, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) piece_len_max: u32,
    pub(super) bitfield_len_max: u32,
}

/// One frame taken off the receive buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Message(Message),
    /// Extended message id and payload (BEP 10).
    Extended(u8, Bytes),
    /// A message id that is not known here.
    Unknown,
}

/// Whether a message id belongs to the Fast extension (BEP 6).
pub(super) fn is_fast(id: u8) -> bool {
    (id::SUGGEST..=id::ALLOWED_FAST).contains(&id)
}

/// The id of the next frame, 0..=255, `Some(None)` for a keep-alive, once enough is received to know that its length is
/// within the limits. A frame over them is refused as soon as its first five bytes are there.
pub(super) fn peek(received: &[u8], limits: &Limits) -> Result<Option<(Option<u8>, usize)>, PeerFault> {
    let Some(prefix) = received.first_chunk::<PREFIX_LEN>() else { return Ok(None) };
    let len = u32::from_be_bytes(*prefix);
    if len == 0 {
        return Ok(Some((None, 0)));
    }
    let Some(&id) = received.get(PREFIX_LEN) else { return Ok(None) };
    check_len(id, len, limits)?;
    Ok(Some((Some(id), len as usize)))
}

fn check_len(id: u8, len: u32, limits: &Limits) -> Result<(), PeerFault> {
    let (min, max) = match id {
        id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED | id::HAVE_ALL | id::HAVE_NONE => (1, 1),
        id::HAVE | id::SUGGEST | id::ALLOWED_FAST => (5, 5),
        id::REQUEST | id::CANCEL | id::REJECT => (13, 13),
        id::PORT => (3, 3),
        id::BITFIELD => (1, limits.bitfield_len_max.saturating_add(1)),
        id::PIECE => (9, limits.piece_len_max.saturating_add(9)),
        id::EXTENDED => (2, FRAME_LEN_MAX),
        _ => (1, FRAME_LEN_MAX),
    };
    match len {
        _ if len < min || (len > max && min == max) => Err(PeerFault::WrongLength { id, len }),
        _ if len > max => Err(PeerFault::FrameTooLong { id, len, max }),
        _ => Ok(()),
    }
}

/// Takes the whole frame of `len` bytes with this id off the front of `received`. The block of a piece message stays
/// where it was received; everything else is copied out, so that nothing small holds a large buffer.
pub(super) fn take(received: &mut BytesMut, id: u8, len: usize) -> Result<Frame, PeerFault> {
    if id == id::PIECE {
        let mut frame = received.split_to(PREFIX_LEN + len).freeze();
        frame.advance(PREFIX_LEN + 1);
        let piece = PieceIndex::new(frame.get_u32());
        let begin = frame.get_u32();
        return Ok(Frame::Message(Message::Piece { piece, begin, data: frame }));
    }
    let frame = decode(id, &received[PREFIX_LEN + 1..PREFIX_LEN + len]);
    received.advance(PREFIX_LEN + len);
    frame
}

/// `payload` has a length that [`check_len`] lets pass.
fn decode(id: u8, mut payload: &[u8]) -> Result<Frame, PeerFault> {
    let message = match id {
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE => Message::Have(PieceIndex::new(payload.get_u32())),
        id::BITFIELD => Message::Bitfield(Bytes::copy_from_slice(payload)),
        id::REQUEST => {
            let block = block(payload);
            if block.len == 0 || block.len > REQUEST_LEN_MAX {
                return Err(PeerFault::RequestLength(block.len));
            }
            Message::Request(block)
        }
        id::CANCEL => Message::Cancel(block(payload)),
        id::PORT => Message::Port(payload.get_u16()),
        id::SUGGEST => Message::Suggest(PieceIndex::new(payload.get_u32())),
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::REJECT => Message::Reject(block(payload)),
        id::ALLOWED_FAST => Message::AllowedFast(PieceIndex::new(payload.get_u32())),
        id::EXTENDED => return Ok(Frame::Extended(payload[0], Bytes::copy_from_slice(&payload[1..]))),
        _ => return Ok(Frame::Unknown),
    };
    Ok(Frame::Message(message))
}

fn block(mut payload: &[u8]) -> Block {
    Block { piece: PieceIndex::new(payload.get_u32()), begin: payload.get_u32(), len: payload.get_u32() }
}

/// Appends the frame of a message that needs no negotiated id. Returns `false`, and appends nothing, for the others:
/// pieces, whose block is not copied, extended messages, and what is not known here.
pub(super) fn encode(message: &Message, out: &mut Vec<u8>) -> bool {
    match message {
        Message::KeepAlive => out.extend_from_slice(&[0; PREFIX_LEN]),
        Message::Choke => frame(out, id::CHOKE, &[]),
        Message::Unchoke => frame(out, id::UNCHOKE, &[]),
        Message::Interested => frame(out, id::INTERESTED, &[]),
        Message::NotInterested => frame(out, id::NOT_INTERESTED, &[]),
        Message::Have(piece) => frame(out, id::HAVE, &piece.get().to_be_bytes()),
        Message::Bitfield(bytes) => frame(out, id::BITFIELD, bytes),
        Message::Request(block) => frame(out, id::REQUEST, &block_bytes(block)),
        Message::Cancel(block) => frame(out, id::CANCEL, &block_bytes(block)),
        Message::Port(port) => frame(out, id::PORT, &port.to_be_bytes()),
        Message::Suggest(piece) => frame(out, id::SUGGEST, &piece.get().to_be_bytes()),
        Message::HaveAll => frame(out, id::HAVE_ALL, &[]),
        Message::HaveNone => frame(out, id::HAVE_NONE, &[]),
        Message::Reject(block) => frame(out, id::REJECT, &block_bytes(block)),
        Message::AllowedFast(piece) => frame(out, id::ALLOWED_FAST, &piece.get().to_be_bytes()),
        Message::Piece { .. } | Message::ExtendedHandshake(_) | Message::Metadata(_) | Message::Unknown => {
            return false;
        }
    }
    true
}

/// Appends one frame.
pub(super) fn frame(out: &mut Vec<u8>, id: u8, payload: &[u8]) {
    let len = u32::try_from(payload.len() + 1).expect("our own payloads are far below 4 GiB");
    out.extend_from_slice(&len.to_be_bytes());
    out.push(id);
    out.extend_from_slice(payload);
}

/// What precedes the block in a piece frame.
pub(super) fn piece_header(piece: PieceIndex, begin: u32, len: usize) -> [u8; PIECE_HEADER_LEN] {
    let frame_len = u32::try_from(len + 9).expect("our own blocks are far below 4 GiB");
    let mut header = [0; PIECE_HEADER_LEN];
    header[..4].copy_from_slice(&frame_len.to_be_bytes());
    header[4] = id::PIECE;
    header[5..9].copy_from_slice(&piece.get().to_be_bytes());
    header[9..].copy_from_slice(&begin.to_be_bytes());
    header
}

fn block_bytes(block: &Block) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&block.piece.get().to_be_bytes());
    bytes[4..8].copy_from_slice(&block.begin.to_be_bytes());
    bytes[8..].copy_from_slice(&block.len.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { piece_len_max: 16_384, bitfield_len_max: 100 };

    fn fault(bytes: &[u8]) -> PeerFault {
        peek(bytes, &LIMITS).unwrap_err()
    }

    #[test]
    fn five_bytes_are_enough_to_refuse_a_frame() {
        assert_eq!(fault(b"\0\0\0\x02\x01"), PeerFault::WrongLength { id: 1, len: 2 });
        assert_eq!(fault(b"\0\0\0\x08\x07"), PeerFault::WrongLength { id: 7, len: 8 });
        assert_eq!(fault(b"\0\0\x40\x0a\x07"), PeerFault::FrameTooLong { id: 7, len: 16_394, max: 16_393 });
        assert_eq!(fault(b"\0\0\0\x66\x05"), PeerFault::FrameTooLong { id: 5, len: 102, max: 101 });
        assert_eq!(fault(b"\0\0\0\x01\x14"), PeerFault::WrongLength { id: 20, len: 1 });
        assert!(matches!(fault(b"\xff\xff\xff\xff\x63"), PeerFault::FrameTooLong { id: 99, .. }));
        assert_eq!(peek(b"\xff\xff\xff\xff", &LIMITS), Ok(None));
    }

    #[test]
    fn requests_of_no_bytes_or_too_many_are_faults() {
        for len in [0, REQUEST_LEN_MAX + 1] {
            let block = Block { piece: PieceIndex::new(0), begin: 0, len };
            assert_eq!(decode(id::REQUEST, &block_bytes(&block)), Err(PeerFault::RequestLength(len)));
        }
    }
}
