use super::{Magnet, ParseMagnetError, ParsePublisherLinkError, PublisherLink, parse_info_hash};
use std::path::PathBuf;

/// What a user names when asking for a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A magnet link, or a bare info hash, which is the link that has nothing else.
    Magnet(Box<Magnet>),
    /// A link to whatever torrent a publisher points to (BEP 46).
    Publisher(Box<PublisherLink>),
    /// A path, taken for that of a `.torrent` file. Nobody has looked whether it is there.
    File(PathBuf),
}

impl Source {
    /// Tells apart a magnet link, an info hash (40 hexadecimal digits or 32 base32 characters) and a path. A file whose
    /// name looks like an info hash is named by `./` before it.
    pub fn parse(text: &str) -> Result<Self, ParseSourceError> {
        let text = text.trim();
        let starts_with =
            |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        if text.is_empty() {
            return Err(ParseSourceError::Empty);
        }
        if starts_with("magnet:") {
            return match text.parse() {
                Ok(magnet) => Ok(Self::Magnet(Box::new(magnet))),
                Err(ParseMagnetError::PublicKey) => Ok(Self::Publisher(Box::new(text.parse()?))),
                Err(error) => Err(error.into()),
            };
        }
        if starts_with("http://") || starts_with("https://") {
            return Err(ParseSourceError::Url(text.to_owned()));
        }
        match parse_info_hash(text) {
            Some(info_hash) => Ok(Self::Magnet(Box::new(Magnet::new(info_hash)))),
            None => Ok(Self::File(PathBuf::from(text))),
        }
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
        assert_eq!(Source::parse("a.torrent"), Ok(Source::File("a.torrent".into())));
        assert_eq!(Source::parse(&format!("./{hash}")), Ok(Source::File(format!("./{hash}").into())));
        assert_eq!(Source::parse("magnet:?"), Err(ParseSourceError::Magnet(ParseMagnetError::NoTopic)));
        assert_eq!(Source::parse(" "), Err(ParseSourceError::Empty));
        assert!(matches!(Source::parse("HTTPS://example.org/a.torrent"), Err(ParseSourceError::Url(_))));
    }
}
