use std::net::SocketAddr;

use crate::{Contact, Distance};

/// A node that may be asked, or was.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) distance: Distance,
    pub(super) contact: Contact,
    pub(super) state: State,
    pub(super) token: Option<Box<[u8]>>,
    /// Who named it first; the node's own knowledge where nobody did.
    pub(super) suggester: Option<SocketAddr>,
    /// Whether its id belongs to its address (BEP 42).
    pub(super) is_compliant: bool,
}

/// An address of which the id is not known.
#[derive(Debug)]
pub(super) struct Seed {
    pub(super) addr: SocketAddr,
    pub(super) state: State,
}

/// How far it is with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Fresh,
    Asked,
    Stalled,
    GivenUp,
    Answered,
    Failed,
}

impl State {
    /// Whether it may come to an answer yet.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Fresh | Self::Asked | Self::Stalled)
    }

    /// Whether it was asked and did not answer so far, later than most others.
    pub(super) fn is_silent(self) -> bool {
        matches!(self, Self::Stalled | Self::GivenUp | Self::Failed)
    }

    pub(super) fn stalled(self) -> Self {
        if self == Self::Asked { Self::Stalled } else { self }
    }

    pub(super) fn given_up(self) -> Self {
        if self == Self::Answered { self } else { Self::GivenUp }
    }

    pub(super) fn failed(self) -> Self {
        if self == Self::Answered { self } else { Self::Failed }
    }
}
