//! The inboxes of a torrent's peer tasks, filled in runs.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::mail::{PeerMail, channel_of_peer};
use crate::swarm::PeerKey;
use crate::wire::Message;

/// Messages to one peer that go in one mail.
const RUN_LEN_MAX: usize = 512;

/// Sends to the peer tasks without ever waiting for one.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    inboxes: BTreeMap<PeerKey, mpsc::Sender<PeerMail>>,
    /// The run under way: consecutive messages to one peer.
    run: Vec<Message>,
    run_peer: Option<PeerKey>,
    /// Peers whose inbox was full: they do not read what they asked for.
    overrun: Vec<PeerKey>,
}

impl Outbox {
    /// Opens the inbox of a peer.
    pub(super) fn open(&mut self, peer: PeerKey) -> mpsc::Receiver<PeerMail> {
        let (sender, receiver) = channel_of_peer();
        self.inboxes.insert(peer, sender);
        receiver
    }

    /// Forgets a peer that is gone.
    pub(super) fn forget(&mut self, peer: PeerKey) {
        self.inboxes.remove(&peer);
    }

    /// Queues a message. It goes with the next mail of another kind, of another peer, or with [`Outbox::flush`].
    pub(super) fn send(&mut self, peer: PeerKey, message: Message) {
        if self.run_peer != Some(peer) || self.run.len() >= RUN_LEN_MAX {
            self.flush();
            self.run_peer = Some(peer);
        }
        self.run.push(message);
    }

    /// Sends a mail that is not a message, behind the messages before it.
    pub(super) fn post(&mut self, peer: PeerKey, mail: PeerMail) {
        self.flush();
        self.deliver(peer, mail);
    }

    /// Sends the run under way.
    pub(super) fn flush(&mut self) {
        if let Some(peer) = self.run_peer.take() {
            let run = std::mem::take(&mut self.run);
            self.deliver(peer, PeerMail::Send(run));
        }
    }

    /// The peers whose inbox overran since the last call. Their tasks end by themselves.
    pub(super) fn take_overrun(&mut self) -> Vec<PeerKey> {
        std::mem::take(&mut self.overrun)
    }

    fn deliver(&mut self, peer: PeerKey, mail: PeerMail) {
        let Some(inbox) = self.inboxes.get(&peer) else { return };
        match inbox.try_send(mail) {
            Ok(()) => {}
            // The task ended; its `Closed` mail is on the way.
            Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.inboxes.remove(&peer);
                self.overrun.push(peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::mail::PEER_MAIL_MAX;

    #[test]
    fn a_peer_that_does_not_take_its_mails_is_given_up_and_the_others_get_theirs() {
        let mut outbox = Outbox::default();
        let (deaf, good) = (PeerKey::new(1), PeerKey::new(2));
        let (mut deaf_inbox, mut good_inbox) = (outbox.open(deaf), outbox.open(good));
        for _ in 0..PEER_MAIL_MAX + 10 {
            outbox.send(deaf, Message::Choke);
            outbox.send(good, Message::Unchoke);
            outbox.flush();
            assert!(matches!(good_inbox.try_recv(), Ok(PeerMail::Send(messages)) if messages == [Message::Unchoke]));
        }
        assert_eq!(outbox.take_overrun(), [deaf]);
        let taken = std::iter::from_fn(|| deaf_inbox.try_recv().ok()).count();
        assert_eq!(taken, PEER_MAIL_MAX);
        assert!(deaf_inbox.is_closed(), "its task ends");
    }
}
