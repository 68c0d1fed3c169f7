//! A sign of life from one address.

use std::net::SocketAddr;
use std::time::Instant;

use super::operation::Operation;
use crate::event::{Event, OperationId, RequestError};
use crate::krpc::Method;
use crate::node::Node;
use crate::rpc::Purpose;

impl Node {
    /// Asks an address for a sign of life. Ends with [`Event::Pinged`].
    pub fn ping(&mut self, now: Instant, addr: SocketAddr) -> OperationId {
        if self.is_busy() {
            return self.refuse(RequestError::TooManyOperations);
        }
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
