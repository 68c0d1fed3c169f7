//! `magnes verify`: whether the data of a `.torrent` file are whole.
#![allow(clippy::print_stdout, reason = "the result goes to stdout")]

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use magnes::model::{Bitfield, Block};
use magnes::storage::{Done, ExistingData, Job, Layout, Worker, WorkerConfig, survey};

use super::Outcome;
use super::exit::Exit;
use super::files::read_metainfo;

/// Check the data of a .torrent file.
///
/// Says which files are incomplete, and ends with 1 when any is. Nothing is written.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The .torrent file.
    #[arg(value_name = "FILE.torrent")]
    torrent: PathBuf,
    /// Folder in which its file or folder stands.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(args: VerifyArgs) -> Outcome {
    let info = Arc::new(read_metainfo(&args.torrent)?.info);
    let layout = Arc::new(Layout::new(&args.folder, info.clone()));
    let have = check(&layout);
    let mut whole = true;
    for (index, file) in layout.files().iter().enumerate().filter(|(_, file)| !file.padding) {
        let path = layout.path(index);
        let missing = missing_pieces(&layout, index, &have);
        if missing > 0 || (file.len == 0 && !path.is_file()) {
            whole = false;
            let reason =
                if path.exists() { format!("{missing} pieces are missing or bad") } else { "missing".to_owned() };
            println!("{}: {reason}", path.display());
        }
    }
    let (done, all) = (have.count(), info.geometry().piece_count());
    if whole {
        println!("{}: complete, {all} pieces verified", info.name());
        return Ok(Exit::Done);
    }
    println!("{}: {done} of {all} pieces verified", info.name());
    Ok(Exit::Failed)
}

fn check(layout: &Arc<Layout>) -> Bitfield {
    let found = survey(layout, ExistingData::Check, None);
    let mut have = found.have;
    let mut worker = Worker::new(WorkerConfig::new([0, 0]));
    let mut done = Vec::new();
    worker.handle(Job::Open { store: 0, layout: layout.clone() }, &mut done);
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(found.unknown.len() as u64)
    } else {
        ProgressBar::hidden()
    };
    bar.set_style(
        ProgressStyle::with_template("checking {bar:24} {percent:>3}%  piece {pos} of {len}")
            .expect("the template is valid"),
    );
    for piece in found.unknown {
        worker.handle(Job::Check { store: 0, piece }, &mut done);
        bar.inc(1);
    }
    for done in done {
        if let Done::Checked { piece, verified: true } = done {
            have.insert(piece);
        }
    }
    bar.finish_and_clear();
    have
}

/// Pieces that touch the file and are not verified.
fn missing_pieces(layout: &Layout, file: usize, have: &Bitfield) -> usize {
    let geometry = layout.info().geometry();
    let touches = |piece| {
        let whole = Block { piece, begin: 0, len: geometry.piece_len(piece) };
        layout.spans(&whole).any(|span| span.file == file)
    };
    have.missing().filter(|piece| touches(*piece)).count()
}
