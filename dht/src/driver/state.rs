use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::replace::replace_file;

/// No state of a node is as large; a larger file is none of ours.
const STATE_LEN_MAX: u64 = 4 << 20;

/// Files that were set aside and are still there, at most. Whoever has as many wants to look at them first.
const ASIDE_MAX: usize = 100;

/// The file that keeps a node's table between two runs.
#[derive(Debug, Clone)]
pub(super) struct StateFile {
    path: PathBuf,
    /// Whether what exists may be replaced: not when it is of someone else and could not be set aside.
    is_ours: bool,
}

impl StateFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, is_ours: true }
    }

    /// What it holds; `None` if there is no file, or none that can be read. The reason is logged: a node starts without.
    pub(super) async fn load(&mut self) -> Option<Vec<u8>> {
        let path = self.path.clone();
        match blocking(move || read(&path)).await {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot read the saved DHT table, starting without");
                self.set_aside().await;
                None
            }
        }
    }

    /// Renames a file that is not ours or is broken, so that saving does not overwrite it. Where that fails, nothing is
    /// saved in this run.
    pub(super) async fn set_aside(&mut self) {
        let path = self.path.clone();
        match blocking(move || rename_aside(&path)).await {
            Ok(aside) => tracing::warn!(path = %aside.display(), "the file is kept under this name"),
            Err(error) => {
                self.is_ours = false;
                let path = self.path.display();
                tracing::warn!(%path, %error, "cannot move the file aside; the table is not saved in this run");
            }
        }
    }

    /// Replaces the file by `bytes`: whoever reads it sees the old state or the new one, never a part.
    pub(super) async fn save(&self, bytes: Vec<u8>) {
        if !self.is_ours {
            return;
        }
        let (path, partial) = (self.path.clone(), with_suffix(&self.path, ".new"));
        if let Err(error) = blocking(move || replace(&path, &partial, &bytes)).await {
            tracing::warn!(path = %self.path.display(), %error, "cannot save the DHT table");
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe or a device could hold up the start, or never end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(STATE_LEN_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > STATE_LEN_MAX {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {STATE_LEN_MAX} bytes"))),
        false => Ok(bytes),
    }
}

/// The first of `NAME.bad`, `NAME.bad.1`, .. that does not exist yet gets the file.
fn rename_aside(path: &Path) -> io::Result<PathBuf> {
    for number in 0..ASIDE_MAX {
        let aside = match number {
            0 => with_suffix(path, ".bad"),
            number => with_suffix(path, &format!(".bad.{number}")),
        };
        if std::fs::symlink_metadata(&aside).is_err() {
            return std::fs::rename(path, &aside).map(|()| aside);
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{ASIDE_MAX} such files are there already")))
}

fn replace(path: &Path, partial: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    replace_file(path, partial, bytes)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Runs file work where it cannot hold up the sockets.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|failed| Err(io::Error::other(failed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_saved_is_loaded_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = StateFile::new(folder.path().join("a/b/dht.state"));
        assert_eq!(file.load().await, None);
        for content in [&b"first"[..], b"second, longer", b"3"] {
            file.save(content.to_vec()).await;
            assert_eq!(file.load().await.as_deref(), Some(content));
        }
        assert_eq!(std::fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1, "nothing is left beside it");
    }

    #[tokio::test]
    async fn files_of_somebody_else_are_all_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dht.state");
        let mut file = StateFile::new(path.clone());
        for number in 1..=3u8 {
            std::fs::write(&path, vec![number; STATE_LEN_MAX as usize + 1]).unwrap();
            assert_eq!(file.load().await, None);
        }
        file.save(b"ours".to_vec()).await;
        assert_eq!(file.load().await.as_deref(), Some(&b"ours"[..]));
        for (name, number) in [("dht.state.bad", 1), ("dht.state.bad.1", 2), ("dht.state.bad.2", 3)] {
            let kept = std::fs::read(folder.path().join(name)).unwrap();
            assert!(kept.len() as u64 == STATE_LEN_MAX + 1 && kept[0] == number, "{name}");
        }
    }

    #[tokio::test]
    async fn a_folder_in_its_place_is_kept_aside_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dht.state");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("inside"), b"something").unwrap();
        let mut file = StateFile::new(path);
        assert_eq!(file.load().await, None);
        file.save(b"ours".to_vec()).await;
        assert_eq!(file.load().await.as_deref(), Some(&b"ours"[..]));
        assert_eq!(std::fs::read(folder.path().join("dht.state.bad/inside")).unwrap(), b"something");
    }

    #[tokio::test]
    async fn what_cannot_be_moved_aside_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dht.state");
        std::fs::write(folder.path().join("dht.state.bad"), b"").unwrap();
        (1..ASIDE_MAX).for_each(|number| {
            std::fs::write(folder.path().join(format!("dht.state.bad.{number}")), b"").unwrap();
        });
        std::fs::write(&path, b"of somebody else").unwrap();
        let mut file = StateFile::new(path.clone());
        file.set_aside().await;
        file.save(b"ours".to_vec()).await;
        assert_eq!(std::fs::read(&path).unwrap(), b"of somebody else");
    }
}
