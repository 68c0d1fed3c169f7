//! Every channel of the engine, its message and its capacity.
//!
//! | channel | message | capacity | from -> to | when full |
//! |---|---|---|---|---|
//! | torrent mailbox | [`TorrentMail`] | [`TORRENT_MAIL_MAX`] | peer tasks, disk threads, session -> torrent task | the sender waits; TCP back-pressure follows |
//! | peer inbox | [`PeerMail`] | [`PEER_MAIL_MAX`] | torrent task -> peer task | the peer is closed: it does not read what it asked for |
//! | disk jobs | [`DiskJob`] | [`DISK_JOBS_MAX`] | torrent tasks -> one disk thread | the job waits with its torrent, which offers it again |
//! | routes | [`RouteRequest`] | [`ROUTES_MAX`] | incoming connections -> session task | the sender waits |
//! | torrent events | `TorrentEvent` | [`TORRENT_EVENTS_MAX`] | torrent task -> public handles | the slowest reader misses the oldest and is told so |
//!
//! Waiting goes one way: upwards. A torrent task never waits for a peer or for a disk.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::disk::{Done, Job, Layout};
use crate::model::{Bitfield, Block, InfoHash};
use crate::swarm::{CloseCause, PeerKey, PeerStatus, Unwanted};
use crate::wire::{Message, PeerHello};

/// Mails are runs of messages, so this is seconds of work; it bounds what a burst of peers can queue.
pub(crate) const TORRENT_MAIL_MAX: usize = 256;
/// A run each: more than the requests of the deepest pipeline and a burst of `have`s together.
pub(crate) const PEER_MAIL_MAX: usize = 256;
/// What one torrent wants written (its credit) and read (its read budget) fits; many torrents share the queue, and wait.
pub(crate) const DISK_JOBS_MAX: usize = 4096;
/// Incoming connections that wait for their torrent to be found.
pub(crate) const ROUTES_MAX: usize = 64;
/// Events that a slow reader of a public handle may lag behind.
pub(crate) const TORRENT_EVENTS_MAX: usize = 1024;

/// What reaches a torrent task.
#[derive(Debug)]
pub(crate) enum TorrentMail {
    /// Both handshakes of a connection are done.
    Connected { peer: PeerKey, hello: PeerHello },
    /// What a peer task read, wrote and took back since its last mail.
    Run { peer: PeerKey, messages: Vec<Message>, payload_sent: u32, taken_back: Vec<Block> },
    /// A connection is gone; its inbox may be dropped.
    Closed { peer: PeerKey, cause: CloseCause },
    /// A peer connected to us and asks for this torrent.
    Incoming { addr: SocketAddr, admit: oneshot::Sender<Admission> },
    /// What a disk thread finished, in its order.
    Disk(Vec<Done>),
    /// A wish of the session.
    Control(Control),
}

/// The answer to [`TorrentMail::Incoming`]; none at all means that the connection is not wanted.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) peer: PeerKey,
    pub(crate) inbox: mpsc::Receiver<PeerMail>,
    pub(crate) link: crate::wire::LinkConfig,
}

/// A wish of the session, or of a public handle.
#[derive(Debug)]
pub(crate) enum Control {
    Pause,
    Resume,
    AddPeers(Vec<SocketAddr>),
    /// Says which files there are and which pieces are verified.
    Files(oneshot::Sender<FilesView>),
    /// Says which peers are connected.
    Peers(oneshot::Sender<Vec<PeerStatus>>),
    /// Saves the resume file, closes every connection, ends the task and answers.
    Stop {
        done: oneshot::Sender<()>,
    },
}

/// What the state of a torrent's files is worked out from, by whoever asks: there may be a million of them.
#[derive(Debug)]
pub(crate) struct FilesView {
    /// `None` before the files were looked at.
    pub(crate) layout: Option<Arc<Layout>>,
    pub(crate) have: Option<Bitfield>,
}

/// What reaches a peer task.
#[derive(Debug)]
pub(crate) enum PeerMail {
    /// Messages for the peer, in this order.
    Send(Vec<Message>),
    /// Takes blocks out of what waits to be written.
    TakeBack(Unwanted),
    /// Ends the connection after what is queued.
    Close,
}

/// A job for a disk thread and where its outcome goes.
#[derive(Debug)]
pub(crate) struct DiskJob {
    pub(crate) job: Job,
    pub(crate) reply_to: TorrentMailbox,
}

/// Asks the session which torrent an incoming connection belongs to.
#[derive(Debug)]
pub(crate) struct RouteRequest {
    pub(crate) info_hash: InfoHash,
    pub(crate) reply: oneshot::Sender<TorrentMailbox>,
}

pub(crate) type TorrentMailbox = mpsc::Sender<TorrentMail>;

pub(crate) fn channel_of_torrent() -> (TorrentMailbox, mpsc::Receiver<TorrentMail>) {
    mpsc::channel(TORRENT_MAIL_MAX)
}

pub(crate) fn channel_of_peer() -> (mpsc::Sender<PeerMail>, mpsc::Receiver<PeerMail>) {
    mpsc::channel(PEER_MAIL_MAX)
}

pub(crate) fn channel_of_routes() -> (mpsc::Sender<RouteRequest>, mpsc::Receiver<RouteRequest>) {
    mpsc::channel(ROUTES_MAX)
}
