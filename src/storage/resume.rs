#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this file reads and writes the resume file")]

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use magnes_dht::internals::replace_file;
use serde::{Deserialize, Serialize};

use super::open::{identity, stamp};
use crate::disk::Layout;
use crate::model::{Bitfield, Block, InfoHash, PieceIndex};

/// The first bytes of a resume file; the last is the version of the format.
const MAGIC: [u8; 8] = *b"magnesR\x02";
/// The largest resume file that is read, in bytes: the metadata and a little more.
const FILE_LEN_MAX: u64 = 64 * 1024 * 1024;
/// Addresses that are kept for the next session.
const PEERS_MAX: usize = 200;

/// What is kept of a torrent between sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    info_hash: [u8; 20],
    /// The info dictionary as it is hashed.
    pub info_raw: Vec<u8>,
    have: Vec<u8>,
    /// Length in bytes and time of the last change in nanoseconds since 1970, a file; `None`: not there.
    stamps: Vec<Option<(u64, i64)>>,
    /// What tells each file that is ours to write from one that took its place.
    own: Vec<Option<(u64, i64)>>,
    /// Peers that worked.
    pub peers: Vec<SocketAddr>,
}

/// Why a resume file is not used. The data are checked instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// It cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its bytes are not those of a resume file of this version, or were changed.
    #[error("{path} is not a resume file of this version, or damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl Resume {
    /// What is to be kept: these pieces, with the files as they are on the disk. Every piece must be written. `own`
    /// says which of the files are ours.
    pub fn new(layout: &Layout, have: &Bitfield, own: &[bool], mut peers: Vec<SocketAddr>) -> Self {
        peers.truncate(PEERS_MAX);
        let info = layout.info();
        let is_own = |file: usize| own.get(file).copied().unwrap_or(false);
        Self {
            info_hash: *info.hash().as_bytes(),
            info_raw: info.raw().to_vec(),
            have: have.as_bytes().to_vec(),
            stamps: (0..layout.files().len()).map(|file| stamp(layout, file)).collect(),
            own: (0..layout.files().len()).map(|file| identity(layout, file).filter(|_| is_own(file))).collect(),
            peers,
        }
    }

    /// Has the files that hold these pieces checked the next time: the pieces could not be read, which says nothing.
    pub fn doubt(&mut self, layout: &Layout, unreadable: &Bitfield) {
        for piece in unreadable.iter() {
            let whole = Block { piece, begin: 0, len: layout.info().geometry().piece_len(piece) };
            for span in layout.spans(&whole) {
                if let Some(stamp) = self.stamps.get_mut(span.file) {
                    *stamp = None;
                }
            }
        }
    }

    /// Reads the resume file of a torrent. `Ok(None)`: there is none.
    ///
    /// # Errors
    /// When there is one and it cannot be used.
    pub fn load(path: &Path, info_hash: &InfoHash) -> Result<Option<Self>, ResumeError> {
        let mut bytes = Vec::new();
        // Opening a pipe would wait for whoever writes to it.
        let open = |found: Metadata| match found.is_file() {
            true => File::open(path).and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes)),
            false => Err(io::Error::other("not a plain file")),
        };
        match path.metadata().and_then(open) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ResumeError::Io { action: "read", path: path.to_path_buf(), source }),
        }
        let mut resume = Self::decode(&bytes).filter(|resume| resume.info_hash == *info_hash.as_bytes());
        if let Some(resume) = &mut resume {
            resume.peers.truncate(PEERS_MAX);
        }
        resume.map(Some).ok_or_else(|| ResumeError::Damaged { path: path.to_path_buf() })
    }

    /// Writes the resume file: a new one beside it first, then in its place, so that there is a whole one at any time.
    ///
    /// # Errors
    /// What the system refused; an older file stays as it was.
    pub fn save(&self, path: &Path) -> Result<(), ResumeError> {
        let new = path.with_extension("resume.new");
        self.encode().and_then(|bytes| replace_file(path, &new, &bytes)).map_err(|source| ResumeError::Io {
            action: "write",
            path: path.to_path_buf(),
            source,
        })
    }

    /// Whether a file is one that we were writing: it is the same, or as it was when it was last looked at.
    pub(super) fn is_own(&self, layout: &Layout, file: usize) -> bool {
        let Some(Some(own)) = self.own.get(file) else { return false };
        let as_it_was = || stamp(layout, file).is_some_and(|stamp| self.stamps.get(file) == Some(&Some(stamp)));
        identity(layout, file) == Some(*own) || as_it_was()
    }

    /// The pieces that are known to be there, and those about which nothing is known because one of their files is not as
    /// it was.
    pub fn judge(&self, layout: &Layout) -> (Bitfield, Vec<PieceIndex>) {
        let geometry = layout.info().geometry();
        let piece_count = geometry.piece_count();
        let Some(have) = Bitfield::from_bytes(&self.have, piece_count) else {
            return (Bitfield::empty(piece_count), geometry.pieces().collect());
        };
        let mut known = have;
        let mut unknown = Vec::new();
        let same: Vec<bool> = (0..layout.files().len())
            .map(|file| {
                let stamp = stamp(layout, file);
                layout.files()[file].padding || (stamp.is_some() && self.stamps.get(file) == Some(&stamp))
            })
            .collect();
        for piece in geometry.pieces() {
            let whole = Block { piece, begin: 0, len: geometry.piece_len(piece) };
            if !layout.spans(&whole).all(|span| same[span.file]) {
                known.remove(piece);
                unknown.push(piece);
            }
        }
        (known, unknown)
    }

    /// The content of a resume file.
    ///
    /// # Errors
    /// None for what this process made.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let body = bincode::serde::encode_to_vec(self, bincode::config::standard()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(MAGIC.len() + 4 + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Reads the content of a resume file. `None`: it is not one of this version, or damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (checksum, body) = rest.split_first_chunk::<4>()?;
        if *magic != MAGIC || u32::from_le_bytes(*checksum) != crc32c::crc32c(body) {
            return None;
        }
        let limit = bincode::config::standard().with_limit::<{ FILE_LEN_MAX as usize }>();
        let (resume, len) = bincode::serde::decode_from_slice(body, limit).ok()?;
        (len == body.len()).then_some(resume)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resume() -> Resume {
        Resume {
            info_hash: [7; 20],
            info_raw: b"d6:lengthi1ee".to_vec(),
            have: vec![0x80],
            stamps: vec![Some((1, 2)), None],
            own: vec![None, Some((3, 4))],
            peers: vec![([10, 0, 0, 1], 6881).into()],
        }
    }

    #[test]
    fn a_resume_file_survives_the_way_there_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.resume");
        let hash = InfoHash::new([7; 20]);
        assert!(Resume::load(&path, &hash).unwrap().is_none());
        resume().save(&path).unwrap();
        assert_eq!(Resume::load(&path, &hash).unwrap(), Some(resume()));
        assert!(matches!(Resume::load(&path, &InfoHash::new([8; 20])), Err(ResumeError::Damaged { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_plain_file_is_neither_waited_for_nor_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.resume");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(Resume::load(&path, &InfoHash::new([7; 20])), Err(ResumeError::Io { .. })));
        let diary = folder.path().join("diary");
        std::fs::write(&diary, "dear").unwrap();
        std::os::unix::fs::symlink(&diary, folder.path().join("x.resume.new")).unwrap();
        resume().save(&path).unwrap();
        assert_eq!(std::fs::read(&diary).unwrap(), b"dear");
        assert_eq!(Resume::load(&path, &InfoHash::new([7; 20])).unwrap(), Some(resume()));
    }

    #[test]
    fn every_byte_flip_and_truncation_is_noticed() {
        let bytes = resume().encode().unwrap();
        assert_eq!(Resume::decode(&bytes), Some(resume()));
        for end in 0..bytes.len() {
            assert_eq!(Resume::decode(&bytes[..end]), None);
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(Resume::decode(&changed), None, "byte {at} bit {bit}");
            }
        }
    }
}
