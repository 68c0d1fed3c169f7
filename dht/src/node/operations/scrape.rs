use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::event::SocketIndex;
use crate::krpc::Response;
use crate::{BloomFilter, SCRAPE_PEERS_MAX};

/// Nodes whose answers are kept until it is known which are nearest; a lookup has hardly more answers.
const NODES_MAX: usize = 128;
/// Nobody is to count more than this with one filter (BEP 33); the estimate has some error.
const FILTER_COUNT_MAX: u64 = SCRAPE_PEERS_MAX as u64 * 11 / 10;

/// The count of a swarm (BEP 33): what each node said, until it is known which nodes are nearest.
#[derive(Debug, Default)]
pub(in crate::node) struct Scrape {
    by_node: BTreeMap<(SocketIndex, SocketAddr), Known>,
}

/// What a node knows of a swarm.
#[derive(Debug)]
enum Known {
    Filters(Box<Filters>),
    /// It has not heard of scrapes and names some peers, of which it is not said whether they are seeds.
    Peers(Vec<IpAddr>),
}

/// The peers of a swarm.
#[derive(Debug, Default)]
pub(super) struct Filters {
    pub(super) seeds: BloomFilter,
    pub(super) downloaders: BloomFilter,
}

impl Scrape {
    /// A node answered. A filter that is fuller than any may be says nothing, and would fill all the others.
    pub(super) fn handle_answer(&mut self, socket: SocketIndex, from: SocketAddr, response: &Response<'_>) {
        let known = match (response.seeds_filter, response.peers_filter) {
            (None, None) if !response.values.is_present() => return,
            (None, None) => Known::Peers(response.values.iter().map(|peer| peer.ip()).collect()),
            (seeds, downloaders) => {
                let filter = |bytes: Option<&[u8; 256]>| bytes.map_or_else(BloomFilter::new, |bytes| (*bytes).into());
                let filters = Filters { seeds: filter(seeds), downloaders: filter(downloaders) };
                if filters.seeds.count().max(filters.downloaders.count()) > FILTER_COUNT_MAX {
                    return;
                }
                Known::Filters(Box::new(filters))
            }
        };
        if self.by_node.len() < NODES_MAX {
            self.by_node.insert((socket, from), known);
        }
    }

    /// Unites what the nearest nodes said; returns also how many of them said something.
    pub(super) fn unite(&self, nearest: impl Iterator<Item = (SocketIndex, SocketAddr)>) -> (Filters, usize) {
        let nearest: Vec<&Known> = nearest.filter_map(|node| self.by_node.get(&node)).collect();
        let mut united = Filters::default();
        for known in &nearest {
            if let Known::Filters(filters) = known {
                united.seeds.unite(&filters.seeds);
                united.downloaders.unite(&filters.downloaders);
            }
        }
        for known in &nearest {
            if let Known::Peers(peers) = known {
                // A seed is not to be counted as a downloader too.
                let others = peers.iter().filter(|peer| !united.seeds.contains(**peer));
                others.for_each(|peer| united.downloaders.insert(*peer));
            }
        }
        (united, nearest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;
    use crate::krpc::Values;

    fn node(number: u8) -> (SocketIndex, SocketAddr) {
        (SocketIndex(0), ([10, 0, number, 1], 6881).into())
    }

    fn filter(peers: std::ops::Range<u8>) -> BloomFilter {
        let mut filter = BloomFilter::new();
        peers.for_each(|peer| filter.insert([192, 0, 2, peer].into()));
        filter
    }

    fn answer(scrape: &mut Scrape, number: u8, response: Response<'_>) {
        let (socket, from) = node(number);
        scrape.handle_answer(socket, from, &response);
    }

    #[test]
    fn what_the_nearest_know_is_counted_once() {
        let mut scrape = Scrape::default();
        let response = Response::new(NodeId::new([1; 20]));
        for (number, seeds, downloaders) in [(1, 0..20, 20..60), (2, 10..25, 30..70), (9, 100..200, 100..200)] {
            let (seeds, downloaders) = (filter(seeds), filter(downloaders));
            let filters = (Some(seeds.as_bytes()), Some(downloaders.as_bytes()));
            answer(&mut scrape, number, Response { seeds_filter: filters.0, peers_filter: filters.1, ..response });
        }
        // One that knows nothing of scrapes names a seed and a downloader that nobody else knows.
        let peers = [SocketAddr::from(([192, 0, 2, 3], 1)), SocketAddr::from(([192, 0, 2, 250], 1))];
        answer(&mut scrape, 3, Response { values: Values::of(&peers), ..response });
        answer(&mut scrape, 4, response);
        let (united, counted) = scrape.unite((1..=4).map(node));
        assert_eq!(counted, 3);
        assert_eq!(united.seeds, filter(0..25));
        let mut downloaders = filter(20..70);
        downloaders.insert([192, 0, 2, 250].into());
        assert_eq!(united.downloaders, downloaders);
    }

    #[test]
    fn a_filter_that_is_too_full_is_left_out() {
        let mut scrape = Scrape::default();
        let full = Response { peers_filter: Some(&[0xff; 256]), ..Response::new(NodeId::new([1; 20])) };
        answer(&mut scrape, 1, full);
        assert_eq!(scrape.unite([node(1)].into_iter()).1, 0);
    }
}
