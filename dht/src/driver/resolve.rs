use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;

/// First and longest pause between two tries to resolve a name.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Resolves the name of a bootstrap host, `HOST:PORT`, to all its addresses, trying for ever: the network may come later.
///
/// Ends once the addresses are handed over, or when nobody waits for them any more.
pub(super) async fn resolve(host: String, found: mpsc::Sender<Vec<SocketAddr>>) {
    let mut pause = PAUSE_MIN;
    loop {
        match tokio::net::lookup_host(&host).await.map(Iterator::collect::<Vec<_>>) {
            Ok(addrs) if !addrs.is_empty() => {
                tracing::debug!(%host, ?addrs, "bootstrap host resolved");
                // Without a receiver the node is gone, and so is the wish.
                let _ = found.send(addrs).await;
                return;
            }
            Ok(_) => tracing::info!(%host, ?pause, "bootstrap host has no address"),
            Err(error) => tracing::info!(%host, %error, ?pause, "cannot resolve bootstrap host"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (2 * pause).min(PAUSE_MAX),
            () = found.closed() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_and_names_of_this_machine_resolve() {
        for host in ["127.0.0.1:6881", "[::1]:6881", "localhost:6881"] {
            let (sender, mut receiver) = mpsc::channel(1);
            resolve(host.to_owned(), sender).await;
            let addrs = receiver.recv().await.unwrap();
            assert!(addrs.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 6881), "{host}: {addrs:?}");
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_given_up_with_the_node() {
        let (sender, receiver) = mpsc::channel(1);
        drop(receiver);
        let tried = resolve("not a host".to_owned(), sender);
        tokio::time::timeout(Duration::from_secs(20), tried).await.expect("ends without a receiver");
    }
}
