use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rand_core::Rng;

use crate::is_local;

/// Contacts of an ordinary bucket, results of a lookup, and the nodes of one reply (BEP 5: K).
pub const K: usize = 8;

/// Length of ids and info hashes in bytes.
const ID_LEN: usize = 20;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; ID_LEN]);

        impl $name {
            /// From its 20 bytes.
            pub const fn new(bytes: [u8; ID_LEN]) -> Self {
                Self(bytes)
            }

            /// From a slice, which must be 20 bytes long.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Its 20 bytes.
            pub const fn as_bytes(&self) -> &[u8; ID_LEN] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            /// Parses 40 hexadecimal digits of either case.
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let digits = text.as_bytes();
                if digits.len() != 2 * ID_LEN {
                    return Err(ParseIdError::Length(digits.len()));
                }
                let mut bytes = [0; ID_LEN];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

id_type! {
    /// The id of a DHT node, 160 bits (BEP 5).
    NodeId
}
id_type! {
    /// The SHA-1 of a torrent's bencoded `info` value, 160 bits (BEP 3). In the DHT it is the target of a lookup.
    InfoHash
}

id_type! {
    /// A point of the id space that a lookup moves towards: a node's id, an info hash, or the key of an item (BEP 44).
    Target
}

impl From<NodeId> for Target {
    fn from(id: NodeId) -> Self {
        Self(id.0)
    }
}

impl From<InfoHash> for Target {
    fn from(info_hash: InfoHash) -> Self {
        Self(info_hash.0)
    }
}

/// The XOR distance of two points of the id space; its order is "nearer".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distance {
    // Two words compare faster than twenty bytes, and comparing distances is what a table does all day.
    high: u128,
    low: u32,
}

impl Distance {
    /// Farther than anything.
    pub const MAX: Distance = Distance { high: u128::MAX, low: u32::MAX };

    fn between(a: &[u8; ID_LEN], b: &[u8; ID_LEN]) -> Self {
        let (a_high, a_low) = words(a);
        let (b_high, b_low) = words(b);
        Self { high: a_high ^ b_high, low: a_low ^ b_low }
    }

    /// Its first 64 bits: they decide nearly every comparison.
    pub(crate) fn head(self) -> u64 {
        (self.high >> 64) as u64
    }

    /// How many leading bits are equal, 0 to 160.
    pub fn common_bits(self) -> u32 {
        if self.high != 0 { self.high.leading_zeros() } else { 128 + self.low.leading_zeros() }
    }

    /// As a share of the whole id space, 0.0 to 1.0.
    pub fn as_share(self) -> f64 {
        // 64 bits are more than a double can hold.
        (self.high >> 64) as f64 / 2f64.powi(64)
    }

    /// The distance that is `share` (0.0 to 1.0) of the whole id space.
    pub fn from_share(share: f64) -> Self {
        if share >= 1.0 {
            return Self::MAX;
        }
        Self { high: ((share.max(0.0) * 2f64.powi(64)) as u128) << 64, low: 0 }
    }
}

impl PartialOrd for Distance {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Distance {
    fn cmp(&self, other: &Self) -> Ordering {
        self.high.cmp(&other.high).then(self.low.cmp(&other.low))
    }
}

fn words(id: &[u8; ID_LEN]) -> (u128, u32) {
    let (high, low) = id.split_at(16);
    let high = high.try_into().expect("the first 16 of 20 bytes");
    let low = low.try_into().expect("the last 4 of 20 bytes");
    (u128::from_be_bytes(high), u32::from_be_bytes(low))
}

impl Target {
    /// The distance from a node.
    pub fn distance(&self, id: &NodeId) -> Distance {
        Distance::between(&self.0, &id.0)
    }
}

impl NodeId {
    /// The distance from another node.
    pub fn distance(&self, other: &NodeId) -> Distance {
        Distance::between(&self.0, &other.0)
    }

    /// An id drawn by lot.
    pub fn random(rng: &mut impl Rng) -> Self {
        let mut bytes = [0; ID_LEN];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// An id that shares exactly the first `bits` bits with this one, and is drawn by lot behind them.
    pub fn random_sharing(&self, bits: u32, rng: &mut impl Rng) -> Self {
        let mut bytes = Self::random(rng).0;
        let bits = bits.min(8 * ID_LEN as u32 - 1) as usize;
        let whole = bits / 8;
        bytes[..whole].copy_from_slice(&self.0[..whole]);
        let kept = !(0xffu8 >> (bits % 8));
        let flipped = 0x80u8 >> (bits % 8);
        let own = self.0[whole];
        bytes[whole] = (own & kept) | (!own & flipped) | (bytes[whole] & !(kept | flipped));
        Self(bytes)
    }

    /// An id that belongs to an external address (BEP 42), drawn by lot where the address leaves it free.
    pub fn for_address(ip: IpAddr, rng: &mut impl Rng) -> Self {
        let mut bytes = Self::random(rng).0;
        let prefix = address_prefix(ip, bytes[ID_LEN - 1] & 0x07);
        bytes[..2].copy_from_slice(&prefix[..2]);
        bytes[2] = (prefix[2] & 0xf8) | (bytes[2] & 0x07);
        Self(bytes)
    }

    /// Whether a node at this address may have this id (BEP 42). Addresses of local networks may have any.
    pub fn is_valid_for(&self, ip: IpAddr) -> bool {
        if is_local(ip) {
            return true;
        }
        let prefix = address_prefix(ip, self.0[ID_LEN - 1] & 0x07);
        self.0[..2] == prefix[..2] && self.0[2] & 0xf8 == prefix[2] & 0xf8
    }
}

/// The bytes whose first 21 bits an id at this address has (BEP 42). `r` is the low three bits of the id's last byte.
fn address_prefix(ip: IpAddr, r: u8) -> [u8; 4] {
    let checksum = match ip {
        IpAddr::V4(ip) => {
            let mut octets = (u32::from(ip) & 0x030f_3fff).to_be_bytes();
            octets[0] |= r << 5;
            crc32c::crc32c(&octets)
        }
        IpAddr::V6(ip) => {
            let network = (u128::from(ip) >> 64) as u64;
            let mut octets = (network & 0x0103_070f_1f3f_7fff).to_be_bytes();
            octets[0] |= r << 5;
            crc32c::crc32c(&octets)
        }
    };
    checksum.to_be_bytes()
}

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// Not 40 digits.
    #[error("an id has 40 hexadecimal digits, this text has {0} bytes")]
    Length(usize),
    /// Something that is not a hexadecimal digit.
    #[error("byte 0x{0:02x} is not a hexadecimal digit")]
    Digit(u8),
}

fn hex_digit(digit: u8) -> Result<u8, ParseIdError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(ParseIdError::Digit(digit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    const ADDRESS_VECTORS: [(&str, &str); 5] = [
        ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
        ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
        ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
        ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
        ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
    ];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ids_of_the_bep_42_examples_are_valid_there_and_only_there() {
        for (address, id) in ADDRESS_VECTORS {
            let id: NodeId = id.parse().unwrap();
            assert!(id.is_valid_for(ip(address)), "{address}");
            assert!(!id.is_valid_for(ip("124.31.75.99")), "{address}");
            let mut other_r = *id.as_bytes();
            other_r[19] ^= 1;
            assert!(!NodeId::new(other_r).is_valid_for(ip(address)), "{address}");
        }
    }

    #[test]
    fn an_ipv6_prefix_hashes_eight_bytes() {
        assert_eq!(address_prefix(ip("2001:db8::1"), 1)[..2], [0x71, 0x89]);
        assert_eq!(address_prefix(ip("2001:db8::1"), 1)[2] & 0xf8, 0xac & 0xf8);
        assert_eq!(address_prefix(ip("2606:4700:4700::1111"), 22 & 7)[..2], [0xed, 0x66]);
    }

    #[test]
    fn an_id_made_for_an_address_is_valid_for_it() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for address in ["124.31.75.21", "8.8.8.8", "2001:4860:4860::8888"] {
            for _ in 0..16 {
                assert!(NodeId::for_address(ip(address), &mut rng).is_valid_for(ip(address)));
            }
        }
    }

    #[test]
    fn local_networks_are_exempt() {
        let id = NodeId::new([0; 20]);
        for local in ["10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.1.1", "127.0.0.1", "::1", "fc00::1", "fe80::1"]
        {
            assert!(id.is_valid_for(ip(local)), "{local}");
        }
        assert!(!id.is_valid_for(ip("172.32.0.1")));
    }

    #[test]
    fn a_drawn_id_shares_exactly_the_bits_asked_for() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let own = NodeId::random(&mut rng);
        for bits in 0..160 {
            let drawn = own.random_sharing(bits, &mut rng);
            assert_eq!(own.distance(&drawn).common_bits(), bits);
        }
        assert_eq!(own.distance(&own).common_bits(), 160);
    }

    #[test]
    fn distance_orders_as_the_xor_of_the_bytes() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let target = Target::from(NodeId::random(&mut rng));
        let xor = |id: &NodeId| -> Vec<u8> { id.0.iter().zip(target.0).map(|(a, b)| a ^ b).collect() };
        for _ in 0..100 {
            let (a, b) = (NodeId::random(&mut rng), NodeId::random(&mut rng));
            assert_eq!(target.distance(&a).cmp(&target.distance(&b)), xor(&a).cmp(&xor(&b)));
        }
        let half = Distance::from_share(0.5);
        assert!((half.as_share() - 0.5).abs() < 1e-9);
        assert_eq!(Distance::from_share(2.0), Distance::MAX);
    }

    #[test]
    fn ids_read_and_print_as_hexadecimal() {
        let text = "5FBFbff10c5d6a4ec8a88e4c6ab4c28b95eee401";
        assert_eq!(text.parse::<InfoHash>().unwrap().to_string(), text.to_lowercase());
        assert_eq!("5f".parse::<InfoHash>(), Err(ParseIdError::Length(2)));
        assert_eq!("zf".repeat(20).parse::<NodeId>(), Err(ParseIdError::Digit(b'z')));
    }
}
