use crate::Target;
use crate::item::{self, Item, MutableItem};
use crate::krpc::Response;

/// Signatures that one search verifies at most. The nodes nearest to an item are as many as anybody likes to make up,
/// and each may send another forgery: those that answer first fill this, and no more of the processor is theirs.
const VERIFICATIONS_MAX: u32 = 64;

/// The search for an item (BEP 44): what is wanted, and the best that was found.
#[derive(Debug)]
pub(in crate::node) struct Get {
    wanted: Wanted,
    found: Option<Item>,
    holders: usize,
    rejected: usize,
    verifications_left: u32,
}

/// Which item, and which of its versions.
#[derive(Debug)]
enum Wanted {
    Immutable(Target),
    Mutable {
        key: [u8; 32],
        salt: Vec<u8>,
        /// Only a version with a higher sequence number is of use.
        above: Option<i64>,
    },
}

/// What an answer is worth.
#[derive(Debug, PartialEq)]
enum Worth {
    Nothing,
    /// The version that is the best so far.
    Same,
    Better(Item),
    /// It does not fit what makes it an item: hash, signature, lengths.
    Invalid,
}

impl Get {
    pub(super) fn immutable(target: Target) -> Self {
        Self::new(Wanted::Immutable(target))
    }

    pub(super) fn mutable(key: [u8; 32], salt: Vec<u8>, above: Option<i64>) -> Self {
        Self::new(Wanted::Mutable { key, salt, above })
    }

    fn new(wanted: Wanted) -> Self {
        Self { wanted, found: None, holders: 0, rejected: 0, verifications_left: VERIFICATIONS_MAX }
    }

    /// Where the item lives.
    pub(super) fn target(&self) -> Target {
        match &self.wanted {
            Wanted::Immutable(target) => *target,
            Wanted::Mutable { key, salt, .. } => item::mutable_target(key, salt),
        }
    }

    /// `seq` of the queries: versions up to this one need not be sent.
    pub(super) fn above(&self) -> Option<i64> {
        match self.wanted {
            Wanted::Immutable(_) => None,
            Wanted::Mutable { above, .. } => above,
        }
    }

    /// Whether nothing better can come: the hash of an immutable item proves it.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.wanted, Wanted::Immutable(_)) && self.found.is_some()
    }

    /// The best that was found.
    pub(super) fn found(&self) -> Option<&Item> {
        self.found.as_ref()
    }

    /// The best that was found, how many nodes gave it, and how many gave something that is no such item.
    pub(super) fn into_result(self) -> (Option<Item>, usize, usize) {
        (self.found, self.holders, self.rejected)
    }

    /// A node answered. Returns the item if it is better than what was found before.
    pub(super) fn handle_answer(&mut self, response: &Response<'_>) -> Option<Item> {
        match self.weigh(response) {
            Worth::Nothing => None,
            Worth::Same => {
                self.holders += 1;
                None
            }
            Worth::Better(item) => {
                self.holders = 1;
                self.found = Some(item.clone());
                Some(item)
            }
            Worth::Invalid => {
                self.rejected += 1;
                None
            }
        }
    }

    fn weigh(&mut self, response: &Response<'_>) -> Worth {
        let Some(value) = response.value else { return Worth::Nothing };
        match &self.wanted {
            Wanted::Immutable(_) if self.found.as_ref().is_some_and(|found| found.value() == value) => Worth::Same,
            Wanted::Immutable(target) => {
                if item::check_value(value).is_err() || item::immutable_target(value) != *target {
                    return Worth::Invalid;
                }
                Worth::Better(Item::Immutable(value.to_vec()))
            }
            Wanted::Mutable { key, salt, above } => {
                let (Some(named), Some(signature), Some(seq)) = (response.key, response.signature, response.seq) else {
                    return Worth::Invalid;
                };
                if named != key || item::check_fields(salt, seq, value).is_err() {
                    return Worth::Invalid;
                }
                let best = self.found.as_ref().and_then(Item::seq);
                if best == Some(seq) && self.found.as_ref().is_some_and(|found| found.value() == value) {
                    return Worth::Same;
                }
                if best.max(*above).is_some_and(|known| seq <= known) || self.verifications_left == 0 {
                    return Worth::Nothing;
                }
                self.verifications_left -= 1;
                let item =
                    MutableItem { key: *key, salt: salt.clone(), seq, value: value.to_vec(), signature: *signature };
                if item.verify().is_err() { Worth::Invalid } else { Worth::Better(Item::Mutable(item)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;
    use ed25519_dalek::SigningKey;

    fn signed(seq: i64, value: &[u8]) -> MutableItem {
        MutableItem::sign(&SigningKey::from_bytes(&[8; 32]), b"s", seq, value.to_vec()).unwrap()
    }

    fn response(item: &MutableItem) -> Response<'_> {
        Response {
            key: Some(&item.key),
            signature: Some(&item.signature),
            seq: Some(item.seq),
            value: Some(&item.value),
            ..Response::new(NodeId::new([1; 20]))
        }
    }

    fn get(above: Option<i64>) -> Get {
        Get::mutable(signed(0, b"0:").key, b"s".to_vec(), above)
    }

    #[test]
    fn the_highest_valid_sequence_number_wins_in_any_order() {
        let items = [signed(3, b"1:c"), signed(1, b"1:a"), signed(7, b"1:g"), signed(5, b"1:e"), signed(7, b"1:g")];
        let mut search = get(None);
        let better: Vec<bool> = items.iter().map(|item| search.handle_answer(&response(item)).is_some()).collect();
        assert_eq!(better, [true, false, true, false, false]);
        assert_eq!(search.into_result(), (Some(Item::Mutable(items[2].clone())), 2, 0));
    }

    #[test]
    fn versions_that_are_known_are_nothing() {
        let mut search = get(Some(5));
        assert_eq!(search.above(), Some(5));
        assert_eq!(search.handle_answer(&response(&signed(5, b"1:e"))), None);
        assert_eq!(search.handle_answer(&response(&signed(4, b"1:d"))), None);
        assert!(search.handle_answer(&response(&signed(6, b"1:f"))).is_some());
        assert_eq!(search.verifications_left, VERIFICATIONS_MAX - 1, "what is of no use is not verified");
    }

    #[test]
    fn forgeries_are_counted_and_cost_a_bounded_number_of_verifications() {
        let genuine = signed(1, b"1:a");
        let mut search = get(None);
        let others = MutableItem::sign(&SigningKey::from_bytes(&[9; 32]), b"s", 2, b"1:b".to_vec()).unwrap();
        assert_eq!(search.handle_answer(&response(&others)), None, "the key is another");
        let lacking = Response { signature: None, ..response(&genuine) };
        assert_eq!(search.handle_answer(&lacking), None);
        let bent = MutableItem { value: b"i01e".to_vec(), ..genuine.clone() };
        assert_eq!(search.handle_answer(&response(&bent)), None);
        assert_eq!((search.rejected, search.verifications_left), (3, VERIFICATIONS_MAX), "seen without verifying");
        let forged = MutableItem { seq: 9, ..genuine.clone() };
        for _ in 0..VERIFICATIONS_MAX {
            assert_eq!(search.handle_answer(&response(&forged)), None);
        }
        assert_eq!((search.rejected, search.verifications_left), (3 + VERIFICATIONS_MAX as usize, 0));
        assert_eq!(search.handle_answer(&response(&genuine)), None, "the budget is used up");
    }

    #[test]
    fn an_immutable_item_is_proved_by_its_hash() {
        let mut search = Get::immutable(item::immutable_target(b"5:hello"));
        let with = |value| Response { value: Some(value), ..Response::new(NodeId::new([1; 20])) };
        assert_eq!(search.handle_answer(&with(b"5:hullo")), None);
        assert!(!search.is_settled());
        assert_eq!(search.handle_answer(&with(b"5:hello")), Some(Item::Immutable(b"5:hello".to_vec())));
        assert!(search.is_settled());
        assert_eq!(search.handle_answer(&with(b"5:hello")), None);
        assert_eq!(search.into_result(), (Some(Item::Immutable(b"5:hello".to_vec())), 2, 1));
    }
}
