use std::fmt;

/// How many lists and dictionaries may be nested. Real metadata needs four; BEP 44 values may hold more.
pub const DEPTH_MAX: u32 = 64;

/// Why bytes are not the bencode that was asked for, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Offset in bytes from the start of the input.
    pub position: usize,
}

/// The ways in which bytes fail to be bencode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input ends inside a value.
    Truncated,
    /// A byte that starts no value, or not the one it has to.
    UnexpectedByte(u8),
    /// The value is of another type than the one asked for.
    WrongType,
    /// An integer without digits, or one that does not fit 64 bits.
    BadInteger,
    /// A string length that is not a number or is larger than the rest of the input.
    BadLength,
    /// More nested lists and dictionaries than [`crate::DEPTH_MAX`].
    TooDeep,
    /// Bytes after the value (strict reading, or [`crate::Reader::finish`]).
    TrailingBytes,
    /// A leading zero, a negative zero, or a plus sign (strict reading).
    NotCanonical,
    /// A dictionary whose keys are not in ascending order or occur twice (strict reading).
    UnsortedKeys,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = self.position;
        match self.kind {
            ErrorKind::Truncated => write!(f, "the input ends inside a value at byte {position}"),
            ErrorKind::UnexpectedByte(byte) => write!(f, "unexpected byte 0x{byte:02x} at byte {position}"),
            ErrorKind::WrongType => write!(f, "a value of another type was expected at byte {position}"),
            ErrorKind::BadInteger => write!(f, "bad integer at byte {position}"),
            ErrorKind::BadLength => write!(f, "bad string length at byte {position}"),
            ErrorKind::TooDeep => write!(f, "nested more than {} levels deep at byte {position}", crate::DEPTH_MAX),
            ErrorKind::TrailingBytes => write!(f, "bytes after the value at byte {position}"),
            ErrorKind::NotCanonical => write!(f, "not the canonical encoding at byte {position}"),
            ErrorKind::UnsortedKeys => write!(f, "dictionary keys out of order at byte {position}"),
        }
    }
}

impl std::error::Error for Error {}
