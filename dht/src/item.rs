//! Items (BEP 44): what makes them, signs them and checks them, and the pointers to torrents in them (BEP 46).

pub use ed25519_dalek::SigningKey;
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use magnes_bencode::{Reader, Writer};
use sha1::{Digest, Sha1};

use crate::{InfoHash, Target};

/// The longest value of an item in bytes, bencoded (BEP 44).
pub const VALUE_LEN_MAX: usize = 1000;

/// The longest salt of a mutable item in bytes (BEP 44).
pub const SALT_LEN_MAX: usize = 64;

/// Why something is not an item (BEP 44).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// The bencoded value is too long.
    #[error("a value of {0} bytes, bencoded; an item has room for {VALUE_LEN_MAX}")]
    ValueTooBig(usize),
    /// The salt is too long.
    #[error("a salt of {0} bytes; the limit is {SALT_LEN_MAX}")]
    SaltTooBig(usize),
    /// The value is not one canonically bencoded value.
    #[error("the value is not canonical bencode")]
    NotCanonical,
    /// The sequence number is negative.
    #[error("the sequence number {0} is negative")]
    NegativeSequence(i64),
    /// The sequence number of the version before is the highest there is.
    #[error("the sequence number {} is the last: no version can follow it", i64::MAX)]
    LastSequence,
    /// The signature does not fit the key, salt, sequence number and value.
    #[error("the signature does not fit")]
    BadSignature,
}

/// Where an immutable item lives: the SHA-1 of its bencoded value.
pub fn immutable_target(value: &[u8]) -> Target {
    Target::new(Sha1::digest(value).into())
}

/// Where the mutable items of a key and a salt live.
pub fn mutable_target(key: &[u8; 32], salt: &[u8]) -> Target {
    Target::new(Sha1::new().chain_update(key).chain_update(salt).finalize().into())
}

/// Checks what can be checked of a value without knowing who made it.
pub fn check_value(value: &[u8]) -> Result<(), ItemError> {
    if value.len() > VALUE_LEN_MAX {
        return Err(ItemError::ValueTooBig(value.len()));
    }
    let mut reader = Reader::strict(value);
    reader.skip().and_then(|()| reader.finish()).map_err(|_| ItemError::NotCanonical)
}

/// A mutable item: whoever holds the key may replace its value by one with a higher sequence number (BEP 44).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct MutableItem {
    /// Public key (ed25519).
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_hex"))]
    pub key: [u8; 32],
    /// Tells the items of one key apart; may be empty.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_hex"))]
    pub salt: Vec<u8>,
    /// Sequence number, not negative.
    pub seq: i64,
    /// The value, bencoded.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_hex"))]
    pub value: Vec<u8>,
    /// Signature of salt, sequence number and value.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_hex"))]
    pub signature: [u8; 64],
}

impl MutableItem {
    /// Signs a bencoded value.
    pub fn sign(key: &SigningKey, salt: &[u8], seq: i64, value: Vec<u8>) -> Result<Self, ItemError> {
        check_fields(salt, seq, &value)?;
        let signature = key.sign(&signing_buffer(salt, seq, &value)).to_bytes();
        Ok(Self { key: key.verifying_key().to_bytes(), salt: salt.to_vec(), seq, value, signature })
    }

    /// Signs a bencoded value as the version after the one with the sequence number `seq`, or as the first one.
    pub fn sign_after(key: &SigningKey, salt: &[u8], seq: Option<i64>, value: Vec<u8>) -> Result<Self, ItemError> {
        let seq = seq.unwrap_or(0).checked_add(1).ok_or(ItemError::LastSequence)?;
        Self::sign(key, salt, seq, value)
    }

    /// The torrent that the value points to, if it does (BEP 46).
    pub fn torrent(&self) -> Option<InfoHash> {
        parse_torrent_pointer(&self.value)
    }

    /// Where the item lives.
    pub fn target(&self) -> Target {
        mutable_target(&self.key, &self.salt)
    }

    /// Checks lengths, encoding and, last because it is dear, the signature.
    pub fn verify(&self) -> Result<(), ItemError> {
        check_fields(&self.salt, self.seq, &self.value)?;
        verify_signature(&self.key, &self.salt, self.seq, &self.value, &self.signature)
    }
}

/// An item of either kind (BEP 44).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Item {
    /// One that its hash names: its value, bencoded.
    Immutable(#[cfg_attr(feature = "serde", serde(serialize_with = "as_hex"))] Vec<u8>),
    /// One that its author may replace.
    Mutable(MutableItem),
}

/// Bytes as hexadecimal digits, as ids are written.
#[cfg(feature = "serde")]
fn as_hex<S: serde::Serializer>(bytes: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in bytes.as_ref() {
        write!(text, "{byte:02x}").map_err(serde::ser::Error::custom)?;
    }
    serializer.serialize_str(&text)
}

impl Item {
    /// The value, bencoded.
    pub fn value(&self) -> &[u8] {
        match self {
            Self::Immutable(value) => value,
            Self::Mutable(item) => &item.value,
        }
    }

    /// Where the item lives.
    pub fn target(&self) -> Target {
        match self {
            Self::Immutable(value) => immutable_target(value),
            Self::Mutable(item) => item.target(),
        }
    }

    /// The sequence number of a mutable item.
    pub fn seq(&self) -> Option<i64> {
        match self {
            Self::Immutable(_) => None,
            Self::Mutable(item) => Some(item.seq),
        }
    }

    /// Checks what can be checked: lengths, encoding, signature.
    pub fn check(&self) -> Result<(), ItemError> {
        match self {
            Self::Immutable(value) => check_value(value),
            Self::Mutable(item) => item.verify(),
        }
    }
}

/// Everything about a mutable item but its signature.
pub(crate) fn check_fields(salt: &[u8], seq: i64, value: &[u8]) -> Result<(), ItemError> {
    if salt.len() > SALT_LEN_MAX {
        return Err(ItemError::SaltTooBig(salt.len()));
    }
    if seq < 0 {
        return Err(ItemError::NegativeSequence(seq));
    }
    check_value(value)
}

pub(crate) fn verify_signature(
    key: &[u8; 32],
    salt: &[u8],
    seq: i64,
    value: &[u8],
    signature: &[u8; 64],
) -> Result<(), ItemError> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| ItemError::BadSignature)?;
    key.verify_strict(&signing_buffer(salt, seq, value), &Signature::from_bytes(signature))
        .map_err(|_| ItemError::BadSignature)
}

/// What is signed: the entries of a dictionary without the dictionary, the value as it stands (BEP 44).
fn signing_buffer(salt: &[u8], seq: i64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(salt.len() + value.len() + 40);
    if !salt.is_empty() {
        Writer::new(&mut out).bytes(b"salt");
        Writer::new(&mut out).bytes(salt);
    }
    Writer::new(&mut out).bytes(b"seq");
    Writer::new(&mut out).int(seq);
    Writer::new(&mut out).bytes(b"v");
    out.extend_from_slice(value);
    out
}

/// The value of a mutable item that points to a torrent (BEP 46).
pub fn torrent_pointer(info_hash: &InfoHash) -> Vec<u8> {
    let mut out = Vec::with_capacity(29);
    Writer::new(&mut out).dict(|dict| dict.key(b"ih").bytes(info_hash.as_bytes()));
    out
}

/// The torrent that the value of a mutable item points to (BEP 46).
pub fn parse_torrent_pointer(value: &[u8]) -> Option<InfoHash> {
    let mut reader = Reader::new(value);
    let mut dict = reader.dict().ok()?;
    while let Some((key, value)) = dict.entry().ok()? {
        if key == b"ih" {
            return InfoHash::from_slice(value.bytes().ok()?);
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        assert_eq!(text.len(), 2 * N);
        std::array::from_fn(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap())
    }

    const VALUE: &[u8] = b"12:Hello World!";
    const KEY: &str = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548";

    /// The two signed examples of BEP 44.
    pub(crate) fn vectors() -> [MutableItem; 2] {
        let item = |salt: &[u8], signature| MutableItem {
            key: hex(KEY),
            salt: salt.to_vec(),
            seq: 1,
            value: VALUE.to_vec(),
            signature: hex(signature),
        };
        [
            item(
                b"",
                "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff\
                 1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01",
            ),
            item(
                b"foobar",
                "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d\
                 df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
            ),
        ]
    }

    #[test]
    fn the_vectors_of_bep_44() {
        let [plain, salted] = vectors();
        assert_eq!(plain.target().to_string(), "4a533d47ec9c7d95b1ad75f576cffc641853b750");
        assert_eq!(salted.target().to_string(), "411eba73b6f087ca51a3795d9c8c938d365e32c1");
        assert_eq!(immutable_target(VALUE).to_string(), "e5f96f6f38320f0f33959cb4d3d656452117aadb");
        assert_eq!(plain.verify(), Ok(()));
        assert_eq!(salted.verify(), Ok(()));
        assert_eq!(signing_buffer(b"", 1, VALUE), b"3:seqi1e1:v12:Hello World!");
        assert_eq!(signing_buffer(b"foobar", 1, VALUE), b"4:salt6:foobar3:seqi1e1:v12:Hello World!");
    }

    #[test]
    fn the_vectors_of_bep_46() {
        let key = hex("8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e");
        assert_eq!(mutable_target(&key, b"").to_string(), "cc3f9d90b572172053626f9980ce261a850d050b");
        assert_eq!(mutable_target(&key, b"n").to_string(), "59ee7c2cb9b4f7eb1986ee2d18fd2fdb8a56554f");
        let info_hash = InfoHash::new([b'x'; 20]);
        let value = torrent_pointer(&info_hash);
        assert_eq!(value, b"d2:ih20:xxxxxxxxxxxxxxxxxxxxe");
        assert_eq!(parse_torrent_pointer(&value), Some(info_hash));
        for other in ["", "5:hello", "de", "d2:ih3:abce", "d2:ihi1ee"] {
            assert_eq!(parse_torrent_pointer(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn what_is_signed_verifies_and_nothing_else_does() {
        let item = MutableItem::sign(&SigningKey::from_bytes(&[9; 32]), b"salt", 7, VALUE.to_vec()).unwrap();
        assert_eq!(item.verify(), Ok(()));
        let forgeries = [
            MutableItem { seq: 8, ..item.clone() },
            MutableItem { salt: b"pepper".to_vec(), ..item.clone() },
            MutableItem { value: b"12:Hello Worle!".to_vec(), ..item.clone() },
            MutableItem { key: [0; 32], ..item.clone() },
            MutableItem { signature: [0; 64], ..item },
        ];
        for forgery in forgeries {
            assert_eq!(forgery.verify(), Err(ItemError::BadSignature), "{forgery:?}");
        }
    }

    #[test]
    fn limits_are_said_with_the_sizes() {
        let key = SigningKey::from_bytes(&[9; 32]);
        let long = format!("996:{}", "x".repeat(996)).into_bytes();
        assert_eq!(MutableItem::sign(&key, b"", 0, long.clone()).map(|_| ()), Ok(()), "1000 bytes fit");
        let longer = format!("997:{}", "x".repeat(997)).into_bytes();
        assert_eq!(MutableItem::sign(&key, b"", 0, longer), Err(ItemError::ValueTooBig(1001)));
        assert_eq!(MutableItem::sign(&key, &[0; 65], 0, long.clone()), Err(ItemError::SaltTooBig(65)));
        assert_eq!(MutableItem::sign(&key, b"", -1, long), Err(ItemError::NegativeSequence(-1)));
        for text in ["", "i01e", "5:abc", "i1ei2e", "d1:bi1e1:ai2ee"] {
            assert_eq!(check_value(text.as_bytes()), Err(ItemError::NotCanonical), "{text}");
        }
    }
}
