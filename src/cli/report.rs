//! What the user sees while a torrent is at work: JSON lines, a progress bar, or plain lines.
#![allow(clippy::disallowed_methods, reason = "the user interface reads the clock")]
#![allow(clippy::print_stderr, reason = "this file is what prints")]

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use magnes::session::{Phase, Progress};
use serde_json::{Map, Value, json};

use super::args::ReportArgs;
use super::exit::Failure;
use super::log;

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
            _ if std::io::stderr().is_terminal() => Style::Bar(bar()),
            _ => Style::Plain,
        };
        Self { style, told: None, phase: None, stall: None }
    }

    /// The magnet link of what is seeded: on stdout, so that it can be piped, except under JSON.
    pub(crate) fn magnet(&self, magnet: &str, info_hash: &str) {
        match &self.style {
            Style::Json => print_json("magnet", json!({ "magnet": magnet, "info_hash": info_hash })),
            Style::Bar(bar) => bar.suspend(|| print_line(magnet)),
            Style::Plain | Style::Quiet => print_line(magnet),
        }
        let _ = std::io::stdout().flush();
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
    pub(crate) fn progress(&mut self, progress: &Progress) {
        let stall = progress.stall.as_ref().map(ToString::to_string);
        let changed = self.phase != Some(progress.phase) || self.stall != stall;
        let due = |interval| self.told.is_none_or(|told| told.elapsed() >= interval);
        match &self.style {
            Style::Quiet => return,
            Style::Json if changed || due(JSON_INTERVAL) => {
                print_json("progress", progress_json(progress, stall.as_deref()))
            }
            Style::Bar(bar) => draw(bar, progress, stall.as_deref()),
            Style::Plain if changed || due(PLAIN_INTERVAL) => eprintln!("{}", summary(progress, stall.as_deref())),
            Style::Json | Style::Plain => return,
        }
        self.told = Some(Instant::now());
        self.phase = Some(progress.phase);
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
        match &self.style {
            Style::Bar(bar) => bar.suspend(|| eprintln!("{text}")),
            Style::Plain => eprintln!("{text}"),
            Style::Json | Style::Quiet => {}
        }
    }

    /// The newest state of something that has no end, in a line or several: in place on a terminal, only there.
    pub(crate) fn status(&self, text: &str) {
        if let Style::Bar(bar) = &self.style {
            if bar.message().is_empty() {
                bar.set_style(status_style());
            }
            bar.set_message(text.to_owned());
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
    eprintln!("magnes: {}", failure.message);
}

/// One line of a result on stdout. A reader that is gone is no reason to stop.
pub(super) fn print_line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// One object a line. A reader that is gone is no reason to stop.
pub(super) fn print_json(event: &str, fields: Value) {
    let mut object = Map::new();
    object.insert("event".into(), event.into());
    object.insert("t".into(), json!((elapsed().as_secs_f64() * 1000.0).round() / 1000.0));
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{}", Value::Object(object)).and_then(|()| stdout.flush());
}

fn progress_json(progress: &Progress, stall: Option<&str>) -> Value {
    json!({
        "phase": phase_name(progress.phase),
        "bytes": progress.bytes_done,
        "total": progress.bytes_total,
        "down_bps": progress.down_bps,
        "up_bps": progress.up_bps,
        "uploaded": progress.uploaded,
        "peers": progress.peers,
        "dht_nodes": progress.dht_nodes,
        "reason": stall,
    })
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Metadata => "metadata",
        Phase::Checking => "checking",
        Phase::Downloading => "downloading",
        Phase::Seeding => "seeding",
        Phase::Paused => "paused",
        _ => "failed",
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    bar.set_style(spinner_style());
    bar.enable_steady_tick(Duration::from_millis(200));
    log::keep_above(&bar);
    bar
}

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is valid")
}

fn status_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}").expect("the template is valid")
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:24} {percent:>3}% {bytes}/{total_bytes}  {wide_msg}")
        .expect("the template is valid")
        .progress_chars("=> ")
}

fn draw(bar: &ProgressBar, progress: &Progress, stall: Option<&str>) {
    match progress.bytes_total {
        Some(total) if progress.phase != Phase::Seeding => {
            if bar.length() != Some(total) {
                bar.set_style(bar_style());
                bar.set_length(total);
            }
            bar.set_position(progress.bytes_done);
        }
        _ if bar.length().is_some() => {
            bar.unset_length();
            bar.set_style(spinner_style());
        }
        _ => {}
    }
    bar.set_message(line(progress, stall));
}

/// One line without the share that is done: rates, peers, time left, and the reason when nothing moves.
fn line(progress: &Progress, stall: Option<&str>) -> String {
    let mut text = match progress.phase {
        Phase::Checking => "checking what is there".to_owned(),
        Phase::Seeding => {
            format!("seeding  up {}/s  {} sent", HumanBytes(progress.up_bps), HumanBytes(progress.uploaded))
        }
        Phase::Paused => "paused".to_owned(),
        Phase::Metadata => "fetching the metadata".to_owned(),
        _ => format!("down {}/s  up {}/s", HumanBytes(progress.down_bps), HumanBytes(progress.up_bps)),
    };
    if progress.phase != Phase::Checking {
        text += &format!("  {} peer{}", progress.peers, plural(progress.peers as u64));
    }
    if let (Phase::Downloading, Some(total), 1..) = (progress.phase, progress.bytes_total, progress.down_bps) {
        let left = total.saturating_sub(progress.bytes_done) / progress.down_bps;
        text += &format!("  {} left", HumanDuration(Duration::from_secs(left)));
    }
    if let Some(stall) = stall {
        text += &format!("  ({stall})");
    }
    text
}

fn summary(progress: &Progress, stall: Option<&str>) -> String {
    match progress.bytes_total {
        Some(total) if progress.phase != Phase::Seeding => {
            let percent = if total == 0 { 100.0 } else { progress.bytes_done as f64 * 100.0 / total as f64 };
            format!("{percent:.1}% of {}  {}", HumanBytes(total), line(progress, stall))
        }
        _ => line(progress, stall),
    }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}
