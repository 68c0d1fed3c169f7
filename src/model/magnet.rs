use super::warning::{Warnings, quote};
use super::{FileSelection, InfoHash, ParseWarning, PeerAddr};
use std::fmt;
use std::str::FromStr;

/// Longest magnet link that is read, in bytes. Real ones stay under 8 KiB, even with fifty trackers.
pub const MAGNET_LEN_MAX: usize = 64 * 1024;

/// A magnet link to a torrent (BEP 9), and what else it tells.
///
/// It prints as the link again: keys in a fixed order, the info hash in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Magnet {
    /// Which torrent (`xt=urn:btih:`).
    pub info_hash: InfoHash,
    /// A name to show until the metadata is there (`dn`). Not to be trusted as a file name.
    pub display_name: Option<String>,
    /// Peers to try at once (`x.pe`).
    pub peers: Vec<PeerAddr>,
    /// Trackers (`tr`), kept as text.
    pub trackers: Vec<String>,
    /// Web seeds (`ws`), kept as text.
    pub web_seeds: Vec<String>,
    /// The only files to fetch (`so`, BEP 53), as far as the torrent has them. `None` is all files.
    pub select_only: Option<FileSelection>,
    /// All other keys and values, decoded, in the order in which they came.
    pub other: Vec<(String, String)>,
    /// What was passed over in reading.
    pub warnings: Vec<ParseWarning>,
}

impl Magnet {
    /// The link that has nothing but an info hash.
    pub fn new(info_hash: InfoHash) -> Self {
        Self {
            info_hash,
            display_name: None,
            peers: Vec::new(),
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            select_only: None,
            other: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn take(&mut self, key: String, value: String, selection: &mut String, warnings: &mut Warnings) {
        // `tr.1=` numbers a key that occurs more than once; `x.pe` only looks alike.
        let name = match key.rsplit_once('.') {
            Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => name.to_ascii_lowercase(),
            _ => key.to_ascii_lowercase(),
        };
        match name.as_str() {
            "dn" if self.display_name.is_none() => self.display_name = Some(value),
            "tr" => self.trackers.extend(url("tr", value, warnings)),
            "ws" => self.web_seeds.extend(url("ws", value, warnings)),
            "x.pe" => match value.trim().parse() {
                Ok(peer) => self.peers.push(peer),
                Err(source) => warnings.push(ParseWarning::Peer { text: quote(&value), source }),
            },
            "so" => selection.extend([",", &value]),
            _ => self.other.push((key, value)),
        }
    }
}

/// A value that is an address; an empty one is passed over without a word.
fn url(key: &'static str, value: String, warnings: &mut Warnings) -> Option<String> {
    let text = value.trim();
    if text.is_empty() {
        return None;
    }
    if text.contains("://") {
        return Some(text.to_owned());
    }
    warnings.push(ParseWarning::Url { key, text: quote(text) });
    None
}

impl FromStr for Magnet {
    type Err = ParseMagnetError;

    fn from_str(text: &str) -> Result<Self, ParseMagnetError> {
        if text.len() > MAGNET_LEN_MAX {
            return Err(ParseMagnetError::TooLong(text.len()));
        }
        let (mut topics, mut warnings) = (Topics::default(), Warnings::default());
        let mut magnet = Magnet::new(InfoHash::new([0; 20]));
        // Several `so` add up.
        let mut selection = String::new();
        for (key, value) in pairs_of(text)? {
            if !topics.take(&key, &value)? {
                magnet.take(key, value, &mut selection, &mut warnings);
            }
        }
        magnet.info_hash = topics.info_hash(&mut warnings)?;
        let left_out = |item: &str| warnings.push(ParseWarning::Selection(quote(item)));
        magnet.select_only = FileSelection::parse_lenient(&selection, left_out);
        magnet.warnings = warnings.into_vec();
        Ok(magnet)
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "magnet:?xt=urn:btih:{}", self.info_hash)?;
        if let Some(name) = &self.display_name {
            write!(f, "&dn={}", Encoded(name))?;
        }
        self.trackers.iter().try_for_each(|tracker| write!(f, "&tr={}", Encoded(tracker)))?;
        self.web_seeds.iter().try_for_each(|seed| write!(f, "&ws={}", Encoded(seed)))?;
        self.peers.iter().try_for_each(|peer| write!(f, "&x.pe={peer}"))?;
        if let Some(files) = &self.select_only {
            write!(f, "&so={files}")?;
        }
        self.other.iter().try_for_each(|(key, value)| write!(f, "&{}={}", Encoded(key), Encoded(value)))
    }
}

/// Why a text is not a magnet link to a torrent that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseMagnetError {
    /// It does not begin with `magnet:`.
    #[error("not a magnet link: it has to begin with `magnet:?`")]
    NotMagnet,
    /// Longer than [`MAGNET_LEN_MAX`].
    #[error("the magnet link has {0} bytes, more than the limit of {MAGNET_LEN_MAX}")]
    TooLong(usize),
    /// No `xt`.
    #[error("the magnet link names no torrent: `xt=urn:btih:` and an info hash are missing")]
    NoTopic,
    /// An `xt` of something that is not BitTorrent.
    #[error("the magnet link is not for BitTorrent: `{0}` instead of `urn:btih:` and an info hash")]
    ForeignTopic(String),
    /// An info hash that is neither hex nor base32.
    #[error("`{0}` is not an info hash: 40 hexadecimal digits or 32 base32 characters are needed")]
    InfoHash(String),
    /// Two `urn:btih:` that differ.
    #[error("the magnet link names two torrents, {0} and {1}: remove one `xt`")]
    TwoInfoHashes(InfoHash, InfoHash),
    /// The hash of a v2 torrent in place of an info hash (BEP 52).
    #[error("`{0}` is the hash of a BitTorrent v2 torrent (SHA-256): not supported yet, its v1 info hash is needed")]
    V2Hash(String),
    /// Only a v2 hash (`urn:btmh:`, BEP 52).
    #[error("the torrent is BitTorrent v2 only: not supported yet (a hybrid link with `urn:btih:` works)")]
    V2Only,
    /// A link to what a publisher points to (`urn:btpk:`, BEP 46): a `PublisherLink`.
    #[error("the link names a publisher and no torrent (`urn:btpk:`, BEP 46): look up the torrent first")]
    PublicKey,
}

/// Reads an info hash: 40 hexadecimal digits or 32 base32 characters, of either case.
pub fn parse_info_hash(text: &str) -> Option<InfoHash> {
    match text.len() {
        40 => text.parse().ok(),
        32 => {
            let bytes = data_encoding::BASE32.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
            InfoHash::from_slice(&bytes)
        }
        _ => None,
    }
}

/// Why a text that stands for an info hash is none.
pub(super) fn no_info_hash(text: &str) -> ParseMagnetError {
    match is_v2_hash(text) {
        true => ParseMagnetError::V2Hash(text.to_owned()),
        false => ParseMagnetError::InfoHash(quote(text)),
    }
}

/// Whether a text is a SHA-256 in hexadecimal digits, with its multihash prefix or without.
pub(super) fn is_v2_hash(text: &str) -> bool {
    let digits = if text.len() == 68 { text.strip_prefix("1220").unwrap_or_default() } else { text };
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What the `xt` and `xs` of a link point to.
#[derive(Default)]
struct Topics {
    info_hash: Option<InfoHash>,
    /// What stands in place of an info hash, in the first of them.
    broken: Option<String>,
    v2: bool,
    public_key: bool,
    foreign: Option<String>,
}

impl Topics {
    /// Returns whether the pair was a topic.
    fn take(&mut self, key: &str, value: &str) -> Result<bool, ParseMagnetError> {
        let key = key.to_ascii_lowercase();
        let urn = value.to_ascii_lowercase();
        self.public_key |= urn.starts_with("urn:btpk:");
        if key != "xt" && !key.starts_with("xt.") {
            return Ok(urn.starts_with("urn:btpk:") && key.starts_with("xs"));
        }
        if urn.starts_with("urn:btmh:") {
            self.v2 = true;
        } else if urn.starts_with("urn:btih:") {
            let text = value["urn:btih:".len()..].trim();
            match (self.info_hash, parse_info_hash(text)) {
                (Some(first), Some(hash)) if first != hash => {
                    return Err(ParseMagnetError::TwoInfoHashes(first, hash));
                }
                (_, Some(hash)) => self.info_hash = Some(hash),
                (_, None) => self.broken = self.broken.take().or_else(|| Some(text.to_owned())),
            }
        } else if !urn.starts_with("urn:btpk:") {
            self.foreign = Some(value.to_owned());
        }
        Ok(true)
    }

    fn info_hash(self, warnings: &mut Warnings) -> Result<InfoHash, ParseMagnetError> {
        match self {
            Self { info_hash: Some(info_hash), broken, .. } => {
                if let Some(text) = broken {
                    warnings.push(ParseWarning::Topic(quote(&text)));
                }
                Ok(info_hash)
            }
            Self { broken: Some(text), .. } => Err(no_info_hash(&text)),
            Self { v2: true, .. } => Err(ParseMagnetError::V2Only),
            Self { public_key: true, .. } => Err(ParseMagnetError::PublicKey),
            Self { foreign: Some(foreign), .. } => Err(ParseMagnetError::ForeignTopic(foreign)),
            _ => Err(ParseMagnetError::NoTopic),
        }
    }
}

/// The keys and values of a link, decoded.
pub(super) fn pairs_of(text: &str) -> Result<impl Iterator<Item = (String, String)> + '_, ParseMagnetError> {
    let scheme = text.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("magnet:"));
    let query = scheme.and_then(|_| text.get(7..)).ok_or(ParseMagnetError::NotMagnet)?;
    // `magnet:?` is the right form; some programs write `magnet://?`, or forget the question mark.
    let query = query.trim_start_matches('/').trim_start_matches('?');
    let pairs = query.split('&').map(|pair| {
        // Links copied out of a page's source have `&amp;` between the pairs.
        let pair = pair.strip_prefix("amp;").unwrap_or(pair);
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decode(key, false);
        let value = decode(value, key.eq_ignore_ascii_case("dn"));
        (key, value)
    });
    Ok(pairs.filter(|(key, _)| !key.is_empty()))
}

/// The bytes of a percent-encoded text.
pub(super) fn decode_bytes(text: &str, plus_is_space: bool) -> Vec<u8> {
    let text = text.as_bytes();
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let digits = text.get(at + 1..at + 3).and_then(|pair| Some((hex_digit(pair[0])?, hex_digit(pair[1])?)));
        match (byte, digits) {
            (b'%', Some((high, low))) => {
                bytes.push(high << 4 | low);
                at += 3;
                continue;
            }
            (b'+', _) if plus_is_space => bytes.push(b' '),
            _ => bytes.push(*byte),
        }
        at += 1;
    }
    bytes
}

/// Undoes percent encoding. A `%` that no two hexadecimal digits follow stays as it is, and what is not UTF-8 becomes
/// U+FFFD. In a display name `+` stands for a space, as web forms write it.
pub(super) fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = decode_bytes(text, plus_is_space);
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub(super) struct Encoded<'a>(pub(super) &'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'-' | b'.' | b'_' | b'~' => write!(f, "{}", char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => write!(f, "{}", char::from(byte)),
            byte => write!(f, "%{byte:02X}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "8543d3e6115f0f98c944077a4493dcd543e49c73";
    const BASE32: &str = "QVB5HZQRL4HZRSKEA55EJE642VB6JHDT";

    fn parse(text: &str) -> Result<Magnet, ParseMagnetError> {
        text.parse()
    }

    #[test]
    fn a_hash_reads_in_hex_and_base32_of_either_case() {
        let hash: InfoHash = HEX.parse().unwrap();
        for text in [HEX.to_owned(), HEX.to_uppercase(), BASE32.to_owned(), BASE32.to_lowercase()] {
            assert_eq!(parse(&format!("magnet:?xt=urn:btih:{text}")).unwrap(), Magnet::new(hash));
        }
    }

    #[test]
    fn every_key_is_read() {
        let magnet = parse(&format!(
            "MAGNET:?dn=a+b%20%C3%A9%2B&amp;xt.1=URN:btih:{HEX}&tr.1=http%3A%2F%2Fa%2B&tr=udp%3A%2F%2Fb&x.pe=1.2.3.4:5\
             &x.pe=%5B::1%5D:6&x.pe=host.example:7&so=4-6,0,2,5-7&ws=http%3A%2F%2Fw&xl=10&xt=urn:btmh:1220ab"
        ))
        .unwrap();
        assert_eq!(magnet.display_name.as_deref(), Some("a b é+"));
        assert_eq!(magnet.trackers, ["http://a+", "udp://b"]);
        assert_eq!(magnet.web_seeds, ["http://w"]);
        let peers: Vec<String> = magnet.peers.iter().map(PeerAddr::to_string).collect();
        assert_eq!(peers, ["1.2.3.4:5", "[::1]:6", "host.example:7"]);
        assert_eq!(magnet.select_only, Some("0,2,4-7".parse().unwrap()));
        assert_eq!(magnet.other, [("xl".to_owned(), "10".to_owned())]);
        assert_eq!(parse(&magnet.to_string()).unwrap(), magnet);
    }

    #[test]
    fn every_broken_link_says_why() {
        use ParseMagnetError as E;
        let other = "aa".repeat(20);
        for (text, error) in [
            (String::new(), E::NotMagnet),
            ("http://example.org".into(), E::NotMagnet),
            ("magnet:xt=urn:btih:".into(), E::InfoHash(String::new())),
            ("magnet:".into(), E::NoTopic),
            ("magnet:?".into(), E::NoTopic),
            ("magnet:?dn=x".into(), E::NoTopic),
            ("magnet:?xt=urn:sha1:ABC".into(), E::ForeignTopic("urn:sha1:ABC".into())),
            ("magnet:?xt=urn:btih:".into(), E::InfoHash(String::new())),
            ("magnet:?xt=urn:btih:xyz".into(), E::InfoHash("xyz".into())),
            (format!("magnet:?xt=urn:btih:{}g", &HEX[1..]), E::InfoHash(format!("{}g", &HEX[1..]))),
            (
                format!("magnet:?xt=urn:btih:{HEX}&xt=urn:btih:{other}"),
                E::TwoInfoHashes(HEX.parse().unwrap(), other.parse().unwrap()),
            ),
            ("magnet:?xt=urn:btmh:1220ab".into(), E::V2Only),
            ("magnet:?xs=urn:btpk:ab&s=6e".into(), E::PublicKey),
            (format!("magnet:?xt=urn:btih:{}", "Ab".repeat(32)), E::V2Hash("Ab".repeat(32))),
            (format!("magnet:?xt=urn:btih:1220{}", "ab".repeat(32)), E::V2Hash(format!("1220{}", "ab".repeat(32)))),
            (format!("magnet:?{}", "a".repeat(MAGNET_LEN_MAX)), E::TooLong(MAGNET_LEN_MAX + 8)),
        ] {
            assert_eq!(parse(&text), Err(error), "{text:.80}");
        }
    }

    #[test]
    fn what_is_optional_and_odd_is_left_out_with_a_warning() {
        let magnet = |more: &str| parse(&format!("magnet:?xt=urn:btih:{HEX}&{more}")).unwrap();
        for peer in ["nowhere", "1.2.3.4", "::1:6881", "1.2.3.4:0", "1.2.3.4:x", "", "%00:1"] {
            let found = magnet(&format!("x.pe={peer}&x.pe=1.2.3.4:5"));
            assert_eq!(found.peers, ["1.2.3.4:5".parse().unwrap()], "{peer}");
            assert!(matches!(found.warnings[..], [ParseWarning::Peer { .. }]), "{peer}");
        }
        for (so, files, warnings) in [
            ("so=0&so=2", Some("0,2"), 0),
            ("so=1,2,", Some("1-2"), 0),
            ("so=1,%202", Some("1-2"), 0),
            ("so=", None, 0),
            ("so=3-1", None, 1),
            ("so=0,x,2", Some("0,2"), 1),
            ("so=0-99999999999", Some("0-4294967295"), 0),
        ] {
            let found = magnet(so);
            assert_eq!(found.select_only.map(|files| files.to_string()).as_deref(), files, "{so}");
            assert_eq!(found.warnings.len(), warnings, "{so}");
        }
        let found = magnet("tr=&tr=nowhere&tr=%20udp://a:1%20&ws=x&ws=http://w&xl=x&xl=99999999999999999999");
        assert_eq!((found.trackers, found.web_seeds), (vec!["udp://a:1".to_owned()], vec!["http://w".to_owned()]));
        assert_eq!(found.warnings.len(), 2);
        let found = magnet("xt=urn:btih:short");
        assert_eq!(found.info_hash, HEX.parse().unwrap());
        assert_eq!(found.warnings, [ParseWarning::Topic("short".into())]);
        let many = magnet(&(0..1000).map(|at| format!("so=x{at}&")).collect::<String>());
        assert_eq!(many.warnings.len(), 32, "bounded");
    }

    #[test]
    fn odd_percent_signs_and_bytes_stay_readable() {
        let name = |text: &str| parse(&format!("magnet:?xt=urn:btih:{HEX}&dn={text}")).unwrap().display_name.unwrap();
        assert_eq!(name("100%"), "100%");
        assert_eq!(name("%zz%4"), "%zz%4");
        assert_eq!(name("%ff"), "\u{fffd}");
        assert_eq!(name("é%€"), "é%€");
    }

    proptest! {
        #[test]
        fn any_link_round_trips(
            hash in any::<[u8; 20]>(),
            name in proptest::option::of(".*"),
            trackers in proptest::collection::vec(".*", 0..4),
            ranges in proptest::option::of(proptest::collection::vec((any::<u16>(), any::<u16>()), 1..5)),
        ) {
            let mut magnet = Magnet::new(InfoHash::new(hash));
            magnet.display_name = name;
            magnet.trackers = trackers.iter().map(|tracker| format!("udp://{}", tracker.trim())).collect();
            let ranges = ranges.map(|ranges| {
                ranges.iter().map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))).collect::<Vec<_>>().join(",")
            });
            magnet.select_only = ranges.map(|text| text.parse().unwrap());
            prop_assert_eq!(parse(&magnet.to_string()), Ok(magnet));
        }

        #[test]
        fn any_text_is_a_link_or_an_error(text in "(magnet:\\?)?(xt=urn:btih:)?.{0,80}") {
            let _ = parse(&text);
        }
    }
}
