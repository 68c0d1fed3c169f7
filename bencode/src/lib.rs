//! Bencode (BEP 3) without dependencies and without copies.
//!
//! [`Reader`] pulls values out of a byte slice: strings are borrowed, nothing is allocated, nesting and string lengths
//! are limited, and any value can be had as its raw span ([`Reader::raw`]), which is what info hashes and signatures
//! are made of. It is lenient by default (real DHT messages have unsorted keys and trailing bytes); [`Reader::strict`]
//! accepts the one canonical encoding only. [`Writer`] writes that canonical encoding.
//!
//! ```
//! use magnes_bencode::{Reader, Writer};
//!
//! let mut out = Vec::new();
//! Writer::new(&mut out).dict(|dict| {
//!     dict.key(b"length").int(5);
//!     dict.key(b"name").bytes(b"hello");
//! });
//! assert_eq!(out, b"d6:lengthi5e4:name5:helloe");
//!
//! let mut reader = Reader::new(&out);
//! let mut dict = reader.dict()?;
//! while let Some((key, value)) = dict.entry()? {
//!     match key {
//!         b"length" => assert_eq!(value.int()?, 5),
//!         b"name" => assert_eq!(value.bytes()?, b"hello"),
//!         _ => {} // a value that is not read is skipped
//!     }
//! }
//! # Ok::<(), magnes_bencode::Error>(())
//! ```
//!
//! Deliberately absent: a value tree (it allocates for every field), floats, and serde (it cannot keep raw spans).

mod error;
mod reader;
mod writer;

pub use error::{DEPTH_MAX, Error, ErrorKind};
pub use reader::{Dict, Kind, List, Reader};
pub use writer::{DictWriter, Writer};
