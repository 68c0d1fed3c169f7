use std::collections::BTreeMap;

use crate::disk::StoreId;
use crate::swarm::Amounts;

/// What a torrent wants and uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ask {
    /// What it could use.
    pub wanted: Amounts,
    /// What it uses at this moment.
    pub used: Amounts,
    /// The round of the last grant that it knew when it said so.
    pub round: u64,
}

/// What a torrent may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grant {
    /// How much.
    pub amounts: Amounts,
    /// Which of its grants this is.
    pub round: u64,
}

/// Shares fixed amounts out among torrents, by value: they ask, and are granted.
///
/// Each gets what it wants while there is enough, and otherwise an equal share, of which what one does not want goes to the
/// others. What is taken from one is not given to another before the first has said that it uses no more than it is left:
/// what is used in all stays within the total. Only a floor is granted at once, so that every torrent can move.
#[derive(Debug)]
pub struct Budget {
    total: Amounts,
    floor: Amounts,
    shares: BTreeMap<StoreId, Share>,
    /// Whether grants may have to change.
    is_unsettled: bool,
}

/// What one torrent has.
#[derive(Debug, Default)]
struct Share {
    wanted: Amounts,
    grant: Grant,
    /// What it may still use of earlier grants.
    held: Amounts,
    is_told: bool,
}

impl Share {
    /// What counts against the total.
    fn taken(&self) -> Amounts {
        self.grant.amounts.zip(self.held, u64::max)
    }
}

impl Budget {
    /// Shares `total` out; each torrent has at least `floor`, however many there are.
    pub fn new(total: Amounts, floor: Amounts) -> Self {
        Self { total, floor, shares: BTreeMap::new(), is_unsettled: false }
    }

    /// A torrent is there. Returns its first grant: the floor.
    pub fn add(&mut self, torrent: StoreId) -> Grant {
        let grant = Grant { amounts: self.floor, round: 0 };
        let share = Share { wanted: self.floor, grant, held: self.floor, is_told: true };
        self.shares.insert(torrent, share);
        self.is_unsettled = true;
        grant
    }

    /// A torrent is gone with all that it used.
    pub fn remove(&mut self, torrent: StoreId) {
        self.shares.remove(&torrent);
        self.is_unsettled = true;
    }

    /// A torrent wants something else, or uses less. One that is not there is none of its business.
    pub fn handle_ask(&mut self, torrent: StoreId, ask: Ask) {
        let Some(share) = self.shares.get_mut(&torrent) else { return };
        share.wanted = ask.wanted;
        if ask.round == share.grant.round {
            share.held = ask.used;
        }
        self.is_unsettled = true;
    }

    /// The next torrent whose grant changed.
    pub fn poll_grant(&mut self) -> Option<(StoreId, Grant)> {
        if std::mem::take(&mut self.is_unsettled) {
            self.settle();
        }
        let (torrent, share) = self.shares.iter_mut().find(|(_, share)| !share.is_told)?;
        share.is_told = true;
        Some((*torrent, share.grant))
    }

    /// What is granted to all, or still used of earlier grants.
    pub fn taken(&self) -> Amounts {
        self.shares.values().fold(Amounts::default(), |sum, share| sum.zip(share.taken(), |sum, taken| sum + taken))
    }

    fn settle(&mut self) {
        let targets = self.targets();
        for (share, target) in self.shares.values_mut().zip(&targets) {
            share.set(share.grant.amounts.zip(*target, u64::min));
        }
        let mut free = self.total.zip(self.taken(), u64::saturating_sub);
        for (share, target) in self.shares.values_mut().zip(&targets) {
            // What it still holds of earlier grants is its own already.
            let may_have = share.taken().zip(free, |taken, free| taken + free).zip(self.floor, u64::max);
            let before = share.taken();
            share.set(share.grant.amounts.zip(target.zip(may_have, u64::min), u64::max));
            free = free.zip(share.taken().zip(before, u64::saturating_sub), u64::saturating_sub);
        }
    }

    /// What each torrent should have, in order.
    fn targets(&self) -> Vec<Amounts> {
        let wanted: Vec<Amounts> = self.shares.values().map(|share| share.wanted.zip(self.floor, u64::max)).collect();
        let total = self.total.to_array();
        let mut targets = vec![[0; Amounts::KINDS]; wanted.len()];
        for (kind, total) in total.into_iter().enumerate() {
            let column: Vec<u64> = wanted.iter().map(|wanted| wanted.to_array()[kind]).collect();
            for (target, share) in targets.iter_mut().zip(shares_of(total, &column)) {
                target[kind] = share;
            }
        }
        targets.into_iter().map(|target| Amounts::from_array(target).zip(self.floor, u64::max)).collect()
    }

    /// Panics when the parts disagree. For tests and the simulator.
    pub fn check_invariants(&self) {
        let count = self.shares.len() as u64;
        let floors = self.floor.zip(Amounts::default(), |floor, _| floor * count);
        let most = self.total.zip(floors, |total, floors| total + floors);
        for (taken, most) in self.taken().to_array().into_iter().zip(most.to_array()) {
            assert!(taken <= most, "more is granted than there is: {taken} of {most}");
        }
    }
}

impl Share {
    /// The grant from now on. What was granted before is held until the torrent says otherwise.
    fn set(&mut self, amounts: Amounts) {
        if amounts != self.grant.amounts {
            self.held = self.taken();
            self.grant = Grant { amounts, round: self.grant.round + 1 };
            self.is_told = false;
        }
    }
}

/// Each gets what it wants up to a level that is the same for all: equal shares of what those leave who want less. What is
/// left over because shares are whole goes to the first of them.
fn shares_of(total: u64, wanted: &[u64]) -> impl Iterator<Item = u64> {
    let mut sorted = wanted.to_vec();
    sorted.sort_unstable();
    let (mut left, mut count) = (total, wanted.len() as u64);
    let (mut level, mut rest) = (u64::MAX, 0);
    for wanted in sorted {
        if wanted > left / count {
            (level, rest) = (left / count, left % count);
            break;
        }
        left -= wanted;
        count -= 1;
    }
    wanted.iter().map(move |wanted| {
        let extra = u64::from(*wanted > level && rest > 0);
        rest -= extra;
        (*wanted).min(level) + extra
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credit(bytes: u64) -> Amounts {
        Amounts { credit_bytes: bytes, ..Amounts::default() }
    }

    /// Torrents that know their grants and use this much of them.
    struct Torrents {
        budget: Budget,
        grants: BTreeMap<StoreId, Grant>,
        used: BTreeMap<StoreId, u64>,
    }

    impl Torrents {
        fn new(total: u64, floor: u64, count: u32) -> Self {
            let mut budget = Budget::new(credit(total), credit(floor));
            let grants = (0..count).map(|torrent| (torrent, budget.add(torrent))).collect();
            Self { budget, grants, used: (0..count).map(|torrent| (torrent, 0)).collect() }
        }

        fn ask(&mut self, torrent: StoreId, wanted: u64) {
            let (used, round) = (credit(self.used[&torrent]), self.grants[&torrent].round);
            self.budget.handle_ask(torrent, Ask { wanted: credit(wanted), used, round });
            while let Some((torrent, grant)) = self.budget.poll_grant() {
                self.grants.insert(torrent, grant);
            }
            self.budget.check_invariants();
        }

        fn granted(&self) -> Vec<u64> {
            self.grants.values().map(|grant| grant.amounts.credit_bytes).collect()
        }
    }

    #[test]
    fn one_alone_gets_what_it_wants_up_to_all() {
        let mut torrents = Torrents::new(100, 1, 1);
        torrents.ask(0, 60);
        assert_eq!(torrents.granted(), [60]);
        torrents.ask(0, 1000);
        assert_eq!(torrents.granted(), [100]);
        torrents.ask(0, 0);
        assert_eq!(torrents.granted(), [1], "the floor stays");
    }

    #[test]
    fn what_one_does_not_want_goes_to_the_others_in_equal_shares() {
        let mut torrents = Torrents::new(100, 1, 3);
        torrents.ask(0, 10);
        torrents.ask(1, 1000);
        assert_eq!(torrents.granted(), [10, 89, 1]);
        torrents.ask(2, 1000);
        assert_eq!(torrents.granted(), [10, 45, 1], "what was taken back may still be used");
        torrents.ask(1, 1000);
        assert_eq!(torrents.granted(), [10, 45, 45]);
    }

    #[test]
    fn what_cannot_be_shared_equally_goes_to_some() {
        let shares = |total, wanted: &[u64]| shares_of(total, wanted).collect::<Vec<_>>();
        assert_eq!(shares(2, &[1, 0, 1, 1]), [1, 0, 1, 0]);
        assert_eq!(shares(11, &[2, 9, 9]), [2, 5, 4]);
        assert_eq!(shares(11, &[2, 9, 0]), [2, 9, 0]);
        assert_eq!(shares(0, &[2, 9]), [0, 0]);
        assert_eq!(shares(5, &[]), [0; 0]);
    }

    #[test]
    fn nothing_is_given_twice() {
        let mut torrents = Torrents::new(100, 2, 2);
        torrents.ask(0, 1000);
        torrents.used.insert(0, 98);
        torrents.ask(1, 1000);
        assert_eq!(torrents.granted(), [50, 2]);
        // What it said before it knew of the new grant says nothing.
        let stale = Ask { wanted: credit(1000), used: credit(0), round: 1 };
        torrents.budget.handle_ask(0, stale);
        assert_eq!(torrents.budget.poll_grant(), None);
        for used in [80, 60, 50] {
            torrents.used.insert(0, used);
            torrents.ask(0, 1000);
            assert_eq!(torrents.granted(), [50, 100 - used]);
        }
    }

    #[test]
    fn any_order_of_coming_asking_and_going_keeps_to_the_total() {
        let mut torrents = Torrents::new(1000, 1, 0);
        let mut number: u32 = 1;
        for step in 0..20_000u32 {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let torrent = (number >> 8) % 20;
            match (number >> 16) % 8 {
                0 if torrents.grants.contains_key(&torrent) => {
                    torrents.budget.remove(torrent);
                    torrents.grants.remove(&torrent);
                    torrents.used.remove(&torrent);
                }
                _ if !torrents.grants.contains_key(&torrent) => {
                    let grant = torrents.budget.add(torrent);
                    torrents.grants.insert(torrent, grant);
                    torrents.used.insert(torrent, 0);
                }
                1..=3 => {
                    // It uses more, up to what it knows that it may, or less.
                    let granted = torrents.grants[&torrent].amounts.credit_bytes;
                    let used = torrents.used[&torrent];
                    let most = granted.max(used);
                    torrents.used.insert(torrent, u64::from(number) % (most + 1));
                }
                _ => torrents.ask(torrent, u64::from(number % 3000)),
            }
            let used: u64 = torrents.used.values().sum();
            assert!(used <= 1000 + 20, "step {step}: {used} of 1000 are used");
            torrents.budget.check_invariants();
        }
        // All want more than there is: equal shares, in a few rounds.
        torrents.used.values_mut().for_each(|used| *used = 0);
        let all: Vec<StoreId> = torrents.grants.keys().copied().collect();
        for _ in 0..2 {
            all.iter().for_each(|torrent| torrents.ask(*torrent, 3000));
        }
        let granted = torrents.granted();
        let share = 1000 / all.len() as u64;
        assert!(granted.iter().all(|granted| granted.abs_diff(share) <= 1), "{granted:?}");
    }
}
