use crate::InfoHash;
use crate::krpc::Method;
use crate::node::{AnnouncePort, PeerRole};

/// Stands where a port is implied: some nodes want one even where it does not count.
const PORT_OF_NO_MEANING: u16 = 1;

/// That this host has a torrent (BEP 5, `announce_peer`).
#[derive(Debug, Clone, Copy)]
pub(in crate::node) struct Announce {
    pub(super) info_hash: InfoHash,
    pub(super) port: AnnouncePort,
    pub(super) role: PeerRole,
}

impl Announce {
    pub(super) fn method<'a>(&self, token: &'a [u8]) -> Method<'a> {
        let (port, implied_port) = match self.port {
            AnnouncePort::Explicit(port) if port != 0 => (port, false),
            AnnouncePort::Explicit(_) | AnnouncePort::Implied => (PORT_OF_NO_MEANING, true),
        };
        let (info_hash, seed) = (self.info_hash, self.role == PeerRole::Seed);
        Method::AnnouncePeer { info_hash, port: Some(port), implied_port, seed, token }
    }
}
