//! The session as a program other than ours uses it: sockets on the loopback network, no DHT.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test ends at what it cannot have")]

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::Path;
use std::time::Duration;

use magnes::model::{InfoHash, Metainfo, NewTorrent};
use magnes::session::{
    AddError, AddOptions, Config, ControlError, ExistingData, Phase, RemoveError, Session, SessionEvent,
    SessionEventStream, StartError, TorrentError, TorrentEvent, TorrentHandle, Wanted,
};
use magnes::storage::hash_path;
use tempfile::TempDir;
use tokio::time::timeout;

/// No step of a test takes nearly as long, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// Bytes of the file that is shared: some pieces, the last one short.
const LEN: usize = 700_001;

fn loopback() -> Config {
    Config::default().listen((Ipv4Addr::LOCALHOST, 0).into()).without_dht().disk_threads(1)
}

/// A file, and the torrent of it.
fn shared() -> (TempDir, Metainfo) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared");
    std::fs::write(&path, (0..LEN).map(|at| (at * at / 7) as u8).collect::<Vec<_>>()).unwrap();
    let hashed = hash_path(&path, None, Some(1 << 16), NonZero::<usize>::MIN, |_, _| {}).unwrap();
    let metainfo = Metainfo::parse(NewTorrent::from(hashed).encode()).unwrap();
    (folder, metainfo)
}

async fn seed(folder: &Path, metainfo: &Metainfo) -> (Session, SocketAddr) {
    let session = Session::start(loopback()).await.unwrap();
    let options = AddOptions::new(folder).existing(ExistingData::Verified);
    session.add(metainfo.clone(), options).await.unwrap().wait_complete().await.unwrap();
    session.listening().await;
    let addr = session.local_addrs()[0];
    (session, addr)
}

async fn until(events: &mut SessionEventStream, mut is_it: impl FnMut(&SessionEvent) -> bool) -> Vec<SessionEvent> {
    let mut seen = Vec::new();
    loop {
        let event = timeout(DEADLINE, events.next()).await.expect("it happens in time").expect("the session goes on");
        let found = is_it(&event);
        seen.push(event);
        if found {
            return seen;
        }
    }
}

#[tokio::test]
async fn a_session_tells_what_it_has_and_what_happens_to_it() {
    let (folder, metainfo) = shared();
    let (seeding, addr) = seed(folder.path(), &metainfo).await;
    let target = tempfile::tempdir().unwrap();
    let session = Session::start(loopback()).await.unwrap();
    let mut events = session.events();
    assert!(session.torrents().is_empty());

    let hash = metainfo.info.hash();
    let torrent = session.add(metainfo.magnet(), AddOptions::new(target.path()).peer(addr)).await.unwrap();
    assert_eq!(session.torrents().iter().map(TorrentHandle::info_hash).collect::<Vec<_>>(), [hash]);
    assert!(session.torrent(&InfoHash::new([9; 20])).is_none());
    session.torrent(&hash).unwrap().wait_complete().await.unwrap();
    let read = std::fs::read(target.path().join("shared")).unwrap();
    assert_eq!(read, std::fs::read(folder.path().join("shared")).unwrap());
    assert_eq!(torrent.latest_progress().phase, Phase::Seeding);
    assert_eq!(torrent.latest_progress().bytes_done, LEN as u64);

    let seen = until(&mut events, |event| matches!(event, SessionEvent::Completed { .. })).await;
    assert!(seen.iter().all(|event| event.info_hash() == Some(hash)), "{seen:?}");
    assert!(matches!(seen[0], SessionEvent::Added { .. }), "{seen:?}");
    let metadata = |event: &SessionEvent| matches!(event, SessionEvent::Torrent { event: TorrentEvent::Metadata { bytes, .. }, .. } if *bytes == LEN as u64);
    assert!(seen.iter().any(metadata), "{seen:?}");

    torrent.remove().await.unwrap();
    assert!(session.torrents().is_empty() && session.torrent(&hash).is_none());
    until(&mut events, |event| matches!(event, SessionEvent::Removed { .. })).await;
    session.shutdown().await;
    assert!(events.next().await.is_none(), "the stream ends with the session");
    seeding.shutdown().await;
}

#[tokio::test]
async fn files_and_peers_are_shown_as_they_are() {
    let (folder, metainfo) = shared();
    let (seeding, _) = seed(folder.path(), &metainfo).await;
    let files = seeding.torrents()[0].files().await.unwrap();
    assert_eq!((files.len(), files[0].index, files[0].path.as_path()), (1, 0, Path::new("shared")));
    assert_eq!((files[0].len, files[0].bytes_done, files[0].wanted), (LEN as u64, LEN as u64, Wanted::Whole));
    seeding.shutdown().await;

    // Nobody has anything: the two stay connected.
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = Session::start(loopback()).await.unwrap();
    let unknown = first.add(InfoHash::new([9; 20]), AddOptions::new(folders[0].path())).await.unwrap();
    assert!(unknown.files().await.unwrap().is_empty() && unknown.peers().await.unwrap().is_empty());
    let torrent = first.add(metainfo.clone(), AddOptions::new(folders[0].path())).await.unwrap();
    first.listening().await;
    let second = Session::start(loopback()).await.unwrap();
    let options = AddOptions::new(folders[1].path()).peer(first.local_addrs()[0]);
    let other = second.add(metainfo, options).await.unwrap();
    let peers = timeout(DEADLINE, async {
        let mut progress = torrent.progress();
        loop {
            let peers = torrent.peers().await.unwrap();
            if peers.first().is_some_and(|peer| peer.client.is_some() && peer.pieces.is_some()) {
                return peers;
            }
            progress.next().await.unwrap();
        }
    });
    let peers = peers.await.expect("they meet");
    let [peer] = &peers[..] else { panic!("{peers:?}") };
    assert!(!peer.outgoing && peer.addr.ip().is_loopback(), "{peer:?}");
    assert_eq!(peer.client.as_deref(), Some(concat!("magnes ", env!("CARGO_PKG_VERSION"))));
    assert_eq!((peer.pieces, peer.downloaded, peer.is_seed), (Some(0), 0, false));
    assert!(!peer.we_interested && !peer.they_interested && peer.we_choke && peer.they_choke, "{peer:?}");
    assert_eq!(torrent.files().await.unwrap()[0].bytes_done, 0);
    second.shutdown().await;
    assert_eq!(other.peers().await, Err(ControlError::Gone(other.info_hash())));
    first.shutdown().await;
}

#[tokio::test]
async fn a_torrent_that_fails_stays_and_says_why() {
    let (_folder, metainfo) = shared();
    let target = tempfile::tempdir().unwrap();
    std::fs::write(target.path().join("shared"), "a file of the user").unwrap();
    let session = Session::start(loopback()).await.unwrap();
    let mut events = session.events();
    let torrent = session.add(metainfo.clone(), AddOptions::new(target.path())).await.unwrap();
    let seen = until(&mut events, |event| matches!(event, SessionEvent::Failed { .. })).await;
    let Some(SessionEvent::Failed { info_hash, error: TorrentError::Disk(error) }) = seen.last() else {
        panic!("{seen:?}")
    };
    assert_eq!(*info_hash, metainfo.info.hash());
    assert!(!error.to_string().contains("--"), "no option of a program: {error}");
    assert_eq!(session.torrents()[0].latest_progress().phase, Phase::Failed);
    torrent.remove().await.unwrap();
    let again = AddOptions::new(target.path()).overwrite(true);
    session.add(metainfo, again).await.unwrap();
    session.shutdown().await;
}

#[tokio::test]
async fn handles_of_a_torrent_that_is_gone_return_errors_and_do_not_touch_its_successor() {
    let (folder, metainfo) = shared();
    let hash = metainfo.info.hash();
    let session = Session::start(loopback()).await.unwrap();
    let add = || session.add(metainfo.clone(), AddOptions::new(folder.path()));
    let first = add().await.unwrap();
    assert!(matches!(add().await, Err(AddError::Duplicate(duplicate)) if duplicate == hash));
    let other = tempfile::tempdir().unwrap();
    let twice = || session.add(InfoHash::new([7; 20]), AddOptions::new(other.path()));
    let (one, two) = tokio::join!(twice(), twice());
    assert!(matches!((one, two), (Ok(_), Err(AddError::Duplicate(_)))), "at the same time");
    session.torrent(&InfoHash::new([7; 20])).unwrap().remove().await.unwrap();
    let stale = first.clone();
    first.resume().await.unwrap();
    first.pause().await.unwrap();
    first.pause().await.unwrap();
    first.remove().await.unwrap();

    let second = add().await.unwrap();
    assert_eq!(stale.remove().await, Err(RemoveError::NotFound(hash)));
    for result in [stale.pause().await, stale.resume().await, stale.add_peers(Vec::new()).await] {
        assert_eq!(result, Err(ControlError::Gone(hash)));
    }
    assert!(matches!(stale.wait_complete().await, Err(TorrentError::Stopped)));
    let (mut events, mut progress) = (stale.events(), stale.progress());
    assert!(progress.next().await.is_some(), "how far it was");
    assert!(events.next().await.is_none() && progress.next().await.is_none());
    assert_eq!(session.torrents().len(), 1, "the second is still there");
    second.wait_complete().await.unwrap();
    session.shutdown().await;
}

#[tokio::test]
async fn a_session_that_is_closed_or_dropped_ends_its_handles() {
    let (folder, metainfo) = shared();
    for polite in [true, false] {
        let session = Session::start(loopback()).await.unwrap();
        let torrent = session.add(metainfo.clone(), AddOptions::new(folder.path())).await.unwrap();
        let (mut all, mut own) = (session.events(), torrent.events());
        if polite {
            session.shutdown().await;
        } else {
            drop(session);
        }
        let ended = async { while all.next().await.is_some() || own.next().await.is_some() {} };
        timeout(DEADLINE, ended).await.expect("a handle keeps no session going");
        assert_eq!(torrent.remove().await, Err(RemoveError::Closed));
        assert_eq!(torrent.pause().await, Err(ControlError::Gone(torrent.info_hash())));
    }
}

#[tokio::test]
async fn odd_settings_are_errors_or_work_and_never_panics() {
    let (folder, metainfo) = shared();
    let session = Session::start(loopback().disk_threads(0).peers_max(0)).await.unwrap();
    let torrent = session.add(metainfo, AddOptions::new(folder.path())).await.unwrap();
    torrent.wait_complete().await.unwrap();
    let taken = loopback().listen(session.local_addrs()[0]);
    let refused = Session::start(taken).await;
    assert!(matches!(&refused, Err(StartError::Bind { addr, .. }) if *addr == session.local_addrs()[0]), "{refused:?}");
    assert!(!refused.unwrap_err().to_string().contains("--"), "no option of a program");
    session.shutdown().await;
}

#[test]
fn what_is_read_as_it_comes_is_a_stream_and_may_go_anywhere() {
    fn stream<S: futures_core::Stream + Send + Sync + Unpin + 'static>() {}
    fn anywhere<T: Send + Sync + 'static>() {}
    stream::<magnes::session::ProgressStream>();
    stream::<magnes::session::EventStream>();
    stream::<SessionEventStream>();
    anywhere::<Session>();
    anywhere::<TorrentHandle>();
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn what_is_reported_can_be_serialized() {
    let session = Session::start(loopback()).await.unwrap();
    let mut events = session.events();
    let folder = tempfile::tempdir().unwrap();
    let hash = InfoHash::new([0x5f; 20]);
    let torrent = session.add(hash, AddOptions::new(folder.path())).await.unwrap();
    let text = "5f".repeat(20);
    let added = serde_json::to_value(events.next().await.unwrap()).unwrap();
    assert_eq!(added, serde_json::json!({ "type": "added", "info_hash": text }));
    let is_stalled = |progress: &magnes::session::Progress| progress.stall.is_some();
    let mut progress = torrent.progress();
    let stalled = loop {
        let now = timeout(DEADLINE, progress.next()).await.unwrap().unwrap();
        if is_stalled(&now) {
            break serde_json::to_value(now).unwrap();
        }
    };
    assert_eq!(stalled["phase"], "metadata");
    assert_eq!(stalled["stall"], serde_json::json!({ "reason": "no_peers_found", "search": "no_dht" }));
    let failed = SessionEvent::Failed { info_hash: hash, error: TorrentError::Stopped };
    let failed = serde_json::to_value(failed).unwrap();
    assert_eq!(failed["error"], "the torrent was stopped");
    assert_eq!(serde_json::from_value::<InfoHash>(failed["info_hash"].clone()).unwrap(), hash);
    session.shutdown().await;
}
