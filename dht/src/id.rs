use std::fmt;
use std::str::FromStr;

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

            /// From a slice, which has to be 20 bytes long.
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
