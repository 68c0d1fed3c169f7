//! `magnes seed`: shares a file or folder, or what a `.torrent` file describes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use magnes::model::Metainfo;
use magnes::session::{AddOptions, ExistingData};

use super::Outcome;
use super::args::{NetworkArgs, ReportArgs};
use super::create;
use super::exit::Failure;
use super::files::{read_metainfo, warn};
use super::serve::{Goal, Job, Wanted};
use super::verify::data_folder;

/// Share a file or folder, or what a .torrent file describes, until Ctrl-C.
///
/// Prints the magnet link first. A file or folder is hashed; no .torrent file is needed. For a .torrent file, its data
/// are verified, and what is missing is fetched.
#[derive(Debug, Args)]
pub(crate) struct SeedArgs {
    /// File or folder to share, or a .torrent file.
    #[arg(value_name = "PATH|FILE.torrent")]
    path: PathBuf,
    /// Folder that holds the data of the .torrent file. Default: the folder of the .torrent file.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The data of the .torrent file have the names that `get --portable-names` gives.
    #[arg(long)]
    portable_names: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

pub(crate) fn run(args: SeedArgs) -> Outcome {
    let json = args.report.json;
    let (metainfo, mut options) = prepare(&args).map_err(|failure| failure.told_as_json(json))?;
    options.portable_names = args.portable_names;
    options.peers.clone_from(&args.network.peer);
    let magnet = metainfo.magnet().to_string();
    Job {
        source: Wanted::Torrent(metainfo.into()),
        options,
        config: args.network.config(),
        goal: Goal::CompleteAndSeed,
        timeout: None::<Duration>,
        report: args.report,
        magnet: Some(magnet),
    }
    .run()
}

fn prepare(args: &SeedArgs) -> Result<(Metainfo, AddOptions), Failure> {
    let parent = || args.path.parent().map(PathBuf::from).filter(|parent| !parent.as_os_str().is_empty());
    let is_torrent = args.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("torrent"));
    if is_torrent && args.path.is_file() {
        let metainfo = read_metainfo(&args.path)?;
        if !args.report.quiet {
            warn(&metainfo.warnings);
        }
        let folder = args.data.clone().or_else(parent).unwrap_or_else(|| ".".into());
        let folder = data_folder(folder, &Arc::new(metainfo.info.clone()));
        return Ok((metainfo, AddOptions::new(folder)));
    }
    let (new, folder) = create::hash(&args.path, None, None, args.report.quiet || args.report.json)?;
    let metainfo = create::parse(new.encode())?;
    let mut options = AddOptions::new(folder);
    options.existing = ExistingData::Verified;
    Ok((metainfo, options))
}
