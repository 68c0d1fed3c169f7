use std::borrow::Cow;
use std::fmt;

/// The 20 bytes by which a client names itself in the handshake (BEP 3, BEP 20). Neither unique nor to be trusted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 20]);

impl PeerId {
    /// The bytes by which our ids begin: client `MG`, version 0.1.0.0, Azureus style.
    pub const PREFIX: &'static [u8; 8] = b"-MG0100-";

    /// From its 20 bytes.
    pub const fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// An id of ours, from 12 bytes of the caller's random generator.
    pub fn ours(random: [u8; 12]) -> Self {
        let mut bytes = [0; 20];
        let (prefix, rest) = bytes.split_at_mut(Self::PREFIX.len());
        prefix.copy_from_slice(Self::PREFIX);
        rest.copy_from_slice(&random);
        Self(bytes)
    }

    /// Its 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The client's name and version in words, as far as the id tells: `libtorrent 2.1.0`, `XY 1.0.0` for a client that
    /// is not known here, `None` when the id follows no known style.
    pub fn client(&self) -> Option<String> {
        azureus(&self.0).or_else(|| dotted(&self.0)).or_else(|| shadow(&self.0))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// `-XX1234-`: two letters and four digits, of which letters count on from 10.
fn azureus(id: &[u8; 20]) -> Option<String> {
    let [b'-', a, b, version @ .., b'-'] = id.first_chunk::<8>()? else { return None };
    if !a.is_ascii_alphanumeric() || !b.is_ascii_alphanumeric() || !version.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let code = [*a, *b];
    let name = match &code {
        b"AZ" => Cow::Borrowed("Vuze"),
        b"BC" => "BitComet".into(),
        b"BI" => "BiglyBT".into(),
        b"BT" => "BitTorrent".into(),
        b"DE" => "Deluge".into(),
        b"FD" => "Free Download Manager".into(),
        b"KT" => "KTorrent".into(),
        b"LT" => "libtorrent".into(),
        b"MG" => "magnes".into(),
        b"TL" => "Tribler".into(),
        b"TR" => "Transmission".into(),
        b"UM" => "µTorrent for Mac".into(),
        b"UT" => "µTorrent".into(),
        b"UW" => "µTorrent Web".into(),
        b"WW" => "WebTorrent".into(),
        b"XL" => "Xunlei".into(),
        b"lt" => "rTorrent".into(),
        b"qB" => "qBittorrent".into(),
        b"rQ" => "rqbit".into(),
        _ => String::from_utf8_lossy(&code).into_owned().into(),
    };
    let [major, minor, patch, build] = version.map(|digit| char::from(digit).to_digit(36).unwrap_or(0));
    let tail = if build == 0 { String::new() } else { format!(".{build}") };
    Some(format!("{name} {major}.{minor}.{patch}{tail}"))
}

/// `A2-1-36-0-` (aria2) and `M7-10-3--` (the mainline client): a letter and numbers between dashes.
fn dotted(id: &[u8; 20]) -> Option<String> {
    let (name, rest) = match id {
        [b'A', b'2', b'-', rest @ ..] => ("aria2", &rest[..]),
        [b'M', rest @ ..] if rest[0].is_ascii_digit() => ("BitTorrent", &rest[..]),
        _ => return None,
    };
    let numbers: Vec<&str> = rest
        .split(|byte| *byte == b'-')
        .map_while(|number| std::str::from_utf8(number).ok().filter(|number| number.len() < 4))
        .take_while(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        .take(3)
        .collect();
    (numbers.len() >= 2).then(|| format!("{name} {}", numbers.join(".")))
}

/// `T03I-----`: Shadow's style, of which only BitTornado is still met.
fn shadow(id: &[u8; 20]) -> Option<String> {
    let digits = id[1..4].iter().map(|digit| char::from(*digit).to_digit(36)).collect::<Option<Vec<_>>>()?;
    (id[0] == b'T' && &id[4..8] == b"----").then(|| format!("BitTornado {}.{}.{}", digits[0], digits[1], digits[2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: &[u8; 20]) -> Option<String> {
        PeerId::new(*id).client()
    }

    #[test]
    fn our_ids_say_who_we_are() {
        let id = PeerId::ours(*b"abcdefghijkl");
        assert_eq!(id.as_bytes(), b"-MG0100-abcdefghijkl");
        assert_eq!(id.client().as_deref(), Some("magnes 0.1.0"));
    }

    #[test]
    fn foreign_ids_name_their_client() {
        for (id, name) in [
            (b"-LT2100-abcdefghijkl", Some("libtorrent 2.1.0")),
            (b"-qB5012-abcdefghijkl", Some("qBittorrent 5.0.1.2")),
            (b"-TR40B0-\0\0\0\0\0\0\0\0\0\0\0\0", Some("Transmission 4.0.11")),
            (b"-ZZ1000-abcdefghijkl", Some("ZZ 1.0.0")),
            (b"A2-1-36-0-abcdefghij", Some("aria2 1.36.0")),
            (b"M7-10-3--abcdefghijk", Some("BitTorrent 7.10.3")),
            (b"T03I-----abcdefghijk", Some("BitTornado 0.3.18")),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"-\x1b[1000-abcdefghijkl", None),
        ] {
            assert_eq!(client(id).as_deref(), name);
        }
    }
}
