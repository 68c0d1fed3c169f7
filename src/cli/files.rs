//! Reading `.torrent` files.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the program reads the files it is given")]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use magnes::model::{METAINFO_LEN_MAX, Metainfo};

use super::exit::Failure;

/// Reads and parses a `.torrent` file.
pub(crate) fn read_metainfo(path: &Path) -> Result<Metainfo, Failure> {
    let bytes = read_limited(path, METAINFO_LEN_MAX as u64 + 1)
        .map_err(|error| Failure::bad_torrent(format!("cannot read {}: {error}", path.display())))?;
    Metainfo::parse(bytes.into()).map_err(|error| Failure::bad_torrent(format!("{}: {error}", path.display())))
}

/// Reads at most `len_max` bytes, so that a wrong path cannot fill the memory.
fn read_limited(path: &Path, len_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(len_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}
