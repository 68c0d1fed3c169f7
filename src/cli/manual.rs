//! Shell completions and manual pages, made from the same definitions as `--help`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::exit::{Exit, Failure};
use super::{Cli, Outcome, print};

/// Print the completion script of a shell.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Write the manual pages into a folder.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The folder; it has to exist.
    folder: PathBuf,
}

pub(crate) fn completions(args: CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "magnes", &mut script);
    print::raw(&script);
    Ok(Exit::Done)
}

pub(crate) fn man(args: &ManArgs) -> Outcome {
    clap_mangen::generate_to(Cli::command(), &args.folder)
        .map_err(|error| Failure::new(Exit::Disk, format!("cannot write into {}: {error}", args.folder.display())))?;
    Ok(Exit::Done)
}
