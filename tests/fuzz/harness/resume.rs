use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use magnes::disk::Layout;
use magnes::model::{Bitfield, Info, PieceIndex};
use magnes::storage::Resume;

/// Magic, version and checksum.
const HEAD_LEN: usize = 12;
const PIECE_COUNT: u32 = 9;

/// A resume file as this version writes it.
pub(crate) struct Saved {
    layout: Layout,
    /// What is in the file.
    pub(crate) bytes: Vec<u8>,
}

impl Saved {
    /// Of a torrent of three files and nine pieces, of which three are there.
    pub(crate) fn new() -> Self {
        let files = "d6:lengthi20000e4:pathl1:aeed6:lengthi30000e4:pathl1:b1:ceed6:lengthi90000e4:pathl1:dee";
        let hashes = "h".repeat(20 * PIECE_COUNT as usize);
        let info = format!("d5:filesl{files}e4:name1:n12:piece lengthi16384e6:pieces180:{hashes}e");
        let info = Info::parse(Bytes::from(info.into_bytes())).expect("a torrent");
        let layout = Layout::new(Path::new("/nowhere"), Arc::new(info));
        let mut have = Bitfield::empty(PIECE_COUNT);
        for piece in [0, 4, 8] {
            have.insert(PieceIndex::new(piece));
        }
        let peers = vec![([10, 0, 0, 1], 6881).into(), ([0x2a01, 0, 0, 0, 0, 0, 0, 1], 1).into()];
        let bytes = Resume::new(&layout, &have, &[true; 3], peers).encode().expect("it can be written");
        Self { layout, bytes }
    }
}

/// A resume file is read or refused, whatever it holds, and what was read is of use or is not.
pub(crate) fn resume(saved: &Saved, bytes: &[u8]) {
    if Resume::decode(bytes).is_some() {
        assert_eq!(bytes, saved.bytes, "the checksum notices every change");
    }
    // It keeps nearly everything else out: with a right one the rest is tried too.
    let Some((head, body)) = bytes.split_at_checked(HEAD_LEN) else { return };
    let sealed = [&head[..8], &crc32c::crc32c(body).to_le_bytes(), body].concat();
    let Some(read) = Resume::decode(&sealed) else { return };
    let (have, unknown) = read.judge(&saved.layout);
    assert_eq!(have.piece_count(), PIECE_COUNT);
    // None of the files is on the disk.
    assert!(have.is_empty() && unknown.len() == PIECE_COUNT as usize);
    let again = read.encode().expect("what was read can be written");
    assert_eq!(Resume::decode(&again), Some(read), "what was written is read");
}
