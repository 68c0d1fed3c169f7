use std::net::SocketAddr;
use std::time::Instant;

/// Routers that are kept. The names of a long-lived node's hosts lead to other addresses over the years.
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
    /// Keeps an address; returns whether it was not known. When there are too many, the one goes that is silent for longest,
    /// or else the oldest.
    pub(super) fn insert(&mut self, addr: SocketAddr) -> bool {
        if self.contains(&addr) {
            return false;
        }
        if self.0.len() >= ROUTERS_MAX {
            let silent = |(at, router): (usize, &Router)| match router.state {
                RouterState::Silent { since } => Some((since, at)),
                _ => None,
            };
            let gone = self.0.iter().enumerate().filter_map(silent).min().map_or(0, |(_, at)| at);
            self.0.remove(gone);
        }
        self.0.push(Router { addr, state: RouterState::NotAsked });
        true
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

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin somewhere in time")]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_moves_again_and_again_is_followed_and_who_is_silent_goes_first() {
        let addr = |number: u16| SocketAddr::from(([9, 9, 9, 9], number));
        let now = Instant::now();
        let mut routers = Routers::default();
        let most = ROUTERS_MAX as u16;
        (1..=most).for_each(|number| assert!(routers.insert(addr(number))));
        routers.asked(now, &addr(5));
        assert!(routers.insert(addr(most + 1)) && !routers.contains(&addr(5)) && routers.contains(&addr(1)));
        assert!(routers.insert(addr(most + 2)) && !routers.contains(&addr(1)));
        assert!(!routers.insert(addr(most + 2)), "known");
        assert_eq!(routers.len(), ROUTERS_MAX);
    }
}
