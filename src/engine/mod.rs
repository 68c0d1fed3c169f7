//! The tokio loops that move bytes and messages between sockets, disks and the machines. They hold no rule of the
//! protocol: what to dial, ask, serve or drop is decided by [`crate::torrent::Torrent`], what bytes mean by
//! [`crate::wire::Link`].
//!
//! Everything but the disk threads runs on one thread, on a current-thread runtime: a hand-off between tasks is a queue
//! push. Every channel is listed in `mail`.
//!
//! Deliberately absent: locks, shared state, and unbounded queues.

mod mail;

mod discovery;
mod disk;
mod files;
mod names;
mod outbox;
mod share;
mod transport;

mod greetings;
mod peer_task;

mod listen;
mod torrent_task;

pub(crate) use disk::DiskPool;
pub(crate) use files::FilesConfig;
pub(crate) use listen::{Bound, Listener, bind};
pub(crate) use mail::{Control, FilesView, RouteRequest, TorrentMail, channel_of_routes};
pub(crate) use share::Shares;
pub(crate) use torrent_task::{TorrentParts, TorrentTask, TorrentTaskConfig};
