use super::announce::Announce;
use super::get::Get;
use super::put::Put;
use super::scrape::Scrape;
use crate::krpc::Method;
use crate::{InfoHash, Target};

/// What a lookup is for, and what it found besides nodes.
#[derive(Debug)]
pub(in crate::node) enum Kind {
    /// The table: nobody is told.
    Table,
    FindNode,
    GetPeers(InfoHash),
    Announce(Announce),
    Get(Box<Get>),
    Put(Box<Put>),
    Scrape(InfoHash, Scrape),
    Sample,
    /// Every step is told.
    Trace(InfoHash),
}

impl Kind {
    /// Whether the honest nodes near the target matter to it, and not only who is nearest.
    pub(super) fn is_about_holders(&self) -> bool {
        match self {
            Self::Table | Self::FindNode | Self::Scrape(..) | Self::Sample => false,
            Self::GetPeers(_) | Self::Announce(_) | Self::Get(_) | Self::Put(_) | Self::Trace(_) => true,
        }
    }

    /// The query of its steps. `may_sample`: the node's samples may have changed since it was asked last.
    pub(super) fn method(&self, target: Target, may_sample: bool) -> Method<'static> {
        match self {
            Self::Table | Self::FindNode => Method::FindNode { target },
            Self::GetPeers(info_hash) | Self::Trace(info_hash) | Self::Announce(Announce { info_hash, .. }) => {
                Method::GetPeers { info_hash: *info_hash, noseed: false, scrape: false }
            }
            Self::Scrape(info_hash, _) => Method::GetPeers { info_hash: *info_hash, noseed: false, scrape: true },
            Self::Get(get) => Method::Get { target, seq: get.above() },
            Self::Put(put) => Method::Get { target, seq: put.search().above() },
            Self::Sample if may_sample => Method::SampleInfohashes { target },
            Self::Sample => Method::FindNode { target },
        }
    }
}
