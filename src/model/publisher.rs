use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use magnes_dht::item::{self, SALT_LEN_MAX};

use super::magnet::{Encoded, MAGNET_LEN_MAX, pairs_of};
use super::{InfoHash, Magnet, ParseMagnetError};
use magnes_dht::Target;

/// A link to whatever torrent a publisher points to at the time (BEP 46): `magnet:?xs=urn:btpk:` with a public key, and
/// a salt where one key points to several torrents.
///
/// The pointer is a mutable item of the DHT, which only the key's owner can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherLink {
    /// Public key (ed25519).
    pub key: [u8; 32],
    /// Tells the items of one key apart; may be empty.
    pub salt: Vec<u8>,
    /// A name to show (`dn`). Not to be trusted as a file name.
    pub display_name: Option<String>,
}

impl PublisherLink {
    /// The link that has nothing but a key.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key, salt: Vec::new(), display_name: None }
    }

    /// Where in the DHT the pointer lives.
    pub fn target(&self) -> Target {
        item::mutable_target(&self.key, &self.salt)
    }

    /// The link to the torrent that was pointed to.
    pub fn magnet(&self, info_hash: InfoHash) -> Magnet {
        Magnet { display_name: self.display_name.clone(), ..Magnet::new(info_hash) }
    }
}

impl FromStr for PublisherLink {
    type Err = ParsePublisherLinkError;

    fn from_str(text: &str) -> Result<Self, ParsePublisherLinkError> {
        if text.len() > MAGNET_LEN_MAX {
            return Err(ParseMagnetError::TooLong(text.len()).into());
        }
        let (mut key, mut salt, mut display_name) = (None, Vec::new(), None);
        for (name, value) in pairs_of(text)? {
            match name.to_ascii_lowercase().as_str() {
                "xs" if value.get(..9).is_some_and(|urn| urn.eq_ignore_ascii_case("urn:btpk:")) => {
                    let bytes = HEX.decode(&value.as_bytes()[9..]).ok().and_then(|bytes| bytes.try_into().ok());
                    let bytes: [u8; 32] = bytes.ok_or_else(|| ParsePublisherLinkError::Key(value[9..].to_owned()))?;
                    if key.is_some_and(|key| key != bytes) {
                        return Err(ParsePublisherLinkError::TwoKeys);
                    }
                    key = Some(bytes);
                }
                "s" => {
                    salt = HEX
                        .decode(value.as_bytes())
                        .ok()
                        .filter(|salt| salt.len() <= SALT_LEN_MAX)
                        .ok_or(ParsePublisherLinkError::Salt(value))?;
                }
                "dn" if display_name.is_none() => display_name = Some(value),
                _ => {}
            }
        }
        Ok(Self { key: key.ok_or(ParsePublisherLinkError::NoKey)?, salt, display_name })
    }
}

impl fmt::Display for PublisherLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "magnet:?xs=urn:btpk:{}", HEXLOWER.encode(&self.key))?;
        if !self.salt.is_empty() {
            write!(f, "&s={}", HEXLOWER.encode(&self.salt))?;
        }
        match &self.display_name {
            Some(name) => write!(f, "&dn={}", Encoded(name)),
            None => Ok(()),
        }
    }
}

/// Why a text is not a link to what a publisher points to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePublisherLinkError {
    /// Not a magnet link at all.
    #[error(transparent)]
    Magnet(#[from] ParseMagnetError),
    /// No `xs=urn:btpk:`.
    #[error("the magnet link names no publisher: `xs=urn:btpk:` and a public key are missing")]
    NoKey,
    /// A key that is not 64 hexadecimal digits.
    #[error("`{0}` is not a public key: 64 hexadecimal digits are needed")]
    Key(String),
    /// Two keys that differ.
    #[error("the magnet link names two publishers: remove one `xs`")]
    TwoKeys,
    /// A salt that is not hexadecimal, or too long.
    #[error("the salt `s={0}` is wrong: at most {SALT_LEN_MAX} bytes as hexadecimal digits are needed")]
    Salt(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e";

    fn parse(text: &str) -> Result<PublisherLink, ParsePublisherLinkError> {
        text.parse()
    }

    #[test]
    fn the_links_of_bep_46_lead_to_their_targets() {
        let plain = parse(&format!("magnet:?xs=urn:btpk:{KEY}")).unwrap();
        assert_eq!(plain.target().to_string(), "cc3f9d90b572172053626f9980ce261a850d050b");
        let salted = parse(&format!("magnet:?xs=urn:btpk:{KEY}&s=6e")).unwrap();
        assert_eq!(
            (salted.target().to_string().as_str(), &salted.salt[..]),
            ("59ee7c2cb9b4f7eb1986ee2d18fd2fdb8a56554f", &b"n"[..])
        );
        assert_eq!(salted.to_string(), format!("magnet:?xs=urn:btpk:{KEY}&s=6e"));
    }

    #[test]
    fn what_is_no_such_link_says_why() {
        use ParsePublisherLinkError as E;
        let other = "a".repeat(64);
        for (text, error) in [
            ("http://example.org".to_owned(), E::Magnet(ParseMagnetError::NotMagnet)),
            ("magnet:?".to_owned(), E::NoKey),
            ("magnet:?xs=http://example.org".to_owned(), E::NoKey),
            (format!("magnet:?xs=urn:btpk:{}", &KEY[1..]), E::Key(KEY[1..].to_owned())),
            (format!("magnet:?xs=urn:btpk:{KEY}&xs=urn:btpk:{other}"), E::TwoKeys),
            (format!("magnet:?xs=urn:btpk:{KEY}&s=n"), E::Salt("n".to_owned())),
            (format!("magnet:?xs=urn:btpk:{KEY}&s={}", "00".repeat(65)), E::Salt("00".repeat(65))),
        ] {
            assert_eq!(parse(&text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_link_round_trips(
            key in any::<[u8; 32]>(),
            salt in proptest::collection::vec(any::<u8>(), 0..=64),
            display_name in proptest::option::of(".*"),
        ) {
            let link = PublisherLink { key, salt, display_name };
            prop_assert_eq!(parse(&link.to_string()), Ok(link));
        }
    }
}
