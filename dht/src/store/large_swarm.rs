use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rand_core::Rng;

use super::permutation::Permutation;
use crate::krpc::SCRAPE_PEERS_MAX;

/// How long a peer is kept after its last announce.
pub const PEER_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// The peers of a swarm that is larger than a few, or of IPv6.
#[derive(Debug, Default)]
pub(super) struct LargeSwarm {
    /// In ascending order of place.
    pub(super) peers: Vec<Peer>,
    /// No peer is older than this.
    pub(super) oldest_s: u32,
    /// When it was announced to last.
    pub(super) touched_s: u32,
    /// Place in the list of all large swarms' keys.
    pub(super) key_index: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// IPv4 addresses are mapped.
    ip: [u8; 16],
    pub(super) announced_s: u32,
    port: u16,
    pub(super) seed: bool,
}

impl LargeSwarm {
    pub(super) fn bytes(&self) -> usize {
        self.peers.capacity() * size_of::<Peer>()
    }

    /// Stores a peer or refreshes it. Peers that have to go for it are told to `gone`.
    pub(super) fn insert(&mut self, peer: Peer, gone: &mut dyn FnMut(&Peer)) {
        self.touched_s = peer.announced_s;
        match self.peers.binary_search_by_key(&peer.place(), Peer::place) {
            Ok(index) => {
                gone(&self.peers[index]);
                self.peers[index] = peer;
            }
            Err(mut index) => {
                if self.peers.len() >= SCRAPE_PEERS_MAX {
                    self.trim(gone);
                    index = self.peers.partition_point(|other| other.place() < peer.place());
                }
                if self.peers.len() == self.peers.capacity() {
                    // A quarter instead of the double: what is reserved and not used counts as used.
                    self.peers.reserve_exact((self.peers.len() / 4).max(1));
                }
                self.peers.insert(index, peer);
            }
        }
    }

    /// Forgets one peer, if it is there.
    pub(super) fn remove(&mut self, addr: SocketAddr, gone: &mut dyn FnMut(&Peer)) {
        let place = Peer::new(addr, 0, false).place();
        if let Ok(index) = self.peers.binary_search_by_key(&place, Peer::place) {
            gone(&self.peers.remove(index));
            self.shrink();
        }
    }

    /// Drops the oldest eighth of the peers, so that the work of finding them is shared by many announces.
    pub(super) fn trim(&mut self, gone: &mut dyn FnMut(&Peer)) {
        let count = (self.peers.len() / 8).max(1);
        let mut ages: Vec<u32> = self.peers.iter().map(|peer| peer.announced_s).collect();
        let (_, &mut limit_s, _) = ages.select_nth_unstable(count - 1);
        let mut left = count;
        self.retain(gone, |peer| {
            let goes = peer.announced_s <= limit_s && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }

    pub(super) fn expire(&mut self, now_s: u32, gone: &mut dyn FnMut(&Peer)) {
        if !is_expired(now_s.saturating_sub(self.oldest_s)) {
            return;
        }
        self.retain(gone, |peer| !peer.is_expired(now_s));
        self.oldest_s = self.peers.iter().map(|peer| peer.announced_s).min().unwrap_or(now_s);
    }

    fn retain(&mut self, gone: &mut dyn FnMut(&Peer), mut stays: impl FnMut(&Peer) -> bool) {
        self.peers.retain(|peer| {
            let stays = stays(peer);
            if !stays {
                gone(peer);
            }
            stays
        });
        self.shrink();
    }

    fn shrink(&mut self) {
        self.peers.shrink_to(self.peers.len() + self.peers.len() / 8);
    }

    pub(super) fn in_random_order(&self, rng: &mut impl Rng) -> impl Iterator<Item = &Peer> {
        Permutation::new(self.peers.len(), rng).map(|index| &self.peers[index])
    }
}

impl Peer {
    pub(super) fn new(addr: SocketAddr, announced_s: u32, seed: bool) -> Self {
        let ip = match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        Self { ip, announced_s, port: addr.port(), seed }
    }

    /// What a swarm holds once.
    pub(super) fn place(&self) -> ([u8; 16], u16) {
        (self.ip, place_port(self.addr()))
    }

    pub(super) fn addr(&self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.ip).to_canonical(), self.port)
    }

    pub(super) fn is_expired(&self, now_s: u32) -> bool {
        is_expired(now_s.saturating_sub(self.announced_s))
    }
}

/// What counts of the port where a swarm holds an IP address once, whose new port replaces the old: nothing. On the
/// loopback network, where every peer has the same IP address, an address counts with its port.
pub(super) fn place_port(addr: SocketAddr) -> u16 {
    if addr.ip().is_loopback() { addr.port() } else { 0 }
}

/// Whether a peer of this age is forgotten.
pub(super) fn is_expired(age_s: u32) -> bool {
    age_s > PEER_LIFETIME.as_secs() as u32
}
