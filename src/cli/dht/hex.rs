use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use magnes::model::{InfoHash, parse_info_hash};

use crate::cli::exit::{Exit, Failure};

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

/// The info hash that the user named.
pub(super) fn info_hash(text: &str) -> Result<InfoHash, Failure> {
    parse_info_hash(text).ok_or_else(|| {
        let needed = "40 hexadecimal digits or 32 base32 characters are needed";
        Failure::new(Exit::BadTorrent, format!("`{text}` is not an info hash: {needed}"))
    })
}
