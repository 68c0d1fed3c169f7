use std::time::Instant;

use sha1::{Digest, Sha1};

/// A digest of everything that reached a host: when, whom, and every byte. Two runs of one seed have the same.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    start: Instant,
    sha: Sha1,
}

impl Trace {
    /// Nothing has happened.
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, sha: Sha1::new() }
    }

    /// Something reached a host.
    pub(crate) fn note(&mut self, now: Instant, host: usize, bytes: &[u8]) {
        let elapsed_ns = now.saturating_duration_since(self.start).as_nanos() as u64;
        self.sha.update(elapsed_ns.to_be_bytes());
        self.sha.update((host as u64).to_be_bytes());
        self.sha.update((bytes.len() as u64).to_be_bytes());
        self.sha.update(bytes);
    }

    /// The digest of what happened so far.
    pub(crate) fn digest(&self) -> [u8; 20] {
        self.sha.clone().finalize().into()
    }
}
