//! `magnes get`: from a magnet link, an info hash or a `.torrent` file to verified files.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use magnes::model::{FileSelection, Source};
use magnes::session::AddOptions;

use super::Outcome;
use super::args::{NetworkArgs, ReportArgs};
use super::exit::{Exit, Failure};
use super::files::{parse_source, read_metainfo, warn};
use super::serve::{Goal, Job, Wanted};

/// Download by magnet link, info hash or .torrent file.
///
/// Finds peers through the DHT, without trackers, and verifies every piece. To resume a download that was stopped, run
/// the same command again.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// Magnet link (to a torrent, or `xs=urn:btpk:` to what a publisher points to), info hash (40 hexadecimal or 32 base32
    /// digits), or .torrent file.
    source: OsString,
    /// Folder to download into.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Fetch only these files, by the numbers that `magnes show` prints, for example 0,2,4-7. Default: those that the
    /// magnet link selects, or all. Run the command again with other numbers to fetch more.
    #[arg(long, value_name = "NUMBERS")]
    files: Option<FileSelection>,
    /// Overwrite existing files, even if they share no piece with the torrent or are longer than its own. Without this,
    /// such files are assumed to be yours: they are left alone, and the command exits with 4.
    #[arg(long)]
    overwrite: bool,
    /// Give files names that are valid on every system, for a folder that other systems read (a share, a USB stick):
    /// `aux.c` becomes `_aux.c`; of `README` and `readme` the second becomes `readme.1`. Without this, names stay as
    /// the torrent has them wherever the folder accepts them. Give it again to resume such a download.
    #[arg(long)]
    portable_names: bool,
    #[command(flatten)]
    network: NetworkArgs,
    /// Keep seeding when complete, until Ctrl-C.
    #[arg(long)]
    seed: bool,
    /// Give up after this many seconds, with exit code 3. What was downloaded is kept.
    #[arg(long, value_name = "SECS")]
    timeout: Option<u64>,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

pub(crate) fn run(args: GetArgs) -> Outcome {
    let json = args.report.json;
    let source = read_source(&args.source, args.report.quiet).map_err(|failure| failure.told_as_json(json))?;
    if args.output.exists() && !args.output.is_dir() {
        let why = format!("{} is no folder: -o names the folder to download into", args.output.display());
        return Err(Failure::new(Exit::Disk, why).told_as_json(json));
    }
    let mut options = AddOptions::new(args.output);
    options.overwrite = args.overwrite;
    options.portable_names = args.portable_names;
    options.peers.clone_from(&args.network.peer);
    options.files = args.files;
    let goal = if args.seed { Goal::CompleteAndSeed } else { Goal::Complete };
    Job {
        source,
        options,
        config: args.network.config(),
        goal,
        timeout: args.timeout.map(Duration::from_secs),
        report: args.report,
        magnet: None,
    }
    .run()
}

/// What the user named. A `.torrent` file is read here. What is passed over in reading is told unless that is not wanted.
fn read_source(given: &OsStr, quiet: bool) -> Result<Wanted, Failure> {
    match parse_source(given)? {
        Source::Magnet(magnet) => {
            if !quiet {
                warn(&magnet.warnings);
            }
            Ok(Wanted::Torrent((*magnet).into()))
        }
        Source::Publisher(link) => Ok(Wanted::Publisher(link)),
        Source::File(path) => {
            let metainfo = read_metainfo(&path)?;
            if !quiet {
                warn(&metainfo.warnings);
            }
            Ok(Wanted::Torrent(metainfo.into()))
        }
    }
}
