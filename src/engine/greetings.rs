//! The incoming connections that no torrent has admitted: most have not said yet which one they want.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::oneshot;

use crate::model::is_local;
use crate::storage::connections_max;

/// Connections at most. Each has a deadline for its handshake, and holds a file descriptor until then.
const GREETINGS_MAX: usize = 128;
/// Connections of one address at most.
const PER_ADDRESS_MAX: usize = 16;
/// The same for an address of this machine or a local network, which many hosts of a test network may share.
const PER_LOCAL_ADDRESS_MAX: usize = 96;

/// Bounds the connections, and lets the oldest give way: an honest peer sends its handshake at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Greetings {
    held: Rc<RefCell<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    last: u64,
    /// The oldest first. A connection whose sender is dropped has to go.
    by_age: BTreeMap<u64, (IpAddr, oneshot::Sender<()>)>,
}

/// The place of one connection, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Greeting {
    number: u64,
    held: Rc<RefCell<Held>>,
    ended: oneshot::Receiver<()>,
}

impl Greetings {
    /// A place for a connection from `ip`; takes it from another where there is none.
    pub(super) fn admit(&self, ip: IpAddr) -> Greeting {
        let mut held = self.held.borrow_mut();
        let (end, ended) = oneshot::channel();
        held.make_room(ip, GREETINGS_MAX.min(connections_max() / 4).max(1));
        held.last += 1;
        let number = held.last;
        held.by_age.insert(number, (ip, end));
        Greeting { number, held: self.held.clone(), ended }
    }
}

impl Held {
    fn make_room(&mut self, ip: IpAddr, most: usize) {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        self.by_age.values().for_each(|(ip, _)| *counts.entry(*ip).or_default() += 1);
        let share = if is_local(ip) { PER_LOCAL_ADDRESS_MAX } else { PER_ADDRESS_MAX };
        let giving = if counts.get(&ip).is_some_and(|count| *count >= share) {
            Some(ip)
        } else if self.by_age.len() >= most {
            // Whoever has most, so that a crowd of one network takes from itself.
            counts.iter().max_by_key(|(_, count)| **count).map(|(ip, _)| *ip)
        } else {
            None
        };
        let oldest = giving.and_then(|giving| self.by_age.iter().find(|(_, (ip, _))| *ip == giving));
        if let Some(number) = oldest.map(|(number, _)| *number) {
            self.by_age.remove(&number);
        }
    }
}

impl Greeting {
    /// Resolves once the place went to another connection.
    pub(super) async fn ended(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.ended).await;
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        self.held.borrow_mut().by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_ended(greeting: &mut Greeting) -> bool {
        greeting.ended.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn silent_connections_of_one_address_give_way_to_each_other_and_never_to_nobody() {
        let greetings = Greetings::default();
        let ip = IpAddr::from([9, 9, 9, 9]);
        let mut other = greetings.admit([9, 9, 9, 8].into());
        let mut silent: Vec<Greeting> = (0..1000).map(|_| greetings.admit(ip)).collect();
        assert!(!has_ended(&mut other), "another address has its place");
        let ended = silent.iter_mut().map(has_ended).collect::<Vec<_>>();
        assert!(ended[..1000 - PER_ADDRESS_MAX].iter().all(|ended| *ended), "the oldest went");
        assert!(!ended[1000 - PER_ADDRESS_MAX..].iter().any(|ended| *ended));
        drop((silent, other));
        assert!(greetings.held.borrow().by_age.is_empty());
    }

    #[test]
    fn in_all_they_are_bounded_and_the_largest_crowd_loses_a_place() {
        let greetings = Greetings::default();
        let mut crowd: Vec<Greeting> =
            (0..PER_LOCAL_ADDRESS_MAX).map(|_| greetings.admit([127, 0, 0, 1].into())).collect();
        let mut others: Vec<Greeting> = (0..60).map(|host| greetings.admit([9, 9, 9, host].into())).collect();
        assert_eq!(greetings.held.borrow().by_age.len(), GREETINGS_MAX);
        assert!(!others.iter_mut().any(has_ended));
        let gone = crowd.iter_mut().map(has_ended).filter(|ended| *ended).count();
        assert_eq!(gone, PER_LOCAL_ADDRESS_MAX + 60 - GREETINGS_MAX);
    }
}
