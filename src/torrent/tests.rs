//! The life of a torrent, step by step, without files and sockets.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use sha1::{Digest, Sha1};

use super::*;
use crate::disk::{DiskError, Done, Verdict};
use crate::fleet::Grant;
use crate::model::{BLOCK_LEN, Info, Metainfo, NewTorrent, PeerId};
use crate::swarm::{Amounts, CloseCause};
use crate::wire::{ExtendedHandshake, Features, Message, MetadataMessage, PeerHello};
use magnes_dht::Readiness;

const PIECES: u32 = 3;

fn content() -> Vec<u8> {
    (0..PIECES * BLOCK_LEN).map(|at| (at % 251) as u8).collect()
}

fn info(private: bool) -> Arc<Info> {
    let torrent = NewTorrent {
        name: "data".into(),
        files: None,
        total_len: u64::from(PIECES * BLOCK_LEN),
        piece_len: BLOCK_LEN,
        pieces: content().chunks(BLOCK_LEN as usize).flat_map(|piece| Sha1::digest(piece).to_vec()).collect(),
        private,
        comment: None,
        created_by: None,
        creation_date: None,
        nodes: Vec::new(),
    };
    Arc::new(Metainfo::parse(torrent.encode()).unwrap().info)
}

fn error() -> DiskError {
    DiskError::Full { path: "data".into(), needed: None }
}

/// A torrent and what it wants done.
struct Life {
    torrent: Torrent,
    info: Arc<Info>,
    now: Instant,
    outputs: Vec<Output>,
}

impl Life {
    fn new(info: Arc<Info>, change: impl FnOnce(&mut TorrentConfig)) -> Self {
        let now = Instant::now();
        let mut config = TorrentConfig::new(info.hash(), PeerId::new([1; 20]));
        (config.has_dht, config.is_kept, config.disk_threads) = (true, true, 2);
        change(&mut config);
        let mut life = Self { torrent: Torrent::new(config, [7; 32], now), info, now, outputs: Vec::new() };
        life.does(|torrent, now| torrent.start(now));
        life
    }

    /// A torrent whose metadata are known.
    fn known(private: bool) -> Self {
        let info = info(private);
        Self::new(info.clone(), |config| config.info = Some(info))
    }

    /// Something happens.
    fn does(&mut self, happen: impl FnOnce(&mut Torrent, Instant)) {
        happen(&mut self.torrent, self.now);
        self.outputs.extend(std::iter::from_fn(|| self.torrent.poll_output()));
        self.torrent.check_invariants();
    }

    fn count(&self, is_counted: impl Fn(&Output) -> bool) -> usize {
        self.outputs.iter().filter(|output| is_counted(output)).count()
    }

    fn jobs(&self, is_counted: impl Fn(&Job) -> bool) -> usize {
        self.count(|output| matches!(output, Output::Disk { job, .. } if is_counted(job)))
    }

    fn layout(&self) -> Arc<Layout> {
        Arc::new(Layout::new(Path::new("/nowhere"), self.info.clone()))
    }

    fn surveyed(&mut self, have: Bitfield, unknown: &[u32]) {
        let unknown = unknown.iter().copied().map(PieceIndex::new).collect();
        let surveyed = Surveyed { layout: self.layout(), wanted: None, have, unknown };
        self.does(|torrent, now| torrent.handle_surveyed(now, Ok(surveyed)));
    }

    /// The files are there and open, with these pieces.
    fn opened(have: &[u32]) -> Self {
        let mut life = Self::known(false);
        let mut field = Bitfield::empty(PIECES);
        have.iter().for_each(|piece| assert!(field.insert(PieceIndex::new(*piece))));
        let is_missing = !field.is_full();
        life.surveyed(field, &[]);
        life.does(|torrent, now| torrent.handle_settled(now, Ok(is_missing)));
        life
    }

    fn phase(&self) -> Phase {
        self.torrent.state().progress.phase
    }

    /// A seed that connects and unchokes us.
    fn seed(&mut self) -> swarm::PeerKey {
        let mut key = None;
        let features = Features { extension: true, fast: true, dht: false };
        self.does(|torrent, now| {
            let peer = torrent.handle_incoming(now, ([10, 0, 0, 1], 6881).into()).unwrap();
            torrent.handle_connected(now, peer, PeerHello { peer_id: PeerId::new([2; 20]), features });
            torrent.handle_messages(now, peer, vec![Message::HaveAll, Message::Unchoke]);
            key = Some(peer);
        });
        key.unwrap()
    }

    fn block(piece: u32) -> Message {
        let start = (piece * BLOCK_LEN) as usize;
        let data = Bytes::from(content()[start..start + BLOCK_LEN as usize].to_vec());
        Message::Piece { piece: PieceIndex::new(piece), begin: 0, data }
    }

    fn written(&mut self, piece: u32) {
        let piece = PieceIndex::new(piece);
        self.does(|torrent, now| {
            torrent.handle_done(now, Done::Written { piece, bytes: BLOCK_LEN });
            torrent.handle_done(now, Done::Hashed { piece, verified: true, digests: None });
        });
    }
}

#[test]
fn a_link_goes_by_its_metadata_to_open_files() {
    let info = info(false);
    let mut life = Life::new(info.clone(), |config| config.name = Some("link".into()));
    assert_eq!(life.count(|output| matches!(output, Output::Resume)), 1, "an earlier session may know it");
    assert_eq!(life.count(|output| matches!(output, Output::Search)), 0, "it may be private");
    life.does(|torrent, now| torrent.handle_resumed(now, None));
    assert_eq!((life.phase(), life.count(|output| matches!(output, Output::Search))), (Phase::Metadata, 1));
    assert_eq!(life.count(|output| matches!(output, Output::Serving)), 1);
    let peer = life.seed();
    let len = info.raw().len() as u32;
    let handshake = ExtendedHandshake { ut_metadata: true, metadata_size: Some(len), ..Default::default() };
    let data = MetadataMessage::Data { piece: 0, total_size: len, data: info.raw().clone() };
    life.does(|torrent, now| torrent.handle_messages(now, peer, vec![Message::ExtendedHandshake(handshake)]));
    life.does(|torrent, now| torrent.handle_messages(now, peer, vec![Message::Metadata(data)]));
    assert_eq!((life.phase(), life.count(|output| matches!(output, Output::Survey { .. }))), (Phase::Checking, 1));
    assert_eq!(life.torrent.state().progress.name.as_deref(), Some("data"));
    life.surveyed(Bitfield::empty(PIECES), &[]);
    assert_eq!(life.jobs(|job| matches!(job, Job::Open { .. })), 2, "each thread knows it");
    assert_eq!(life.count(|output| matches!(output, Output::Settle { .. })), 1);
    life.does(|torrent, now| torrent.handle_settled(now, Ok(true)));
    assert_eq!(life.phase(), Phase::Downloading);
    let requests = life.count(|output| matches!(output, Output::Send { message: Message::Request(_), .. }));
    assert_eq!(requests, PIECES as usize, "the peer said before what it has");
}

#[test]
fn what_an_earlier_session_kept_spares_the_metadata() {
    let info = info(false);
    let peers = vec![([10, 0, 0, 9], 6881).into()];
    let mut life = Life::new(info.clone(), |_| {});
    life.does(|torrent, now| torrent.handle_resumed(now, Some(Resumed { info, peers })));
    assert_eq!((life.phase(), life.count(|output| matches!(output, Output::Survey { .. }))), (Phase::Checking, 1));
    assert_eq!(life.count(|output| matches!(output, Output::Dial { .. })), 1);
}

#[test]
fn a_private_torrent_never_speaks_to_the_dht() {
    let named: SocketAddr = ([10, 0, 0, 1], 6881).into();
    let asks = |output: &Output| {
        matches!(output, Output::Search | Output::Announce { .. } | Output::DhtNode(_))
            || matches!(output, Output::Resolve { role: Role::Node, .. })
    };
    // Known to be so from the start, or from an earlier session.
    let private = info(true);
    let with_nodes = |config: &mut TorrentConfig| config.dht_nodes = vec!["10.0.0.2:6881".parse().unwrap()];
    let mut known = Life::new(private.clone(), |config| {
        with_nodes(config);
        config.info = Some(private.clone());
    });
    let mut resumed = Life::new(private.clone(), with_nodes);
    let info = Resumed { info: private.clone(), peers: Vec::new() };
    resumed.does(|torrent, now| torrent.handle_resumed(now, Some(info)));
    for life in [&mut known, &mut resumed] {
        life.does(|torrent, now| torrent.handle_resolved(now, Role::Node, &[named]));
        let peer = life.seed();
        life.does(|torrent, now| torrent.handle_messages(now, peer, vec![Message::Port(7)]));
        assert_eq!(life.count(asks), 0, "{:?}", life.outputs);
        assert!(!life.torrent.link_config().features.dht);
    }
    // Found out when the metadata come.
    let mut life = Life::new(private, |config| config.is_kept = false);
    assert_eq!(life.count(|output| matches!(output, Output::Search)), 1);
    let raw = life.info.raw().clone();
    life.outputs.clear();
    life.does(|torrent, _| torrent.handle_metadata(raw));
    assert_eq!(life.count(|output| matches!(output, Output::LeaveDht)), 1);
    life.does(|torrent, now| torrent.handle_found(now, &[named]));
    assert_eq!(life.count(|output| matches!(output, Output::Dial { .. })), 0, "what the DHT still says is ignored");
    let stall = life.torrent.state().progress.stall;
    assert!(stall.is_some_and(|stall| stall.search.is_none()), "it is being opened");
}

#[test]
fn why_nobody_is_found_is_told() {
    let mut life = Life::new(info(false), |config| config.is_kept = false);
    let search = |life: &Life| life.torrent.state().progress.stall.and_then(|stall| stall.search);
    assert_eq!(search(&life), None, "the DHT has not said how it is");
    let ready = DhtState { readiness: Readiness::Ready, is_offline: false, contacts: 5 };
    life.does(|torrent, now| torrent.handle_dht(now, ready));
    assert_eq!(search(&life), Some(Search::Dht(Readiness::Ready)));
    life.does(|torrent, now| torrent.handle_dht(now, DhtState { is_offline: true, ..ready }));
    assert_eq!((search(&life), life.torrent.state().progress.dht_nodes), (Some(Search::Offline), 5));
    let life = Life::new(info(false), |config| (config.is_kept, config.has_dht) = (false, false));
    assert_eq!(search(&life), Some(Search::NoDht));
}

#[test]
fn what_the_look_left_open_is_checked_before_the_files_are_made() {
    let mut life = Life::known(false);
    life.surveyed(Bitfield::empty(PIECES), &[0, 1, 2]);
    assert_eq!(life.jobs(|job| matches!(job, Job::Check { .. })), 3);
    let verdicts = [Verdict::Verified, Verdict::Absent, Verdict::Unreadable(error())];
    for (index, verdict) in (0..).zip(verdicts) {
        assert_eq!((life.phase(), life.count(|output| matches!(output, Output::Settle { .. }))), (Phase::Checking, 0));
        life.does(|torrent, now| torrent.handle_done(now, Done::Checked { piece: PieceIndex::new(index), verdict }));
    }
    let settle = life.outputs.iter().find_map(|output| match output {
        Output::Settle { have, unreadable, .. } => Some((have.count(), unreadable.count())),
        _ => None,
    });
    assert_eq!(settle, Some((1, 1)));
    life.does(|torrent, now| torrent.handle_settled(now, Ok(true)));
    let progress = life.torrent.state().progress;
    assert_eq!((progress.phase, progress.bytes_done), (Phase::Downloading, u64::from(BLOCK_LEN)));
    life.seed();
    let requests = life.count(|output| matches!(output, Output::Send { message: Message::Request(_), .. }));
    assert_eq!(requests, 1, "what cannot be read is not fetched again");
}

#[test]
fn a_torrent_of_which_nothing_can_be_read_fails() {
    let mut life = Life::known(false);
    life.surveyed(Bitfield::empty(PIECES), &[0, 1, 2]);
    for piece in (0..PIECES).map(PieceIndex::new) {
        let verdict = Verdict::Unreadable(error());
        life.does(|torrent, now| torrent.handle_done(now, Done::Checked { piece, verdict }));
    }
    life.does(|torrent, now| torrent.handle_settled(now, Ok(false)));
    assert!(matches!(life.torrent.state().error, Some(TorrentError::Disk(DiskError::Unreadable { pieces: 3, .. }))));
}

#[test]
fn a_download_ends_as_a_seed_and_lets_the_files_go() {
    let mut life = Life::opened(&[]);
    let peer = life.seed();
    let blocks = (0..PIECES).map(Life::block).collect();
    life.does(|torrent, now| torrent.handle_messages(now, peer, blocks));
    assert_eq!(life.jobs(|job| matches!(job, Job::Write { .. })), PIECES as usize);
    (0..PIECES).for_each(|piece| life.written(piece));
    assert_eq!(life.phase(), Phase::Seeding);
    assert_eq!(life.count(|output| matches!(output, Output::Unlock)), 1);
    let announces: Vec<bool> = life
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Announce { seed } => Some(*seed),
            _ => None,
        })
        .collect();
    assert_eq!(announces, [false, true]);
    assert!(life.torrent.link_config().extended.upload_only, "BEP 21");
}

#[test]
fn a_piece_that_a_seed_loses_is_written_only_under_a_lock() {
    let mut life = Life::opened(&[0, 1, 2]);
    let piece = PieceIndex::new(1);
    let request = crate::model::Block { piece, begin: 0, len: BLOCK_LEN };
    life.does(|torrent, now| torrent.handle_done(now, Done::Unread { tag: 1, block: request, error: error() }));
    assert_eq!(life.jobs(|job| matches!(job, Job::Check { .. })), 1, "a failed read costs a look");
    life.does(|torrent, now| torrent.handle_done(now, Done::Checked { piece, verdict: Verdict::Absent }));
    assert_eq!((life.phase(), life.count(|output| matches!(output, Output::Lock(_)))), (Phase::Downloading, 1));
    assert_eq!(life.jobs(|job| matches!(job, Job::Measure { .. })), 1, "its file may lack more");
    let peer = life.seed();
    life.does(|torrent, now| torrent.handle_messages(now, peer, vec![Life::block(1)]));
    assert_eq!(life.jobs(|job| matches!(job, Job::Write { .. })), 0, "another may write these files");
    life.does(|torrent, now| torrent.handle_locked(now, Ok(())));
    assert_eq!(life.jobs(|job| matches!(job, Job::Write { .. })), 1);
    life.written(1);
    assert_eq!((life.phase(), life.count(|output| matches!(output, Output::Unlock))), (Phase::Seeding, 1));

    let mut life = Life::opened(&[0, 1, 2]);
    life.does(|torrent, now| torrent.handle_done(now, Done::Measured { absent: vec![piece] }));
    let in_use = DiskError::InUse { path: "data".into() };
    life.does(|torrent, now| torrent.handle_locked(now, Err(in_use)));
    assert!(matches!(life.torrent.state().error, Some(TorrentError::Disk(DiskError::InUse { .. }))));
}

#[test]
fn a_full_disk_ends_a_torrent_and_what_is_verified_is_kept() {
    let mut life = Life::opened(&[]);
    let peer = life.seed();
    life.does(|torrent, now| torrent.handle_messages(now, peer, vec![Life::block(0)]));
    life.written(0);
    life.does(|torrent, now| torrent.handle_done(now, Done::Failed(error())));
    let state = life.torrent.state();
    assert_eq!(state.progress.phase, Phase::Failed);
    let needed = u64::from((PIECES - 1) * BLOCK_LEN);
    assert!(
        matches!(&state.error, Some(TorrentError::Disk(DiskError::Full { needed: Some(bytes), .. })) if *bytes == needed),
        "{state:?}"
    );
    life.does(|torrent, now| torrent.resume(now));
    assert_eq!(life.phase(), Phase::Failed, "it is over");
    life.outputs.clear();
    life.does(|torrent, now| torrent.stop(now));
    assert_eq!(life.jobs(|job| matches!(job, Job::Sync { .. })), 2);
    assert_eq!(life.count(|output| matches!(output, Output::Stopped)), 0);
    life.does(|torrent, now| torrent.handle_done(now, Done::Synced(Ok(()))));
    life.does(|torrent, now| torrent.handle_done(now, Done::Synced(Ok(()))));
    let saved = life.outputs.iter().find_map(|output| match output {
        Output::Save(save) => Some(save.have.count()),
        _ => None,
    });
    assert_eq!((saved, life.count(|output| matches!(output, Output::Stopped))), (Some(1), 0));
    life.does(|torrent, now| torrent.handle_saved(now));
    assert_eq!(life.jobs(|job| matches!(job, Job::Close { .. })), 2);
    assert!(matches!(life.outputs.last(), Some(Output::Stopped)));
}

#[test]
fn a_save_under_way_is_waited_for_and_then_made_anew() {
    let mut life = Life::opened(&[]);
    let peer = life.seed();
    life.does(|torrent, now| torrent.handle_messages(now, peer, vec![Life::block(0)]));
    life.written(0);
    life.now += Duration::from_secs(31);
    life.does(|torrent, now| torrent.handle_timeout(now));
    assert_eq!(life.jobs(|job| matches!(job, Job::Sync { .. })), 2);
    life.does(|torrent, now| torrent.stop(now));
    for _ in 0..2 {
        life.does(|torrent, now| torrent.handle_done(now, Done::Synced(Ok(()))));
    }
    assert_eq!(life.count(|output| matches!(output, Output::Save(_))), 1);
    life.does(|torrent, now| torrent.handle_saved(now));
    assert_eq!(life.jobs(|job| matches!(job, Job::Sync { .. })), 4, "what came since is saved too");
    // The disk says no more.
    life.now += Duration::from_secs(9);
    life.does(|torrent, now| torrent.handle_timeout(now));
    assert_eq!(life.count(|output| matches!(output, Output::Stopped)), 0);
    life.now = life.torrent.next_timeout().unwrap();
    life.does(|torrent, now| torrent.handle_timeout(now));
    assert!(matches!(life.outputs.last(), Some(Output::Stopped)));
    assert_eq!(life.torrent.next_timeout(), None);
}

#[test]
fn a_torrent_can_be_stopped_at_any_time_and_nothing_comes_after() {
    let stops = |mut life: Life| {
        life.does(|torrent, now| torrent.stop(now));
        while !matches!(life.outputs.last(), Some(Output::Stopped)) {
            let at = life.torrent.next_timeout().expect("it waits for something");
            life.now = at;
            life.does(|torrent, now| torrent.handle_timeout(now));
        }
        life.outputs.clear();
        life.does(|torrent, now| torrent.handle_resumed(now, None));
        life.surveyed(Bitfield::empty(PIECES), &[]);
        life.does(|torrent, now| torrent.handle_settled(now, Ok(true)));
        let late = life.outputs.iter().find(|output| !matches!(output, Output::Unlock));
        assert!(late.is_none(), "{late:?}");
    };
    stops(Life::new(info(false), |_| {}));
    stops(Life::known(false));
    let mut checking = Life::known(false);
    checking.surveyed(Bitfield::empty(PIECES), &[0]);
    stops(checking);
    let mut settling = Life::known(false);
    settling.surveyed(Bitfield::empty(PIECES), &[]);
    stops(settling);
    stops(Life::opened(&[]));
    stops(Life::opened(&[0, 1, 2]));
}

#[test]
fn a_torrent_to_which_nothing_happens_waits_for_nothing() {
    let mut life = Life::opened(&[0, 1, 2]);
    for _ in 0..10 {
        let Some(at) = life.torrent.next_timeout() else { break };
        life.now = at;
        life.does(|torrent, now| torrent.handle_timeout(now));
    }
    assert_eq!(life.torrent.next_timeout(), None, "a seed without peers");
    life.does(|torrent, now| torrent.pause(now));
    assert_eq!(life.torrent.next_timeout(), None);
    assert_eq!(life.phase(), Phase::Paused);
    let peer = {
        life.does(|torrent, now| torrent.resume(now));
        life.seed()
    };
    life.does(|torrent, now| torrent.handle_closed(now, peer, CloseCause::Eof));
    assert_eq!(life.phase(), Phase::Seeding);
}

#[test]
fn the_state_is_told_at_once_when_it_matters_and_otherwise_now_and_then() {
    let mut life = Life::opened(&[]);
    life.outputs.clear();
    let states = |life: &Life| life.count(|output| matches!(output, Output::State(_)));
    let peer = life.seed();
    for _ in 0..5 {
        life.does(|torrent, now| torrent.handle_messages(now, peer, vec![Message::KeepAlive]));
    }
    assert_eq!(states(&life), 0, "it was told a moment ago");
    life.does(|torrent, now| torrent.pause(now));
    assert_eq!(states(&life), 1);
}

/// What a torrent asked of its session last.
fn last_ask(life: &Life) -> Option<crate::fleet::Ask> {
    let asks = life.outputs.iter().filter_map(|output| match output {
        Output::Ask(ask) => Some(*ask),
        _ => None,
    });
    asks.last()
}

#[test]
fn a_torrent_asks_for_more_as_it_needs_it_and_gives_all_back_when_it_is_alone() {
    let floor = Amounts { credit_bytes: u64::from(BLOCK_LEN), connections: 4, dials: 2, ..Amounts::default() };
    let info = info(false);
    let mut life = Life::new(info.clone(), |config| {
        config.info = Some(info.clone());
        config.grant = Some(Grant { amounts: floor, round: 0 });
    });
    life.surveyed(Bitfield::empty(PIECES), &[]);
    life.does(|torrent, now| torrent.handle_settled(now, Ok(true)));
    let requests =
        |life: &Life| life.count(|output| matches!(output, Output::Send { message: Message::Request(_), .. }));
    let peer = life.seed();
    assert_eq!(requests(&life), 1, "no more than is granted");
    let ask = last_ask(&life).unwrap();
    assert_eq!((ask.wanted.credit_bytes, ask.used.credit_bytes), (2 * floor.credit_bytes, floor.credit_bytes));
    let granted = Amounts { credit_bytes: 10 * floor.credit_bytes, ..floor };
    life.does(|torrent, now| torrent.handle_grant(now, Grant { amounts: granted, round: 1 }));
    assert_eq!(requests(&life), PIECES as usize);
    // It is taken back while it is used, and given back as it becomes free.
    life.does(|torrent, now| torrent.handle_grant(now, Grant { amounts: floor, round: 2 }));
    let ask = last_ask(&life).unwrap();
    assert_eq!((ask.round, ask.used.credit_bytes), (2, u64::from(PIECES * BLOCK_LEN)));
    life.does(|torrent, now| torrent.handle_messages(now, peer, (0..PIECES).map(Life::block).collect()));
    (0..PIECES).for_each(|piece| life.written(piece));
    assert_eq!(last_ask(&life).unwrap().used.credit_bytes, 0);
    life.does(|torrent, now| torrent.handle_closed(now, peer, CloseCause::Eof));
    assert_eq!(last_ask(&life).unwrap().wanted, Amounts::default());
}

#[test]
fn a_search_waits_until_it_is_granted() {
    let none = Amounts { connections: 4, dials: 2, ..Amounts::default() };
    let mut life = Life::new(info(false), |config| {
        config.is_kept = false;
        config.grant = Some(Grant { amounts: none, round: 0 });
    });
    let searches = |life: &Life| life.count(|output| matches!(output, Output::Search));
    let wanted = |life: &Life| last_ask(life).unwrap().wanted.searches;
    assert_eq!((searches(&life), wanted(&life)), (0, 1));
    let until = life.torrent.next_timeout();
    assert!(until.is_none_or(|at| at > life.now), "it waits for the others, not for the clock");
    let granted = Grant { amounts: Amounts { searches: 1, ..none }, round: 1 };
    life.does(|torrent, now| torrent.handle_grant(now, granted));
    assert_eq!(searches(&life), 1);
    life.does(|torrent, now| torrent.handle_search_ended(now));
    assert_eq!(wanted(&life), 0, "the next one is due later");
    life.now = life.torrent.next_timeout().unwrap() + Duration::from_secs(1);
    life.does(|torrent, now| torrent.handle_timeout(now));
    assert_eq!(searches(&life), 2);
}
