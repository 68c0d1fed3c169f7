use std::net::SocketAddr;
use std::time::Instant;

use crate::responder::Responder;
use crate::searcher::Searcher;
use crate::world::{Datagram, Host};

/// A host of a world in which real nodes search among a population.
pub enum Member {
    /// A node of the population, which only answers.
    Responder(Box<Responder>),
    /// A real node.
    Searcher(Box<Searcher>),
    /// A real node that is done: it answers nothing, and takes no memory.
    Gone,
}

impl Host for Member {
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], out: &mut Vec<Datagram>) {
        match self {
            Self::Responder(responder) => responder.handle_datagram(now, from, datagram, out),
            Self::Searcher(searcher) => searcher.handle_datagram(now, from, datagram, out),
            Self::Gone => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Datagram>) {
        if let Self::Searcher(searcher) = self {
            searcher.handle_timeout(now, out);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Searcher(searcher) => searcher.next_timeout(),
            Self::Responder(_) | Self::Gone => None,
        }
    }
}
