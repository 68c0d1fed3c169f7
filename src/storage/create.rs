#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this file walks folders and hashes files")]

use std::fs::{File, Metadata};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use sha1::{Digest, Sha1};

use super::sys::{append_at, changed_ns};
use crate::model::{INFO_LEN_MAX, NewFile, NewNameError, NewTorrent, check_names, piece_len_for};

/// Most files of one torrent that is made.
const FILES_MAX: usize = 1_000_000;
/// Bytes read at once.
const READ_LEN: u64 = 256 * 1024;
/// Length of a piece's SHA-1 in bytes.
const HASH_LEN: usize = 20;
/// Pieces whose hashes make metadata that are read at all.
const PIECES_MAX: u64 = (INFO_LEN_MAX / HASH_LEN) as u64;
/// Hashes that may wait to be put in their place.
const HASHES_MAX: usize = 64;

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
    /// So short pieces that the hashes are longer than metadata may be.
    #[error("{path} makes more than {PIECES_MAX} pieces: choose a larger piece length")]
    TooManyPieces {
        /// The path.
        path: PathBuf,
    },
    /// A file that was changed meanwhile.
    #[error("{path} changed while it was read")]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

/// A file or folder with the hashes of its pieces.
#[derive(Debug)]
pub struct HashedPath {
    /// The folder in which the file or folder stands, links resolved: where its torrent is seeded from.
    pub folder: PathBuf,
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

/// The torrent of it: public, and with nothing that is not in the files.
impl From<HashedPath> for NewTorrent {
    fn from(hashed: HashedPath) -> Self {
        let HashedPath { folder: _, name, files, total_len, piece_len, pieces } = hashed;
        Self {
            name,
            files,
            total_len,
            piece_len,
            pieces,
            private: false,
            comment: None,
            created_by: None,
            creation_date: None,
            nodes: Vec::new(),
        }
    }
}

/// Hashes a file, or all files of a folder in the order of their paths, on so many threads. Symbolic links are passed over.
/// `piece_len`: `None` for one that suits; `progress` is told the bytes done and all bytes.
///
/// # Errors
/// What cannot be read, or cannot become a torrent; names are looked at before anything is hashed.
pub fn hash_path(
    path: &Path,
    piece_len: Option<u32>,
    threads: NonZeroUsize,
    progress: impl FnMut(u64, u64),
) -> Result<HashedPath, CreateError> {
    let root = path.canonicalize().map_err(|source| io_error(path, source))?;
    let name = utf8(root.file_name().unwrap_or_default(), path)?;
    let single = root.is_file();
    let mut found = Vec::new();
    if single {
        found.push((root.clone(), vec![name.clone()]));
    } else {
        walk(&root, &mut Vec::new(), &mut found)?;
    }
    let mut tree = Tree::default();
    let mut files = Vec::with_capacity(found.len());
    for (path, components) in found {
        let metadata = path.metadata().map_err(|source| io_error(&path, source))?;
        tree.push(path, &metadata);
        files.push(NewFile { path: components, len: metadata.len() });
    }
    // Before hours of hashing.
    let below: &[NewFile] = if single { &[] } else { &files };
    check_names(&name, below).map_err(|(index, source)| {
        let path = index.map_or(&root, |index| &tree.files[index].path);
        CreateError::Name { path: path.clone(), source }
    })?;
    let total_len = tree.total_len;
    if total_len == 0 {
        return Err(CreateError::Empty { path: root });
    }
    let piece_len = piece_len.unwrap_or_else(|| piece_len_for(total_len)).max(1);
    if total_len.div_ceil(u64::from(piece_len)) > PIECES_MAX {
        return Err(CreateError::TooManyPieces { path: root });
    }
    let pieces = tree.hash(piece_len, threads, progress)?;
    tree.check_unchanged()?;
    let folder = root.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    Ok(HashedPath { folder, name, files: (!single).then_some(files), total_len, piece_len, pieces })
}

/// Files one after the other, as the bytes of a torrent.
#[derive(Default)]
struct Tree {
    files: Vec<TreeFile>,
    total_len: u64,
}

struct TreeFile {
    path: PathBuf,
    offset: u64,
    len: u64,
    changed_ns: Option<i64>,
}

impl TreeFile {
    fn end(&self) -> u64 {
        self.offset + self.len
    }
}

impl Tree {
    fn push(&mut self, path: PathBuf, metadata: &Metadata) {
        let len = metadata.len();
        self.files.push(TreeFile { path, offset: self.total_len, len, changed_ns: changed_ns(metadata) });
        self.total_len += len;
    }

    /// The SHA-1 of every piece. Each thread takes the next piece that nobody has, so that the disk is read in order and
    /// nothing waits in memory but hashes.
    fn hash(
        &self,
        piece_len: u32,
        threads: NonZeroUsize,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Vec<u8>, CreateError> {
        // Bounded by `PIECES_MAX`.
        let piece_count = self.total_len.div_ceil(u64::from(piece_len)) as usize;
        let mut pieces = vec![0; piece_count * HASH_LEN];
        let next = AtomicUsize::new(0);
        let (hashes, told) = sync_channel(HASHES_MAX);
        std::thread::scope(|scope| {
            for _ in 0..threads.get().min(piece_count) {
                let (hashes, next) = (hashes.clone(), &next);
                scope.spawn(move || {
                    let mut reader = TreeReader { tree: self, open: None, buffer: Vec::new() };
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let start = index as u64 * u64::from(piece_len);
                        let end = self.total_len.min(start + u64::from(piece_len));
                        if start >= end || hashes.send((index, end - start, reader.hash(start, end))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(hashes);
            let mut done = 0;
            for (index, len, hash) in told {
                // The threads end when nobody takes their hashes.
                pieces[index * HASH_LEN..][..HASH_LEN].copy_from_slice(&hash?);
                done += len;
                progress(done, self.total_len);
            }
            Ok(pieces)
        })
    }

    /// What changed while it was hashed has hashes of nothing.
    fn check_unchanged(&self) -> Result<(), CreateError> {
        let changed = self.files.iter().find(|file| {
            let same = |metadata: Metadata| metadata.len() == file.len && changed_ns(&metadata) == file.changed_ns;
            !file.path.metadata().is_ok_and(same)
        });
        changed.map_or(Ok(()), |file| Err(CreateError::Changed { path: file.path.clone() }))
    }
}

/// Reads for one thread. It keeps the file open that it read last.
struct TreeReader<'a> {
    tree: &'a Tree,
    open: Option<(usize, File)>,
    buffer: Vec<u8>,
}

impl TreeReader<'_> {
    fn hash(&mut self, start: u64, end: u64) -> Result<[u8; HASH_LEN], CreateError> {
        let mut sha = Sha1::new();
        let mut at = start;
        let first = self.tree.files.partition_point(|file| file.end() <= start);
        for index in first..self.tree.files.len() {
            let file = &self.tree.files[index];
            let stop = end.min(file.end());
            while at < stop {
                let len = (stop - at).min(READ_LEN);
                self.read(index, at - file.offset, len as usize).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => CreateError::Changed { path: file.path.clone() },
                    _ => io_error(&file.path, error),
                })?;
                sha.update(&self.buffer);
                at += len;
            }
            if at >= end {
                break;
            }
        }
        Ok(sha.finalize().into())
    }

    fn read(&mut self, index: usize, offset: u64, len: usize) -> io::Result<()> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != index) {
            self.open = Some((index, File::open(&self.tree.files[index].path)?));
        }
        // No more room than is wanted: more would be read.
        if self.buffer.capacity() != len {
            self.buffer = Vec::with_capacity(len);
        }
        self.buffer.clear();
        match &self.open {
            Some((_, file)) => append_at(file, &mut self.buffer, len, offset),
            None => Ok(()),
        }
    }
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

fn utf8(name: &std::ffi::OsStr, path: &Path) -> Result<String, CreateError> {
    name.to_str().map(str::to_owned).ok_or_else(|| CreateError::NotUtf8 { path: path.to_path_buf() })
}

fn io_error(path: &Path, source: io::Error) -> CreateError {
    CreateError::Io { path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

    #[test]
    fn a_file_that_changes_meanwhile_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (name, len) in [("a", 20_000), ("b", 20_000)] {
            std::fs::write(folder.path().join(name), vec![1; len]).unwrap();
        }
        let path = folder.path().join("b");
        // Told of a piece: hashing is under way.
        let changed = |change: &dyn Fn()| hash_path(folder.path(), Some(16_384), THREADS, |_, _| change());
        for len in [20_001, 10] {
            let error = changed(&|| std::fs::write(&path, vec![2; len]).unwrap()).unwrap_err();
            assert!(matches!(&error, CreateError::Changed { path } if path.ends_with("b")), "{error}");
        }
    }

    #[test]
    fn a_folder_is_hashed_in_the_order_of_its_paths() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("share");
        std::fs::create_dir_all(root.join("b")).unwrap();
        std::fs::write(root.join("b/two"), [2; 20_000]).unwrap();
        std::fs::write(root.join("a"), [1; 20_000]).unwrap();
        std::fs::write(root.join("c"), []).unwrap();
        let mut told = 0;
        let hashed = hash_path(&root, Some(16_384), THREADS, |done, _| told = done).unwrap();
        let paths: Vec<String> = hashed.files.unwrap().iter().map(|file| file.path.join("/")).collect();
        assert_eq!(paths, ["a", "b/two", "c"]);
        assert_eq!((hashed.total_len, told, hashed.name.as_str()), (40_000, 40_000, "share"));
        assert_eq!(hashed.folder, folder.path().canonicalize().unwrap());
        let all: Vec<u8> = [[1; 20_000], [2; 20_000]].concat();
        let right: Vec<u8> = all.chunks(16_384).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
        assert_eq!(hashed.pieces, right);
    }

    #[test]
    fn what_cannot_be_shared_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(hash_path(folder.path(), None, THREADS, |_, _| ()), Err(CreateError::Empty { .. })));
        assert!(matches!(hash_path(&folder.path().join("no"), None, THREADS, |_, _| ()), Err(CreateError::Io { .. })));
        for name in ["aux.c", "a\\b"] {
            let path = folder.path().join(name);
            std::fs::write(&path, "x").unwrap();
            for shared in [folder.path(), &path] {
                let refused = hash_path(shared, None, THREADS, |_, _| ());
                let named = matches!(&refused, Err(CreateError::Name { path, .. }) if path.ends_with(name));
                assert!(named, "{name}: {refused:?}");
            }
            std::fs::remove_file(path).unwrap();
        }
    }
}
