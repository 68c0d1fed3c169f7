use std::net::SocketAddr;
use std::time::Instant;

/// Routers that are kept.
const ROUTERS_MAX: usize = 64;

/// How it went with an address to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterState {
    /// No socket of its family.
    NoSocket,
    /// It was not asked: other nodes are known.
    NotAsked,
    /// It was asked and has not answered.
    Silent {
        /// When it was asked first.
        since: Instant,
    },
    /// It has answered.
    Answered,
}

/// The addresses that one socket begins with, and how it went with each.
#[derive(Debug, Default)]
pub(super) struct Routers(Vec<Router>);

#[derive(Debug)]
struct Router {
    addr: SocketAddr,
    state: RouterState,
}

impl Routers {
    /// Keeps an address; returns whether it was not known, and there was room.
    pub(super) fn insert(&mut self, addr: SocketAddr) -> bool {
        let is_new = self.0.len() < ROUTERS_MAX && !self.contains(&addr);
        if is_new {
            self.0.push(Router { addr, state: RouterState::NotAsked });
        }
        is_new
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, addr: &SocketAddr) -> bool {
        self.0.iter().any(|router| router.addr == *addr)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SocketAddr> {
        self.0.iter().map(|router| &router.addr)
    }

    pub(super) fn state(&self, addr: &SocketAddr) -> Option<RouterState> {
        self.0.iter().find(|router| router.addr == *addr).map(|router| router.state)
    }

    /// A query goes to `addr`, which may be a router.
    pub(super) fn asked(&mut self, now: Instant, addr: &SocketAddr) {
        if let Some(router) = self.0.iter_mut().find(|router| router.addr == *addr)
            && router.state == RouterState::NotAsked
        {
            router.state = RouterState::Silent { since: now };
        }
    }

    /// An answer came from `addr`, which may be a router.
    pub(super) fn answered(&mut self, addr: &SocketAddr) {
        if let Some(router) = self.0.iter_mut().find(|router| router.addr == *addr) {
            router.state = RouterState::Answered;
        }
    }
}
