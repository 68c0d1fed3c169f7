use std::net::SocketAddr;
use std::sync::Arc;

use magnes_dht::Readiness;

use super::progress::{TorrentEvent, TorrentState};
use crate::disk::{Job, Layout};
use crate::fleet::Ask;
use crate::model::{Bitfield, FileSelection, Info, PeerAddr, PieceIndex};
use crate::swarm::{CloseReason, PeerKey, Unwanted};
use crate::wire::Message;

/// What to do.
#[derive(Debug)]
pub enum Output {
    /// Connect to an address.
    Dial {
        /// The key of the attempt.
        peer: PeerKey,
        /// Where to.
        addr: SocketAddr,
    },
    /// Send a message.
    Send {
        /// To whom.
        peer: PeerKey,
        /// What.
        message: Message,
    },
    /// Take blocks back that wait to be written to a socket; answered by
    /// [`Torrent::handle_taken_back`](super::Torrent::handle_taken_back).
    TakeBack {
        /// From the way to whom.
        peer: PeerKey,
        /// Which.
        blocks: Unwanted,
    },
    /// Close a connection. It is gone for the torrent.
    Close {
        /// Which.
        peer: PeerKey,
        /// Why.
        reason: CloseReason,
    },
    /// Read what an earlier session kept; answered by [`Torrent::handle_resumed`](super::Torrent::handle_resumed).
    Resume,
    /// Look at the files; answered by [`Torrent::handle_surveyed`](super::Torrent::handle_surveyed).
    Survey {
        /// The torrent.
        info: Arc<Info>,
        /// The files to fetch; `None`: all.
        selection: Option<FileSelection>,
    },
    /// Make what is missing ready to be written; answered by [`Torrent::handle_settled`](super::Torrent::handle_settled).
    Settle {
        /// Where the bytes stand.
        layout: Arc<Layout>,
        /// The pieces that are there.
        have: Bitfield,
        /// The pieces of which nothing is known, as they cannot be read.
        unreadable: Bitfield,
    },
    /// A job for a disk thread; answered by [`Torrent::handle_done`](super::Torrent::handle_done).
    Disk {
        /// Which thread.
        thread: usize,
        /// What.
        job: Job,
    },
    /// Keep others from writing the files; answered by [`Torrent::handle_locked`](super::Torrent::handle_locked).
    Lock(Arc<Layout>),
    /// Others may write the files again.
    Unlock,
    /// Write the resume file; answered by [`Torrent::handle_saved`](super::Torrent::handle_saved).
    Save(Save),
    /// Resolve addresses; answered by [`Torrent::handle_resolved`](super::Torrent::handle_resolved), as often as some are
    /// found.
    Resolve {
        /// What stands behind them.
        role: Role,
        /// The addresses.
        addrs: Vec<PeerAddr>,
    },
    /// Ask the DHT for peers; answered by [`Torrent::handle_found`](super::Torrent::handle_found) and then
    /// [`Torrent::handle_search_ended`](super::Torrent::handle_search_ended).
    Search,
    /// Keep us announced to the DHT from now on.
    Announce {
        /// Whether we have all of the torrent, which others count apart (BEP 33).
        seed: bool,
    },
    /// End the search and the announce.
    LeaveDht,
    /// Ping a DHT node, and remember it if it answers.
    DhtNode(SocketAddr),
    /// What the torrent could use of what it shares with others; answered by
    /// [`Torrent::handle_grant`](super::Torrent::handle_grant) when that changes.
    Ask(Ask),
    /// Something that people may want to know.
    Event(TorrentEvent),
    /// How far the torrent is.
    State(Box<TorrentState>),
    /// Peers can connect from now on, and be served or asked. Once.
    Serving,
    /// The torrent is over: nothing comes after this.
    Stopped,
}

/// What stands behind an address that must be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A peer of the torrent (`x.pe` of BEP 9).
    Peer,
    /// A node of the DHT (`nodes` of BEP 5).
    Node,
}

/// What an earlier session kept.
#[derive(Debug)]
pub struct Resumed {
    /// The metadata.
    pub info: Arc<Info>,
    /// Peers that worked.
    pub peers: Vec<SocketAddr>,
}

/// What looking at the files came to.
#[derive(Debug)]
pub struct Surveyed {
    /// Where the bytes stand.
    pub layout: Arc<Layout>,
    /// The pieces that are to be fetched, where those are not all.
    pub wanted: Option<Bitfield>,
    /// Pieces that are known to be there.
    pub have: Bitfield,
    /// Pieces that must be checked.
    pub unknown: Vec<PieceIndex>,
}

/// What is to be kept for the next session.
#[derive(Debug)]
pub struct Save {
    /// Pieces that are verified, and synced.
    pub have: Bitfield,
    /// Pieces of which nothing is known, as they could not be read.
    pub unreadable: Option<Bitfield>,
    /// Peers that worked.
    pub peers: Vec<SocketAddr>,
}

/// How the DHT is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DhtState {
    /// Whether it can find any peers.
    pub readiness: Readiness,
    /// Whether the machine seems to have no network.
    pub is_offline: bool,
    /// Contacts in its tables.
    pub contacts: usize,
}
