//! `magnes create`: a `.torrent` file from a file or folder.
#![allow(clippy::disallowed_methods, reason = "the program reads the clock")]

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use indicatif::ProgressBar;
use magnes::model::{Metainfo, NewTorrent, PIECE_LEN_CREATE_MAX, PIECE_LEN_CREATE_MIN, PeerAddr, Renamed};
use magnes::storage::{CreateError, hash_path};

use super::Outcome;
use super::exit::{Exit, Failure};
use super::files::{NewFile, threads};
use super::print;

/// Paths left out that are named; the others are counted.
const LEFT_OUT_MAX: usize = 20;

/// Names that are told one by one.
const NAMES_TOLD_MAX: usize = 5;

/// Make a .torrent file from a file or folder.
///
/// It names no tracker: peers find each other through the DHT. Prints the magnet link.
///
/// Names that some systems refuse or fold (device names such as aux.c, a backslash, two names that differ only in case)
/// are reported and kept: downloaders on such systems get these files under other names.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// File or folder to share. Symbolic links, pipes, devices and unreadable files in it are left out and listed.
    path: PathBuf,
    /// File to write. Default: the name of PATH with .torrent, in this folder.
    #[arg(short, long, value_name = "FILE.torrent")]
    output: Option<PathBuf>,
    /// Overwrite FILE.torrent if it exists. Without this, the command refuses to.
    #[arg(short, long)]
    force: bool,
    /// Length of a piece: a power of two from 16384 to 16777216. Default: the smallest that makes at most 2000 pieces.
    #[arg(long, value_name = "BYTES", value_parser = parse_piece_len)]
    piece_length: Option<u32>,
    /// Forbid the DHT and peer exchange (BEP 27). Such a torrent needs --peer, or a client with a tracker.
    #[arg(long)]
    private: bool,
    /// Comment to store in the file.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// DHT node that leads to the peers, for private networks (BEP 5). May be repeated.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "private")]
    node: Vec<PeerAddr>,
}

pub(crate) fn run(args: CreateArgs) -> Outcome {
    let output = args.output.unwrap_or_else(|| output_default(&args.path));
    let file = NewFile::at(&output, args.force)?;
    let (mut new, _) = hash(&args.path, Some(&output), args.piece_length, false)?;
    new.private = args.private;
    new.comment = args.comment;
    new.nodes = args.node;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    new.creation_date = i64::try_from(now.as_secs()).ok();
    let raw = new.encode();
    let metainfo = parse(raw.clone())?;
    file.write(&raw)?;
    print::line(&format!("{}", output.display()));
    print::line(&format!("info hash {}", metainfo.info.hash()));
    print::line(&format!("{}", metainfo.magnet()));
    Ok(Exit::Done)
}

/// In the current folder, named after what is shared.
fn output_default(shared: &Path) -> PathBuf {
    let whole = shared.canonicalize().unwrap_or_else(|_| shared.to_path_buf());
    let mut name = whole.file_name().unwrap_or_default().to_owned();
    name.push(".torrent");
    name.into()
}

/// Hashes a path, with a progress bar on a terminal. Returns the folder, too, in which it stands.
pub(super) fn hash(
    path: &Path,
    output: Option<&Path>,
    piece_len: Option<u32>,
    quiet: bool,
) -> Result<(NewTorrent, PathBuf), Failure> {
    let bar = match quiet {
        true => ProgressBar::hidden(),
        false => print::bar("hashing {bar:24} {percent:>3}% {bytes}/{total_bytes}  {bytes_per_sec}"),
    };
    let hashed = hash_path(path, output, piece_len, threads(), |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })
    .map_err(|error| match error {
        CreateError::Io { .. } => Failure::new(Exit::Disk, error),
        CreateError::Changed { .. } => Failure::new(Exit::Failed, error),
        error => Failure::new(Exit::Usage, error),
    })?;
    bar.finish_and_clear();
    for left in hashed.left_out.iter().take(LEFT_OUT_MAX) {
        tracing::warn!("left out {}: {}", left.path.display(), left.why);
    }
    if hashed.left_out.len() > LEFT_OUT_MAX {
        tracing::warn!("left out {} more", hashed.left_out.len() - LEFT_OUT_MAX);
    }
    if !quiet {
        warn_of_names(&hashed.renamed_elsewhere);
    }
    let folder = hashed.folder.clone();
    let created_by = Some(concat!("magnes ", env!("CARGO_PKG_VERSION")).to_owned());
    Ok((NewTorrent { created_by, ..hashed.into() }, folder))
}

/// Names the files that downloaders on some systems get under other names: the first few, and how many more.
fn warn_of_names(renamed: &[Renamed]) {
    for Renamed { from, to } in renamed.iter().take(NAMES_TOLD_MAX) {
        print::warning(&format!("{from} is no file name on every system: downloaders there get it as {to}"));
    }
    if let Some(more @ 1..) = renamed.len().checked_sub(NAMES_TOLD_MAX) {
        print::warning(&format!("{more} more names are no file names on every system"));
    }
}

/// Reads back what was made: names that another client could not use are refused here.
pub(super) fn parse(raw: bytes::Bytes) -> Result<Metainfo, Failure> {
    Metainfo::parse(raw).map_err(|error| Failure::new(Exit::Failed, format!("this makes no torrent: {error}")))
}

fn parse_piece_len(text: &str) -> Result<u32, String> {
    let len: u32 = text.parse().map_err(|_| "not a number of bytes".to_owned())?;
    let fits = len.is_power_of_two() && (PIECE_LEN_CREATE_MIN..=PIECE_LEN_CREATE_MAX).contains(&len);
    if fits { Ok(len) } else { Err(format!("a power of two from {PIECE_LEN_CREATE_MIN} to {PIECE_LEN_CREATE_MAX}")) }
}
