//! `magnes verify`: whether the data of a `.torrent` file are whole.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use magnes::disk::{DiskError, Layout};
use magnes::model::{Block, Info, PieceIndex};
use magnes::storage::{Checked, ExistingData, FitNames, check_all, fit, len_on_disk, survey};

use super::Outcome;
use super::exit::Exit;
use super::files::{read_metainfo, threads};
use super::print;

/// Check the data of a .torrent file.
///
/// Lists files that are missing or incomplete, and exits with 1 if there are any, or with 4 if files could not be read.
/// A complete file with extra bytes at its end is reported and counts as complete: it can be seeded. Nothing is
/// written.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The .torrent file.
    #[arg(value_name = "FILE.torrent")]
    torrent: PathBuf,
    /// Folder that holds its file or folder; that folder itself, or the file, works too.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The data have the names that `get --portable-names` gives.
    #[arg(long)]
    portable_names: bool,
}

pub(crate) fn run(args: VerifyArgs) -> Outcome {
    let info = Arc::new(read_metainfo(&args.torrent)?.info);
    let folder = data_folder(args.folder, &info);
    let how = if args.portable_names { FitNames::Portable } else { FitNames::Look };
    let layout = Arc::new(fit(&folder, info.clone(), how));
    let checked = check(&layout);
    let missing = pieces_by_file(&layout, checked.have.missing().filter(|piece| !checked.unreadable.contains(*piece)));
    let unread = pieces_by_file(&layout, checked.unreadable.iter());
    checked.errors.iter().for_each(|error| print::line(&format!("not checked: {error}")));
    let (mut whole, mut all_seen) = (true, checked.unreadable.is_empty());
    for (index, _) in layout.files().iter().enumerate().filter(|(_, file)| !file.padding) {
        match look(&layout, index, missing[index], unread[index]) {
            Found::Whole => {}
            Found::Longer(line) => print::line(&line),
            Found::Fault(line) => {
                whole = false;
                print::line(&line);
            }
            // It was reported with the pieces.
            Found::Unknown(_) if unread[index] > 0 => {}
            Found::Unknown(error) => {
                all_seen = false;
                print::line(&format!("not checked: {error}"));
            }
        }
    }
    let (done, all) = (checked.have.count(), info.geometry().piece_count());
    if whole && all_seen {
        print::line(&format!("{}: complete, {all} pieces verified", info.name()));
        return Ok(Exit::Done);
    }
    let unread = match checked.unreadable.count() {
        0 => String::new(),
        count => format!(", {count} could not be read"),
    };
    print::line(&format!("{}: {done} of {all} pieces verified{unread}", info.name()));
    Ok(if all_seen { Exit::Failed } else { Exit::Disk })
}

/// The folder in which the torrent's file or folder stands. `named` may be the latter itself.
pub(super) fn data_folder(named: PathBuf, info: &Arc<Info>) -> PathBuf {
    let is_outside = || Layout::new(&named, info.clone()).own_path().symlink_metadata().is_err();
    let Some(whole) = named.canonicalize().ok() else { return named };
    let Some(parent) = whole.parent() else { return named };
    let layout = Layout::new(parent, info.clone());
    let holds_files = || (0..layout.files().len()).any(|file| layout.path(file).is_file());
    match layout.own_path() == whole && is_outside() && holds_files() {
        true => parent.to_path_buf(),
        false => named,
    }
}

/// What a look at a file says, as the line that is printed.
enum Found {
    Whole,
    Longer(String),
    Fault(String),
    Unknown(DiskError),
}

fn look(layout: &Layout, file: usize, missing: u32, unread: u32) -> Found {
    let (path, expected) = (layout.path(file), layout.files()[file].len);
    let line = |what: String| format!("{}: {what}", path.display());
    match len_on_disk(layout, file) {
        Err(error) if error.is_absent() => Found::Fault(error.to_string()),
        Err(error) => Found::Unknown(error),
        Ok(None) => Found::Fault(line("missing".to_owned())),
        Ok(Some(len)) if len > expected => {
            let longer = format!("{} bytes longer than the torrent's {expected}", len - expected);
            match (missing, unread) {
                (0, 0) => Found::Longer(line(format!("whole, and {longer}"))),
                (0, _) => Found::Longer(line(longer)),
                _ => Found::Fault(line(format!("{longer}, and {}", bad(missing)))),
            }
        }
        Ok(Some(_)) if missing > 0 => Found::Fault(line(bad(missing))),
        Ok(Some(_)) => Found::Whole,
    }
}

fn bad(missing: u32) -> String {
    match missing {
        1 => "1 piece is missing or bad".to_owned(),
        _ => format!("{missing} pieces are missing or bad"),
    }
}

fn check(layout: &Arc<Layout>) -> Checked {
    let unknown = survey(layout, ExistingData::Check, None).unknown;
    let bar = print::bar("checking {bar:24} {percent:>3}%  piece {pos} of {len}");
    bar.set_length(unknown.len() as u64);
    let checked = check_all(layout, &unknown, threads(), |checked| bar.set_position(checked as u64));
    bar.finish_and_clear();
    checked
}

/// How many of the pieces touch each file.
fn pieces_by_file(layout: &Layout, pieces: impl Iterator<Item = PieceIndex>) -> Vec<u32> {
    let geometry = layout.info().geometry();
    let mut counts = vec![0; layout.files().len()];
    for piece in pieces {
        let whole = Block { piece, begin: 0, len: geometry.piece_len(piece) };
        layout.spans(&whole).for_each(|span| counts[span.file] += 1);
    }
    counts
}
