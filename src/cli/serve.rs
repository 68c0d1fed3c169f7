//! One torrent in one session, from the start to the last signal: what `get` and `seed` share.
#![allow(clippy::disallowed_methods, reason = "the program starts its runtime and its timer")]

use std::time::Duration;

use magnes::model::{Magnet, PublisherLink};
use magnes::session::{AddOptions, Config, Phase, Progress, Session, TorrentEvent, TorrentHandle, TorrentSource};
use magnes_dht::is_unresolved;

use super::Outcome;
use super::args::ReportArgs;
use super::block::block_on;
use super::exit::{Exit, Failure};
use super::progress::stall_text;
use super::report::Reporter;
use super::signals::{Signal, Signals};

/// When the job is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// When every piece is there.
    Complete,
    /// At the next signal.
    CompleteAndSeed,
}

/// Which torrent it is about.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// This one.
    Torrent(TorrentSource),
    /// The one that a publisher points to at the time (BEP 46).
    Publisher(Box<PublisherLink>),
}

/// One torrent in one session.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: Wanted,
    pub(crate) options: AddOptions,
    pub(crate) config: Config,
    pub(crate) goal: Goal,
    pub(crate) timeout: Option<Duration>,
    pub(crate) report: ReportArgs,
    /// The magnet link to print first.
    pub(crate) magnet: Option<String>,
}

impl Job {
    /// Runs the job to its end.
    pub(crate) fn run(self) -> Outcome {
        let json = self.report.json;
        block_on(self.run_async()).map_err(|failure| failure.told_as_json(json))
    }

    async fn run_async(self) -> Outcome {
        let mut signals =
            Signals::catch().map_err(|error| Failure::new(Exit::Failed, format!("cannot catch signals: {error}")))?;
        let mut reporter = Reporter::new(self.report);
        let session = Session::start(self.config).await?;
        let source = match self.source {
            Wanted::Torrent(source) => source,
            Wanted::Publisher(link) => match look_up(&session, &link, self.timeout, &reporter, &mut signals).await {
                Ok(Some(magnet)) => magnet.into(),
                ended => {
                    reporter.finish();
                    signals.leave(session.shutdown()).await;
                    return ended.map(|_| Exit::Interrupted);
                }
            },
        };
        if let Some(magnet) = &self.magnet {
            reporter.magnet(magnet, &source.info_hash().to_string());
        }
        let torrent = match session.add(source, self.options).await {
            Ok(torrent) => torrent,
            Err(error) => {
                reporter.finish();
                return Err(error.into());
            }
        };
        let outcome = watch(&session, &torrent, self.goal, self.timeout, &mut reporter, &mut signals).await;
        reporter.finish();
        if outcome.as_ref().is_ok_and(|exit| *exit == Exit::Interrupted) {
            reporter.line("leaving; press Ctrl-C again to leave at once");
        }
        signals.leave(session.shutdown()).await;
        outcome
    }
}

/// Finds out which torrent a publisher points to; `None` when a signal came first.
async fn look_up(
    session: &Session,
    link: &PublisherLink,
    timeout: Option<Duration>,
    reporter: &Reporter,
    signals: &mut Signals,
) -> Result<Option<Magnet>, Failure> {
    let Some(dht) = session.dht() else {
        return Err(Failure::new(Exit::Usage, "what a publisher points to is found through the DHT: drop --no-dht"));
    };
    reporter.line("looking up which torrent the publisher points to");
    let mut versions = dht.watch(link.key, &link.salt, None);
    tokio::select! {
        biased;
        _ = signals.next() => Ok(None),
        version = versions.next() => {
            let version = version.map_err(|error| Failure::new(Exit::Failed, error))?;
            let Some(info_hash) = version.torrent() else {
                let why = format!("version {} of what the publisher put points to no torrent", version.seq);
                return Err(Failure::bad_torrent(why));
            };
            reporter.pointer(&info_hash.to_string(), version.seq);
            Ok(Some(link.magnet(info_hash)))
        }
        () = sleep(timeout) => {
            let readiness = dht.readiness().await.map(|readiness| readiness.to_string()).unwrap_or_default();
            let is_offline = is_unresolved(&dht.bootstrap_hosts().await.unwrap_or_default());
            let offline = if is_offline { "; this machine seems to be offline" } else { "" };
            let seconds = timeout.unwrap_or_default().as_secs();
            let why = format!("what the publisher points to was not found in {seconds} s: {readiness}{offline}");
            Err(Failure::new(Exit::TimedOut, why))
        }
    }
}

/// For ever without a timeout.
async fn sleep(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

async fn node_ids(session: &Session) -> Vec<String> {
    match session.dht() {
        Some(dht) => dht.node_ids().await.unwrap_or_default().iter().map(ToString::to_string).collect(),
        None => Vec::new(),
    }
}

async fn watch(
    session: &Session,
    torrent: &TorrentHandle,
    goal: Goal,
    timeout: Option<Duration>,
    reporter: &mut Reporter,
    signals: &mut Signals,
) -> Outcome {
    let mut events = torrent.events();
    let mut progress = torrent.progress();
    let mut last: Option<Progress> = None;
    let mut completed = false;
    let mut told = false;
    let node_ids = node_ids(session).await;
    let timer = sleep(timeout);
    tokio::pin!(timer);
    loop {
        tokio::select! {
            biased;
            signal = signals.next() => return Ok(exit_for(signal, goal, completed)),
            () = session.listening(), if !told => {
                told = true;
                reporter.listening(session.local_addrs(), &node_ids);
            }
            Some(event) = events.next() => report_event(&event, reporter),
            next = progress.next() => {
                let Some(next) = next else {
                    torrent.wait_complete().await?;
                    return Ok(Exit::Failed);
                };
                if next.phase == Phase::Failed {
                    torrent.wait_complete().await?;
                }
                if next.phase == Phase::Seeding && !completed {
                    completed = true;
                    match torrent.wait_complete().await {
                        Ok(()) => reporter.complete(&next, &target(&next, torrent)),
                        Err(error) if goal == Goal::Complete => return Err(error.into()),
                        // What can be read is seeded.
                        Err(_) => {}
                    }
                    if goal == Goal::Complete {
                        return Ok(Exit::Done);
                    }
                }
                reporter.progress(&next);
                last = Some(next);
            }
            () = timer.as_mut(), if !completed => return Err(timed_out(timeout, last.as_ref())),
        }
    }
}

fn exit_for(signal: Signal, goal: Goal, completed: bool) -> Exit {
    match signal {
        // How a service manager ends a seeder that did what it was started for.
        Signal::Terminate if goal == Goal::CompleteAndSeed && completed => Exit::Done,
        _ => Exit::Interrupted,
    }
}

fn report_event(event: &TorrentEvent, reporter: &mut Reporter) {
    match event {
        TorrentEvent::Metadata { name, bytes, pieces, files, .. } => reporter.metadata(name, *bytes, *pieces, *files),
        TorrentEvent::PieceFailed { piece, blamed } => reporter.piece_failed(piece.get(), blamed),
        TorrentEvent::PeerBanned { addr, reason } => reporter.line(&format!("banned {addr}: {reason}")),
        _ => {}
    }
}

fn timed_out(timeout: Option<Duration>, last: Option<&Progress>) -> Failure {
    let seconds = timeout.unwrap_or_default().as_secs();
    let stall = last.and_then(|progress| progress.stall.as_ref());
    let reason = stall.map(|stall| format!(": {}", stall_text(stall))).unwrap_or_default();
    Failure::new(Exit::TimedOut, format!("not complete after {seconds} s{reason}; what was downloaded is kept"))
}

/// What the user finds where it was asked to go.
fn target(progress: &Progress, torrent: &TorrentHandle) -> String {
    progress.name.clone().unwrap_or_else(|| torrent.info_hash().to_string())
}
