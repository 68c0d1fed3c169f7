//! Exit codes, and failures that know theirs.

use std::fmt;
use std::process::ExitCode;

use magnes::disk::DiskError;
use magnes::session::{AddError, StartError, TorrentError};

/// How the program ends. The numbers are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed in a way that has no code of its own.
    Failed = 1,
    /// The command cannot be carried out as it was given.
    Usage = 2,
    /// The time given by `--timeout` is over.
    TimedOut = 3,
    /// Files could not be written or read.
    Disk = 4,
    /// The torrent, magnet link or info hash is none.
    BadTorrent = 5,
    /// An address to listen on could not be had.
    CannotBind = 6,
    /// Ended by a signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed: a sentence for the user, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    /// Whether the failure is told as a JSON line too.
    pub(crate) json: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), json: false }
    }

    pub(crate) fn bad_torrent(message: impl fmt::Display) -> Self {
        Self::new(Exit::BadTorrent, message)
    }

    /// The same failure, told as a JSON line when `json` is set.
    pub(crate) fn told_as_json(self, json: bool) -> Self {
        Self { json, ..self }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Bind { .. } => {
                let why = format!("{error}; choose another with --listen, port 0 picks a free one");
                Self::new(Exit::CannotBind, why)
            }
            _ => Self::new(Exit::Failed, error),
        }
    }
}

impl From<AddError> for Failure {
    fn from(error: AddError) -> Self {
        let exit = match error {
            // Its files are written by another download.
            AddError::InUse { .. } => Exit::Disk,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<TorrentError> for Failure {
    fn from(error: TorrentError) -> Self {
        match error {
            TorrentError::Disk(error) => error.into(),
            TorrentError::Metadata { .. } => Self::new(Exit::BadTorrent, error),
            TorrentError::Selection(_) => Self::new(Exit::Usage, error),
            TorrentError::DiskThread => {
                Self::new(Exit::Failed, format!("{error}; run the same command again to resume"))
            }
            _ => Self::new(Exit::Failed, error),
        }
    }
}

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Self {
        let way_out = match error {
            DiskError::TooLong { .. } | DiskError::Foreign { .. } => " with `get --overwrite`",
            _ => "",
        };
        Self::new(Exit::Disk, format!("{error}{way_out}"))
    }
}
