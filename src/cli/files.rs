//! Reading and writing `.torrent` files.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the program reads and writes what it is told")]

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use magnes::model::{METAINFO_LEN_MAX, Metainfo, ParseWarning, Source};
use magnes_dht::internals::write_beside;

use super::exit::{Exit, Failure};
use super::print;

/// What the user named: a link, an info hash, or a path of any bytes.
pub(crate) fn parse_source(given: &OsStr) -> Result<Source, Failure> {
    Source::parse(given).map_err(Failure::bad_torrent)
}

/// Reads and parses a `.torrent` file.
pub(crate) fn read_metainfo(path: &Path) -> Result<Metainfo, Failure> {
    let bytes = read_limited(path, METAINFO_LEN_MAX as u64 + 1)
        .map_err(|error| Failure::bad_torrent(format!("cannot read {}: {error}", path.display())))?;
    Metainfo::parse(bytes.into()).map_err(|error| Failure::bad_torrent(format!("{}: {error}", path.display())))
}

/// Tells the user what was passed over in reading a torrent or link.
pub(crate) fn warn(warnings: &[ParseWarning]) {
    warnings.iter().for_each(|warning| print::warning(&warning.to_string()));
}

/// Reads at most `len_max` bytes, so that a wrong path cannot fill the memory.
fn read_limited(path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(len_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Threads that hash a whole tree: one a core.
pub(crate) fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Where a file that is made goes: all of it or nothing, and not over another one unless that was asked for.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    /// A pipe or a device: written to, never replaced.
    special: bool,
    overwrite: bool,
}

impl NewFile {
    /// A file to be made at `path`. Refuses now what could only be refused after long work otherwise.
    pub(crate) fn at(path: &Path, overwrite: bool) -> Result<Self, Failure> {
        // What a link leads to is what is written.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let new = match path.metadata() {
            // A link that leads nowhere.
            Err(_) if path.symlink_metadata().is_ok() => return Err(exists(&path)),
            Err(_) => Self { path, special: false, overwrite },
            Ok(found) if found.is_dir() => {
                return Err(Failure::new(Exit::Usage, format!("{} is a folder: name a file to write", path.display())));
            }
            Ok(found) if found.is_file() && !overwrite => return Err(exists(&path)),
            Ok(found) => Self { path, special: !found.is_file(), overwrite },
        };
        new.try_folder()?;
        Ok(new)
    }

    /// Whether a file can be made where it is to stand: only making one tells.
    fn try_folder(&self) -> Result<(), Failure> {
        if self.special {
            return Ok(());
        }
        let beside = self.beside();
        let tried = OpenOptions::new().write(true).create_new(true).open(&beside);
        tried.and_then(|_| std::fs::remove_file(&beside)).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        match error.kind() {
            ErrorKind::AlreadyExists if !self.overwrite => exists(&self.path),
            _ => Failure::new(Exit::Disk, format!("cannot write {}: {error}", self.path.display())),
        }
    }

    fn beside(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        self.path.with_file_name(name)
    }

    /// Writes it: beside its place first, then into its place.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let failed = |error: io::Error| self.failed(&error);
        if self.special {
            let device = OpenOptions::new().write(true).open(&self.path);
            return device.and_then(|mut device| device.write_all(bytes)).map_err(failed);
        }
        write_beside(&self.beside(), bytes, |beside| self.place(beside)).map_err(failed)
    }

    fn place(&self, beside: &Path) -> io::Result<()> {
        if self.overwrite {
            return std::fs::rename(beside, &self.path);
        }
        // Unlike a rename, a link never takes the place of a file that was made meanwhile.
        match std::fs::hard_link(beside, &self.path) {
            Ok(()) => std::fs::remove_file(beside),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
            // A file system without links.
            Err(_) if !self.path.exists() => std::fs::rename(beside, &self.path),
            Err(_) => Err(ErrorKind::AlreadyExists.into()),
        }
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("{} exists: choose another with --output, or replace it with --force", path.display()),
    )
}
