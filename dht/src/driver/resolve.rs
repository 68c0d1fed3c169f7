use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;

/// First and longest pause between two tries to resolve a name.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// After this long a name is resolved again: a long-lived node notices that its hosts moved.
const AGAIN: Duration = Duration::from_secs(30 * 60);

/// What came of one try to resolve the name of a bootstrap host.
#[derive(Debug)]
pub(super) struct Resolution {
    /// The host's place in the list of all.
    pub(super) host: usize,
    /// All its addresses, at least one.
    pub(super) result: io::Result<Vec<SocketAddr>>,
}

/// Looks a name up by the system's resolver, again and again: the network may come later.
#[derive(Debug)]
pub struct NameLookup {
    name: String,
    /// Until the next try.
    wait: Duration,
    /// After the next failure.
    pause: Duration,
}

impl NameLookup {
    /// For `HOST:PORT`.
    pub fn new(name: String) -> Self {
        Self { name, wait: Duration::ZERO, pause: PAUSE_MIN }
    }

    /// What the next try comes to: all addresses of the host, at least one, or why there are none. The first try is at
    /// once; after a failure there is a pause, which doubles up to a minute.
    pub async fn next(&mut self) -> io::Result<Vec<SocketAddr>> {
        tokio::time::sleep(self.wait).await;
        let result = match tokio::net::lookup_host(&self.name).await.map(Iterator::collect::<Vec<_>>) {
            Ok(addrs) if addrs.is_empty() => Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address")),
            result => result,
        };
        let after_failure = (self.pause, (2 * self.pause).min(PAUSE_MAX));
        (self.wait, self.pause) = if result.is_ok() { (Duration::ZERO, PAUSE_MIN) } else { after_failure };
        result
    }
}

/// Resolves the name of a bootstrap host, `HOST:PORT`, to all its addresses.
///
/// Hands over what came of each try. Once there are addresses it looks again now and then; it ends when nobody waits for
/// them any more.
pub(super) async fn resolve(host: usize, name: String, found: mpsc::Sender<Resolution>) {
    let mut lookup = NameLookup::new(name.clone());
    loop {
        // Without a receiver the node is gone, and so is the wish.
        let result = tokio::select! {
            result = lookup.next() => result,
            () = found.closed() => return,
        };
        let is_resolved = result.is_ok();
        match &result {
            Ok(addrs) => tracing::debug!(%name, ?addrs, "bootstrap host resolved"),
            Err(error) => tracing::info!(%name, %error, pause = ?lookup.wait, "cannot resolve bootstrap host"),
        }
        if found.send(Resolution { host, result }).await.is_err() {
            return;
        }
        if is_resolved {
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = found.closed() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_and_names_of_this_machine_resolve() {
        for (number, name) in ["127.0.0.1:6881", "[::1]:6881", "localhost:6881"].into_iter().enumerate() {
            let (sender, mut receiver) = mpsc::channel(1);
            let resolving = tokio::spawn(resolve(number, name.to_owned(), sender));
            let Resolution { host, result } = receiver.recv().await.unwrap();
            let addrs = result.unwrap();
            assert!(addrs.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 6881), "{name}: {addrs:?}");
            assert_eq!(host, number);
            drop(receiver);
            resolving.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_told_and_given_up_with_the_node() {
        let (sender, mut receiver) = mpsc::channel(1);
        let tried = tokio::spawn(resolve(0, "not a host".to_owned(), sender));
        let told = tokio::time::timeout(Duration::from_secs(20), receiver.recv()).await.expect("it is told").unwrap();
        assert!(told.result.is_err());
        drop(receiver);
        tokio::time::timeout(Duration::from_secs(20), tried).await.expect("ends without a receiver").unwrap();
    }
}
