use std::hash::BuildHasher;

use rand_core::Rng;
use siphasher::sip::SipHasher13;

/// Hashes keys that strangers choose. The secret comes from the node's own seeded randomness, so that nobody can aim at
/// one slot of a table and one seed still repeats a whole run.
#[derive(Debug, Clone)]
pub(crate) struct KeyedState(SipHasher13);

impl KeyedState {
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        Self(SipHasher13::new_with_keys(rng.next_u64(), rng.next_u64()))
    }
}

impl BuildHasher for KeyedState {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        self.0
    }
}
