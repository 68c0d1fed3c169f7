use std::hash::BuildHasher;
use std::net::IpAddr;

use crate::Network;
use crate::keyed::KeyedState;

/// Groups of networks that are told apart. Honest ones share a group with a flooder as seldom as one in this many.
const GROUPS: usize = 256;

/// The part of a full store that one group may have, as a divisor.
const SHARE_DIVISOR: usize = 16;

/// The group of a network: a keyed hash of the [site](Network::site) of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(u8);

impl Owner {
    pub(crate) fn of(ip: IpAddr, hasher: &KeyedState) -> Self {
        Self(hasher.hash_one(Network::site(ip)) as u8)
    }
}

/// Who takes how much of a full store, so that no network can push out what the others put there: beyond its share it
/// replaces what it brought last.
#[derive(Debug)]
pub(crate) struct Owners<K> {
    groups: Vec<Group<K>>,
    total: usize,
}

#[derive(Debug, Clone)]
struct Group<K> {
    used: usize,
    /// What it brought last.
    last: Option<K>,
}

impl<K: Clone> Owners<K> {
    pub(crate) fn new() -> Self {
        Self { groups: vec![Group { used: 0, last: None }; GROUPS], total: 0 }
    }

    pub(crate) fn add(&mut self, owner: Owner, amount: usize) {
        self.groups[usize::from(owner.0)].used += amount;
        self.total += amount;
    }

    pub(crate) fn subtract(&mut self, owner: Owner, amount: usize) {
        self.groups[usize::from(owner.0)].used -= amount;
        self.total -= amount;
    }

    /// What an owner has.
    pub(crate) fn used(&self, owner: Owner) -> usize {
        self.groups[usize::from(owner.0)].used
    }

    /// What everyone has together.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn set_last(&mut self, owner: Owner, key: K) {
        self.groups[usize::from(owner.0)].last = Some(key);
    }

    /// What an owner has to give before others do, if it has more than its share.
    pub(crate) fn take_excess(&mut self, owner: Owner) -> Option<K> {
        let group = &mut self.groups[usize::from(owner.0)];
        if group.used * SHARE_DIVISOR <= self.total { None } else { group.last.take() }
    }
}
