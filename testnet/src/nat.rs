use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a router lets datagrams in from an address after the last one out to it.
const HOLE_LIFETIME: Duration = Duration::from_secs(60);

/// First port that a symmetric router gives out.
const MAPPED_PORT_FIRST: u16 = 20_000;

/// What stands between a host and the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// Nothing: everyone can reach it.
    Open,
    /// Only who was sent something within a minute can reach it.
    Restricted,
    /// As restricted, and everyone sees another port.
    Symmetric,
}

/// What a router remembers.
#[derive(Debug)]
pub(crate) struct Router {
    nat: Nat,
    /// The address of the host as it knows it itself.
    addr: SocketAddr,
    /// For each destination: when it was sent something last, and the port it sees.
    holes: BTreeMap<SocketAddr, (Instant, u16)>,
    mapped: u16,
}

impl Router {
    pub(crate) fn new(nat: Nat, addr: SocketAddr) -> Self {
        Self { nat, addr, holes: BTreeMap::new(), mapped: 0 }
    }

    /// The address of the host as it knows it itself.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it is.
    pub(crate) fn nat(&self) -> Nat {
        self.nat
    }

    /// The source that a datagram to `to` will have.
    pub(crate) fn handle_outgoing(&mut self, now: Instant, to: SocketAddr) -> SocketAddr {
        if self.nat == Nat::Open {
            return self.addr;
        }
        self.holes.retain(|_, (at, _)| is_open(*at, now));
        let port = match (self.nat, self.holes.get(&to)) {
            (Nat::Symmetric, Some(&(_, port))) => port,
            (Nat::Symmetric, None) => {
                let port = MAPPED_PORT_FIRST + self.mapped % MAPPED_PORT_FIRST;
                self.mapped = self.mapped.wrapping_add(1);
                port
            }
            (Nat::Open | Nat::Restricted, _) => self.addr.port(),
        };
        self.holes.insert(to, (now, port));
        SocketAddr::new(self.addr.ip(), port)
    }

    /// Whether a datagram that came for `to` reaches the host.
    pub(crate) fn admits(&self, now: Instant, from: SocketAddr, to: SocketAddr) -> bool {
        if self.nat == Nat::Open {
            return to == self.addr;
        }
        self.holes.get(&from).is_some_and(|&(at, port)| is_open(at, now) && port == to.port())
    }
}

fn is_open(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) <= HOLE_LIFETIME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn who_gets_through_to_whom() {
        let now = Instant::now();
        let [own, left, right] = ["5.0.0.1:6881", "6.0.0.1:1", "6.0.0.1:2"].map(|text| text.parse().unwrap());
        let mut open = Router::new(Nat::Open, own);
        assert_eq!(open.handle_outgoing(now, left), own);
        assert!(open.admits(now, right, own));

        let mut restricted = Router::new(Nat::Restricted, own);
        assert_eq!(restricted.handle_outgoing(now, left), own);
        assert!(restricted.admits(now + HOLE_LIFETIME, left, own));
        assert!(!restricted.admits(now + HOLE_LIFETIME * 2, left, own), "the hole is closed");
        assert!(!restricted.admits(now, right, own), "another port was never sent anything");

        let mut symmetric = Router::new(Nat::Symmetric, own);
        let (to_left, to_right) = (symmetric.handle_outgoing(now, left), symmetric.handle_outgoing(now, right));
        assert_ne!(to_left, to_right);
        assert_eq!(symmetric.handle_outgoing(now, left), to_left);
        assert!(symmetric.admits(now, left, to_left) && !symmetric.admits(now, left, to_right));
    }
}
