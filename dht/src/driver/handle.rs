use std::net::SocketAddr;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use tokio::sync::{broadcast, oneshot, watch};

use super::bootstrap::{BootstrapHost, DhtStatus};
use super::command::{Command, Question};
use super::streams::{self, AnnounceGuard, ItemStream, PeerStream, PutGuard, SampleStream, TraceStream};
use super::subscription::{Closed, OperationError, Shared, Subscription};
use crate::item::{Item, MutableItem};
use crate::{
    AnnounceOutcome, AnnouncePort, Contact, Event, GetOutcome, InfoHash, NodeId, PeerRole, PingAnswer, PutOutcome,
    Readiness, Request, RequestError, ScrapeOutcome, Stats, Target,
};

/// A handle on a running node. Clones lead to the same node, which ends with [`Dht::shutdown`] or with its last handle.
#[derive(Debug, Clone)]
pub struct Dht {
    shared: Arc<Shared>,
}

impl Dht {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Looks for the peers of a torrent. The stream yields them as replies arrive and ends with the lookup; dropping it
    /// ends the lookup. On a closed node it is empty.
    pub fn get_peers(&self, info_hash: InfoHash) -> PeerStream {
        PeerStream::new(self.start(Request::GetPeers(info_hash)), streams::peers)
    }

    /// As [`Dht::get_peers`], for whoever wants to see how: the stream yields every step with the node that it concerns.
    pub fn trace(&self, info_hash: InfoHash) -> TraceStream {
        TraceStream::new(self.start(Request::Trace(info_hash)), streams::hop)
    }

    /// Announces once that this host has a torrent, or parts of it.
    ///
    /// # Errors
    /// When the node is shut down, or has no room for another operation. That nobody took the announce is an outcome.
    pub async fn announce(
        &self,
        info_hash: InfoHash,
        port: AnnouncePort,
        role: PeerRole,
    ) -> Result<AnnounceOutcome, OperationError> {
        let outcome = |event| match event {
            Event::Announced { outcome, .. } => Some(outcome),
            _ => None,
        };
        self.start(Request::Announce { info_hash, port, role }).find(outcome).await
    }

    /// Announces a torrent now and again, as long as the guard that is returned lives.
    pub fn keep_announced(&self, info_hash: InfoHash, port: AnnouncePort, role: PeerRole) -> AnnounceGuard {
        AnnounceGuard::new(self.start(Request::KeepAnnounced { info_hash, port, role }))
    }

    /// The nodes nearest to a point, nearest first.
    ///
    /// # Errors
    /// As [`Dht::announce`].
    pub async fn find_node(&self, target: Target) -> Result<Vec<Contact>, OperationError> {
        let outcome = |event| match event {
            Event::LookupDone { outcome, .. } => Some(outcome.closest),
            _ => None,
        };
        self.start(Request::FindNode(target)).find(outcome).await
    }

    /// Asks an address for a sign of life: what it said and the time that took, `None` if nothing came.
    ///
    /// # Errors
    /// As [`Dht::announce`].
    pub async fn ping(&self, addr: SocketAddr) -> Result<Option<PingAnswer>, OperationError> {
        let outcome = |event| match event {
            Event::Pinged { answer, .. } => Some(answer),
            _ => None,
        };
        self.start(Request::Ping(addr)).find(outcome).await
    }

    /// Puts an immutable item, one canonically bencoded value of at most 1000 bytes (BEP 44). It lives at
    /// [`item::immutable_target`](crate::item::immutable_target) for about two hours.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use magnes_dht::{Dht, item};
    ///
    /// let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let first = Dht::builder().listen(local).spawn().await?;
    /// let second = Dht::builder().listen(local).bootstrap(first.local_addrs()[0]).spawn().await?;
    /// second.ready().await?;
    ///
    /// let value = b"12:Hello World!";
    /// let outcome = second.put_immutable(value).await?;
    /// assert_eq!((outcome.asked, outcome.acknowledged), (1, 1));
    ///
    /// let got = second.get_immutable(item::immutable_target(value)).await?;
    /// assert_eq!(got.item.expect("it was put").value(), value);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError::Item`] for what is no such value, and as [`Dht::announce`].
    pub async fn put_immutable(&self, value: &[u8]) -> Result<PutOutcome, OperationError> {
        self.put(Request::PutImmutable(value.to_vec())).await
    }

    /// Puts a mutable item (BEP 44). With `cas`, only nodes whose stored item has this sequence number, or that have
    /// none, take it.
    ///
    /// When a newer version turns up on the way, or with `cas` another one, nobody is told:
    /// [`PutOutcome::conflict`] has the sequence numbers.
    ///
    /// # Errors
    /// [`RequestError::Item`] when the item does not verify, and as [`Dht::announce`].
    pub async fn put_mutable(&self, item: MutableItem, cas: Option<i64>) -> Result<PutOutcome, OperationError> {
        self.put(Request::PutMutable { item, cas }).await
    }

    /// Puts a value as the next version of a mutable item: looks for the newest one, signs the value with the sequence
    /// number after it (1 if there is none), and puts it only where that newest one is stored, or none. Returns what was
    /// put too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use magnes_dht::{Dht, item::SigningKey};
    ///
    /// let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let first = Dht::builder().listen(local).spawn().await?;
    /// let second = Dht::builder().listen(local).bootstrap(first.local_addrs()[0]).spawn().await?;
    /// second.ready().await?;
    ///
    /// let key = SigningKey::from_bytes(&[7; 32]);
    /// for value in [b"3:one", b"3:two"] {
    ///     let (_, outcome) = second.put_next(&key, b"a salt", value).await?;
    ///     assert_eq!(outcome.acknowledged, 1);
    /// }
    /// let got = second.get_mutable(key.verifying_key().to_bytes(), b"a salt", None).await?;
    /// let item = got.item.expect("it was put");
    /// assert_eq!((item.seq(), item.value()), (Some(2), &b"3:two"[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError::Item`] when the value or the salt is too long, or the last sequence number is in use; and as
    /// [`Dht::announce`].
    pub async fn put_next(
        &self,
        key: &SigningKey,
        salt: &[u8],
        value: &[u8],
    ) -> Result<(MutableItem, PutOutcome), OperationError> {
        let newest = self.get_mutable(key.verifying_key().to_bytes(), salt, None).await?;
        let cas = newest.item.as_ref().and_then(Item::seq);
        let item = MutableItem::sign_after(key, salt, cas, value.to_vec()).map_err(RequestError::from)?;
        let outcome = self.put_mutable(item.clone(), cas).await?;
        Ok((item, outcome))
    }

    /// Puts an item now and every hour, as long as the guard that is returned lives. When a newer version of a mutable
    /// item turns up, that one is kept.
    pub fn keep_put(&self, item: Item) -> PutGuard {
        PutGuard::new(self.start(Request::KeepPut(item)), streams::republished)
    }

    /// Looks for an immutable item (BEP 44). That it is not there is an outcome.
    ///
    /// # Errors
    /// As [`Dht::announce`].
    pub async fn get_immutable(&self, target: Target) -> Result<GetOutcome, OperationError> {
        self.get(Request::GetImmutable(target)).await
    }

    /// Looks for the newest version of a mutable item (BEP 44), with `above` only for one with a higher sequence number.
    ///
    /// # Errors
    /// [`RequestError::Item`] when the salt is too long, and as [`Dht::announce`].
    pub async fn get_mutable(
        &self,
        key: [u8; 32],
        salt: &[u8],
        above: Option<i64>,
    ) -> Result<GetOutcome, OperationError> {
        self.get(Request::GetMutable { key, salt: salt.to_vec(), above }).await
    }

    /// Follows a mutable item, such as one that points to a torrent (BEP 46, [`MutableItem::torrent`]): every version
    /// that is newer than the one before, beginning with the first that is newer than `seen`, and none that is older than
    /// what this node ever saw. It is looked for at once, then after a minute, and down to every quarter of an hour while it stays the
    /// same.
    pub fn watch(&self, key: [u8; 32], salt: &[u8], seen: Option<i64>) -> ItemStream {
        ItemStream::new(self.start(Request::Watch { key, salt: salt.to_vec(), seen }), streams::version)
    }

    /// Counts the peers of a torrent without listing them (BEP 33).
    ///
    /// # Errors
    /// As [`Dht::announce`].
    pub async fn scrape(&self, info_hash: InfoHash) -> Result<ScrapeOutcome, OperationError> {
        let outcome = |event| match event {
            Event::ScrapeDone { outcome, .. } => Some(outcome),
            _ => None,
        };
        self.start(Request::Scrape(info_hash)).find(outcome).await
    }

    /// Asks the nodes on the way to a point for info hashes that they store (BEP 51), each no more often than it wants.
    /// Random points, one after the other, show the whole network.
    pub fn sample(&self, target: Target) -> SampleStream {
        SampleStream::new(self.start(Request::Sample(target)), streams::samples)
    }

    /// Asks one node for info hashes that it stores (BEP 51), and its contacts near `target`. The stream yields once at
    /// most; it ends with [`RequestError::SampledRecently`] when the node does not want to be asked yet.
    pub fn sample_node(&self, addr: SocketAddr, target: Target) -> SampleStream {
        SampleStream::new(self.start(Request::SampleNode { addr, target }), streams::samples)
    }

    /// Tells of an address where a node may live, as a PORT message does (BEP 5). It is asked before it is believed.
    pub fn add_node(&self, addr: SocketAddr) {
        self.shared.send(Command::AddNode(addr));
    }

    /// How the node is: readiness at once when it changes, the rest a few times per second at most, and only when it
    /// changes. The channel closes with the node.
    pub fn status(&self) -> watch::Receiver<DhtStatus> {
        self.shared.status.clone()
    }

    /// Numbers about the node.
    pub async fn stats(&self) -> Result<Stats, Closed> {
        self.ask(Question::Stats).await
    }

    /// Whether lookups can succeed, and if not, why.
    pub async fn readiness(&self) -> Result<Readiness, Closed> {
        self.ask(Question::Readiness).await
    }

    /// Returns once lookups can succeed.
    pub async fn ready(&self) -> Result<(), Closed> {
        let mut status = self.status();
        status.wait_for(DhtStatus::is_ready).await.map(drop).map_err(|_| Closed)
    }

    /// How it goes with the hosts that the node was told to begin with.
    pub async fn bootstrap_hosts(&self) -> Result<Vec<BootstrapHost>, Closed> {
        self.ask(Question::BootstrapHosts).await
    }

    /// The ids of the node, one for each of [`Dht::local_addrs`].
    pub async fn node_ids(&self) -> Result<Vec<NodeId>, Closed> {
        self.ask(Question::NodeIds).await
    }

    /// What the state file would hold: the table, to be handed to another node.
    pub async fn snapshot(&self) -> Result<Vec<u8>, Closed> {
        self.ask(Question::Snapshot).await
    }

    /// The addresses that the node is bound to.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.shared.local_addrs
    }

    /// Everything that happens from now on. A receiver that falls behind misses the oldest events and is told so.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Saves the state and ends the node. Calls under way return [`Closed`].
    pub async fn shutdown(&self) {
        let (done, is_done) = oneshot::channel();
        if self.shared.commands.send(Command::Shutdown(done)).await.is_ok() {
            // An error means that the task ended by another shutdown, which is as good.
            let _ = is_done.await;
        }
    }

    fn start(&self, request: Request) -> Subscription {
        Subscription::start(Arc::clone(&self.shared), request)
    }

    async fn get(&self, request: Request) -> Result<GetOutcome, OperationError> {
        let outcome = |event| match event {
            Event::GetDone { outcome, .. } => Some(outcome),
            _ => None,
        };
        self.start(request).find(outcome).await
    }

    async fn put(&self, request: Request) -> Result<PutOutcome, OperationError> {
        let outcome = |event| match event {
            Event::PutDone { outcome, .. } => Some(outcome),
            _ => None,
        };
        self.start(request).find(outcome).await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, Closed> {
        let (answer, answered) = oneshot::channel();
        self.shared.commands.send(Command::Ask(question(answer))).await.map_err(|_| Closed)?;
        answered.await.map_err(|_| Closed)
    }
}
