use std::net::IpAddr;
use std::time::{Duration, Instant};

use lru::LruCache;
use rand_core::Rng;

use super::owners::{Owner, Owners};
use crate::Target;
use crate::item::{self, ItemError};
use crate::keyed::KeyedState;
use crate::krpc::{ErrorCode, MutablePut};

/// How long an item is kept after its last put (BEP 44: republish after an hour, drop after two).
pub const ITEM_LIFETIME: Duration = Duration::from_secs(2 * 3600);

/// A budget below this would hold hardly any item.
const BUDGET_BYTES_MIN: usize = 64 * 1024;

/// What an item costs besides its value and salt, in bytes: a node and a slot of the map, and two allocations.
const ITEM_BYTES: usize = 320;

/// Signatures verified per second, and saved up at most: about 1 % and a tenth of a second of one processor.
const VERIFICATIONS_PER_S: u32 = 250;
const VERIFICATIONS_MAX: u32 = 2000;

/// Why an item is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// It is not an item.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// The stored sequence number is not the expected one.
    #[error("the stored sequence number is {stored}, the expected one {expected}")]
    CasMismatch {
        /// Of the stored item.
        stored: i64,
        /// `cas` of the put.
        expected: i64,
    },
    /// A newer item is stored.
    #[error("the stored sequence number is {stored}, the given one only {given}")]
    SequenceTooLow {
        /// Of the stored item.
        stored: i64,
        /// Of the put.
        given: i64,
    },
    /// Another value is stored under the same sequence number.
    #[error("another value has the sequence number {0} already")]
    SameSequence(i64),
    /// Too many signatures to verify.
    #[error("too many puts, try again later")]
    Busy,
}

impl PutError {
    /// The error code that the sender is told (BEP 44).
    pub fn code(self) -> ErrorCode {
        match self {
            PutError::Item(ItemError::ValueTooBig(_)) => ErrorCode::ValueTooBig,
            PutError::Item(ItemError::SaltTooBig(_)) => ErrorCode::SaltTooBig,
            PutError::Item(ItemError::BadSignature) => ErrorCode::BadSignature,
            PutError::Item(_) => ErrorCode::Protocol,
            PutError::CasMismatch { .. } => ErrorCode::CasMismatch,
            PutError::SequenceTooLow { .. } | PutError::SameSequence(_) => ErrorCode::SequenceTooLow,
            PutError::Busy => ErrorCode::Server,
        }
    }
}

/// A stored item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredItem {
    /// The value, bencoded, as it came.
    pub value: Box<[u8]>,
    /// What a mutable item has besides.
    pub mutable: Option<StoredMutable>,
    put_at: Instant,
    /// The network that brought it first.
    owner: Owner,
}

/// What a mutable item has besides its value. Nobody asks for the salt: who asks knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMutable {
    /// Public key.
    pub key: [u8; 32],
    /// Signature.
    pub signature: [u8; 64],
    /// Sequence number.
    pub seq: i64,
}

/// The items that were put to this node, within a budget of bytes (BEP 44).
///
/// When the budget is used up, a network (/24, /48) whose items take more than a sixteenth of it replaces the one it
/// brought last; else the item goes that was put or asked for least recently: a flood of items that nobody wants drives
/// out itself, and nobody is refused.
#[derive(Debug)]
pub struct ItemStore {
    items: LruCache<Target, StoredItem, KeyedState>,
    /// Who has how many bytes, counted from when the budget is used up for the first time.
    owners: Option<Owners<Target>>,
    owner_key: KeyedState,
    budget_bytes: usize,
    used_bytes: usize,
    verifications_left: u32,
    verifications_at: Instant,
}

impl ItemStore {
    /// An empty store that will use about `budget_bytes` at most.
    pub fn new(budget_bytes: usize, start: Instant, rng: &mut impl Rng) -> Self {
        Self {
            items: LruCache::unbounded_with_hasher(KeyedState::new(rng)),
            owners: None,
            owner_key: KeyedState::new(rng),
            budget_bytes: budget_bytes.max(BUDGET_BYTES_MIN),
            used_bytes: 0,
            verifications_left: VERIFICATIONS_MAX,
            verifications_at: start,
        }
    }

    /// How many items are stored.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes in use, at most the budget.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// The item at `target`, unless it expired.
    pub fn find(&mut self, now: Instant, target: &Target) -> Option<&StoredItem> {
        if self.items.peek(target)?.is_expired(now) {
            self.remove(target);
            return None;
        }
        self.items.get(target)
    }

    /// Stores or refreshes an item that `from` brought, and says where. `mutable` is what a mutable item has besides its
    /// value.
    ///
    /// A signature is verified only after everything else is found in order, and only so many a second.
    pub fn put(
        &mut self,
        now: Instant,
        from: IpAddr,
        value: &[u8],
        mutable: Option<&MutablePut<'_>>,
    ) -> Result<Target, PutError> {
        let owner = Owner::of(from, &self.owner_key);
        match mutable {
            None => self.put_immutable(now, owner, value),
            Some(mutable) => self.put_mutable(now, owner, value, mutable),
        }
    }

    /// Panics when the parts of the store contradict each other.
    pub fn check_invariants(&self) {
        assert_eq!(self.used_bytes, self.items.iter().map(|(_, item)| item.bytes()).sum::<usize>());
        assert!(self.used_bytes <= self.budget_bytes);
        if let Some(owners) = &self.owners {
            assert_eq!(owners.total(), self.used_bytes);
        }
    }

    fn put_immutable(&mut self, now: Instant, owner: Owner, value: &[u8]) -> Result<Target, PutError> {
        item::check_value(value)?;
        let target = item::immutable_target(value);
        self.store(target, StoredItem { value: value.into(), mutable: None, put_at: now, owner });
        Ok(target)
    }

    fn put_mutable(
        &mut self,
        now: Instant,
        owner: Owner,
        value: &[u8],
        put: &MutablePut<'_>,
    ) -> Result<Target, PutError> {
        item::check_fields(put.salt, put.seq, value)?;
        let target = item::mutable_target(put.key, put.salt);
        let stored = self.items.peek_mut(&target).filter(|item| !item.is_expired(now));
        if let Some(stored) = stored {
            // An immutable item at this place would take a collision of SHA-1; it has no sequence number to defend.
            let stored_seq = stored.mutable.map_or(-1, |mutable| mutable.seq);
            check_sequence(stored_seq, &stored.value, value, put)?;
            let same = StoredMutable { key: *put.key, signature: *put.signature, seq: put.seq };
            if stored.mutable == Some(same) {
                // The very item that was verified when it came.
                stored.put_at = now;
                self.items.promote(&target);
                return Ok(target);
            }
        }
        self.take_verification(now)?;
        item::verify_signature(put.key, put.salt, put.seq, value, put.signature)?;
        let mutable = StoredMutable { key: *put.key, signature: *put.signature, seq: put.seq };
        self.store(target, StoredItem { value: value.into(), mutable: Some(mutable), put_at: now, owner });
        Ok(target)
    }

    fn take_verification(&mut self, now: Instant) -> Result<(), PutError> {
        let elapsed = now.saturating_duration_since(self.verifications_at);
        let gained = (elapsed.as_millis() * u128::from(VERIFICATIONS_PER_S) / 1000).min(u128::from(VERIFICATIONS_MAX));
        if gained > 0 {
            self.verifications_left = (self.verifications_left + gained as u32).min(VERIFICATIONS_MAX);
            self.verifications_at = now;
        }
        self.verifications_left = self.verifications_left.checked_sub(1).ok_or(PutError::Busy)?;
        Ok(())
    }

    fn store(&mut self, target: Target, item: StoredItem) {
        let brought_by = item.owner;
        // Whoever brings an item again does not take it over: else a flooder could make it his own and give it away.
        let known = self.items.peek(&target).map(|known| known.owner);
        let item = StoredItem { owner: known.unwrap_or(brought_by), ..item };
        self.count(item.owner, item.bytes(), 0);
        if let Some(replaced) = self.items.put(target, item) {
            self.count(replaced.owner, 0, replaced.bytes());
        }
        while self.used_bytes > self.budget_bytes {
            if self.owners.is_none() {
                self.owners = Some(self.count_owners());
            }
            let excess = self.owners.as_mut().and_then(|owners| owners.take_excess(brought_by));
            if !excess.is_some_and(|target| self.remove(&target)) {
                let Some((_, evicted)) = self.items.pop_lru() else { break };
                self.count(evicted.owner, 0, evicted.bytes());
            }
        }
        if known.is_none()
            && let Some(owners) = &mut self.owners
        {
            owners.set_last(brought_by, target);
        }
    }

    /// Forgets an item. Returns whether it was there.
    fn remove(&mut self, target: &Target) -> bool {
        let Some(removed) = self.items.pop(target) else { return false };
        self.count(removed.owner, 0, removed.bytes());
        true
    }

    fn count(&mut self, owner: Owner, added: usize, removed: usize) {
        self.used_bytes = self.used_bytes + added - removed;
        if let Some(owners) = &mut self.owners {
            owners.add(owner, added);
            owners.subtract(owner, removed);
        }
    }

    fn count_owners(&self) -> Owners<Target> {
        let mut owners = Owners::new();
        self.items.iter().for_each(|(_, item)| owners.add(item.owner, item.bytes()));
        owners
    }
}

impl StoredItem {
    fn bytes(&self) -> usize {
        ITEM_BYTES + self.value.len()
    }

    fn is_expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.put_at) > ITEM_LIFETIME
    }
}

/// The order of the checks is BEP 44's: `cas` first, then the sequence number, then the value.
fn check_sequence(stored: i64, stored_value: &[u8], value: &[u8], put: &MutablePut<'_>) -> Result<(), PutError> {
    match put.cas {
        Some(expected) if expected != stored => return Err(PutError::CasMismatch { stored, expected }),
        _ => {}
    }
    if put.seq < stored {
        return Err(PutError::SequenceTooLow { stored, given: put.seq });
    }
    if put.seq == stored && value != stored_value {
        return Err(PutError::SameSequence(stored));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::MutableItem;
    use ed25519_dalek::SigningKey;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(5, 6, 7, 8));

    fn store(start: Instant) -> ItemStore {
        ItemStore::new(1 << 20, start, &mut ChaCha8Rng::from_seed([4; 32]))
    }

    fn signed(seq: i64, value: &str) -> MutableItem {
        let value = format!("{}:{value}", value.len()).into_bytes();
        MutableItem::sign(&SigningKey::from_bytes(&[8; 32]), b"s", seq, value).unwrap()
    }

    fn put(store: &mut ItemStore, now: Instant, item: &MutableItem, cas: Option<i64>) -> Result<Target, PutError> {
        let MutableItem { key, salt, seq, value, signature } = item;
        store.put(now, FROM, value, Some(&MutablePut { key, signature, seq: *seq, cas, salt }))
    }

    fn stored_seq(store: &mut ItemStore, now: Instant, target: &Target) -> Option<i64> {
        Some(store.find(now, target)?.mutable?.seq)
    }

    #[test]
    fn items_are_found_for_two_hours_after_the_last_put() {
        let start = Instant::now();
        let mut store = store(start);
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let target = store.put(start, FROM, b"5:hello", None).unwrap();
        let mutable = put(&mut store, start, &signed(1, "a"), None).unwrap();
        assert_eq!(*store.find(at(120), &target).unwrap().value, *b"5:hello");
        assert_eq!(put(&mut store, at(100), &signed(1, "a"), None), Ok(mutable), "a refresh");
        assert!(store.find(at(121), &target).is_none());
        assert_eq!(stored_seq(&mut store, at(220), &mutable), Some(1));
        assert_eq!(stored_seq(&mut store, at(221), &mutable), None);
        store.check_invariants();
        assert!(store.is_empty());
    }

    #[test]
    fn sequence_numbers_only_rise() {
        let now = Instant::now();
        let mut store = store(now);
        let target = put(&mut store, now, &signed(5, "five"), None).unwrap();
        let low = put(&mut store, now, &signed(4, "four"), None).unwrap_err();
        assert_eq!((low, low.code()), (PutError::SequenceTooLow { stored: 5, given: 4 }, ErrorCode::SequenceTooLow));
        assert_eq!(put(&mut store, now, &signed(5, "other"), None), Err(PutError::SameSequence(5)));
        assert_eq!(put(&mut store, now, &signed(i64::MAX, "last"), None), Ok(target));
        assert_eq!(stored_seq(&mut store, now, &target), Some(i64::MAX));
    }

    #[test]
    fn cas_is_checked_first_and_only_against_what_is_stored() {
        let now = Instant::now();
        let mut store = store(now);
        assert!(put(&mut store, now, &signed(5, "five"), Some(3)).is_ok(), "nothing is stored");
        let error = put(&mut store, now, &signed(4, "four"), Some(4)).unwrap_err();
        assert_eq!((error, error.code()), (PutError::CasMismatch { stored: 5, expected: 4 }, ErrorCode::CasMismatch));
        assert!(put(&mut store, now, &signed(6, "six"), Some(5)).is_ok());
    }

    #[test]
    fn what_is_no_item_has_its_error_code() {
        let now = Instant::now();
        let mut store = store(now);
        let long = format!("1000:{}", "x".repeat(1000)).into_bytes();
        assert_eq!(store.put(now, FROM, &long, None).unwrap_err().code(), ErrorCode::ValueTooBig);
        assert_eq!(store.put(now, FROM, b"i007e", None).unwrap_err().code(), ErrorCode::Protocol);
        let forged = MutableItem { signature: [1; 64], ..signed(1, "a") };
        assert_eq!(put(&mut store, now, &forged, None).unwrap_err().code(), ErrorCode::BadSignature);
        let salted = MutableItem { salt: vec![0; 65], ..signed(1, "a") };
        assert_eq!(put(&mut store, now, &salted, None).unwrap_err().code(), ErrorCode::SaltTooBig);
        let negative = MutableItem { seq: -1, ..signed(1, "a") };
        assert_eq!(put(&mut store, now, &negative, None).unwrap_err().code(), ErrorCode::Protocol);
        assert!(store.is_empty());
    }

    #[test]
    fn a_flood_stays_in_the_budget_and_an_item_in_use_survives_it() {
        let now = Instant::now();
        let mut store = store(now);
        let wanted = store.put(now, FROM, b"6:wanted", None).unwrap();
        for number in 0..40_000 {
            let from = IpAddr::from(u32::to_be_bytes(number * 256));
            store.put(now, from, format!("i{number}e").as_bytes(), None).unwrap();
            if number % 1000 == 0 {
                assert!(store.find(now, &wanted).is_some());
            }
        }
        store.check_invariants();
        assert!(store.find(now, &wanted).is_some());
        assert!(store.len() < 4000);
    }

    #[test]
    fn a_flood_of_one_network_does_not_push_out_what_the_others_put() {
        let now = Instant::now();
        let mut store = store(now);
        let mut honest = Vec::new();
        while store.used_bytes() < (1 << 20) - 1000 {
            let number = honest.len() as u32;
            let from = IpAddr::from(u32::to_be_bytes(0x1000_0000 + number * 256));
            honest.push(store.put(now, from, format!("i{number}e").as_bytes(), None).unwrap());
        }
        for number in 0..10_000u32 {
            let value = format!("i-{}e", number + 1);
            let flooder = IpAddr::from([66, 6, 6, number as u8]);
            let target = store.put(now, flooder, value.as_bytes(), None).unwrap();
            assert!(store.find(now, &target).is_some(), "nobody is refused");
            // Bringing what others brought does not make it the flooder's.
            let others = format!("i{}e", number % 10);
            store.put(now, flooder, others.as_bytes(), None).unwrap();
        }
        store.check_invariants();
        let left = honest.iter().filter(|target| store.find(now, target).is_some()).count();
        assert!(left * 100 >= honest.len() * 90, "{left} of {} are left", honest.len());
    }

    #[test]
    fn forged_signatures_cost_a_bounded_share_of_the_processor() {
        let now = Instant::now();
        let mut store = store(now);
        store.verifications_left = 3;
        let forged = MutableItem { signature: [1; 64], ..signed(1, "a") };
        for _ in 0..3 {
            assert_eq!(put(&mut store, now, &forged, None), Err(PutError::Item(ItemError::BadSignature)));
        }
        assert_eq!(put(&mut store, now, &forged, None), Err(PutError::Busy));
        assert!(put(&mut store, now + Duration::from_millis(4), &signed(1, "a"), None).is_ok(), "a moment later");
    }
}
