//! A sign of life from one address.

use std::net::SocketAddr;
use std::time::Instant;

use super::operation::Operation;
use crate::event::{Event, OperationId};
use crate::krpc::Method;
use crate::node::Node;
use crate::rpc::Purpose;

impl Node {
    pub(super) fn start_ping(&mut self, now: Instant, addr: SocketAddr) -> OperationId {
        let operation = self.insert(Operation::Ping);
        let sent = self
            .socket_for(addr)
            .is_some_and(|socket| self.query(now, socket, addr, None, Purpose::Ping(operation), Method::Ping));
        if !sent {
            self.operations.remove(&operation);
            self.tell(Event::Pinged { operation, answer: None });
        }
        operation
    }
}
