#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this file walks folders and hashes files")]

use std::fs::{File, FileType, Metadata};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use sha1::{Digest, Sha1};

use super::limits::threads_max;
use super::sys::{append_at, changed_ns};
use crate::model::{INFO_LEN_MAX, NewFile, NewNameError, NewTorrent, Renamed, check_names, piece_len_for};

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
    /// What is to be shared would be written over.
    #[error("{path} is what is to be shared: write the .torrent file to another path")]
    Output {
        /// The file.
        path: PathBuf,
    },
    /// A pipe, a socket or a device.
    #[error("{path} is neither a plain file nor a folder")]
    NotPlain {
        /// The path.
        path: PathBuf,
    },
    /// Nothing in it.
    #[error("{path} has no bytes to share{}", first_of(left_out))]
    Empty {
        /// The path.
        path: PathBuf,
        /// What stands in it and cannot be shared.
        left_out: Vec<LeftOut>,
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

fn first_of(left_out: &[LeftOut]) -> String {
    let first = left_out.first();
    first.map_or_else(String::new, |first| format!("; left out is {}: {}", first.path.display(), first.why))
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
    /// What stands in the folder and is not shared.
    pub left_out: Vec<LeftOut>,
    /// The names that other systems fold or refuse, and what they are there.
    pub renamed_elsewhere: Vec<Renamed>,
}

/// Something that is no part of the torrent, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// What stands there.
    pub path: PathBuf,
    /// Why it is left out.
    pub why: LeftOutReason,
}

/// Why something is no part of a torrent that is made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeftOutReason {
    /// A symbolic link, wherever it leads.
    #[error("a symbolic link")]
    Link,
    /// A pipe, a socket or a device.
    #[error("no plain file")]
    Special,
    /// The system does not let us read it.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The `.torrent` file that is being made.
    #[error("the .torrent file itself")]
    Output,
}

/// The torrent of it: public, and with nothing that is not in the files.
impl From<HashedPath> for NewTorrent {
    fn from(hashed: HashedPath) -> Self {
        let HashedPath { folder: _, name, files, total_len, piece_len, pieces, left_out: _, renamed_elsewhere: _ } =
            hashed;
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

/// Hashes a file, or all files of a folder in the order of their paths, on so many threads. Links, what is no plain file, what
/// may not be read and `output`, where the torrent is to be written, are left out. `piece_len`: `None` for one that suits;
/// `progress` is told the bytes done and all bytes.
///
/// # Errors
/// What cannot be read, or cannot become a torrent; names are looked at before anything is hashed.
pub fn hash_path(
    path: &Path,
    output: Option<&Path>,
    piece_len: Option<u32>,
    threads: NonZeroUsize,
    progress: impl FnMut(u64, u64),
) -> Result<HashedPath, CreateError> {
    let root = path.canonicalize().map_err(|source| io_error(path, source))?;
    let name = utf8(root.file_name().unwrap_or_default(), path)?;
    let single = root.is_file();
    if !single && !root.is_dir() {
        return Err(CreateError::NotPlain { path: root });
    }
    let output = output.and_then(|output| output.canonicalize().ok());
    let mut walk = Walk { output, ..Walk::default() };
    if single {
        if walk.output.as_ref() == Some(&root) {
            return Err(CreateError::Output { path: root });
        }
        walk.found.push((root.clone(), vec![name.clone()]));
    } else {
        walk.folder(&root, &mut Vec::new())?;
    }
    let Walk { found, left_out, .. } = walk;
    let mut tree = Tree::default();
    let mut files = Vec::with_capacity(found.len());
    for (path, components) in found {
        let metadata = path.metadata().map_err(|source| io_error(&path, source))?;
        tree.push(path, &metadata);
        files.push(NewFile { path: components, len: metadata.len() });
    }
    // Before hours of hashing.
    let below: &[NewFile] = if single { &[] } else { &files };
    let renamed_elsewhere = check_names(&name, below).map_err(|(index, source)| {
        let path = index.map_or(&root, |index| &tree.files[index].path);
        CreateError::Name { path: path.clone(), source }
    })?;
    let total_len = tree.total_len;
    if total_len == 0 {
        return Err(CreateError::Empty { path: root, left_out });
    }
    let piece_len = piece_len.unwrap_or_else(|| piece_len_for(total_len)).max(1);
    if total_len.div_ceil(u64::from(piece_len)) > PIECES_MAX {
        return Err(CreateError::TooManyPieces { path: root });
    }
    let pieces = tree.hash(piece_len, threads, progress)?;
    tree.check_unchanged()?;
    let folder = root.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let files = (!single).then_some(files);
    Ok(HashedPath { folder, name, files, total_len, piece_len, pieces, left_out, renamed_elsewhere })
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
            for _ in 0..threads_max(threads).get().min(piece_count) {
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
            // Closed first: there may be room for one.
            self.open = None;
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

/// What stands in a folder.
#[derive(Debug, Default)]
struct Walk {
    output: Option<PathBuf>,
    found: Vec<(PathBuf, Vec<String>)>,
    left_out: Vec<LeftOut>,
}

impl Walk {
    /// Adds all plain files below `folder`, sorted by their components.
    fn folder(&mut self, folder: &Path, components: &mut Vec<String>) -> Result<(), CreateError> {
        let entries = folder.read_dir().and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Err(error) if is_forbidden(&error) && !components.is_empty() => {
                self.leave_out(folder, LeftOutReason::Unreadable(error.to_string()));
                return Ok(());
            }
            entries => entries.map_err(|source| io_error(folder, source))?,
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let kind = entry.file_type().map_err(|source| io_error(&path, source))?;
            if kind.is_dir() {
                components.push(utf8(&entry.file_name(), &path)?);
                self.folder(&path, components)?;
                components.pop();
            } else if let Some(why) = self.reason_against(&path, kind)? {
                self.leave_out(&path, why);
            } else if self.found.len() >= FILES_MAX {
                return Err(CreateError::TooManyFiles { path: folder.to_path_buf() });
            } else {
                let name = utf8(&entry.file_name(), &path)?;
                let all = components.iter().cloned().chain([name]).collect();
                self.found.push((path, all));
            }
        }
        Ok(())
    }

    fn reason_against(&self, path: &Path, kind: FileType) -> Result<Option<LeftOutReason>, CreateError> {
        if kind.is_symlink() {
            return Ok(Some(LeftOutReason::Link));
        }
        if !kind.is_file() {
            return Ok(Some(LeftOutReason::Special));
        }
        if self.output.as_deref() == Some(path) {
            return Ok(Some(LeftOutReason::Output));
        }
        match File::open(path) {
            Ok(_) => Ok(None),
            Err(error) if is_forbidden(&error) => Ok(Some(LeftOutReason::Unreadable(error.to_string()))),
            Err(source) => Err(io_error(path, source)),
        }
    }

    fn leave_out(&mut self, path: &Path, why: LeftOutReason) {
        self.left_out.push(LeftOut { path: path.to_path_buf(), why });
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
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
        let changed = |change: &dyn Fn()| hash_path(folder.path(), None, Some(16_384), THREADS, |_, _| change());
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
        let hashed = hash_path(&root, None, Some(16_384), THREADS, |done, _| told = done).unwrap();
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
        assert!(matches!(hash_path(folder.path(), None, None, THREADS, |_, _| ()), Err(CreateError::Empty { .. })));
        assert!(matches!(
            hash_path(&folder.path().join("no"), None, None, THREADS, |_, _| ()),
            Err(CreateError::Io { .. })
        ));
        let name = "_____padding_file_0_";
        std::fs::write(folder.path().join(name), "x").unwrap();
        let refused = hash_path(folder.path(), None, None, THREADS, |_, _| ());
        let named = matches!(&refused, Err(CreateError::Name { path, .. }) if path.ends_with(name));
        assert!(named, "{refused:?}");
    }

    #[test]
    fn names_that_other_systems_refuse_are_shared_and_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["Makefile", "makefile", "aux.c", "a\\b"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let hashed = hash_path(folder.path(), None, None, THREADS, |_, _| ()).unwrap();
        let elsewhere: Vec<&str> = hashed.renamed_elsewhere.iter().map(|renamed| &*renamed.to).collect();
        // One of the two that differ in case, where they are two at all.
        assert_eq!(elsewhere.iter().filter(|to| ["_aux.c", "a_b"].contains(to)).count(), 2, "{elsewhere:?}");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_left_out_is_told_and_the_torrent_itself_is_never_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("share");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        for name in ["a", "sub/b", "old.torrent"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        for (link, target) in [("loop", "loop"), ("sub/up", ".."), ("to-a", "a")] {
            std::os::unix::fs::symlink(target, root.join(link)).unwrap();
        }
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let hashed = hash_path(&root, Some(&root.join("sub/../old.torrent")), None, THREADS, |_, _| ()).unwrap();
        let paths: Vec<String> = hashed.files.unwrap().iter().map(|file| file.path.join("/")).collect();
        assert_eq!(paths, ["a", "sub/b"]);
        let told =
            hashed.left_out.iter().map(|left| (left.path.strip_prefix(&root).unwrap().to_str().unwrap(), &left.why));
        use LeftOutReason::{Link, Output, Special};
        let expected =
            [("loop", &Link), ("old.torrent", &Output), ("socket", &Special), ("sub/up", &Link), ("to-a", &Link)];
        assert_eq!(told.collect::<Vec<_>>(), expected);
        let only_links = root.join("links");
        std::fs::create_dir(&only_links).unwrap();
        std::os::unix::fs::symlink("../a", only_links.join("a")).unwrap();
        let refused = hash_path(&only_links, None, None, THREADS, |_, _| ()).unwrap_err().to_string();
        assert!(refused.ends_with("links/a: a symbolic link"), "{refused}");
        let refused = hash_path(&root.join("socket"), None, None, THREADS, |_, _| ());
        assert!(matches!(refused, Err(CreateError::NotPlain { .. })), "{refused:?}");
        let file = root.join("a");
        let refused = hash_path(&file, Some(&file), None, THREADS, |_, _| ());
        assert!(matches!(refused, Err(CreateError::Output { .. })), "{refused:?}");
    }
}
