#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this file reads and writes files")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hash::Hasher;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use lru::LruCache;
use siphasher::sip::SipHasher13;

use super::error::DiskError;
use super::hashing::Hashing;
use super::layout::{Layout, Span};
use super::open::{Access, open};
use super::vectored::write_all_at;
use crate::model::{BLOCK_LEN, Block, PieceIndex};

/// Bytes read at once while a piece is checked.
const CHECK_READ_LEN: u32 = 256 * 1024;

/// Which torrent of the session a job is about.
pub type StoreId = u32;

/// What a disk thread is to do.
#[derive(Debug)]
pub enum Job {
    /// Know a torrent from here on.
    Open {
        /// The torrent.
        store: StoreId,
        /// Where its bytes stand.
        layout: Arc<Layout>,
    },
    /// Write consecutive blocks of a piece.
    Write {
        /// The torrent.
        store: StoreId,
        /// The piece.
        piece: PieceIndex,
        /// Offset of the first block within the piece, in bytes.
        begin: u32,
        /// The bytes.
        blocks: Vec<Bytes>,
    },
    /// Read a range of a piece.
    Read {
        /// The torrent.
        store: StoreId,
        /// Comes back with the bytes.
        tag: u64,
        /// The range; it may be longer than a block.
        block: Block,
    },
    /// Find out whether a piece is on the disk.
    Check {
        /// The torrent.
        store: StoreId,
        /// The piece.
        piece: PieceIndex,
    },
    /// Bring what was written to the disk itself.
    Sync {
        /// The torrent.
        store: StoreId,
    },
    /// Forget a torrent and close its files.
    Close {
        /// The torrent.
        store: StoreId,
    },
}

/// What a disk thread did.
#[derive(Debug)]
pub enum Done {
    /// Blocks were written.
    Written {
        /// The piece.
        piece: PieceIndex,
        /// How many bytes.
        bytes: u32,
    },
    /// Every byte of a piece was written, and this is what its hash says.
    Hashed {
        /// The piece.
        piece: PieceIndex,
        /// Whether it has the hash of the metadata.
        verified: bool,
        /// A keyed digest of each block, when this or an earlier version of the piece failed.
        digests: Option<Box<[u64]>>,
    },
    /// A range was read.
    Read {
        /// The tag of the job.
        tag: u64,
        /// The range.
        block: Block,
        /// Its bytes.
        data: Bytes,
    },
    /// A piece was checked.
    Checked {
        /// The piece.
        piece: PieceIndex,
        /// Whether it is on the disk with the right hash.
        verified: bool,
    },
    /// What was written is on the disk.
    Synced,
    /// A job failed.
    Failed(DiskError),
}

/// What every worker of a session has in common.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Key of the block digests.
    pub digest_key: [u64; 2],
    /// Files that one worker keeps open.
    pub handles_max: NonZeroUsize,
}

impl WorkerConfig {
    /// With 64 open files a worker.
    pub fn new(digest_key: [u64; 2]) -> Self {
        Self { digest_key, handles_max: NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN) }
    }
}

/// Does the jobs of one disk thread, of which it is the only owner. Every piece belongs to one worker, which hashes its
/// blocks as they come, so that nothing is read back while they come in order.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    stores: BTreeMap<StoreId, Arc<Layout>>,
    handles: LruCache<(StoreId, usize, Access), Arc<File>>,
    hashing: BTreeMap<(StoreId, PieceIndex), Hashing>,
    /// Pieces whose last version failed: their next version is digested too.
    failed: BTreeSet<(StoreId, PieceIndex)>,
    /// Files that were written since they were synced.
    unsynced: BTreeSet<(StoreId, usize)>,
    scratch: Vec<u8>,
}

impl Worker {
    /// A worker that knows no torrent.
    pub fn new(config: WorkerConfig) -> Self {
        let handles = LruCache::new(config.handles_max);
        Self {
            config,
            stores: BTreeMap::new(),
            handles,
            hashing: BTreeMap::new(),
            failed: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            scratch: Vec::new(),
        }
    }

    /// Does one job; what came of it is appended to `done`.
    pub fn handle(&mut self, job: Job, done: &mut Vec<Done>) {
        let result = match job {
            Job::Open { store, layout } => {
                self.stores.insert(store, layout);
                Ok(())
            }
            Job::Write { store, piece, begin, blocks } => self.write(store, piece, begin, &blocks, done),
            Job::Read { store, tag, block } => {
                self.read(store, &block).map(|data| done.push(Done::Read { tag, block, data }))
            }
            Job::Check { store, piece } => {
                let verified = self.check(store, piece);
                done.push(Done::Checked { piece, verified });
                Ok(())
            }
            Job::Sync { store } => self.sync(store).map(|()| done.push(Done::Synced)),
            Job::Close { store } => {
                self.close(store);
                Ok(())
            }
        };
        if let Err(error) = result {
            done.push(Done::Failed(error));
        }
    }

    fn write(
        &mut self,
        store: StoreId,
        piece: PieceIndex,
        begin: u32,
        blocks: &[Bytes],
        done: &mut Vec<Done>,
    ) -> Result<(), DiskError> {
        let Some(layout) = self.stores.get(&store).cloned() else { return Ok(()) };
        let len: u32 = blocks.iter().map(|block| block.len() as u32).sum();
        let range = Block { piece, begin, len };
        let mut rest = BlockCursor::new(blocks);
        for span in layout.spans(&range) {
            let parts = rest.take(span.len as usize);
            if !layout.files()[span.file].padding {
                let file = self.file(store, &layout, span.file, Access::Write)?;
                write_all_at(&file, &parts, span.offset)
                    .map_err(|error| DiskError::new("write", &layout.path(span.file), error))?;
                self.unsynced.insert((store, span.file));
            }
        }
        let piece_len = layout.info().geometry().piece_len(piece);
        let mut hashing = self.hashing.remove(&(store, piece)).unwrap_or_else(|| Hashing::new(piece_len));
        hashing.add(begin, blocks);
        while let Some(gap) = hashing.readable_gap() {
            let data = self.read(store, &Block { piece, begin: gap.start, len: gap.end - gap.start })?;
            hashing.add_read_back(&data);
        }
        done.push(Done::Written { piece, bytes: len });
        match hashing.finish() {
            Err(unfinished) => {
                self.hashing.insert((store, piece), *unfinished);
                Ok(())
            }
            Ok(hash) => {
                let verified = layout.info().piece_hash(piece).is_some_and(|right| *right == hash);
                self.finish(store, piece, verified, done)
            }
        }
    }

    fn finish(
        &mut self,
        store: StoreId,
        piece: PieceIndex,
        verified: bool,
        done: &mut Vec<Done>,
    ) -> Result<(), DiskError> {
        let failed_before = self.failed.remove(&(store, piece));
        let digests = if failed_before || !verified { Some(self.digests(store, piece)?) } else { None };
        if !verified {
            self.failed.insert((store, piece));
        }
        done.push(Done::Hashed { piece, verified, digests });
        Ok(())
    }

    fn read(&mut self, store: StoreId, block: &Block) -> Result<Bytes, DiskError> {
        let Some(layout) = self.stores.get(&store).cloned() else { return Ok(Bytes::new()) };
        let mut data = BytesMut::zeroed(block.len as usize);
        let mut at = 0;
        for span in layout.spans(block) {
            let end = at + span.len as usize;
            if !layout.files()[span.file].padding {
                self.read_span(store, &layout, &span, &mut data[at..end])?;
            }
            at = end;
        }
        Ok(data.freeze())
    }

    fn read_span(
        &mut self,
        store: StoreId,
        layout: &Arc<Layout>,
        span: &Span,
        out: &mut [u8],
    ) -> Result<(), DiskError> {
        let file = self.file(store, layout, span.file, Access::Read)?;
        file.read_exact_at(out, span.offset).map_err(|error| DiskError::new("read", &layout.path(span.file), error))
    }

    /// Whether the piece is on the disk. A file that is missing or short simply does not have it.
    fn check(&mut self, store: StoreId, piece: PieceIndex) -> bool {
        let Some(layout) = self.stores.get(&store).cloned() else { return false };
        let piece_len = layout.info().geometry().piece_len(piece);
        let mut hashing = Hashing::new(piece_len);
        let mut buffer = std::mem::take(&mut self.scratch);
        let mut begin = 0;
        while begin < piece_len {
            let block = Block { piece, begin, len: (piece_len - begin).min(CHECK_READ_LEN) };
            buffer.resize(block.len as usize, 0);
            let mut at = 0;
            for span in layout.spans(&block) {
                let out = &mut buffer[at..at + span.len as usize];
                at += span.len as usize;
                if layout.files()[span.file].padding {
                    out.fill(0);
                } else if self.read_span(store, &layout, &span, out).is_err() {
                    self.scratch = buffer;
                    return false;
                }
            }
            hashing.add_read_back(&buffer);
            begin += block.len;
        }
        self.scratch = buffer;
        hashing.finish().is_ok_and(|hash| layout.info().piece_hash(piece).is_some_and(|right| *right == hash))
    }

    fn digests(&mut self, store: StoreId, piece: PieceIndex) -> Result<Box<[u64]>, DiskError> {
        let Some(layout) = self.stores.get(&store).cloned() else { return Ok(Box::default()) };
        let [key0, key1] = self.config.digest_key;
        let len = layout.info().geometry().piece_len(piece);
        let whole = self.read(store, &Block { piece, begin: 0, len })?;
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
            let handle = self.file(store, &layout, file, Access::Write)?;
            handle.sync_data().map_err(|error| DiskError::new("sync", &layout.path(file), error))?;
            self.unsynced.remove(&(store, file));
        }
        Ok(())
    }

    fn close(&mut self, store: StoreId) {
        self.stores.remove(&store);
        self.hashing.retain(|(of, _), _| *of != store);
        self.failed.retain(|(of, _)| *of != store);
        self.unsynced.retain(|(of, _)| *of != store);
        let closed: Vec<_> = self.handles.iter().map(|(key, _)| *key).filter(|(of, ..)| *of == store).collect();
        for key in closed {
            self.handles.pop(&key);
        }
    }

    fn file(&mut self, store: StoreId, layout: &Layout, file: usize, access: Access) -> Result<Arc<File>, DiskError> {
        // A handle for writing reads as well.
        for suiting in [Access::Write, access] {
            if let Some(handle) = self.handles.get(&(store, file, suiting)) {
                return Ok(handle.clone());
            }
        }
        let handle = Arc::new(open(layout, file, access)?);
        self.handles.put((store, file, access), handle.clone());
        Ok(handle)
    }
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
mod tests {
    use super::*;
    use crate::model::{Info, Metainfo, NewFile, NewTorrent};
    use crate::storage::{ExistingData, prepare, survey};
    use sha1::{Digest, Sha1};
    use std::path::Path;

    const PIECE_LEN: u32 = 2 * BLOCK_LEN;

    fn content() -> Vec<u8> {
        (0..100_000u32).map(|at| (at * 7 % 251) as u8).collect()
    }

    fn info() -> Arc<Info> {
        let file = |name: &str, len| NewFile { path: vec!["sub".into(), name.into()], len };
        let torrent = NewTorrent {
            name: "top".into(),
            files: Some(vec![file("a", 40_000), file("empty", 0), file("b", 60_000)]),
            total_len: 100_000,
            piece_len: PIECE_LEN,
            pieces: content().chunks(PIECE_LEN as usize).flat_map(|piece| Sha1::digest(piece).to_vec()).collect(),
            private: false,
            comment: None,
            created_by: None,
            creation_date: None,
            nodes: Vec::new(),
        };
        Arc::new(Metainfo::parse(torrent.encode()).unwrap().info)
    }

    fn opened(folder: &Path) -> (Worker, Arc<Layout>) {
        let layout = Arc::new(Layout::new(folder, info()));
        let mut worker = Worker::new(WorkerConfig::new([1, 2]));
        worker.handle(Job::Open { store: 1, layout: layout.clone() }, &mut Vec::new());
        (worker, layout)
    }

    fn write_block(worker: &mut Worker, block: &Block, flip: u8) -> Vec<Done> {
        let start = (block.piece.get() * PIECE_LEN + block.begin) as usize;
        let mut data = content()[start..start + block.len as usize].to_vec();
        data[0] ^= flip;
        let mut done = Vec::new();
        let job = Job::Write { store: 1, piece: block.piece, begin: block.begin, blocks: vec![data.into()] };
        worker.handle(job, &mut done);
        done
    }

    #[test]
    fn blocks_in_any_order_become_verified_files() {
        let folder = tempfile::tempdir().unwrap();
        let (mut worker, layout) = opened(folder.path());
        prepare(&layout).unwrap();
        let geometry = *layout.info().geometry();
        let blocks: Vec<Block> = geometry.pieces().rev().flat_map(|piece| geometry.blocks(piece).rev()).collect();
        let mut verified = 0;
        for block in &blocks {
            for done in write_block(&mut worker, block, 0) {
                match done {
                    Done::Hashed { verified: true, digests: None, .. } => verified += 1,
                    Done::Written { bytes, .. } => assert_eq!(bytes, block.len),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(verified, geometry.piece_count());
        let read = |name| std::fs::read(folder.path().join("top/sub").join(name)).unwrap();
        assert_eq!([read("a"), read("empty"), read("b")].concat(), content());
        let found = survey(&layout, ExistingData::Resume, None);
        assert_eq!(found.unknown.len() as u32, geometry.piece_count(), "everything there has to be checked");
        for piece in found.unknown {
            let mut done = Vec::new();
            worker.handle(Job::Check { store: 1, piece }, &mut done);
            assert!(matches!(done[..], [Done::Checked { verified: true, .. }]));
        }
    }

    #[test]
    fn the_digests_of_two_versions_show_the_block_that_differs() {
        let folder = tempfile::tempdir().unwrap();
        let (mut worker, layout) = opened(folder.path());
        let blocks: Vec<Block> = layout.info().geometry().blocks(PieceIndex::new(0)).collect();
        let mut versions = Vec::new();
        for flip in [1, 0] {
            for block in &blocks {
                let flip = if block.begin > 0 { flip } else { 0 };
                for done in write_block(&mut worker, block, flip) {
                    if let Done::Hashed { verified, digests, .. } = done {
                        assert_eq!(verified, flip == 0 && block.begin > 0);
                        versions.push(digests.unwrap());
                    }
                }
            }
        }
        assert_eq!(versions[0][0], versions[1][0]);
        assert_ne!(versions[0][1], versions[1][1]);
    }

    #[test]
    fn nothing_is_written_through_a_symbolic_link_or_over_another_file() {
        let outside = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("top")).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("top/sub")).unwrap();
        let (mut worker, layout) = opened(folder.path());
        assert!(matches!(prepare(&layout), Err(DiskError::NotPlain { .. })));
        let block = layout.info().geometry().block(PieceIndex::new(0), 0);
        let done = write_block(&mut worker, &block, 0);
        assert!(matches!(done[..], [Done::Failed(DiskError::NotPlain { .. })]), "{done:?}");
        assert_eq!(outside.path().read_dir().unwrap().count(), 0);

        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("top/sub")).unwrap();
        std::fs::write(folder.path().join("top/sub/a"), vec![7; 40_001]).unwrap();
        let layout = Layout::new(folder.path(), info());
        assert!(matches!(prepare(&layout), Err(DiskError::TooLong { len: 40_001, expected: 40_000, .. })));
        assert_eq!(std::fs::read(folder.path().join("top/sub/a")).unwrap(), vec![7; 40_001]);
    }
}
