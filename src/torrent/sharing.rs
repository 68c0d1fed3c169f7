//! What a torrent asks of what it shares with the others of its session, and when it gives it back.

use std::time::{Duration, Instant};

use super::{Output, Sources, Torrent};
use crate::fleet::{Ask, Grant};
use crate::swarm::Amounts;

/// What is used by a quarter at most for this long is given back by half.
const UNUSED_FOR: Duration = Duration::from_secs(10);
/// While a torrent uses more than it is left, it says so whenever it uses so much less.
const STEP: Amounts =
    Amounts { credit_bytes: 256 * 1024, read_bytes: 256 * 1024, dials: 1, connections: 4, searches: 1 };

/// A torrent's share of its session.
#[derive(Debug)]
pub(super) struct Sharing {
    granted: Amounts,
    wanted: Amounts,
    /// What was said last.
    told: Ask,
    round: u64,
    /// Since when little of what is wanted is used, by kind.
    unused_since: [Option<Instant>; Amounts::KINDS],
}

impl Sharing {
    pub(super) fn new(grant: Grant) -> Self {
        let told = Ask { wanted: grant.amounts, used: grant.amounts, round: grant.round };
        let (granted, wanted) = (grant.amounts, grant.amounts);
        Self { granted, wanted, told, round: grant.round, unused_since: [None; Amounts::KINDS] }
    }

    pub(super) fn may_search(&self) -> bool {
        self.granted.searches > 0
    }

    fn is_over(&self) -> bool {
        exceeds(self.told.used, self.granted)
    }

    /// Gives back by and by what is not used.
    fn note_used(&mut self, now: Instant, used: Amounts) {
        let mut wanted = self.wanted.to_array();
        for ((wanted, used), since) in wanted.iter_mut().zip(used.to_array()).zip(&mut self.unused_since) {
            if used * 4 >= *wanted {
                *since = None;
            } else if now >= *since.get_or_insert(now) + UNUSED_FOR {
                *wanted /= 2;
                *since = Some(now);
            }
        }
        self.wanted = Amounts { searches: self.wanted.searches, ..Amounts::from_array(wanted) };
    }

    /// Whether there is something to say.
    fn is_news(&self, ask: &Ask) -> bool {
        let gives_back = self.told.used.zip(ask.used, u64::saturating_sub);
        let fits_now = self.is_over() && !exceeds(ask.used, self.granted);
        let is_step = gives_back.to_array().into_iter().zip(STEP.to_array()).any(|(back, step)| back >= step);
        ask.wanted != self.told.wanted || ask.round != self.told.round || fits_now || (self.is_over() && is_step)
    }
}

fn exceeds(used: Amounts, granted: Amounts) -> bool {
    used.to_array().into_iter().zip(granted.to_array()).any(|(used, granted)| used > granted)
}

impl Torrent {
    /// What the torrent may use from now on.
    pub fn handle_grant(&mut self, now: Instant, grant: Grant) {
        self.begin(now);
        if let Some(sharing) = &mut self.sharing {
            (sharing.granted, sharing.round) = (grant.amounts, grant.round);
            self.swarm.set_granted(now, grant.amounts);
            self.search_if_due();
        }
    }

    /// Gives back what was not used for a while. Comes with every timeout.
    pub(super) fn note_used(&mut self) {
        let used = self.used();
        if let Some(sharing) = &mut self.sharing {
            sharing.note_used(self.now, used);
        }
    }

    /// Says what the torrent could use, when that is news.
    pub(super) fn ask_for_share(&mut self) {
        let searches = u64::from(self.wants_search());
        let wish = self.swarm.take_wish();
        let is_alone = self.swarm.is_alone();
        let Some(sharing) = &mut self.sharing else { return };
        sharing.wanted = match is_alone {
            // Nobody is there whom anything could be asked of, or served to.
            true => wish,
            false => sharing.wanted.zip(wish, u64::max),
        };
        sharing.wanted.searches = searches;
        let is_quiet = sharing.wanted == sharing.told.wanted && sharing.round == sharing.told.round;
        if is_quiet && !sharing.is_over() {
            return;
        }
        let ask = Ask { wanted: sharing.wanted, round: sharing.round, used: self.used() };
        if let Some(sharing) = self.sharing.as_mut().filter(|sharing| sharing.is_news(&ask)) {
            sharing.told = ask;
            self.outputs.push_back(Output::Ask(ask));
        }
    }

    fn used(&self) -> Amounts {
        let searches = self.sources.as_ref().is_some_and(Sources::is_searching);
        Amounts { searches: u64::from(searches), ..self.swarm.used() }
    }
}
