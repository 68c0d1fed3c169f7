use std::ffi::OsStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use magnes::model::{InfoHash, Source};

use crate::cli::exit::Failure;
use crate::cli::files::{parse_source, read_metainfo};

/// Bytes as hexadecimal digits.
pub(super) fn encode(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Bytes from hexadecimal digits of either case.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
}

/// A public key, as an argument of the command line.
pub(super) fn parse_key(text: &str) -> Result<[u8; 32], String> {
    let bytes = decode(text).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| format!("a public key has 64 hexadecimal digits, this text has {} characters", text.len()))
}

/// A salt in hexadecimal digits, as an argument of the command line.
pub(super) fn parse_salt(text: &str) -> Result<Salt, String> {
    decode(text).map(Salt).ok_or_else(|| "a salt is given as an even number of hexadecimal digits here".to_owned())
}

/// A salt, given in hexadecimal digits.
#[derive(Debug, Clone)]
pub(super) struct Salt(pub(super) Vec<u8>);

/// The torrent that the user named, in any way that names one.
pub(super) fn info_hash(text: &OsStr) -> Result<InfoHash, Failure> {
    let needed = "40 hexadecimal digits, 32 base32 characters or a magnet link are needed";
    match parse_source(text)? {
        Source::Magnet(magnet) => Ok(magnet.info_hash),
        Source::Publisher(_) => Err(Failure::bad_torrent(
            "the link leads to whatever a publisher points to: `magnes dht get` says which torrent that is",
        )),
        Source::File(path) if path.is_file() => Ok(read_metainfo(&path)?.info.hash()),
        Source::File(path) => Err(Failure::bad_torrent(format!("`{}` is not an info hash: {needed}", path.display()))),
    }
}
