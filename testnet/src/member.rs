use std::net::SocketAddr;
use std::time::Instant;

use crate::client::Client;
use crate::host::{Datagram, Host, StreamAction, StreamEvent, StreamId};
use crate::responder::Responder;
use crate::searcher::Searcher;

/// A host of a world in which real nodes and whole clients live among a population.
pub enum Member {
    /// A node of the population, which only answers.
    Responder(Box<Responder>),
    /// A real node.
    Searcher(Box<Searcher>),
    /// A whole client.
    Client(Box<Client>),
    /// One that is done: it answers nothing, and takes no memory.
    Gone,
}

impl Host for Member {
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], out: &mut Vec<Datagram>) {
        match self {
            Self::Responder(responder) => responder.handle_datagram(now, from, datagram, out),
            Self::Searcher(searcher) => searcher.handle_datagram(now, from, datagram, out),
            Self::Client(client) => client.handle_datagram(now, from, datagram, out),
            Self::Gone => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Datagram>) {
        match self {
            Self::Searcher(searcher) => searcher.handle_timeout(now, out),
            Self::Client(client) => client.handle_timeout(now, out),
            Self::Responder(_) | Self::Gone => {}
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Searcher(searcher) => searcher.next_timeout(),
            Self::Client(client) => client.next_timeout(),
            Self::Responder(_) | Self::Gone => None,
        }
    }

    fn listens(&self) -> bool {
        matches!(self, Self::Client(client) if client.listens())
    }

    fn handle_stream(&mut self, now: Instant, event: StreamEvent, out: &mut Vec<Datagram>) {
        if let Self::Client(client) = self {
            client.handle_stream(now, event, out);
        }
    }

    fn poll_stream(&mut self) -> Option<StreamAction> {
        match self {
            Self::Client(client) => client.poll_stream(),
            _ => None,
        }
    }

    fn transmit(
        &mut self,
        now: Instant,
        stream: StreamId,
        len_max: usize,
        into: &mut Vec<u8>,
        out: &mut Vec<Datagram>,
    ) {
        if let Self::Client(client) = self {
            client.transmit(now, stream, len_max, into, out);
        }
    }
}
