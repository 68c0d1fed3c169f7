use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::BloomFilter;
use crate::event::SocketIndex;
use crate::krpc::Response;

/// Nodes whose filters are kept until it is known which are nearest; a lookup has hardly more answers.
const FILTERS_MAX: usize = 128;

/// The count of a swarm (BEP 33): what each node said, until it is known which nodes are nearest.
#[derive(Debug, Default)]
pub(in crate::node) struct Scrape {
    by_node: BTreeMap<(SocketIndex, SocketAddr), Box<Filters>>,
}

/// The peers that a node knows.
#[derive(Debug, Default)]
pub(super) struct Filters {
    pub(super) seeds: BloomFilter,
    pub(super) downloaders: BloomFilter,
}

impl Scrape {
    /// A node answered. One that knows nothing of scrapes names some peers: of them it is not said whether they are seeds.
    pub(super) fn handle_answer(&mut self, socket: SocketIndex, from: SocketAddr, response: &Response<'_>) {
        let mut filters = Filters::default();
        match (response.seeds_filter, response.peers_filter) {
            (None, None) if !response.values.is_present() => return,
            (None, None) => response.values.iter().for_each(|peer| filters.downloaders.insert(peer.ip())),
            (seeds, downloaders) => {
                let filter = |bytes: Option<&[u8; 256]>| bytes.map_or_else(BloomFilter::new, |bytes| (*bytes).into());
                filters = Filters { seeds: filter(seeds), downloaders: filter(downloaders) };
            }
        }
        if self.by_node.len() < FILTERS_MAX {
            self.by_node.insert((socket, from), Box::new(filters));
        }
    }

    /// Unites what the nearest nodes said; returns also how many of them said something.
    pub(super) fn unite(&self, nearest: impl Iterator<Item = (SocketIndex, SocketAddr)>) -> (Filters, usize) {
        let mut united = Filters::default();
        let mut counted = 0;
        for filters in nearest.filter_map(|node| self.by_node.get(&node)) {
            united.seeds.unite(&filters.seeds);
            united.downloaders.unite(&filters.downloaders);
            counted += 1;
        }
        (united, counted)
    }
}
