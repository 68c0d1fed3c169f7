//! Which of several equally rare pieces is started next.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::model::{PeerId, PieceIndex};
use crate::swarm::claim::{Claim, RIVALS_MAX, claimant};
use crate::swarm::event::PeerKey;
use crate::swarm::peer::Peer;

/// Chooses by our claim against the other peers that download.
#[derive(Debug)]
pub(super) struct Choice<'a> {
    ours: u64,
    peers: &'a BTreeMap<PeerKey, Peer>,
    rivals: OnceCell<Vec<(&'a Peer, u64)>>,
}

impl<'a> Choice<'a> {
    /// Between us, with this id, and `peers`.
    pub(super) fn new(peer_id: &PeerId, peers: &'a BTreeMap<PeerKey, Peer>) -> Self {
        Self { ours: claimant(peer_id), peers, rivals: OnceCell::new() }
    }

    /// Whether so few pieces may be started that all are probably on their way to someone, when each of us has so many
    /// under way at once. Asking a seed for one of them would be asking for a second copy.
    pub(super) fn are_last(&self, startable: usize, under_way: usize) -> bool {
        startable <= under_way * self.rivals().len()
    }

    /// The piece to start of several that are equally rare. With `first_only`, `None` when others have a better claim to each.
    pub(super) fn best(&self, equal: &[PieceIndex], first_only: bool) -> Option<PieceIndex> {
        let rivals = self.rivals();
        if rivals.is_empty() {
            return equal.first().copied();
        }
        let mut lacking = Vec::with_capacity(rivals.len());
        let mut claim = |piece: &PieceIndex| {
            lacking.clear();
            lacking.extend(rivals.iter().filter(|(peer, _)| !peer.has(*piece)).map(|(_, claimant)| *claimant));
            Claim::new(self.ours, &lacking, *piece)
        };
        let (claim, piece) = equal.iter().copied().map(|piece| (claim(&piece), piece)).min()?;
        (claim.is_first() || !first_only).then_some(piece)
    }

    fn rivals(&self) -> &[(&'a Peer, u64)] {
        self.rivals.get_or_init(|| rivals(self.peers))
    }
}

fn rivals(peers: &BTreeMap<PeerKey, Peer>) -> Vec<(&Peer, u64)> {
    let download = peers.values().filter(|peer| !peer.is_seed() && !peer.upload_only);
    download.filter_map(|peer| Some((peer, claimant(&peer.hello?.peer_id)))).take(RIVALS_MAX).collect()
}
