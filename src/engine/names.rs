//! Host names that a magnet link or a `.torrent` file gives for peers and DHT nodes, resolved by the system.

use std::net::SocketAddr;

use magnes_dht::NameLookup;
use tokio::task::JoinSet;

use crate::model::PeerAddr;
use crate::torrent::Role;

/// Names of one torrent that are resolved; whoever wrote the link chose them.
const NAMES_MAX: usize = 32;
/// Addresses of one name that are used.
const ADDRS_MAX: usize = 8;

/// The names of a torrent that are not resolved yet.
#[derive(Debug, Default)]
pub(super) struct Names {
    lookups: JoinSet<(Role, Vec<SocketAddr>)>,
}

impl Names {
    /// Sorts addresses: literal ones are returned, names begin to be resolved.
    pub(super) fn add(&mut self, role: Role, addrs: &[PeerAddr]) -> Vec<SocketAddr> {
        let mut literal = Vec::new();
        for addr in addrs {
            match addr {
                PeerAddr::Socket(addr) => literal.push(*addr),
                PeerAddr::Name { host, port } if self.lookups.len() < NAMES_MAX => {
                    self.lookups.spawn_local(resolve(role, host.clone(), *port));
                }
                PeerAddr::Name { host, .. } => {
                    tracing::debug!(%host, "one name more than the {NAMES_MAX} that are resolved");
                }
            }
        }
        literal
    }

    /// The addresses of the next name that resolves. Waits forever when there is none.
    pub(super) async fn next(&mut self) -> (Role, Vec<SocketAddr>) {
        while let Some(resolved) = self.lookups.join_next().await {
            if let Ok(resolved) = resolved {
                return resolved;
            }
        }
        std::future::pending().await
    }
}

/// Tries until the name has an address.
async fn resolve(role: Role, host: String, port: u16) -> (Role, Vec<SocketAddr>) {
    let mut lookup = NameLookup::new(format!("{host}:{port}"));
    loop {
        match lookup.next().await {
            Ok(mut addrs) => {
                addrs.truncate(ADDRS_MAX);
                return (role, addrs);
            }
            Err(error) => tracing::info!(%host, %error, "cannot resolve a name in the torrent; it is tried on"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn literal_addresses_are_there_at_once_and_names_follow() {
        let addrs: Vec<PeerAddr> = ["127.0.0.1:5", "localhost:6"].map(|text| text.parse().unwrap()).into();
        let mut names = Names::default();
        let body = async {
            assert_eq!(names.add(Role::Node, &addrs), ["127.0.0.1:5".parse().unwrap()]);
            let (role, found) = names.next().await;
            assert_eq!(role, Role::Node);
            assert!(found.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 6), "{found:?}");
        };
        LocalSet::new().run_until(body).await;
    }

    #[tokio::test]
    async fn a_link_cannot_make_us_resolve_names_without_end() {
        let addr: PeerAddr = "localhost:6".parse().unwrap();
        let mut names = Names::default();
        let body = async {
            names.add(Role::Peer, &vec![addr; 10 * NAMES_MAX]);
            assert_eq!(names.lookups.len(), NAMES_MAX);
        };
        LocalSet::new().run_until(body).await;
    }
}
