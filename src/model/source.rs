use super::magnet::{decode, decode_bytes, is_v2_hash};
use super::{Magnet, ParseMagnetError, ParsePublisherLinkError, PublisherLink, parse_info_hash};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What a user names when asking for a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A magnet link, or a bare info hash, which is the link that has nothing else.
    Magnet(Box<Magnet>),
    /// A link to whatever torrent a publisher points to (BEP 46).
    Publisher(Box<PublisherLink>),
    /// A path, taken for that of a `.torrent` file, byte for byte as it was given. Nobody has looked whether it is there.
    File(PathBuf),
}

impl Source {
    /// Tells apart a magnet link, an info hash (40 hexadecimal digits or 32 base32 characters), a `file:` address and a
    /// path. Links and hashes are found in what people paste: in quotes or brackets, with invisible characters around,
    /// without their beginning, percent-encoded as a whole. A file whose name looks like one is named by `./` before it.
    pub fn parse(given: &(impl AsRef<OsStr> + ?Sized)) -> Result<Self, ParseSourceError> {
        let given = given.as_ref();
        let path = || Ok(Self::File(given.into()));
        // What is not UTF-8 can be nothing but a path.
        let Some(text) = given.to_str().map(without_wrapping) else { return path() };
        if text.is_empty() {
            return Err(ParseSourceError::Empty);
        }
        if starts_with(text, "magnet:") {
            return Self::parse_link(text);
        }
        if starts_with(text, "magnet%3a") {
            return Self::parse_link(&decode(text, false));
        }
        if starts_with(text, "xt=urn:") || starts_with(text, "xt=urn%3a") {
            return Self::parse_link(&format!("magnet:?{text}"));
        }
        if ["urn:btih:", "urn:btmh:", "urn:btpk:"].iter().any(|urn| starts_with(text, urn)) {
            return Self::parse_link(&format!("magnet:?xt={text}"));
        }
        if starts_with(text, "http://") || starts_with(text, "https://") {
            return Err(ParseSourceError::Url(text.to_owned()));
        }
        if starts_with(text, "file:") {
            return file_of_address(text);
        }
        match parse_info_hash(text) {
            Some(info_hash) => Ok(Self::Magnet(Box::new(Magnet::new(info_hash)))),
            None if is_v2_hash(text) => Err(ParseMagnetError::V2Hash(text.to_owned()).into()),
            None => path(),
        }
    }

    fn parse_link(text: &str) -> Result<Self, ParseSourceError> {
        match text.parse() {
            Ok(magnet) => Ok(Self::Magnet(Box::new(magnet))),
            Err(ParseMagnetError::PublicKey) => Ok(Self::Publisher(Box::new(text.parse()?))),
            Err(error) => Err(error.into()),
        }
    }
}

fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start))
}

/// The text without what mail programs, documents and pages put around a link.
fn without_wrapping(text: &str) -> &str {
    let wrapping = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '<' | '>' | '"' | '\'' | '`' | '\u{ab}' | '\u{bb}' | '\u{2018}'..='\u{201f}' | '\u{feff}')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{ad}')
    };
    text.trim_matches(wrapping)
}

/// `file:///path`, `file:/path` or `file://localhost/path` (RFC 8089).
fn file_of_address(text: &str) -> Result<Source, ParseSourceError> {
    let rest = &text["file:".len()..];
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => {
            let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
            if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                return Err(ParseSourceError::OtherHost(text.to_owned()));
            }
            &rest[host.len()..]
        }
    };
    if !path.starts_with('/') {
        return Err(ParseSourceError::OtherHost(text.to_owned()));
    }
    Ok(Source::File(os_string(decode_bytes(path, false)).into()))
}

#[cfg(unix)]
fn os_string(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

/// With the drive in front: `/C:/x` is `C:/x`.
#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> OsString {
    let path = String::from_utf8_lossy(&bytes).into_owned();
    match path.as_bytes() {
        [b'/', _, b':', ..] => path[1..].into(),
        _ => path.into(),
    }
}

/// Why a text names no torrent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSourceError {
    /// Nothing was given.
    #[error("no torrent is named: give a magnet link, an info hash, or the path of a .torrent file")]
    Empty,
    /// The address of a web page or file.
    #[error("`{0}` is a web address: download the .torrent file first and give its path, or give a magnet link")]
    Url(String),
    /// A `file:` address without a path on this machine.
    #[error("`{0}` is not the address of a file on this machine: write file:///PATH, or give the path")]
    OtherHost(String),
    /// A magnet link with a fault.
    #[error(transparent)]
    Magnet(#[from] ParseMagnetError),
    /// A link to what a publisher points to, with a fault.
    #[error(transparent)]
    Publisher(#[from] ParsePublisherLinkError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InfoHash;

    #[test]
    fn links_hashes_and_paths_are_told_apart() {
        let hash = InfoHash::new([0xab; 20]);
        let magnet = Ok(Source::Magnet(Box::new(Magnet::new(hash))));
        assert_eq!(Source::parse(&hash.to_string()), magnet);
        assert_eq!(Source::parse("VOV2XK5LVOV2XK5LVOV2XK5LVOV2XK5L"), magnet);
        assert_eq!(Source::parse(&format!(" magnet:?xt=urn:btih:{hash}\n")), magnet);
        let publisher = format!("magnet:?xs=urn:btpk:{}", "ab".repeat(32));
        assert_eq!(Source::parse(&publisher), Ok(Source::Publisher(Box::new(PublisherLink::new([0xab; 32])))));
        assert!(matches!(Source::parse("magnet:?xs=urn:btpk:ab"), Err(ParseSourceError::Publisher(_))));
        assert_eq!(Source::parse(&format!("./{hash}")), Ok(Source::File(format!("./{hash}").into())));
        assert_eq!(Source::parse("magnet:?"), Err(ParseSourceError::Magnet(ParseMagnetError::NoTopic)));
        assert!(matches!(Source::parse("HTTPS://example.org/a.torrent"), Err(ParseSourceError::Url(_))));
    }

    #[test]
    fn links_are_read_in_every_form_in_which_they_are_pasted() {
        let hash = InfoHash::new([0xab; 20]);
        let magnet = Ok(Source::Magnet(Box::new(Magnet::new(hash))));
        let link = format!("magnet:?xt=urn:btih:{hash}");
        for pasted in [
            format!("<{link}>"),
            format!("\"{link}\""),
            format!("'{link}'"),
            format!("\u{201c}{link}\u{201d}"),
            format!("\u{feff}{link}"),
            format!("{link}\u{200b}"),
            format!(" \u{200e}<\"{link}\">\r\n"),
            format!("magnet%3A%3Fxt%3Durn%3Abtih%3A{hash}"),
            format!("magnet:?xt=urn%3Abtih%3A{hash}"),
            format!("magnet://?xt=urn:btih:{hash}"),
            format!("magnet:xt=urn:btih:{hash}"),
            format!("xt=urn:btih:{hash}"),
            format!("URN:BTIH:{hash}"),
            format!("<{hash}>"),
            format!("\u{feff}{hash}"),
        ] {
            assert_eq!(Source::parse(&pasted), magnet, "{pasted:?}");
        }
        for v2 in ["bb".repeat(32), format!("1220{}", "bb".repeat(32)), format!("urn:btih:{}", "bb".repeat(32))] {
            let refused = Source::parse(&v2);
            assert!(matches!(refused, Err(ParseSourceError::Magnet(ParseMagnetError::V2Hash(_)))), "{refused:?}");
        }
        let urn = Source::parse(&format!("urn:btmh:1220{}", "bb".repeat(32)));
        assert_eq!(urn, Err(ParseSourceError::Magnet(ParseMagnetError::V2Only)));
        for nothing in ["", " ", "<>", "\"\"", "\u{feff}"] {
            assert_eq!(Source::parse(nothing), Err(ParseSourceError::Empty), "{nothing:?}");
        }
    }

    #[test]
    fn a_path_stays_as_it_was_given() {
        for path in ["a.torrent", " a.torrent ", "<a>.torrent", "\u{feff}a", "'a'", "magnet", "a b"] {
            assert_eq!(Source::parse(path), Ok(Source::File(path.into())), "{path:?}");
        }
        #[cfg(unix)]
        {
            let bytes: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff.torrent");
            assert_eq!(Source::parse(bytes), Ok(Source::File(bytes.into())));
        }
    }

    #[test]
    fn an_address_of_a_file_here_is_its_path() {
        for (address, path) in [
            ("file:///a/b%20c.torrent", "/a/b c.torrent"),
            ("FILE://localhost/a%2B+", "/a++"),
            ("file:/a", "/a"),
            ("<file:///a>", "/a"),
        ] {
            assert_eq!(Source::parse(address), Ok(Source::File(path.into())), "{address}");
        }
        for address in ["file://example.org/a", "file:a", "file://", "file://localhost"] {
            assert!(matches!(Source::parse(address), Err(ParseSourceError::OtherHost(_))), "{address}");
        }
        #[cfg(unix)]
        assert_eq!(
            Source::parse("file:///%ff"),
            Ok(Source::File(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/\xff").into()))
        );
    }
}
