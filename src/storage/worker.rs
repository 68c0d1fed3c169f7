#![allow(clippy::disallowed_types, reason = "this file writes files")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hash::Hasher;
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use siphasher::sip::SipHasher13;

use super::handles::Handles;
use super::hashing::Hashing;
use super::limits::handles_max;
use super::open::{len_on_disk, open};
use super::sys::{Access, is_deleted, is_same_file, write_all_at};
use super::zeros::ZeroHashes;
use crate::disk::DiskError;
use crate::disk::{Done, Job, StoreId, Verdict};
use crate::disk::{Layout, Span};
use crate::model::{BLOCK_LEN, Block, PieceIndex};

/// Bytes read at once while a piece is checked.
const CHECK_READ_LEN: u32 = 256 * 1024;

/// What every worker of a session has in common.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Key of the block digests.
    pub digest_key: [u64; 2],
    /// Files that one worker keeps open.
    pub handles_max: NonZeroUsize,
}

impl WorkerConfig {
    /// For one of so many workers, which share the files that the process may have open.
    pub fn new(digest_key: [u64; 2], workers: usize) -> Self {
        Self { digest_key, handles_max: handles_max(workers) }
    }
}

/// Does the jobs of one disk thread, of which it is the only owner. Every piece belongs to one worker, which hashes its
/// blocks as they come, so that nothing is read back while they come in order.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    stores: BTreeMap<StoreId, Arc<Layout>>,
    handles: Handles,
    hashing: BTreeMap<(StoreId, PieceIndex), Hashing>,
    /// Pieces whose last version failed: their next version is digested too.
    failed: BTreeSet<(StoreId, PieceIndex)>,
    /// Files that were written since they were synced.
    unsynced: BTreeSet<(StoreId, usize)>,
    zeros: ZeroHashes,
    scratch: Vec<u8>,
}

impl Worker {
    /// A worker that knows no torrent.
    pub fn new(config: WorkerConfig) -> Self {
        let handles = Handles::new(config.handles_max);
        Self {
            config,
            stores: BTreeMap::new(),
            handles,
            hashing: BTreeMap::new(),
            failed: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            zeros: ZeroHashes::default(),
            scratch: Vec::new(),
        }
    }

    /// Does one job; what came of it is appended to `done`. A job for a torrent that was closed leads to nothing.
    pub fn handle(&mut self, job: Job, done: &mut Vec<Done>) {
        match job {
            Job::Open { store, layout } => {
                self.stores.insert(store, layout);
            }
            Job::Write { store, piece, begin, blocks } => self.write(store, piece, begin, &blocks, done),
            Job::Read { store, tag, block } => self.read(store, tag, block, done),
            Job::Check { store, piece } => {
                let verdict = match self.check(store, piece) {
                    Ok(true) => Verdict::Verified,
                    Ok(false) => Verdict::Absent,
                    Err(error) if error.is_absent() => Verdict::Absent,
                    Err(error) => Verdict::Unreadable(error),
                };
                done.push(Done::Checked { piece, verdict });
            }
            Job::Measure { store, piece } => done.push(Done::Measured { absent: self.measure(store, piece) }),
            Job::Sync { store } => done.push(Done::Synced(self.sync(store))),
            Job::Close { store } => self.close(store),
        }
    }

    fn write(&mut self, store: StoreId, piece: PieceIndex, begin: u32, blocks: &[Bytes], done: &mut Vec<Done>) {
        let Some(layout) = self.stores.get(&store).cloned() else { return };
        let len: u32 = blocks.iter().map(|block| block.len() as u32).sum();
        if let Err(error) = self.write_spans(store, &layout, &Block { piece, begin, len }, blocks) {
            done.push(Done::Failed(error));
            return;
        }
        done.push(Done::Written { piece, bytes: len });
        let piece_len = layout.info().geometry().piece_len(piece);
        let mut hashing = self.hashing.remove(&(store, piece)).unwrap_or_else(|| Hashing::new(piece_len));
        hashing.add(begin, blocks);
        if let Err(error) = self.read_back(store, &layout, piece, &mut hashing) {
            // The next version of the piece begins with nothing: this one is given up as a whole.
            done.push(Done::Lost { piece, error });
            return;
        }
        match hashing.finish() {
            Err(unfinished) => {
                self.hashing.insert((store, piece), *unfinished);
            }
            Ok(hash) => {
                let verified = layout.info().piece_hash(piece).is_some_and(|right| *right == hash);
                self.finish(store, &layout, piece, verified, done);
            }
        }
    }

    fn write_spans(
        &mut self,
        store: StoreId,
        layout: &Layout,
        range: &Block,
        blocks: &[Bytes],
    ) -> Result<(), DiskError> {
        let mut rest = BlockCursor::new(blocks);
        for span in layout.spans(range) {
            let parts = rest.take(span.len as usize);
            if !layout.files()[span.file].padding {
                let file = self.handles.file(store, layout, span.file, Access::Write)?;
                self.unsynced.insert((store, span.file));
                write_all_at(&file, &parts, span.offset)
                    .map_err(|error| DiskError::new("write", &layout.path(span.file), error))?;
                self.check_named(store, layout, span.file, &file)?;
            }
        }
        Ok(())
    }

    /// What is written to a file that was deleted is in nobody's hands.
    fn check_named(&mut self, store: StoreId, layout: &Layout, file: usize, handle: &File) -> Result<(), DiskError> {
        let Ok(metadata) = handle.metadata() else { return Ok(()) };
        if !is_deleted(&metadata) {
            return Ok(());
        }
        // Some file systems count no names at all: only what is found under the name tells.
        let found = open(layout, file, Access::Read)
            .and_then(|found| found.metadata().map_err(|error| DiskError::new("look at", &layout.path(file), error)));
        if found.is_ok_and(|found| is_same_file(&found, &metadata) == Some(true)) {
            return Ok(());
        }
        self.handles.forget(store, file);
        Err(DiskError::Deleted { path: layout.path(file) })
    }

    /// Hashes what is written and was not hashed when it came.
    fn read_back(
        &mut self,
        store: StoreId,
        layout: &Layout,
        piece: PieceIndex,
        hashing: &mut Hashing,
    ) -> Result<(), DiskError> {
        while let Some(gap) = hashing.readable_gap() {
            let len = (gap.end - gap.start).min(CHECK_READ_LEN);
            make_room(&mut self.scratch, len);
            self.handles.read(store, layout, &Block { piece, begin: gap.start, len }, &mut self.scratch)?;
            hashing.add_read_back(&self.scratch);
        }
        Ok(())
    }

    fn finish(&mut self, store: StoreId, layout: &Layout, piece: PieceIndex, verified: bool, done: &mut Vec<Done>) {
        let failed_before = self.failed.remove(&(store, piece));
        let wanted = failed_before || !verified;
        // Without digests nobody is found to have lied; the verdict on the piece stands.
        let digests = if wanted { self.digests(store, layout, piece).ok() } else { None };
        if !verified {
            self.failed.insert((store, piece));
        }
        done.push(Done::Hashed { piece, verified, digests });
    }

    fn read(&mut self, store: StoreId, tag: u64, block: Block, done: &mut Vec<Done>) {
        let Some(layout) = self.stores.get(&store).cloned() else { return };
        let mut data = Vec::new();
        done.push(match self.handles.read(store, &layout, &block, &mut data) {
            Ok(()) => Done::Read { tag, block, data: data.into() },
            Err(error) => Done::Unread { tag, block, error },
        });
    }

    /// Whether the piece is on the disk with the right hash.
    fn check(&mut self, store: StoreId, piece: PieceIndex) -> Result<bool, DiskError> {
        let Some(layout) = self.stores.get(&store).cloned() else { return Ok(false) };
        let Some(right) = layout.info().piece_hash(piece) else { return Ok(false) };
        let piece_len = layout.info().geometry().piece_len(piece);
        let whole = Block { piece, begin: 0, len: piece_len };
        let mut in_hole = |span: Span| layout.files()[span.file].padding || self.handles.is_hole(store, &layout, &span);
        if layout.spans(&whole).all(&mut in_hole) {
            return Ok(*right == self.zeros.of(piece_len));
        }
        let mut hashing = Hashing::new(piece_len);
        let mut begin = 0;
        while begin < piece_len {
            let block = Block { piece, begin, len: (piece_len - begin).min(CHECK_READ_LEN) };
            make_room(&mut self.scratch, block.len);
            self.handles.read(store, &layout, &block, &mut self.scratch)?;
            hashing.add_read_back(&self.scratch);
            begin += block.len;
        }
        Ok(hashing.finish().is_ok_and(|hash| *right == hash))
    }

    /// The pieces that are not whole in the files of this piece. A file that cannot be looked at tells of none.
    fn measure(&mut self, store: StoreId, piece: PieceIndex) -> Vec<PieceIndex> {
        let Some(layout) = self.stores.get(&store).cloned() else { return Vec::new() };
        let geometry = layout.info().geometry();
        let mut absent = Vec::new();
        for span in layout.spans(&Block { piece, begin: 0, len: geometry.piece_len(piece) }) {
            let file = &layout.files()[span.file];
            if file.padding {
                continue;
            }
            // What is open may be another file than what stands there.
            self.handles.forget(store, span.file);
            match len_on_disk(&layout, span.file).map(Option::unwrap_or_default) {
                Ok(len) if len < file.len => absent.extend(geometry.pieces_of(file.offset + len, file.len - len)),
                _ => {}
            }
        }
        absent
    }

    fn digests(&mut self, store: StoreId, layout: &Layout, piece: PieceIndex) -> Result<Box<[u64]>, DiskError> {
        let [key0, key1] = self.config.digest_key;
        let len = layout.info().geometry().piece_len(piece);
        let mut whole = Vec::new();
        self.handles.read(store, layout, &Block { piece, begin: 0, len }, &mut whole)?;
        let digest = |block: &[u8]| {
            let mut hasher = SipHasher13::new_with_keys(key0, key1);
            hasher.write(block);
            hasher.finish()
        };
        Ok(whole.chunks(BLOCK_LEN as usize).map(digest).collect())
    }

    fn sync(&mut self, store: StoreId) -> Result<(), DiskError> {
        let Some(layout) = self.stores.get(&store).cloned() else { return Ok(()) };
        let written: Vec<usize> = self.unsynced.iter().filter(|(of, _)| *of == store).map(|(_, file)| *file).collect();
        for file in written {
            // Reading is enough to sync, and makes no file anew that was deleted.
            let handle = self.handles.file(store, &layout, file, Access::Read)?;
            let failed = |error| DiskError::new("sync", &layout.path(file), error);
            self.check_named(store, &layout, file, &handle)?;
            handle.sync_data().map_err(failed)?;
            self.unsynced.remove(&(store, file));
        }
        Ok(())
    }

    fn close(&mut self, store: StoreId) {
        self.stores.remove(&store);
        self.hashing.retain(|(of, _), _| *of != store);
        self.failed.retain(|(of, _)| *of != store);
        self.unsynced.retain(|(of, _)| *of != store);
        self.handles.close(store);
    }
}

/// Empties a buffer that has room for `len` bytes and no more: what has more room is read into beyond what is wanted.
fn make_room(buffer: &mut Vec<u8>, len: u32) {
    if buffer.capacity() != len as usize {
        *buffer = Vec::with_capacity(len as usize);
    }
    buffer.clear();
}

/// Hands out the bytes of several buffers in portions.
struct BlockCursor<'a> {
    blocks: &'a [Bytes],
    skip: usize,
}

impl<'a> BlockCursor<'a> {
    fn new(blocks: &'a [Bytes]) -> Self {
        Self { blocks, skip: 0 }
    }

    /// The next `len` bytes as slices.
    fn take(&mut self, mut len: usize) -> Vec<&'a [u8]> {
        let mut parts = Vec::with_capacity(self.blocks.len());
        while len > 0
            && let Some((first, rest)) = self.blocks.split_first()
        {
            let part = &first[self.skip..];
            if part.len() > len {
                parts.push(&part[..len]);
                self.skip += len;
                break;
            }
            parts.push(part);
            len -= part.len();
            self.skip = 0;
            self.blocks = rest;
        }
        parts
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
