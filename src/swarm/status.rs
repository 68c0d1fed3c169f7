use std::fmt;

use super::event::BanReason;

/// How far a torrent is, and why it does not move when it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// Whether the metadata are known.
    pub has_metadata: bool,
    /// Whether every piece is verified.
    pub is_complete: bool,
    /// Bytes of verified pieces.
    pub bytes_done: u64,
    /// All bytes of the torrent; 0 before the metadata are known.
    pub bytes_total: u64,
    /// Payload received, in bytes per second.
    pub down_bps: u64,
    /// Payload sent, in bytes per second.
    pub up_bps: u64,
    /// Payload received in all, in bytes.
    pub downloaded: u64,
    /// Payload sent in all, in bytes.
    pub uploaded: u64,
    /// Peers that are connected.
    pub peers_connected: usize,
    /// Addresses that are known.
    pub peers_known: usize,
    /// Why nothing moves, when nothing does.
    pub reason: Option<Reason>,
}

/// Why a torrent does not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reason {
    /// The user paused it.
    Paused,
    /// No address is known.
    NoPeersFound,
    /// Addresses are known, and nobody is connected.
    NoPeerReached {
        /// What became of the addresses.
        contacts: Contacts,
        /// Attempts under way.
        dialing: usize,
    },
    /// Nobody has what is missing but peers that are banned for a while.
    SourcesBanned {
        /// How many.
        peers: usize,
        /// What they did, or the last of them.
        reason: BanReason,
    },
    /// Peers are connected, and none has the metadata.
    NobodyHasMetadata {
        /// Peers connected.
        connected: usize,
    },
    /// The metadata are being fetched.
    FetchingMetadata {
        /// Peers that say they have it.
        peers: usize,
    },
    /// The storage is not open yet: files are made, or data that are there already are checked.
    OpeningStorage,
    /// No connected peer has a piece that is missing.
    NobodyHasMissingPieces {
        /// Peers connected.
        connected: usize,
    },
    /// Every peer that has something chokes us.
    AllChoke {
        /// Peers connected that have something.
        connected: usize,
    },
    /// Blocks were asked for and do not come.
    WaitingForBlocks {
        /// Peers that were asked.
        peers: usize,
    },
    /// Every peer that serves us rejects what it is asked for.
    AllReject {
        /// How many.
        peers: usize,
    },
    /// The disk has more to write than is allowed to wait.
    WaitingForDisk,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused => f.write_str("paused"),
            Self::NoPeersFound => f.write_str("no peers found yet"),
            Self::NoPeerReached { contacts, dialing } => contacts.describe(f, *dialing),
            Self::SourcesBanned { peers: 1, reason } => {
                write!(f, "the only peer that has the missing pieces was banned: {reason}")
            }
            Self::SourcesBanned { peers, reason } => {
                write!(f, "the {peers} peers that have the missing pieces were banned; the last: {reason}")
            }
            Self::NobodyHasMetadata { connected } => {
                write!(f, "{connected} peer{} connected, none has the metadata yet", s(*connected))
            }
            Self::FetchingMetadata { peers } => write!(f, "waiting for the metadata from {peers} peer{}", s(*peers)),
            Self::OpeningStorage => f.write_str("opening the files"),
            Self::NobodyHasMissingPieces { connected } => {
                write!(f, "{connected} peer{} connected, none has a piece that is missing", s(*connected))
            }
            Self::AllChoke { connected } => write!(f, "{connected} peer{} connected, all choke us", s(*connected)),
            Self::WaitingForBlocks { peers } => write!(f, "waiting for blocks from {peers} peer{}", s(*peers)),
            Self::AllReject { peers: 1 } => f.write_str("1 peer connected, it rejects what it is asked for"),
            Self::AllReject { peers } => write!(f, "{peers} peers connected, all reject what they are asked for"),
            Self::WaitingForDisk => f.write_str("waiting for the disk"),
        }
    }
}

/// What became of the addresses that are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Contacts {
    /// All.
    pub known: usize,
    /// The last attempt was refused.
    pub refused: usize,
    /// The last attempt got no answer.
    pub timed_out: usize,
    /// The peer was reached and closed the connection before its handshake.
    pub hung_up: usize,
    /// The peer was reached and its handshake did not come, or made no sense.
    pub faulty: usize,
    /// The peer was connected and left.
    pub left: usize,
}

impl Contacts {
    fn describe(&self, f: &mut fmt::Formatter<'_>, dialing: usize) -> fmt::Result {
        let Self { known, refused, timed_out, hung_up, faulty, left } = *self;
        let reached = hung_up + faulty + left;
        if hung_up > 0 {
            let many = s(reached);
            return write!(
                f,
                "{reached} peer{many} reached, {hung_up} hung up during the handshake (they may require encryption)"
            );
        }
        match reached {
            0 => write!(f, "{known} peer address{} known, none reached yet ({dialing} being dialled", es(known))?,
            _ => write!(f, "{known} peer address{} known, none connected ({dialing} being dialled", es(known))?,
        }
        let counts = [(left, "left"), (faulty, "without a handshake"), (refused, "refused"), (timed_out, "timed out")];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        f.write_str(")")
    }
}

fn s(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn es(count: usize) -> &'static str {
    if count == 1 { "" } else { "es" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_the_addresses_is_named() {
        let text = |contacts| Reason::NoPeerReached { contacts, dialing: 1 }.to_string();
        let none = Contacts { known: 3, refused: 1, timed_out: 1, ..Contacts::default() };
        assert_eq!(text(none), "3 peer addresses known, none reached yet (1 being dialled, 1 refused, 1 timed out)");
        let hung_up = Contacts { known: 9, hung_up: 1, left: 1, ..none };
        assert_eq!(text(hung_up), "2 peers reached, 1 hung up during the handshake (they may require encryption)");
        let left = Contacts { known: 1, left: 1, ..Contacts::default() };
        assert_eq!(text(left), "1 peer address known, none connected (1 being dialled, 1 left)");
    }

    #[test]
    fn a_ban_of_the_only_source_says_what_it_did() {
        assert_eq!(
            Reason::SourcesBanned { peers: 1, reason: BanReason::CorruptBlocks }.to_string(),
            "the only peer that has the missing pieces was banned: it sent corrupt blocks"
        );
    }
}
