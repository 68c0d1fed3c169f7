//! The command line: one file a command. Arguments and texts are here; what they do is the library's.
//!
//! Deliberately absent: any rule of a protocol.

mod print;

mod args;
mod exit;
mod log;
mod signals;

mod block;

mod progress;
mod report;

mod files;
mod serve;

mod create;
mod dht;
mod get;
mod limits;
mod manual;
mod node;
mod seed;
mod show;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Failure;

/// What one run of a command ends with.
type Outcome = Result<exit::Exit, Failure>;

const LONG_ABOUT: &str = "\
magnes downloads torrents without trackers: a Kademlia DHT finds the peers of an info hash, and the pieces are \
fetched from them and verified. It also runs DHT bootstrap nodes.";

const AFTER_HELP: &str = "\
Examples:
  magnes get 'magnet:?xt=urn:btih:...'        download into this folder
  magnes get 40-HEX-INFO-HASH -o ~/Downloads  the same from a bare info hash
  magnes seed ~/Pictures                      share a folder; prints its magnet link first
  magnes node --listen 0.0.0.0:6881           run a DHT bootstrap node

Exit codes: 0 done, 1 failed, 2 usage error, 3 timed out, 4 disk, 5 bad torrent or magnet link,
6 cannot bind the address, 130 interrupted. MAGNES_LOG=debug (or trace, or info) writes a log to stderr.";

/// A trackerless BitTorrent client and DHT node.
#[derive(Debug, Parser)]
#[command(name = "magnes", version, long_about = LONG_ABOUT, after_help = AFTER_HELP, max_term_width = 100)]
#[command(arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Get(get::GetArgs),
    Seed(seed::SeedArgs),
    Node(node::NodeArgs),
    Dht(dht::DhtArgs),
    Create(create::CreateArgs),
    Verify(verify::VerifyArgs),
    Show(show::ShowArgs),
    #[command(hide = true)]
    Completions(manual::CompletionsArgs),
    #[command(hide = true)]
    Man(manual::ManArgs),
}

/// Runs the program with the arguments of the process.
pub(crate) fn main() -> ExitCode {
    report::elapsed();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if print::clap(&error) { exit::Exit::Usage } else { exit::Exit::Done };
            return exit.into();
        }
    };
    log::start(reader(&cli.command));
    limits::start();
    let outcome = match cli.command {
        Command::Get(args) => get::run(args),
        Command::Seed(args) => seed::run(args),
        Command::Node(args) => node::run(args),
        Command::Dht(args) => dht::run(args),
        Command::Create(args) => create::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Show(args) => show::run(args),
        Command::Completions(args) => manual::completions(args),
        Command::Man(args) => manual::man(&args),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            report::failure(&failure);
            failure.exit.into()
        }
    }
}

/// For whom the log is: a node without a terminal is a service.
fn reader(command: &Command) -> log::Reader {
    let is_quiet = match command {
        Command::Get(args) => args.report.quiet,
        Command::Seed(args) => args.report.quiet,
        Command::Node(args) => args.quiet,
        _ => false,
    };
    match command {
        _ if is_quiet => log::Reader::QuietUser,
        Command::Node(_) if !print::is_stderr_terminal() => log::Reader::Service,
        _ => log::Reader::User,
    }
}
