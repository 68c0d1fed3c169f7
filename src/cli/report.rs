//! What the user sees while a torrent is at work: JSON lines, a progress bar, or plain lines.
#![allow(clippy::disallowed_methods, reason = "the user interface reads the clock")]

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar};
use magnes::session::{Phase, Progress};
use serde_json::{Map, Value, json};

use super::args::ReportArgs;
use super::exit::Failure;
use super::progress::plural;
use super::{print, progress};

/// How often the program says on a plain output how far it is.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);
/// How often a JSON reader is told the progress at most.
const JSON_INTERVAL: Duration = Duration::from_millis(500);

/// When the program started: the zero of every `t`.
static STARTED: OnceLock<Instant> = OnceLock::new();

/// Time since the first call, which `main` makes.
pub(crate) fn elapsed() -> Duration {
    STARTED.get_or_init(Instant::now).elapsed()
}

/// Tells the user what happens.
#[derive(Debug)]
pub(crate) struct Reporter {
    style: Style,
    told: Option<Instant>,
    phase: Option<Phase>,
    stall: Option<String>,
}

#[derive(Debug)]
enum Style {
    Json,
    Bar(ProgressBar),
    Plain,
    Quiet,
}

impl Reporter {
    /// A reporter as the arguments and the terminal ask for it.
    pub(crate) fn new(args: ReportArgs) -> Self {
        let style = match args {
            ReportArgs { json: true, .. } => Style::Json,
            ReportArgs { quiet: true, .. } => Style::Quiet,
            _ if print::is_stderr_terminal() => Style::Bar(bar()),
            _ => Style::Plain,
        };
        Self { style, told: None, phase: None, stall: None }
    }

    /// The magnet link of what is seeded: on stdout, so that it can be piped, except under JSON.
    pub(crate) fn magnet(&self, magnet: &str, info_hash: &str) {
        match &self.style {
            Style::Json => print_json("magnet", json!({ "magnet": magnet, "info_hash": info_hash })),
            _ => print::line(magnet),
        }
    }

    /// Where the program listens.
    pub(crate) fn listening(&self, addrs: &[SocketAddr], node_ids: &[String]) {
        let texts: Vec<String> = addrs.iter().map(ToString::to_string).collect();
        match &self.style {
            Style::Json => print_json(
                "listening",
                json!({ "tcp": texts.first(), "udp": texts.first(), "node_id": node_ids.first(), "all": texts }),
            ),
            _ => tracing::info!(addrs = ?texts, "listening"),
        }
    }

    /// A publisher points to this torrent.
    pub(crate) fn pointer(&self, info_hash: &str, seq: i64) {
        match &self.style {
            Style::Json => print_json("pointer", json!({ "info_hash": info_hash, "seq": seq })),
            _ => self.line(&format!("the publisher points to {info_hash} (version {seq})")),
        }
    }

    /// The metadata were fetched.
    pub(crate) fn metadata(&mut self, name: &str, bytes: u64, pieces: u32, files: usize) {
        match &self.style {
            Style::Json => {
                print_json("metadata", json!({ "name": name, "bytes": bytes, "pieces": pieces, "files": files }))
            }
            _ => self.line(&format!("{name}: {} in {files} file{}", HumanBytes(bytes), plural(files as u64))),
        }
    }

    /// A piece had the wrong hash.
    pub(crate) fn piece_failed(&mut self, piece: u32, blamed: &[SocketAddr]) {
        let blamed: Vec<String> = blamed.iter().map(ToString::to_string).collect();
        match &self.style {
            Style::Json => print_json("piece_failed", json!({ "piece": piece, "blamed": blamed })),
            _ if blamed.is_empty() => self.line(&format!("piece {piece} has the wrong hash; it is fetched again")),
            _ => self.line(&format!("piece {piece} has the wrong hash; banned {}", blamed.join(", "))),
        }
    }

    /// How far the torrent is. Told as often as the style wants.
    pub(crate) fn progress(&mut self, now: &Progress) {
        let stall = now.stall.as_ref().map(progress::stall_text);
        let changed = self.phase != Some(now.phase) || self.stall != stall;
        let due = |interval| self.told.is_none_or(|told| told.elapsed() >= interval);
        match &self.style {
            Style::Quiet => return,
            Style::Json if changed || due(JSON_INTERVAL) => {
                print_json("progress", progress::fields(now, stall.as_deref()))
            }
            Style::Bar(bar) => print::draw(bar, &[progress::line(now, stall.as_deref(), print::columns())]),
            Style::Plain if changed || due(PLAIN_INTERVAL) => print::note(&progress::summary(now, stall.as_deref())),
            Style::Json | Style::Plain => return,
        }
        self.told = Some(Instant::now());
        self.phase = Some(now.phase);
        self.stall = stall;
    }

    /// Everything is there.
    pub(crate) fn complete(&mut self, progress: &Progress, target: &str) {
        let bytes = progress.bytes_total.unwrap_or(progress.bytes_done);
        let took = elapsed();
        match &self.style {
            Style::Json => print_json("complete", json!({ "bytes": bytes, "path": target })),
            Style::Quiet => {}
            _ => self.line(&format!("complete: {target} ({} in {:.1} s)", HumanBytes(bytes), took.as_secs_f64())),
        }
    }

    /// A sentence for people; nothing under JSON.
    pub(crate) fn line(&self, text: &str) {
        if matches!(self.style, Style::Bar(_) | Style::Plain) {
            print::note(text);
        }
    }

    /// The newest state of something that has no end, in lines: in place on a terminal, only there.
    pub(crate) fn status(&self, lines: &[String]) {
        if let Style::Bar(bar) = &self.style {
            print::draw(bar, lines);
        }
    }

    /// Whether [`Reporter::status`] is seen.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.style, Style::Bar(_))
    }

    /// Takes the progress bar away.
    pub(crate) fn finish(&self) {
        if let Style::Bar(bar) = &self.style {
            bar.finish_and_clear();
        }
    }
}

/// Tells why the program fails.
pub(crate) fn failure(failure: &Failure) {
    if failure.json {
        let fields = json!({ "message": failure.message, "exit": failure.exit as u8 });
        print_json("error", fields);
    }
    print::failure(&failure.message);
}

/// One event on a line.
pub(super) fn print_json(event: &str, fields: Value) {
    let mut object = Map::new();
    object.insert("event".into(), event.into());
    object.insert("t".into(), json!((elapsed().as_secs_f64() * 1000.0).round() / 1000.0));
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    print::json(&Value::Object(object));
}

fn bar() -> ProgressBar {
    let bar = print::bar("{spinner} {msg}");
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
