//! Sampling one node, and what nodes give as samples (BEP 51).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::operation::Operation;
use crate::event::{Event, LookupOutcome, NodeSamples, OperationId};
use crate::krpc::{Method, Response};
use crate::node::Node;
use crate::rpc::Purpose;
use crate::{Contact, InfoHash, Target};

impl Node {
    pub(super) fn start_sample_node(&mut self, now: Instant, addr: SocketAddr, target: Target) -> OperationId {
        let operation = self.insert(Operation::Sample);
        let method = Method::SampleInfohashes { target };
        let sent = self
            .socket_for(addr)
            .is_some_and(|socket| self.query(now, socket, addr, None, Purpose::Sample(operation), method));
        if !sent {
            self.handle_sampled(operation, 0, None, Duration::ZERO);
        }
        operation
    }

    /// The answer of the one node that was asked for samples, or its absence.
    pub(in crate::node) fn handle_sampled(
        &mut self,
        operation: OperationId,
        asked: usize,
        answer: Option<Contact>,
        elapsed: Duration,
    ) {
        if let Some(Operation::Sample) = self.operations.get(&operation) {
            self.operations.remove(&operation);
            let (answered, closest) = (usize::from(answer.is_some()), answer.into_iter().collect());
            self.tell(Event::LookupDone { operation, outcome: LookupOutcome { asked, answered, elapsed, closest } });
        }
    }

    /// Hands on the samples of an answer, if it has any, and remembers for how long they stay the same.
    pub(in crate::node) fn handle_samples(
        &mut self,
        now: Instant,
        operation: OperationId,
        from: Contact,
        response: &Response<'_>,
    ) {
        let Some(samples) = response.samples else { return };
        let interval = self.sampled.note(now, from.addr, response.interval_s.unwrap_or(0));
        let samples = NodeSamples {
            from,
            info_hashes: samples.chunks_exact(20).filter_map(InfoHash::from_slice).collect(),
            total: response.num.and_then(|num| u64::try_from(num).ok()),
            interval,
        };
        self.tell(Event::Samples { operation, samples });
    }
}
