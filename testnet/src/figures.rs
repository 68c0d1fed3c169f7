use std::time::Duration;

/// What the lookups came to, a value for each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LookupFigures {
    /// From the command to the first peer. Lookups that found none have no value here.
    pub first: Vec<Duration>,
    /// From the command to the end: from then on the nearest nodes can be told something.
    pub complete: Vec<Duration>,
    /// Datagrams that were sent for it.
    pub packets: Vec<usize>,
    /// Share of the eight nearest honest and reachable nodes in the result.
    pub recall: Vec<f64>,
    /// How many of those eight took the announce that followed.
    pub told: Vec<usize>,
    /// How many nodes the searcher took the network to have before its lookup; `None` where it could not know.
    pub size: Vec<Option<u64>>,
}

/// What is written of a value that differs from lookup to lookup.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread<T> {
    /// Half are below.
    pub p50: T,
    /// One of a hundred is above.
    pub p99: T,
}

impl LookupFigures {
    /// Time to the first peer.
    pub fn first(&self) -> Spread<Duration> {
        Spread { p50: percentile(&self.first, 50), p99: percentile(&self.first, 99) }
    }

    /// Time to the end.
    pub fn complete(&self) -> Spread<Duration> {
        Spread { p50: percentile(&self.complete, 50), p99: percentile(&self.complete, 99) }
    }

    /// Datagrams a lookup, on average.
    pub fn packets_mean(&self) -> f64 {
        self.packets.iter().sum::<usize>() as f64 / self.packets.len().max(1) as f64
    }

    /// How far off the searchers were with the size of the network, as a share of it; at least `percent` were nearer.
    pub fn size_error(&self, nodes: usize, percent: usize) -> f64 {
        let off = |size: &Option<u64>| size.map_or(1.0, |size| (size as f64 / nodes as f64 - 1.0).abs());
        percentile(&self.size.iter().map(|size| (off(size) * 1e6) as u64).collect::<Vec<_>>(), percent) as f64 / 1e6
    }

    /// The size of the network as the searchers estimated it, on average.
    pub fn size_mean(&self) -> f64 {
        self.size.iter().flatten().sum::<u64>() as f64 / self.size.len().max(1) as f64
    }

    /// Share of the nearest nodes that were found, on average.
    pub fn recall_mean(&self) -> f64 {
        self.recall.iter().sum::<f64>() / self.recall.len().max(1) as f64
    }
}

/// The value that `percent` of all do not exceed; the least there is where there are none.
pub fn percentile<T: Copy + Ord + Default>(values: &[T], percent: usize) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
