#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the tests make files")]

use super::*;
use crate::model::{Bitfield, Info, Metainfo, NewFile, NewTorrent};
use crate::storage::{ExistingData, settle, survey};
use sha1::{Digest, Sha1};
use std::fs::OpenOptions;
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

/// Makes the files of a torrent of which nothing is there.
fn make(layout: &Layout) -> Result<(), DiskError> {
    let nothing = Bitfield::empty(layout.info().geometry().piece_count());
    settle(layout, &nothing, None, false).map(|_| ())
}

fn opened(folder: &Path) -> (Worker, Arc<Layout>) {
    let layout = Arc::new(Layout::new(folder, info()));
    let mut worker = Worker::new(WorkerConfig::new([1, 2], 1));
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
    make(&layout).unwrap();
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
        assert!(matches!(done[..], [Done::Checked { verdict: Verdict::Verified, .. }]));
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
    assert!(matches!(make(&layout), Err(DiskError::Link { .. })));
    let block = layout.info().geometry().block(PieceIndex::new(0), 0);
    let done = write_block(&mut worker, &block, 0);
    assert!(matches!(done[..], [Done::Failed(DiskError::Link { .. })]), "{done:?}");
    assert_eq!(outside.path().read_dir().unwrap().count(), 0);

    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("top/sub")).unwrap();
    std::fs::write(folder.path().join("top/sub/a"), vec![7; 40_001]).unwrap();
    let layout = Layout::new(folder.path(), info());
    assert!(matches!(make(&layout), Err(DiskError::TooLong { len: 40_001, expected: 40_000, .. })));
    assert_eq!(std::fs::read(folder.path().join("top/sub/a")).unwrap(), vec![7; 40_001]);
}

fn write_all(worker: &mut Worker, layout: &Layout) {
    let geometry = *layout.info().geometry();
    for block in geometry.pieces().flat_map(|piece| geometry.blocks(piece)) {
        write_block(worker, &block, 0);
    }
}

fn one(worker: &mut Worker, job: Job) -> Done {
    let mut done = Vec::new();
    worker.handle(job, &mut done);
    assert_eq!(done.len(), 1, "{done:?}");
    done.remove(0)
}

fn truncate(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

#[test]
fn a_range_that_cannot_be_read_is_told_by_its_tag_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (mut worker, layout) = opened(folder.path());
    write_all(&mut worker, &layout);
    let path = folder.path().join("top/sub/a");
    truncate(&path, 20_000);
    let block = |index| layout.info().geometry().block(PieceIndex::new(index), 0);
    let read = |worker: &mut Worker, tag, index| one(worker, Job::Read { store: 1, tag, block: block(index) });
    let unread = read(&mut worker, 7, 1);
    assert!(matches!(&unread, Done::Unread { tag: 7, error: DiskError::Io { .. }, .. }), "{unread:?}");
    assert!(matches!(read(&mut worker, 8, 0), Done::Read { tag: 8, data, .. } if data == content()[..16_384]));
    std::fs::write(&path, &content()[..40_000]).unwrap();
    assert!(matches!(read(&mut worker, 9, 1), Done::Read { .. }), "it is there again");
}

#[test]
fn a_piece_that_cannot_be_read_back_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (mut worker, layout) = opened(folder.path());
    let blocks: Vec<Block> = layout.info().geometry().blocks(PieceIndex::new(0)).collect();
    write_block(&mut worker, &blocks[1], 0);
    truncate(&folder.path().join("top/sub/a"), 0);
    let done = write_block(&mut worker, &blocks[0], 0);
    assert!(matches!(done[..], [Done::Written { .. }, Done::Lost { .. }]), "{done:?}");
    write_block(&mut worker, &blocks[0], 0);
    let done = write_block(&mut worker, &blocks[1], 0);
    assert!(matches!(done[..], [Done::Written { .. }, Done::Hashed { verified: true, .. }]), "{done:?}");
}

#[test]
fn a_block_that_is_overwritten_is_not_taken_for_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (mut worker, layout) = opened(folder.path());
    let blocks: Vec<Block> = layout.info().geometry().blocks(PieceIndex::new(0)).collect();
    write_block(&mut worker, &blocks[0], 0);
    write_block(&mut worker, &blocks[0], 1);
    let done = write_block(&mut worker, &blocks[1], 0);
    assert!(matches!(done[..], [Done::Written { .. }, Done::Hashed { verified: false, .. }]), "{done:?}");
}

#[test]
fn a_file_that_is_deleted_meanwhile_is_neither_synced_nor_written() {
    let folder = tempfile::tempdir().unwrap();
    let (mut worker, layout) = opened(folder.path());
    write_all(&mut worker, &layout);
    assert!(matches!(one(&mut worker, Job::Sync { store: 1 }), Done::Synced(Ok(()))));
    write_all(&mut worker, &layout);
    std::fs::remove_file(folder.path().join("top/sub/b")).unwrap();
    let synced = one(&mut worker, Job::Sync { store: 1 });
    assert!(matches!(synced, Done::Synced(Err(DiskError::Deleted { .. }))), "{synced:?}");
    assert!(!folder.path().join("top/sub/b").exists());

    std::fs::remove_file(folder.path().join("top/sub/a")).unwrap();
    let block = layout.info().geometry().block(PieceIndex::new(0), 0);
    let done = write_block(&mut worker, &block, 0);
    assert!(matches!(done[..], [Done::Failed(DiskError::Deleted { .. })]), "{done:?}");
}

#[test]
fn a_hole_is_the_zeros_that_it_reads_as() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = vec![0; 10 * PIECE_LEN as usize - 100];
    bytes[5 * PIECE_LEN as usize + 7] = 1;
    let torrent = NewTorrent {
        name: "sparse".into(),
        files: None,
        total_len: bytes.len() as u64,
        piece_len: PIECE_LEN,
        pieces: bytes.chunks(PIECE_LEN as usize).flat_map(|piece| Sha1::digest(piece).to_vec()).collect(),
        private: false,
        comment: None,
        created_by: None,
        creation_date: None,
        nodes: Vec::new(),
    };
    let info = Arc::new(Metainfo::parse(torrent.encode()).unwrap().info);
    let layout = Arc::new(Layout::new(folder.path(), info));
    make(&layout).unwrap();
    let mut worker = Worker::new(WorkerConfig::new([1, 2], 1));
    worker.handle(Job::Open { store: 1, layout: layout.clone() }, &mut Vec::new());
    let mut verified = || -> Vec<u32> {
        let mut there = |piece: &PieceIndex| {
            matches!(
                one(&mut worker, Job::Check { store: 1, piece: *piece }),
                Done::Checked { verdict: Verdict::Verified, .. }
            )
        };
        layout.info().geometry().pieces().filter(|piece| there(piece)).map(PieceIndex::get).collect()
    };
    assert_eq!(verified(), [0, 1, 2, 3, 4, 6, 7, 8, 9], "the piece with a one in it is not there");
    let path = folder.path().join("sparse");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    write_all_at(&file, &[&[1]], 5 * u64::from(PIECE_LEN) + 7).unwrap();
    assert_eq!(verified(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    truncate(&path, 8 * u64::from(PIECE_LEN) + 1);
    assert_eq!(verified(), [0, 1, 2, 3, 4, 5, 6, 7], "beyond the end there is no hole");
}

#[test]
fn what_is_behind_a_link_is_read_and_what_is_missing_of_it_is_not_written() {
    let outside = tempfile::tempdir().unwrap();
    let (mut worker, layout) = opened(outside.path());
    make(&layout).unwrap();
    write_all(&mut worker, &layout);
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path().join("top"), folder.path().join("top")).unwrap();
    let (mut worker, layout) = opened(folder.path());
    let pieces: Vec<PieceIndex> = layout.info().geometry().pieces().collect();
    for piece in &pieces {
        let checked = one(&mut worker, Job::Check { store: 1, piece: *piece });
        assert!(matches!(checked, Done::Checked { verdict: Verdict::Verified, .. }), "{checked:?}");
    }
    let mut have = Bitfield::full(pieces.len() as u32);
    assert!(settle(&layout, &have, None, false).unwrap().lock.is_none(), "nothing is locked to be written");
    have.remove(pieces[0]);
    assert!(matches!(settle(&layout, &have, None, true), Err(DiskError::Link { .. })));
}

#[test]
fn one_look_at_a_file_that_was_cut_tells_every_piece_that_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (mut worker, layout) = opened(folder.path());
    make(&layout).unwrap();
    write_all(&mut worker, &layout);
    let mut absent = |piece| match one(&mut worker, Job::Measure { store: 1, piece: PieceIndex::new(piece) }) {
        Done::Measured { absent } => absent.into_iter().map(PieceIndex::get).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert!(absent(0).is_empty() && absent(3).is_empty());
    truncate(&folder.path().join("top/sub/b"), 30_000);
    assert!(absent(0).is_empty(), "piece 0 is in the other file");
    assert_eq!(absent(2), [2, 3], "the first 30,000 bytes of the file end in piece 2");
    std::fs::remove_file(folder.path().join("top/sub/b")).unwrap();
    assert_eq!(absent(1), [1, 2, 3]);
}
