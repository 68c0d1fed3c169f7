//! One torrent: hands what arrives to [`Torrent`] and does what it says.
#![allow(clippy::disallowed_methods, reason = "a driver reads the clock")]

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use magnes_dht::Dht;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::discovery::{Discovery, Found};
use super::disk::{DiskClient, DiskGone, DiskPool};
use super::files::{Answer, Files, FilesConfig};
use super::mail::{
    Admission, Control, FilesView, PeerMail, TORRENT_EVENTS_MAX, TorrentMail, TorrentMailbox, channel_of_torrent,
};
use super::names::Names;
use super::outbox::Outbox;
use super::peer_task::{self, arm};
use super::share::Share;
use crate::model::InfoHash;
use crate::storage::StateLock;
use crate::swarm::{CloseCause, PeerKey};
use crate::torrent::{Output, Phase, Progress, Role, Torrent, TorrentConfig, TorrentEvent, TorrentState};

/// Mails handled before the outputs are carried out.
const MAILS_PER_TURN: usize = 64;

/// What a torrent is started with.
#[derive(Debug)]
pub(crate) struct TorrentTaskConfig {
    pub(crate) torrent: TorrentConfig,
    pub(crate) files: FilesConfig,
    /// Held as long as the torrent runs.
    pub(crate) lock: Option<StateLock>,
    pub(crate) dht: Option<Dht>,
    /// Its end of what the session shares out.
    pub(crate) share: Share,
    /// Told once the torrent is able to serve.
    pub(crate) serving: Rc<Notify>,
    pub(crate) seed: [u8; 32],
}

/// What the session and its handles keep of a torrent.
#[derive(Debug, Clone)]
pub(crate) struct TorrentParts {
    pub(crate) info_hash: InfoHash,
    pub(crate) mailbox: TorrentMailbox,
    pub(crate) state: watch::Receiver<TorrentState>,
    pub(crate) events: broadcast::WeakSender<TorrentEvent>,
}

/// The task of one torrent.
#[derive(Debug)]
pub(crate) struct TorrentTask {
    torrent: Torrent,
    info_hash: InfoHash,
    inbox: mpsc::Receiver<TorrentMail>,
    mailbox: TorrentMailbox,
    outbox: Outbox,
    peers: JoinSet<()>,
    disk: DiskClient,
    files: Files,
    discovery: Option<Discovery>,
    names: Names,
    share: Share,
    serving: Rc<Notify>,
    lock: Option<StateLock>,
    state: watch::Sender<TorrentState>,
    events: broadcast::Sender<TorrentEvent>,
    stop: Option<oneshot::Sender<()>>,
}

/// Whether the torrent continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    GoesOn,
    IsOver,
}

impl TorrentTask {
    /// A torrent that starts with [`TorrentTask::run`].
    pub(crate) fn new(config: TorrentTaskConfig, disk: &DiskPool) -> (Self, TorrentParts) {
        let TorrentTaskConfig { torrent, files, lock, dht, share, serving, seed } = config;
        let (mailbox, inbox) = channel_of_torrent();
        let (events, _) = broadcast::channel(TORRENT_EVENTS_MAX);
        let phase = if torrent.info.is_some() { Phase::Checking } else { Phase::Metadata };
        let progress = Progress { name: torrent.name.clone(), ..Progress::new(phase) };
        let (state, state_reader) = watch::channel(TorrentState { progress, error: None });
        let info_hash = torrent.info_hash;
        let events_weak = events.downgrade();
        let parts = TorrentParts { info_hash, mailbox: mailbox.clone(), state: state_reader, events: events_weak };
        let task = Self {
            torrent: Torrent::new(torrent, seed, Instant::now()),
            info_hash,
            inbox,
            outbox: Outbox::default(),
            peers: JoinSet::new(),
            disk: disk.client(mailbox.clone()),
            mailbox,
            files: Files::new(files),
            discovery: dht.map(|dht| Discovery::new(dht, info_hash)),
            names: Names::default(),
            share,
            serving,
            lock,
            state,
            events,
            stop: None,
        };
        (task, parts)
    }

    /// Runs until the session stops it.
    pub(crate) async fn run(mut self) {
        self.torrent.start(Instant::now());
        let timer = sleep_until(Instant::now().into());
        tokio::pin!(timer);
        let mut mails = Vec::with_capacity(MAILS_PER_TURN);
        while self.carry_out() == Flow::GoesOn {
            arm(timer.as_mut(), self.torrent.next_timeout());
            tokio::select! {
                biased;
                _ = self.inbox.recv_many(&mut mails, MAILS_PER_TURN) => {
                    for mail in mails.drain(..) {
                        self.handle_mail(mail);
                    }
                }
                found = next_found(&mut self.discovery) => self.handle_found(found),
                (role, addrs) = self.names.next() => self.torrent.handle_resolved(Instant::now(), role, &addrs),
                answer = self.files.next() => self.handle_answer(answer),
                grant = self.share.next() => self.torrent.handle_grant(Instant::now(), grant),
                () = self.disk.room() => {}
                () = timer.as_mut() => self.torrent.handle_timeout(Instant::now()),
                Some(_) = self.peers.join_next() => {}
            }
        }
        self.leave().await;
    }

    /// Whoever is told that the torrent is gone may add it again.
    async fn leave(self) {
        self.files.finish().await;
        drop(self.lock);
        if let Some(stop) = self.stop {
            // Whoever asked may have lost patience.
            let _ = stop.send(());
        }
    }
}

/// Waits forever without a DHT.
async fn next_found(discovery: &mut Option<Discovery>) -> Found {
    match discovery {
        Some(discovery) => discovery.next().await,
        None => std::future::pending().await,
    }
}

/// What happens.
impl TorrentTask {
    fn handle_mail(&mut self, mail: TorrentMail) {
        let now = Instant::now();
        match mail {
            TorrentMail::Run { peer, messages, payload_sent, taken_back } => {
                if payload_sent > 0 {
                    self.torrent.handle_sent(now, peer, payload_sent);
                }
                if !taken_back.is_empty() {
                    self.torrent.handle_taken_back(now, peer, &taken_back);
                }
                self.torrent.handle_messages(now, peer, messages);
            }
            TorrentMail::Disk(done) => done.into_iter().for_each(|done| self.torrent.handle_done(now, done)),
            TorrentMail::Connected { peer, hello } => self.torrent.handle_connected(now, peer, hello),
            TorrentMail::Closed { peer, cause } => {
                self.outbox.forget(peer);
                self.torrent.handle_closed(now, peer, cause);
            }
            TorrentMail::Incoming { addr, admit } => self.handle_incoming(now, addr, admit),
            TorrentMail::Control(control) => self.handle_control(now, control),
        }
    }

    fn handle_incoming(&mut self, now: Instant, addr: SocketAddr, admit: oneshot::Sender<Admission>) {
        let Some(peer) = self.torrent.handle_incoming(now, addr) else { return };
        let inbox = self.outbox.open(peer);
        let admission = Admission { peer, inbox, link: self.torrent.link_config() };
        if admit.send(admission).is_err() {
            // The connection ended while it waited.
            self.outbox.forget(peer);
            self.torrent.handle_closed(now, peer, CloseCause::Eof);
        }
    }

    fn handle_control(&mut self, now: Instant, control: Control) {
        match control {
            Control::Pause => self.torrent.pause(now),
            Control::Resume => self.torrent.resume(now),
            Control::AddPeers(peers) => self.torrent.handle_resolved(now, Role::Peer, &peers),
            // Whoever asked may have lost patience.
            Control::Files(reply) => {
                let view = FilesView { layout: self.files.layout().cloned(), have: self.torrent.have().cloned() };
                let _ = reply.send(view);
            }
            Control::Peers(reply) => {
                let _ = reply.send(self.torrent.peers());
            }
            Control::Stop { done } => {
                self.stop = Some(done);
                self.torrent.stop(now);
            }
        }
    }

    fn handle_found(&mut self, found: Found) {
        let now = Instant::now();
        match found {
            Found::Peers(peers) => self.torrent.handle_found(now, &peers),
            Found::End => self.torrent.handle_search_ended(now),
            Found::State(state) => self.torrent.handle_dht(now, state),
        }
    }

    fn handle_answer(&mut self, answer: Option<Answer>) {
        let now = Instant::now();
        match answer {
            Some(Answer::Resumed(resumed)) => self.torrent.handle_resumed(now, resumed),
            Some(Answer::Surveyed(surveyed)) => {
                let surveyed = surveyed.map(|surveyed| self.files.keep_surveyed(surveyed));
                self.torrent.handle_surveyed(now, surveyed);
            }
            Some(Answer::Settled(settled)) => {
                let is_locked = settled.map(|settled| self.files.keep_settled(settled));
                self.torrent.handle_settled(now, is_locked);
            }
            Some(Answer::Locked(lock)) => {
                let locked = lock.map(|lock| self.files.keep_lock(lock));
                self.torrent.handle_locked(now, locked);
            }
            Some(Answer::Saved) => self.torrent.handle_saved(now),
            None => self.torrent.handle_job_lost(now),
        }
    }
}

/// What to do.
impl TorrentTask {
    /// Does what the machine says.
    fn carry_out(&mut self) -> Flow {
        loop {
            while let Some(output) = self.torrent.poll_output() {
                if self.carry(output) == Flow::IsOver {
                    self.outbox.flush();
                    return Flow::IsOver;
                }
            }
            self.note_gone(DiskClient::offer);
            self.outbox.flush();
            let overrun = self.outbox.take_overrun();
            if overrun.is_empty() {
                return Flow::GoesOn;
            }
            for peer in overrun {
                self.torrent.handle_closed(Instant::now(), peer, CloseCause::TooSlow);
            }
        }
    }

    fn carry(&mut self, output: Output) -> Flow {
        match output {
            Output::Send { peer, message } => self.outbox.send(peer, message),
            Output::TakeBack { peer, blocks } => self.outbox.post(peer, PeerMail::TakeBack(blocks)),
            Output::Dial { peer, addr } => self.dial(peer, addr),
            Output::Close { peer, reason: _ } => {
                self.outbox.post(peer, PeerMail::Close);
                self.outbox.forget(peer);
            }
            Output::Disk { thread, job } => self.note_gone(|disk| disk.send_to(thread, job)),
            Output::Resume => self.files.resume(self.info_hash),
            Output::Survey { info, selection } => self.files.survey(info, selection),
            Output::Settle { layout, have, unreadable } => self.files.settle(layout, have, unreadable),
            Output::Lock(layout) => self.files.lock(layout),
            Output::Unlock => self.files.unlock(),
            Output::Save(save) => self.files.save(save),
            Output::Resolve { role, addrs } => {
                let literal = self.names.add(role, &addrs);
                self.torrent.handle_resolved(Instant::now(), role, &literal);
            }
            Output::Search => self.with_dht(Discovery::search),
            Output::Announce { seed } => self.with_dht(|discovery| discovery.announce(seed)),
            Output::LeaveDht => self.discovery = None,
            Output::DhtNode(addr) => self.with_dht(|discovery| discovery.add_node(addr)),
            Output::Ask(ask) => self.share.ask(ask),
            Output::Event(event) => {
                // Nobody has to listen.
                let _ = self.events.send(event);
            }
            Output::State(state) => self.show(*state),
            Output::Serving => self.serving.notify_one(),
            Output::Stopped => return Flow::IsOver,
        }
        Flow::GoesOn
    }

    fn dial(&mut self, peer: PeerKey, addr: SocketAddr) {
        let inbox = self.outbox.open(peer);
        let (config, info_hash, mailbox) = (self.torrent.link_config(), self.info_hash, self.mailbox.clone());
        self.peers.spawn_local(peer_task::dial(peer, addr, config, info_hash, inbox, mailbox));
    }

    fn with_dht(&mut self, ask: impl FnOnce(&mut Discovery)) {
        if let Some(discovery) = &mut self.discovery {
            ask(discovery);
        }
    }

    fn note_gone(&mut self, ask: impl FnOnce(&mut DiskClient) -> Result<(), DiskGone>) {
        if let Err(error) = ask(&mut self.disk) {
            tracing::error!(%error, "the torrent stops");
            self.torrent.handle_disk_gone(Instant::now());
        }
    }

    fn show(&self, state: TorrentState) {
        self.state.send_if_modified(|old| {
            let modified = old.progress != state.progress || old.error.is_some() != state.error.is_some();
            *old = state;
            modified
        });
    }
}
