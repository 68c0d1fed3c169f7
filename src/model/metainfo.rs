use super::info::{of_type, once, text};
use super::warning::Warnings;
use super::{Info, METAINFO_LEN_MAX, Magnet, ParseMetainfoError, ParseWarning, PeerAddr};
use bytes::Bytes;
use encoding_rs::Encoding;
use flate2::read::GzDecoder;
use magnes_bencode::{Kind, Reader};
use std::fmt;
use std::io::Read;

/// Most trackers, web seeds, and nodes that are kept of each.
const HINTS_MAX: usize = 1024;

const LIST_OF_ADDRESSES: &str = "a list of addresses";

/// How a file begins that is compressed with gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// How files begin that people take for torrents, and what they are.
const OTHER_FORMATS: [(&[u8], &str); 9] = [
    (b"magnet:", "a magnet link in a file: give the link itself"),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"Rar!", "a rar archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"BZh", "compressed with bzip2: decompress it first"),
    (b"\xfd7zXZ", "compressed with xz: decompress it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: decompress it first"),
    (b"%PDF", "a PDF document"),
    (b"{", "a JSON document: the download of the .torrent file probably failed"),
];

/// The content of a `.torrent` file (BEP 3). Beside [`Metainfo::info`] it holds hints, none of which the info hash
/// covers: what is malformed among them is left out.
#[derive(Clone)]
pub struct Metainfo {
    /// What the info hash stands for.
    pub info: Info,
    /// Trackers in tiers (`announce-list`, BEP 12, or `announce`).
    pub trackers: Vec<Vec<String>>,
    /// DHT nodes to bootstrap from (`nodes`, BEP 5).
    pub nodes: Vec<PeerAddr>,
    /// Web seeds (`url-list`, BEP 19).
    pub web_seeds: Vec<String>,
    /// A remark of the author.
    pub comment: Option<String>,
    /// The program that made the file.
    pub created_by: Option<String>,
    /// When it was made, in seconds since 1970.
    pub creation_date: Option<i64>,
    /// What was passed over in reading, beside [`Info::warnings`].
    pub warnings: Vec<ParseWarning>,
    raw: Bytes,
}

impl Metainfo {
    /// Reads a `.torrent` file, which may be compressed with gzip, as web servers hand them out.
    pub fn parse(raw: Bytes) -> Result<Self, ParseMetainfoError> {
        let mut warnings = Warnings::default();
        let raw = match raw.starts_with(&GZIP) {
            true => {
                warnings.push(ParseWarning::Compressed);
                gunzip(&raw)?
            }
            false => raw,
        };
        if raw.len() > METAINFO_LEN_MAX {
            return Err(ParseMetainfoError::TooLarge(raw.len()));
        }
        refuse_other_formats(&raw)?;
        let keys = Keys::read(&raw, &mut warnings)?;
        let raw_info = raw.slice_ref(keys.info.ok_or(ParseMetainfoError::Missing("info"))?);
        let encoding = keys.encoding;
        let info = Info::parse_with(raw_info, encoding)?;
        let show = |bytes: &[u8]| text(bytes, encoding).into_owned();
        let trackers = match (keys.tiers.is_empty(), keys.announce) {
            (true, Some(announce)) => vec![vec![announce]],
            _ => keys.tiers,
        };
        let (comment, created_by) = (keys.comment_utf8.or(keys.comment).map(show), keys.created_by.map(show));
        Ok(Self {
            info,
            trackers,
            nodes: keys.nodes,
            web_seeds: keys.web_seeds,
            comment,
            created_by,
            creation_date: keys.creation_date,
            warnings: warnings.into_vec(),
            raw,
        })
    }

    /// The bytes that were read, decompressed.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The magnet link to this torrent: info hash, name, and those of the trackers that are addresses.
    pub fn magnet(&self) -> Magnet {
        let mut magnet = Magnet::new(self.info.hash());
        magnet.display_name = Some(self.info.name().to_owned());
        magnet.trackers = self.trackers.iter().flatten().filter(|tracker| tracker.contains("://")).cloned().collect();
        magnet
    }
}

impl fmt::Debug for Metainfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metainfo").field("info", &self.info).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Keys<'a> {
    info: Option<&'a [u8]>,
    announce: Option<String>,
    tiers: Vec<Vec<String>>,
    nodes: Vec<PeerAddr>,
    web_seeds: Vec<String>,
    comment: Option<&'a [u8]>,
    comment_utf8: Option<&'a [u8]>,
    created_by: Option<&'a [u8]>,
    creation_date: Option<i64>,
    encoding: Option<&'static Encoding>,
}

impl<'a> Keys<'a> {
    fn read(raw: &'a [u8], warnings: &mut Warnings) -> Result<Self, ParseMetainfoError> {
        let mut keys = Self::default();
        let mut reader = Reader::new(raw);
        let mut dict = of_type(reader.dict(), "file", "a dictionary")?;
        while let Some((key, value)) = dict.entry()? {
            match key {
                b"info" => once(&mut keys.info, "info", value.raw()?)?,
                b"announce" => {
                    let announce = warnings.or_left_out(url(value), "announce", "an address");
                    warnings.first(&mut keys.announce, "announce", announce.filter(|url| !url.is_empty()));
                }
                b"announce-list" => keys.tiers = tiers(value, warnings)?,
                b"nodes" => keys.nodes = nodes(value, warnings)?,
                b"url-list" => keys.web_seeds = urls(value, "url-list", warnings)?,
                b"comment" => keys.comment = warnings.or_left_out(value.bytes().ok(), "comment", "a string"),
                b"comment.utf-8" => keys.comment_utf8 = value.bytes().ok(),
                b"created by" => keys.created_by = warnings.or_left_out(value.bytes().ok(), "created by", "a string"),
                b"creation date" => {
                    keys.creation_date = warnings.or_left_out(value.int().ok(), "creation date", "an integer");
                }
                b"encoding" => {
                    keys.encoding = warnings.or_left_out(encoding(value), "encoding", "an encoding that is known");
                }
                _ => {}
            }
        }
        // Some programs end the file with a line break.
        if !raw[reader.position()..].iter().all(u8::is_ascii_whitespace) {
            warnings.push(ParseWarning::TrailingBytes);
        }
        Ok(keys)
    }
}

/// Inflates a file, to no more than a torrent may have.
fn gunzip(raw: &[u8]) -> Result<Bytes, ParseMetainfoError> {
    let mut inflated = Vec::new();
    // One byte over the limit is how the caller knows.
    let mut limited = GzDecoder::new(raw).take(METAINFO_LEN_MAX as u64 + 1);
    limited.read_to_end(&mut inflated).map_err(|_| ParseMetainfoError::Gzip)?;
    Ok(inflated.into())
}

/// Names what people save by mistake, where "unexpected byte 0x3c" would not help them.
fn refuse_other_formats(raw: &[u8]) -> Result<(), ParseMetainfoError> {
    let start = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw).trim_ascii_start();
    let starts_with = |magic: &[u8]| start.get(..magic.len()).is_some_and(|found| found.eq_ignore_ascii_case(magic));
    if start.is_empty() {
        return Err(ParseMetainfoError::Empty);
    }
    if starts_with(b"<") {
        return Err(ParseMetainfoError::WebPage);
    }
    match OTHER_FORMATS.iter().find(|(magic, _)| starts_with(magic)) {
        Some((_, what)) => Err(ParseMetainfoError::OtherFormat(what)),
        None => Ok(()),
    }
}

fn encoding(value: &mut Reader<'_>) -> Option<&'static Encoding> {
    let label = value.bytes().ok()?;
    // What the crate takes for an attack in the web decodes to nothing.
    Encoding::for_label_no_replacement(label)
}

fn url(value: &mut Reader<'_>) -> Option<String> {
    value.bytes().ok().map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned())
}

/// A list of addresses, or one alone. Anything else in it is left out.
fn urls(value: &mut Reader<'_>, key: &'static str, warnings: &mut Warnings) -> Result<Vec<String>, ParseMetainfoError> {
    let mut urls = Vec::new();
    match value.kind()? {
        Kind::Bytes => urls.extend(url(value).filter(|url| !url.is_empty())),
        Kind::List => {
            let mut list = value.list()?;
            while let Some(item) = list.item()? {
                let found = warnings.or_left_out(url(item), key, LIST_OF_ADDRESSES);
                urls.extend(found.filter(|url| !url.is_empty() && urls.len() < HINTS_MAX));
            }
        }
        _ => warnings.wrong_form(key, LIST_OF_ADDRESSES),
    }
    Ok(urls)
}

fn tiers(value: &mut Reader<'_>, warnings: &mut Warnings) -> Result<Vec<Vec<String>>, ParseMetainfoError> {
    const KEY: &str = "announce-list";
    let mut tiers = Vec::new();
    if value.kind()? != Kind::List {
        warnings.wrong_form(KEY, LIST_OF_ADDRESSES);
        return Ok(tiers);
    }
    let mut list = value.list()?;
    while let Some(item) = list.item()? {
        let tier = urls(item, KEY, warnings)?;
        if !tier.is_empty() && tiers.len() < HINTS_MAX {
            tiers.push(tier);
        }
    }
    Ok(tiers)
}

/// `[[host, port], ..]`; some programs write `host:port`, or the port as a string.
fn nodes(value: &mut Reader<'_>, warnings: &mut Warnings) -> Result<Vec<PeerAddr>, ParseMetainfoError> {
    const EXPECTED: &str = "a list of hosts and ports";
    let mut nodes = Vec::new();
    if value.kind()? != Kind::List {
        warnings.wrong_form("nodes", EXPECTED);
        return Ok(nodes);
    }
    let mut list = value.list()?;
    while let Some(item) = list.item()? {
        let found = warnings.or_left_out(node(item)?, "nodes", EXPECTED);
        nodes.extend(found.filter(|_| nodes.len() < HINTS_MAX));
    }
    Ok(nodes)
}

fn node(item: &mut Reader<'_>) -> Result<Option<PeerAddr>, ParseMetainfoError> {
    match item.kind()? {
        Kind::Bytes => return Ok(url(item).and_then(|text| text.parse().ok())),
        Kind::List => {}
        _ => return Ok(None),
    }
    let mut pair = item.list()?;
    let host = match pair.item()? {
        Some(host) => url(host),
        None => return Ok(None),
    };
    let port = match pair.item()? {
        Some(port) if port.kind()? == Kind::Bytes => url(port).and_then(|port| port.parse().ok()),
        Some(port) => port.int().ok().and_then(|port| u16::try_from(port).ok()),
        None => return Ok(None),
    };
    Ok(host.zip(port).and_then(|(host, port)| PeerAddr::new(&host, port).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const INFO: &str = "d6:lengthi5e4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";

    fn parse(raw: &str) -> Result<Metainfo, ParseMetainfoError> {
        Metainfo::parse(Bytes::copy_from_slice(raw.as_bytes()))
    }

    #[test]
    fn every_key_is_read() {
        let metainfo = parse(&format!(
            "d8:announce5:udp:a13:announce-listll7:udp://b7:udp://cel5:udp:dee7:comment2:hi10:created by1:m\
             13:creation datei7e4:info{INFO}5:nodesll9:127.0.0.1i1eel3:::1i2eel1:hi3eee8:url-list6:http:we\n"
        ))
        .unwrap();
        assert_eq!(metainfo.trackers, [vec!["udp://b", "udp://c"], vec!["udp:d"]]);
        assert_eq!(metainfo.comment.as_deref(), Some("hi"));
        assert_eq!(metainfo.created_by.as_deref(), Some("m"));
        assert_eq!(metainfo.creation_date, Some(7));
        let nodes: Vec<String> = metainfo.nodes.iter().map(PeerAddr::to_string).collect();
        assert_eq!(nodes, ["127.0.0.1:1", "[::1]:2", "h:3"]);
        assert_eq!(metainfo.web_seeds, ["http:w"]);
        assert_eq!(metainfo.warnings, []);
        assert_eq!(metainfo.info.raw(), INFO);
        assert_eq!(metainfo.magnet().trackers, ["udp://b", "udp://c"]);
        assert_eq!(metainfo.magnet().to_string().parse::<Magnet>().unwrap().info_hash, metainfo.info.hash());
    }

    #[test]
    fn malformed_hints_are_left_out_with_a_warning() {
        let metainfo = parse(&format!(
            "d8:announcei1e13:announce-listl1:a1:bi1ee7:commentle13:creation date1:x8:encoding1:?4:info{INFO}\
             5:nodesli1el1:hel1:hi0eel0:i1eel1:hi70000eel3:a bi1eee8:url-listi1ee"
        ))
        .unwrap();
        assert_eq!(metainfo.trackers, [["a"], ["b"]]);
        assert_eq!((metainfo.comment, metainfo.creation_date), (None, None));
        assert_eq!(metainfo.nodes, []);
        assert!(metainfo.web_seeds.is_empty());
        let keys: Vec<String> = metainfo.warnings.iter().map(ToString::to_string).collect();
        for key in ["announce", "announce-list", "comment", "creation date", "encoding", "nodes", "url-list"] {
            assert_eq!(keys.iter().filter(|text| text.starts_with(&format!("`{key}` "))).count(), 1, "{key}: {keys:?}");
        }
    }

    #[test]
    fn nodes_are_read_in_every_way_that_they_are_written() {
        let nodes = |nodes: &str| -> Vec<String> {
            let metainfo = parse(&format!("d4:info{INFO}5:nodesl{nodes}ee")).unwrap();
            metainfo.nodes.iter().map(PeerAddr::to_string).collect()
        };
        assert_eq!(nodes("l9:192.0.2.74:6881e"), ["192.0.2.7:6881"]);
        assert_eq!(nodes("14:192.0.2.7:6881"), ["192.0.2.7:6881"]);
        assert_eq!(nodes("i1el1:hi99999999999999999999eel1:h1:xel1:hi3ee"), ["h:3"]);
    }

    #[test]
    fn what_follows_the_end_is_a_warning_and_a_line_break_is_none() {
        assert_eq!(parse(&format!("d4:info{INFO}e\n")).unwrap().warnings, []);
        assert_eq!(parse(&format!("d4:info{INFO}exyz")).unwrap().warnings, [ParseWarning::TrailingBytes]);
    }

    #[test]
    fn texts_are_shown_in_the_encoding_of_the_file() {
        let mut raw = b"d7:comment2:\x82\xa08:encoding9:Shift_JIS4:info".to_vec();
        raw.extend(INFO.as_bytes());
        raw.push(b'e');
        assert_eq!(Metainfo::parse(raw.into()).unwrap().comment.as_deref(), Some("\u{3042}"));
    }

    #[test]
    fn a_file_that_is_compressed_with_gzip_is_read_within_the_limit() {
        let compress = |bytes: &[u8]| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(bytes).unwrap();
            Bytes::from(out.finish().unwrap())
        };
        let plain = format!("d4:info{INFO}e");
        let compressed = compress(plain.as_bytes());
        let metainfo = Metainfo::parse(compressed.clone()).unwrap();
        assert_eq!(metainfo.raw(), plain.as_bytes());
        assert_eq!(metainfo.warnings, [ParseWarning::Compressed]);
        for len in [2, 10, compressed.len() - 1] {
            assert_eq!(Metainfo::parse(compressed.slice(..len)).unwrap_err(), ParseMetainfoError::Gzip, "{len}");
        }
        let bomb = compress(&vec![0; METAINFO_LEN_MAX + 1000]);
        assert_eq!(Metainfo::parse(bomb).unwrap_err(), ParseMetainfoError::TooLarge(METAINFO_LEN_MAX + 1));
    }

    #[test]
    fn what_is_no_torrent_file_says_why() {
        use ParseMetainfoError as E;
        for (raw, error) in [
            ("", E::Empty),
            ("\n", E::Empty),
            ("<!DOCTYPE html>", E::WebPage),
            ("le", E::WrongType { key: "file", expected: "a dictionary" }),
            ("de", E::Missing("info")),
            ("d4:info0:e", E::WrongType { key: "info", expected: "a dictionary" }),
            ("d4:infode4:infodee", E::Twice("info")),
            ("magnet:?xt=urn:btih:", E::OtherFormat(OTHER_FORMATS[0].1)),
            ("PK\x03\x04", E::OtherFormat(OTHER_FORMATS[1].1)),
            ("{\"error\":1}", E::OtherFormat(OTHER_FORMATS[8].1)),
            ("\u{feff}<html>", E::WebPage),
        ] {
            assert_eq!(parse(raw).unwrap_err(), error, "{raw}");
        }
        for raw in [format!("d4:info{INFO}"), "MZ".to_owned()] {
            assert!(matches!(parse(&raw), Err(E::Bencode(_))), "{raw}");
        }
        let large = Metainfo::parse(vec![b'd'; METAINFO_LEN_MAX + 1].into());
        assert_eq!(large.unwrap_err(), E::TooLarge(METAINFO_LEN_MAX + 1));
    }

    proptest! {
        #[test]
        fn any_change_of_a_file_is_an_error_or_a_torrent(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut raw = format!("d8:announce1:a13:announce-listll1:bee4:info{INFO}5:nodesll1:hi3eeee").into_bytes();
            let len = raw.len();
            prop_assert!(Metainfo::parse(raw.clone().into()).is_ok());
            prop_assert!(Metainfo::parse(raw[..at.index(len)].to_vec().into()).is_err());
            raw[at.index(len)] = byte;
            let _ = Metainfo::parse(raw.into());
        }
    }
}
