#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this file walks folders and hashes files")]

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use crate::model::{NewFile, NewNameError, check_names, piece_len_for};

/// Most files of one torrent that is made.
const FILES_MAX: usize = 1_000_000;
/// Bytes read at once.
const READ_LEN: usize = 256 * 1024;

/// Why a path cannot become a torrent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name that is not UTF-8, which torrents have to be.
    #[error("the name of {path} is not UTF-8, which names in a torrent have to be: rename it")]
    NotUtf8 {
        /// The file or folder.
        path: PathBuf,
    },
    /// A name that would be read back as another one: the data could not be found under it.
    #[error("{path}: {source}")]
    Name {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with its name.
        source: NewNameError,
    },
    /// Nothing in it.
    #[error("{path} has no bytes to share")]
    Empty {
        /// The path.
        path: PathBuf,
    },
    /// More files than a torrent may have.
    #[error("{path} has more than {FILES_MAX} files")]
    TooManyFiles {
        /// The path.
        path: PathBuf,
    },
    /// A file that changed its length meanwhile.
    #[error("{path} changed while it was read")]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

/// A file or folder with the hashes of its pieces.
#[derive(Debug)]
pub struct HashedPath {
    /// Name of the file or folder.
    pub name: String,
    /// The files of the folder; `None` when it is a single file.
    pub files: Option<Vec<NewFile>>,
    /// All bytes.
    pub total_len: u64,
    /// Length of a piece in bytes.
    pub piece_len: u32,
    /// The SHA-1 of every piece, one after the other.
    pub pieces: Vec<u8>,
}

/// Hashes a file, or all files of a folder in the order of their paths. Symbolic links are passed over. `piece_len`: `None`
/// for one that suits; `progress` is told the bytes done and all bytes.
///
/// # Errors
/// What cannot be read, or cannot become a torrent; names are looked at before anything is hashed.
pub fn hash_path(
    path: &Path,
    piece_len: Option<u32>,
    mut progress: impl FnMut(u64, u64),
) -> Result<HashedPath, CreateError> {
    let root = path.canonicalize().map_err(|source| io_error(path, source))?;
    let name = utf8(root.file_name().unwrap_or_default(), path)?;
    let mut found = Vec::new();
    let single = root.is_file();
    if single {
        found.push((root.clone(), vec![name.clone()]));
    } else {
        walk(&root, &mut Vec::new(), &mut found)?;
    }
    let mut files = Vec::with_capacity(found.len());
    for (path, components) in &found {
        let len = path.metadata().map_err(|source| io_error(path, source))?.len();
        files.push(NewFile { path: components.clone(), len });
    }
    // Before hours of hashing.
    let kept: &[NewFile] = if single { &[] } else { &files };
    check_names(&name, kept).map_err(|(index, source)| {
        let path = index.map_or(&root, |index| &found[index].0);
        CreateError::Name { path: path.clone(), source }
    })?;
    let total_len: u64 = files.iter().map(|file| file.len).sum();
    if total_len == 0 {
        return Err(CreateError::Empty { path: root });
    }
    let piece_len = piece_len.unwrap_or_else(|| piece_len_for(total_len));
    let mut hasher = PieceHasher::new(piece_len);
    let mut done = 0;
    let mut buffer = vec![0; READ_LEN];
    for ((path, _), file) in found.iter().zip(&files) {
        let mut left = file.len;
        let mut reader = File::open(path).map_err(|source| io_error(path, source))?;
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = reader.read(&mut buffer[..want]).map_err(|source| io_error(path, source))?;
            if count == 0 {
                return Err(CreateError::Changed { path: path.clone() });
            }
            hasher.update(&buffer[..count]);
            left -= count as u64;
            done += count as u64;
            progress(done, total_len);
        }
    }
    Ok(HashedPath { name, files: (!single).then_some(files), total_len, piece_len, pieces: hasher.finish() })
}

/// All plain files below `folder`, sorted by their components.
fn walk(
    folder: &Path,
    components: &mut Vec<String>,
    found: &mut Vec<(PathBuf, Vec<String>)>,
) -> Result<(), CreateError> {
    let entries = folder.read_dir().and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|source| io_error(folder, source))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().map_err(|source| io_error(&path, source))?;
        components.push(utf8(&entry.file_name(), &path)?);
        if kind.is_dir() {
            walk(&path, components, found)?;
        } else if kind.is_file() {
            if found.len() >= FILES_MAX {
                return Err(CreateError::TooManyFiles { path: folder.to_path_buf() });
            }
            found.push((path, components.clone()));
        }
        components.pop();
    }
    Ok(())
}

struct PieceHasher {
    sha: Sha1,
    piece_len: usize,
    filled: usize,
    pieces: Vec<u8>,
}

impl PieceHasher {
    fn new(piece_len: u32) -> Self {
        Self { sha: Sha1::new(), piece_len: piece_len as usize, filled: 0, pieces: Vec::new() }
    }

    fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(self.piece_len - self.filled));
            self.sha.update(now);
            self.filled += now.len();
            if self.filled == self.piece_len {
                self.close_piece();
            }
            data = later;
        }
    }

    fn close_piece(&mut self) {
        self.pieces.extend_from_slice(&self.sha.finalize_reset());
        self.filled = 0;
    }

    fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.close_piece();
        }
        self.pieces
    }
}

fn utf8(name: &std::ffi::OsStr, path: &Path) -> Result<String, CreateError> {
    name.to_str().map(str::to_owned).ok_or_else(|| CreateError::NotUtf8 { path: path.to_path_buf() })
}

fn io_error(path: &Path, source: io::Error) -> CreateError {
    CreateError::Io { path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_hashed_in_the_order_of_its_paths() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("share");
        std::fs::create_dir_all(root.join("b")).unwrap();
        std::fs::write(root.join("b/two"), [2; 20_000]).unwrap();
        std::fs::write(root.join("a"), [1; 20_000]).unwrap();
        std::fs::write(root.join("c"), []).unwrap();
        let mut told = 0;
        let hashed = hash_path(&root, Some(16_384), |done, _| told = done).unwrap();
        let paths: Vec<String> = hashed.files.unwrap().iter().map(|file| file.path.join("/")).collect();
        assert_eq!(paths, ["a", "b/two", "c"]);
        assert_eq!((hashed.total_len, told, hashed.name.as_str()), (40_000, 40_000, "share"));
        let all: Vec<u8> = [[1; 20_000], [2; 20_000]].concat();
        let right: Vec<u8> = all.chunks(16_384).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
        assert_eq!(hashed.pieces, right);
    }

    #[test]
    fn what_cannot_be_shared_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(hash_path(folder.path(), None, |_, _| ()), Err(CreateError::Empty { .. })));
        assert!(matches!(hash_path(&folder.path().join("no"), None, |_, _| ()), Err(CreateError::Io { .. })));
        for name in ["aux.c", "a\\b"] {
            let path = folder.path().join(name);
            std::fs::write(&path, "x").unwrap();
            for shared in [folder.path(), &path] {
                let refused = hash_path(shared, None, |_, _| ());
                let named = matches!(&refused, Err(CreateError::Name { path, .. }) if path.ends_with(name));
                assert!(named, "{name}: {refused:?}");
            }
            std::fs::remove_file(path).unwrap();
        }
    }
}
