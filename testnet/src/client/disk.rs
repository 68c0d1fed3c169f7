use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use magnes::disk::{DiskError, Done, Job, Layout, StoreId, Verdict};
use magnes::model::{BLOCK_LEN, Block, PieceIndex};
use sha1::{Digest, Sha1};

/// Files in memory, and what does the jobs of disk threads on them, as [`magnes::storage::Worker`] does on a disk.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<PathBuf, Vec<u8>>,
    stores: BTreeMap<StoreId, Arc<Layout>>,
    /// Blocks that are written of pieces that are not whole yet, by where they begin.
    written: BTreeMap<(StoreId, PieceIndex), BTreeSet<u32>>,
    /// Pieces whose last version failed: the next one is digested too.
    failed: BTreeSet<(StoreId, PieceIndex)>,
}

impl Disk {
    /// A file's bytes, if it is there.
    pub fn file(&self, path: &Path) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// The length of a file, as far as it is there.
    pub(super) fn len(&self, path: &Path) -> u64 {
        self.files.get(path).map_or(0, |file| file.len() as u64)
    }

    /// The process that wrote it ended: the files stay.
    pub(super) fn restart(&mut self) {
        self.stores.clear();
        self.written.clear();
        self.failed.clear();
    }

    /// Makes the files of a torrent in their full length.
    pub(super) fn make(&mut self, layout: &Layout) {
        for (index, file) in layout.files().iter().enumerate().filter(|(_, file)| !file.padding) {
            lengthen(self.files.entry(layout.path(index)).or_default(), file.len as usize);
        }
    }

    /// Writes a range.
    pub(super) fn put(&mut self, layout: &Layout, range: &Block, bytes: &[u8]) {
        let mut rest = bytes;
        for span in layout.spans(range) {
            let (now, later) = rest.split_at(span.len as usize);
            rest = later;
            if layout.files()[span.file].padding {
                continue;
            }
            let file = self.files.entry(layout.path(span.file)).or_default();
            let (start, end) = (span.offset as usize, span.offset as usize + now.len());
            lengthen(file, end);
            file[start..end].copy_from_slice(now);
        }
    }

    /// Does one job. A job for a torrent that was closed leads to nothing.
    pub(super) fn handle(&mut self, job: Job) -> Vec<Done> {
        match job {
            Job::Open { store, layout } => {
                self.stores.insert(store, layout);
                Vec::new()
            }
            Job::Write { store, piece, begin, blocks } => self.write(store, piece, begin, &blocks),
            Job::Read { store, tag, block } => self.on(store, |disk, layout| match disk.read(layout, &block) {
                Ok(data) => Done::Read { tag, block, data },
                Err(error) => Done::Unread { tag, block, error },
            }),
            Job::Check { store, piece } => self.on(store, |disk, layout| {
                let verdict = if disk.is_right(layout, piece) { Verdict::Verified } else { Verdict::Absent };
                Done::Checked { piece, verdict }
            }),
            Job::Measure { store, piece } => {
                self.on(store, |disk, layout| Done::Measured { absent: disk.measure(layout, piece) })
            }
            Job::Sync { .. } => vec![Done::Synced(Ok(()))],
            Job::Close { store } => {
                self.stores.remove(&store);
                self.written.retain(|(of, _), _| *of != store);
                self.failed.retain(|(of, _)| *of != store);
                Vec::new()
            }
        }
    }

    fn on(&self, store: StoreId, act: impl FnOnce(&Self, &Layout) -> Done) -> Vec<Done> {
        self.stores.get(&store).map(|layout| act(self, layout)).into_iter().collect()
    }

    fn write(&mut self, store: StoreId, piece: PieceIndex, begin: u32, blocks: &[Bytes]) -> Vec<Done> {
        let Some(layout) = self.stores.get(&store).cloned() else { return Vec::new() };
        let written = self.written.entry((store, piece)).or_default();
        let mut at = begin;
        for block in blocks {
            written.insert(at);
            at += block.len() as u32;
        }
        let is_whole = written.len() == layout.info().geometry().block_count(piece) as usize;
        let bytes = blocks.concat();
        let range = Block { piece, begin, len: bytes.len() as u32 };
        self.put(&layout, &range, &bytes);
        let mut done = vec![Done::Written { piece, bytes: range.len }];
        if is_whole {
            self.written.remove(&(store, piece));
            let verified = self.is_right(&layout, piece);
            let failed_before = self.failed.remove(&(store, piece));
            if !verified {
                self.failed.insert((store, piece));
            }
            let digests = (failed_before || !verified).then(|| self.digests(&layout, piece));
            done.push(Done::Hashed { piece, verified, digests });
        }
        done
    }

    fn read(&self, layout: &Layout, block: &Block) -> Result<Bytes, DiskError> {
        let mut data = Vec::with_capacity(block.len as usize);
        for span in layout.spans(block) {
            if layout.files()[span.file].padding {
                data.resize(data.len() + span.len as usize, 0);
                continue;
            }
            let path = layout.path(span.file);
            let range = span.offset as usize..span.offset as usize + span.len as usize;
            let bytes = self.files.get(&path).and_then(|file| file.get(range));
            let bytes = bytes.ok_or_else(|| DiskError::new("read", &path, std::io::ErrorKind::UnexpectedEof))?;
            data.extend_from_slice(bytes);
        }
        Ok(data.into())
    }

    fn whole(&self, layout: &Layout, piece: PieceIndex) -> Result<Bytes, DiskError> {
        self.read(layout, &Block { piece, begin: 0, len: layout.info().geometry().piece_len(piece) })
    }

    fn is_right(&self, layout: &Layout, piece: PieceIndex) -> bool {
        let hash = self.whole(layout, piece).ok().map(|bytes| <[u8; 20]>::from(Sha1::digest(&bytes)));
        hash.is_some_and(|hash| layout.info().piece_hash(piece) == Some(&hash))
    }

    fn measure(&self, layout: &Layout, piece: PieceIndex) -> Vec<PieceIndex> {
        let geometry = layout.info().geometry();
        let mut absent = Vec::new();
        for span in layout.spans(&Block { piece, begin: 0, len: geometry.piece_len(piece) }) {
            let (file, len) = (&layout.files()[span.file], self.len(&layout.path(span.file)));
            if !file.padding && len < file.len {
                absent.extend(geometry.pieces_of(file.offset + len, file.len - len));
            }
        }
        absent
    }

    fn digests(&self, layout: &Layout, piece: PieceIndex) -> Box<[u64]> {
        let digest = |block: &[u8]| Sha1::digest(block).iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte));
        let whole = self.whole(layout, piece).unwrap_or_default();
        whole.chunks(BLOCK_LEN as usize).map(digest).collect()
    }
}

/// Gives a file this length at least, with zeros.
fn lengthen(file: &mut Vec<u8>, len: usize) {
    if file.is_empty() {
        *file = vec![0; len];
    } else if file.len() < len {
        file.resize(len, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    fn opened() -> (Payload, Disk) {
        let payload = Payload::new(3, 32);
        let mut disk = Disk::default();
        let layout = Arc::new(Layout::new(Path::new("/disk"), payload.info().clone()));
        assert!(disk.handle(Job::Open { store: 0, layout }).is_empty());
        (payload, disk)
    }

    #[test]
    fn a_piece_is_hashed_when_its_last_block_is_written_and_stays_over_a_restart() {
        let (payload, mut disk) = opened();
        let piece = PieceIndex::new(1);
        let write = |begin, data: Bytes| Job::Write { store: 0, piece, begin, blocks: vec![data] };
        let block = |begin| payload.read(&Block { piece, begin, len: BLOCK_LEN });
        assert_eq!(disk.handle(write(BLOCK_LEN, block(BLOCK_LEN))).len(), 1);
        let bad = disk.handle(write(0, vec![7; BLOCK_LEN as usize].into()));
        assert!(matches!(&bad[1], Done::Hashed { verified: false, digests: Some(digests), .. } if digests.len() == 2));
        assert_eq!(disk.handle(write(0, block(0))).len(), 1, "the failed version is written again as a whole");
        let good = disk.handle(write(BLOCK_LEN, block(BLOCK_LEN)));
        assert!(matches!(good[1], Done::Hashed { verified: true, digests: Some(_), .. }));
        disk.restart();
        assert!(disk.handle(Job::Check { store: 0, piece }).is_empty(), "it is not open");
        let layout = Arc::new(Layout::new(Path::new("/disk"), payload.info().clone()));
        disk.handle(Job::Open { store: 0, layout });
        let check = |disk: &mut Disk, piece| match &disk.handle(Job::Check { store: 0, piece })[..] {
            [Done::Checked { verdict, .. }] => matches!(verdict, Verdict::Verified),
            other => panic!("{other:?}"),
        };
        assert!(
            check(&mut disk, piece) && !check(&mut disk, PieceIndex::new(0)) && !check(&mut disk, PieceIndex::new(2))
        );
        let measured = disk.handle(Job::Measure { store: 0, piece });
        assert!(matches!(&measured[..], [Done::Measured { absent }] if absent[..] == [PieceIndex::new(2)]));
        let beyond = Block { piece: PieceIndex::new(2), begin: 0, len: 5 };
        let read = disk.handle(Job::Read { store: 0, tag: 1, block: beyond });
        assert!(matches!(&read[..], [Done::Unread { error, .. }] if error.is_absent()));
    }
}
