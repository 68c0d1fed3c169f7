//! `magnes verify`: whether the data of a `.torrent` file are whole.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use magnes::model::{Bitfield, Block};
use magnes::storage::{ExistingData, Layout, check_all, len_on_disk, survey};

use super::Outcome;
use super::exit::Exit;
use super::files::{read_metainfo, threads};
use super::print;

/// Check the data of a .torrent file.
///
/// Says which files are missing, incomplete or too long, and ends with 1 when any is. Nothing is written.
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
    let missing = missing_pieces(&layout, &have);
    let mut whole = true;
    for (index, _) in layout.files().iter().enumerate().filter(|(_, file)| !file.padding) {
        if let Some(fault) = fault(&layout, index, missing[index]) {
            whole = false;
            print::line(&format!("{}: {fault}", layout.path(index).display()));
        }
    }
    let (done, all) = (have.count(), info.geometry().piece_count());
    if whole {
        print::line(&format!("{}: complete, {all} pieces verified", info.name()));
        return Ok(Exit::Done);
    }
    print::line(&format!("{}: {done} of {all} pieces verified", info.name()));
    Ok(Exit::Failed)
}

/// What is wrong with a file.
fn fault(layout: &Layout, file: usize, missing: u32) -> Option<String> {
    let expected = layout.files()[file].len;
    match len_on_disk(layout, file) {
        Err(error) => Some(error.to_string()),
        Ok(None) => Some("missing".to_owned()),
        Ok(Some(len)) if len > expected => {
            let pieces = if missing > 0 { format!(", and {}", bad(missing)) } else { String::new() };
            Some(format!("{} bytes too long: {len}, {expected} are the torrent's{pieces}", len - expected))
        }
        Ok(Some(_)) => (missing > 0).then(|| bad(missing)),
    }
}

fn bad(missing: u32) -> String {
    format!("{missing} pieces are missing or bad")
}

fn check(layout: &Arc<Layout>) -> Bitfield {
    let unknown = survey(layout, ExistingData::Check, None).unknown;
    let bar = print::bar("checking {bar:24} {percent:>3}%  piece {pos} of {len}");
    bar.set_length(unknown.len() as u64);
    let have = check_all(layout, &unknown, threads(), |checked| bar.set_position(checked as u64));
    bar.finish_and_clear();
    have
}

/// How many pieces that touch each file are not verified.
fn missing_pieces(layout: &Layout, have: &Bitfield) -> Vec<u32> {
    let geometry = layout.info().geometry();
    let mut missing = vec![0; layout.files().len()];
    for piece in have.missing() {
        let whole = Block { piece, begin: 0, len: geometry.piece_len(piece) };
        layout.spans(&whole).for_each(|span| missing[span.file] += 1);
    }
    missing
}
