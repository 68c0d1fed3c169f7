use super::info::{of_type, once};
use super::{Info, METAINFO_LEN_MAX, Magnet, ParseMetainfoError, PeerAddr};
use bytes::Bytes;
use magnes_bencode::{Kind, Reader};
use std::fmt;

/// Most trackers, web seeds, and nodes that are kept of each.
const HINTS_MAX: usize = 1024;

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
    raw: Bytes,
}

impl Metainfo {
    /// Reads a `.torrent` file.
    pub fn parse(raw: Bytes) -> Result<Self, ParseMetainfoError> {
        if raw.len() > METAINFO_LEN_MAX {
            return Err(ParseMetainfoError::TooLarge(raw.len()));
        }
        refuse_other_formats(&raw)?;
        let mut keys = Keys::default();
        let mut reader = Reader::new(&raw);
        let mut dict = of_type(reader.dict(), "file", "a dictionary")?;
        while let Some((key, value)) = dict.entry()? {
            match key {
                b"info" => once(&mut keys.info, "info", value.raw()?)?,
                b"announce" => keys.announce = text(value),
                b"announce-list" => keys.tiers = tiers(value)?,
                b"nodes" => keys.nodes = nodes(value)?,
                b"url-list" => keys.web_seeds = texts(value)?,
                b"comment" => keys.comment = text(value),
                b"created by" => keys.created_by = text(value),
                b"creation date" => keys.creation_date = value.int().ok(),
                _ => {}
            }
        }
        // Some programs end the file with a line break.
        if !raw[reader.position()..].iter().all(u8::is_ascii_whitespace) {
            reader.finish()?;
        }
        let info = Info::parse(raw.slice_ref(keys.info.ok_or(ParseMetainfoError::Missing("info"))?))?;
        let trackers = match (keys.tiers.is_empty(), keys.announce) {
            (true, Some(announce)) => vec![vec![announce]],
            _ => keys.tiers,
        };
        Ok(Self {
            info,
            trackers,
            nodes: keys.nodes,
            web_seeds: keys.web_seeds,
            comment: keys.comment,
            created_by: keys.created_by,
            creation_date: keys.creation_date,
            raw,
        })
    }

    /// The bytes that were read.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The magnet link to this torrent: info hash, name and trackers.
    pub fn magnet(&self) -> Magnet {
        let mut magnet = Magnet::new(self.info.hash());
        magnet.display_name = Some(self.info.name().to_owned());
        magnet.trackers = self.trackers.iter().flatten().cloned().collect();
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
    comment: Option<String>,
    created_by: Option<String>,
    creation_date: Option<i64>,
}

/// Names what people save by mistake, where "unexpected byte 0x3c" would not help them.
fn refuse_other_formats(raw: &[u8]) -> Result<(), ParseMetainfoError> {
    match raw.trim_ascii_start() {
        [] => Err(ParseMetainfoError::Empty),
        [b'<', ..] => Err(ParseMetainfoError::WebPage),
        _ => Ok(()),
    }
}

fn text(value: &mut Reader<'_>) -> Option<String> {
    value.bytes().ok().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// A list of strings, or one string alone.
fn texts(value: &mut Reader<'_>) -> Result<Vec<String>, ParseMetainfoError> {
    match value.kind()? {
        Kind::Bytes => Ok(text(value).filter(|text| !text.is_empty()).into_iter().collect()),
        Kind::List => {
            let mut texts = Vec::new();
            let mut list = value.list()?;
            while let Some(item) = list.item()? {
                texts.extend(text(item).filter(|text| !text.is_empty() && texts.len() < HINTS_MAX));
            }
            Ok(texts)
        }
        _ => Ok(Vec::new()),
    }
}

fn tiers(value: &mut Reader<'_>) -> Result<Vec<Vec<String>>, ParseMetainfoError> {
    let mut tiers = Vec::new();
    if value.kind()? == Kind::List {
        let mut list = value.list()?;
        while let Some(item) = list.item()? {
            let tier = texts(item)?;
            if !tier.is_empty() && tiers.len() < HINTS_MAX {
                tiers.push(tier);
            }
        }
    }
    Ok(tiers)
}

/// `[[host, port], ..]`.
fn nodes(value: &mut Reader<'_>) -> Result<Vec<PeerAddr>, ParseMetainfoError> {
    let mut nodes = Vec::new();
    if value.kind()? == Kind::List {
        let mut list = value.list()?;
        while let Some(item) = list.item()? {
            nodes.extend(node(item)?.filter(|_| nodes.len() < HINTS_MAX));
        }
    }
    Ok(nodes)
}

fn node(item: &mut Reader<'_>) -> Result<Option<PeerAddr>, ParseMetainfoError> {
    if item.kind()? != Kind::List {
        return Ok(None);
    }
    let mut pair = item.list()?;
    let host = match pair.item()? {
        Some(host) => text(host),
        None => return Ok(None),
    };
    let port = match pair.item()? {
        Some(port) => port.int().ok().and_then(|port| u16::try_from(port).ok()),
        None => return Ok(None),
    };
    Ok(host.zip(port).and_then(|(host, port)| PeerAddr::new(&host, port).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INFO: &str = "d6:lengthi5e4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";

    fn parse(raw: &str) -> Result<Metainfo, ParseMetainfoError> {
        Metainfo::parse(Bytes::copy_from_slice(raw.as_bytes()))
    }

    #[test]
    fn every_key_is_read() {
        let metainfo = parse(&format!(
            "d8:announce5:udp:a13:announce-listll5:udp:b5:udp:cel5:udp:dee7:comment2:hi10:created by1:m\
             13:creation datei7e4:info{INFO}5:nodesll9:127.0.0.1i1eel3:::1i2eel1:hi3eee8:url-list6:http:we\n"
        ))
        .unwrap();
        assert_eq!(metainfo.trackers, [vec!["udp:b", "udp:c"], vec!["udp:d"]]);
        assert_eq!(metainfo.comment.as_deref(), Some("hi"));
        assert_eq!(metainfo.created_by.as_deref(), Some("m"));
        assert_eq!(metainfo.creation_date, Some(7));
        let nodes: Vec<String> = metainfo.nodes.iter().map(PeerAddr::to_string).collect();
        assert_eq!(nodes, ["127.0.0.1:1", "[::1]:2", "h:3"]);
        assert_eq!(metainfo.web_seeds, ["http:w"]);
        assert_eq!(metainfo.info.raw(), INFO);
        assert_eq!(metainfo.magnet().trackers.len(), 3);
        assert_eq!(metainfo.magnet().to_string().parse::<Magnet>().unwrap().info_hash, metainfo.info.hash());
    }

    #[test]
    fn malformed_hints_are_left_out() {
        let metainfo = parse(&format!(
            "d8:announcei1e13:announce-listl1:a1:bi1ee7:commentle13:creation date1:x4:info{INFO}\
             5:nodesli1el1:hel1:hi0eel0:i1eel1:hi70000eel3:a bi1eee8:url-listi1ee"
        ))
        .unwrap();
        assert_eq!(metainfo.trackers, [["a"], ["b"]]);
        assert_eq!((metainfo.comment, metainfo.creation_date), (None, None));
        assert_eq!(metainfo.nodes, []);
        assert!(metainfo.web_seeds.is_empty());
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
        ] {
            assert_eq!(parse(raw).unwrap_err(), error, "{raw}");
        }
        for raw in [format!("d4:info{INFO}"), format!("d4:info{INFO}ee"), "MZ".to_owned()] {
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
