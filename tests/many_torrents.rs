//! Many torrents in one session, as a library user has them.
#![cfg(feature = "session")]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_methods, reason = "the test makes files and reads the clock")]

use std::path::Path;
use std::time::Duration;

use magnes::model::{Metainfo, NewTorrent};
use magnes::session::{AddOptions, Config, ExistingData, Phase, Session, TorrentHandle};
use sha1::{Digest, Sha1};
use tokio::time::timeout;

const TORRENTS: usize = 200;
const LEN: u64 = 768 * 1024;
const PIECE_LEN: u32 = 64 * 1024;
/// How long the whole may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// What a session may have in memory for its torrents at most: credit and reads of all, and for each torrent its tables and
/// its queues. Twice, as two sessions share this process, and beside what a process has anyway.
const MIB: u64 = 1024 * 1024;
const MEMORY_MAX: u64 = 2 * (64 * MIB + 32 * MIB + TORRENTS as u64 * MIB / 4) + 64 * MIB;

/// A torrent of one file with content of its own, and the file.
fn make_torrent(folder: &Path, number: usize) -> Metainfo {
    let mut state = number as u32 + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let content: Vec<u8> = (0..LEN).map(|_| next()).collect();
    let name = format!("file-{number}");
    std::fs::write(folder.join(&name), &content).unwrap();
    let torrent = NewTorrent {
        name,
        files: None,
        total_len: LEN,
        piece_len: PIECE_LEN,
        pieces: content.chunks(PIECE_LEN as usize).flat_map(|piece| Sha1::digest(piece).to_vec()).collect(),
        private: true,
        comment: None,
        created_by: None,
        creation_date: None,
        nodes: Vec::new(),
    };
    Metainfo::parse(torrent.encode()).unwrap()
}

async fn session() -> Session {
    let config = Config::default().listen("127.0.0.1:0".parse().unwrap()).without_dht().disk_threads(1);
    Session::start(config).await.unwrap()
}

/// The most that this process ever had in memory, in bytes.
#[cfg(target_os = "linux")]
fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

async fn reach(handle: &TorrentHandle, phase: Phase) {
    let mut progress = handle.progress();
    while progress.next().await.expect("the torrent is there").phase != phase {}
}

#[tokio::test]
async fn two_hundred_torrents_share_what_a_session_has_and_come_and_go_in_any_order() {
    let home = tempfile::tempdir().unwrap();
    let (share, out) = (home.path().join("share"), home.path().join("out"));
    std::fs::create_dir_all(&share).unwrap();
    let torrents: Vec<Metainfo> = (0..TORRENTS).map(|number| make_torrent(&share, number)).collect();
    let (seeds, leeches) = (session().await, session().await);
    let addr = seeds.local_addrs()[0];
    for torrent in &torrents {
        let options = AddOptions::new(&share).existing(ExistingData::Verified);
        seeds.add(torrent.clone(), options).await.unwrap();
    }
    let add = async |number: usize| {
        let options = AddOptions::new(&out).peer(addr);
        leeches.add(torrents[number].clone(), options).await.unwrap()
    };
    let body = async {
        let mut handles: Vec<TorrentHandle> = Vec::new();
        for number in 0..TORRENTS {
            handles.push(add(number).await);
            // Meanwhile some are paused, some go, and come again.
            match number % 10 {
                3 => handles[number / 2].pause().await.unwrap(),
                6 => {
                    let gone = number / 3;
                    handles[gone].remove().await.unwrap();
                    assert!(leeches.torrent(&torrents[gone].info.hash()).is_none());
                    handles[gone] = add(gone).await;
                }
                _ => {}
            }
        }
        assert_eq!(leeches.torrents().len(), TORRENTS);
        for handle in &handles {
            handle.resume().await.unwrap();
        }
        for handle in &handles {
            handle.wait_complete().await.unwrap();
        }
        for (number, handle) in handles.iter().enumerate().rev() {
            match number % 3 {
                0 => {
                    handle.pause().await.unwrap();
                    reach(handle, Phase::Paused).await;
                }
                1 => handle.remove().await.unwrap(),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, body).await.expect("every torrent becomes complete");
    #[cfg(target_os = "linux")]
    assert!(memory_peak() < MEMORY_MAX, "{} MiB of {}", memory_peak() / MIB, MEMORY_MAX / MIB);
    for number in 0..TORRENTS {
        let name = format!("file-{number}");
        assert!(std::fs::read(share.join(&name)).unwrap() == std::fs::read(out.join(&name)).unwrap(), "{name}");
    }
    leeches.shutdown().await;
    seeds.shutdown().await;
}
