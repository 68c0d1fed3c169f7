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

/// Resolves the name of a bootstrap host, `HOST:PORT`, to all its addresses, trying for ever: the network may come later.
///
/// Hands over what came of each try. Once there are addresses it looks again now and then; it ends when nobody waits for
/// them any more.
pub(super) async fn resolve(host: usize, name: String, found: mpsc::Sender<Resolution>) {
    let mut pause = PAUSE_MIN;
    loop {
        let result = match tokio::net::lookup_host(&name).await.map(Iterator::collect::<Vec<_>>) {
            Ok(addrs) if addrs.is_empty() => Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address")),
            result => result,
        };
        let is_resolved = result.is_ok();
        match &result {
            Ok(addrs) => tracing::debug!(%name, ?addrs, "bootstrap host resolved"),
            Err(error) => tracing::info!(%name, %error, ?pause, "cannot resolve bootstrap host"),
        }
        // Without a receiver the node is gone, and so is the wish.
        if found.send(Resolution { host, result }).await.is_err() {
            return;
        }
        let (wait, next_pause) = if is_resolved { (AGAIN, PAUSE_MIN) } else { (pause, (2 * pause).min(PAUSE_MAX)) };
        tokio::select! {
            () = tokio::time::sleep(wait) => pause = next_pause,
            () = found.closed() => return,
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
