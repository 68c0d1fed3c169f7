use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// No state of a node is as large; a larger file is none of ours.
const STATE_LEN_MAX: u64 = 4 << 20;

/// The file that keeps a node's table between two runs.
#[derive(Debug, Clone)]
pub(super) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// What it holds; `None` if there is no file, or none that can be read. The reason is logged: a node starts without.
    pub(super) async fn load(&self) -> Option<Vec<u8>> {
        let path = self.path.clone();
        let loaded = blocking(move || {
            let len = std::fs::metadata(&path)?.len();
            if len > STATE_LEN_MAX {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{len} bytes")));
            }
            std::fs::read(&path)
        });
        match loaded.await {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot read the saved DHT table, starting without");
                self.set_aside().await;
                None
            }
        }
    }

    /// Renames a file that is not ours or is broken, so that saving does not overwrite it.
    pub(super) async fn set_aside(&self) {
        let (path, aside) = (self.path.clone(), with_suffix(&self.path, ".unreadable"));
        match blocking(move || std::fs::rename(path, &aside).map(|()| aside)).await {
            Ok(aside) => tracing::warn!(path = %aside.display(), "the file is kept under this name"),
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "cannot move the file aside"),
        }
    }

    /// Replaces the file by `bytes`: whoever reads it sees the old state or the new one, never a part.
    pub(super) async fn save(&self, bytes: Vec<u8>) {
        let (path, partial) = (self.path.clone(), with_suffix(&self.path, ".new"));
        let saved = blocking(move || {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)?;
            }
            write_and_sync(&partial, &bytes)?;
            std::fs::rename(&partial, &path)
        });
        if let Err(error) = saved.await {
            tracing::warn!(path = %self.path.display(), %error, "cannot save the DHT table");
        }
    }
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
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
        let file = StateFile::new(folder.path().join("a/b/dht.state"));
        assert_eq!(file.load().await, None);
        for content in [&b"first"[..], b"second, longer", b"3"] {
            file.save(content.to_vec()).await;
            assert_eq!(file.load().await.as_deref(), Some(content));
        }
        assert_eq!(std::fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1, "nothing is left beside it");
    }

    #[tokio::test]
    async fn a_file_of_somebody_else_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dht.state");
        std::fs::write(&path, vec![7; STATE_LEN_MAX as usize + 1]).unwrap();
        let file = StateFile::new(path);
        assert_eq!(file.load().await, None);
        file.save(b"ours".to_vec()).await;
        assert_eq!(file.load().await.as_deref(), Some(&b"ours"[..]));
        let aside = folder.path().join("dht.state.unreadable");
        assert_eq!(std::fs::metadata(aside).unwrap().len(), STATE_LEN_MAX + 1);
    }
}
