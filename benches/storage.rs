//! What the disk floor does in a second: `cargo bench --bench storage`.
//!
//! Writes and hashes as a download does, reads as an upload does, checks and makes torrents of one large file and of
//! thousands of small ones. `TMPDIR=/dev/shm cargo bench --bench storage` leaves the disk out of it. Every figure is the best
//! of three rounds; what is read was written just before, so it comes from the page cache.
#![allow(clippy::unwrap_used, reason = "a benchmark ends at what it cannot have")]
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark makes files, reads the clock, prints")]

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use magnes::disk::{Done, Job, Layout};
use magnes::model::{BLOCK_LEN, Bitfield, Block, Metainfo, NewTorrent, PieceIndex};
use magnes::storage::{ExistingData, HashedPath, Worker, WorkerConfig, check_all, hash_path, settle, survey};

const LARGE_LEN: usize = 512 << 20;
const PIECE_LEN: u32 = 1 << 20;
const SMALL_FILES: usize = 5_000;
const SMALL_LEN: usize = 32 << 10;
/// What reaches a disk thread at once.
const RUN_LEN: u32 = 256 << 10;
const ROUNDS: usize = 3;

/// Prints how fast so many bytes were handled.
fn bench(name: &str, bytes: usize, mut round: impl FnMut() -> Duration) {
    let best = (0..ROUNDS).map(|_| round()).min().unwrap();
    let mib_per_s = bytes as f64 / f64::from(1 << 20) / best.as_secs_f64();
    println!("{name:<52} {:>8.1} ms {mib_per_s:>9.0} MiB/s", best.as_secs_f64() * 1e3);
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn content(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()
    };
    (0..len / 8).flat_map(|_| next()).collect()
}

fn layout(folder: &Path, hashed: HashedPath) -> Arc<Layout> {
    let torrent = NewTorrent::from(hashed);
    Arc::new(Layout::new(folder, Arc::new(Metainfo::parse(torrent.encode()).unwrap().info)))
}

fn worker(layout: &Arc<Layout>) -> Worker {
    let mut worker = Worker::new(WorkerConfig::new([1, 2], 1));
    worker.handle(Job::Open { store: 0, layout: layout.clone() }, &mut Vec::new());
    worker
}

/// The blocks of a run, as they stand in the receive buffer.
fn blocks(content: &Bytes, start: usize, len: u32) -> Vec<Bytes> {
    let end = start + len as usize;
    (start..end).step_by(BLOCK_LEN as usize).map(|at| content.slice(at..end.min(at + BLOCK_LEN as usize))).collect()
}

/// Writes every piece in runs, on so many workers at once.
fn download(layout: &Arc<Layout>, content: &Bytes, threads: usize, backwards: bool) {
    let pieces: Vec<PieceIndex> = layout.info().geometry().pieces().collect();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let pieces = &pieces;
            scope.spawn(move || {
                let mut worker = worker(layout);
                let mut done = Vec::new();
                for piece in pieces.iter().skip(thread).step_by(threads) {
                    let piece_len = layout.info().geometry().piece_len(*piece);
                    let mut begins: Vec<u32> = (0..piece_len).step_by(RUN_LEN as usize).collect();
                    if backwards {
                        begins.reverse();
                    }
                    for begin in begins {
                        let start = layout.info().geometry().piece_offset(*piece) as usize + begin as usize;
                        let blocks = blocks(content, start, RUN_LEN.min(piece_len - begin));
                        worker.handle(Job::Write { store: 0, piece: *piece, begin, blocks }, &mut done);
                    }
                    assert!(matches!(done.last(), Some(Done::Hashed { verified: true, .. })));
                    done.clear();
                }
            });
        }
    });
}

fn upload(layout: &Arc<Layout>) {
    let mut worker = worker(layout);
    let mut done = Vec::new();
    for piece in layout.info().geometry().pieces() {
        let piece_len = layout.info().geometry().piece_len(piece);
        for begin in (0..piece_len).step_by(RUN_LEN as usize) {
            let block = Block { piece, begin, len: RUN_LEN.min(piece_len - begin) };
            worker.handle(Job::Read { store: 0, tag: 0, block }, &mut done);
            assert!(
                matches!(done.pop(), Some(Done::Read { data, .. }) if black_box(&data).len() == block.len as usize)
            );
        }
    }
}

fn check(layout: &Arc<Layout>, threads: NonZeroUsize, is_there: bool) {
    let unknown = survey(layout, ExistingData::Check, None).unknown;
    assert_eq!(check_all(layout, &unknown, threads, |_| ()).have.is_full(), is_there);
}

/// Makes the files of a torrent of which nothing is there.
fn make(layout: &Layout) {
    let nothing = Bitfield::empty(layout.info().geometry().piece_count());
    settle(layout, &nothing, None, false).unwrap();
}

fn main() {
    let home = tempfile::tempdir().unwrap();
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let one = NonZeroUsize::MIN;
    println!("{} cores, files in {}", threads, std::env::temp_dir().display());

    let large = home.path().join("large");
    let bytes = Bytes::from(content(LARGE_LEN));
    std::fs::write(&large, &bytes).unwrap();
    for threads in [one, threads] {
        bench(&format!("512 MiB hashed for a torrent, threads: {threads}"), LARGE_LEN, || {
            timed(|| drop(hash_path(&large, None, Some(PIECE_LEN), threads, |_, _| ()).unwrap()))
        });
    }
    let hashed = || hash_path(&large, None, Some(PIECE_LEN), threads, |_, _| ()).unwrap();
    let seed = layout(home.path(), hashed());
    for threads in [one, threads] {
        bench(&format!("512 MiB checked, threads: {threads}"), LARGE_LEN, || timed(|| check(&seed, threads, true)));
    }
    bench("512 MiB read in runs of 256 KiB", LARGE_LEN, || timed(|| upload(&seed)));
    for (name, threads, backwards) in [
        ("in order, 1 thread", 1, false),
        ("in order, all threads", threads.get(), false),
        ("pieces backwards, 1 thread", 1, true),
    ] {
        bench(&format!("512 MiB written and hashed, {name}"), LARGE_LEN, || {
            let folder = tempfile::tempdir_in(home.path()).unwrap();
            let layout = layout(folder.path(), hashed());
            make(&layout);
            timed(|| download(&layout, &bytes, threads, backwards))
        });
    }
    let empty = tempfile::tempdir_in(home.path()).unwrap();
    let sparse = layout(empty.path(), hashed());
    make(&sparse);
    bench("512 MiB of holes checked", LARGE_LEN, || timed(|| check(&sparse, threads, false)));

    let small = home.path().join("small");
    std::fs::create_dir(&small).unwrap();
    for (index, bytes) in bytes.chunks(SMALL_LEN).take(SMALL_FILES).enumerate() {
        let folder = small.join(format!("folder {}", index / 100));
        if index % 100 == 0 {
            std::fs::create_dir(&folder).unwrap();
        }
        std::fs::write(folder.join(format!("file {index}")), bytes).unwrap();
    }
    let small_len = SMALL_FILES * SMALL_LEN;
    for threads in [one, threads] {
        bench(&format!("5,000 files of 32 KiB hashed, threads: {threads}"), small_len, || {
            timed(|| drop(hash_path(&small, None, None, threads, |_, _| ()).unwrap()))
        });
    }
    let hashed = || hash_path(&small, None, None, threads, |_, _| ()).unwrap();
    let seed = layout(home.path(), hashed());
    for threads in [one, threads] {
        bench(&format!("5,000 files of 32 KiB checked, threads: {threads}"), small_len, || {
            timed(|| check(&seed, threads, true))
        });
    }
    bench("5,000 files made", small_len, || {
        let folder = tempfile::tempdir_in(home.path()).unwrap();
        let layout = layout(folder.path(), hashed());
        timed(|| make(&layout))
    });
}
