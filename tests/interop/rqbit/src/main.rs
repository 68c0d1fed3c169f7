//! One node of rqbit's DHT on 127.0.0.1, for the interop cases and for measuring beside it. The first two words are what
//! to do and `HOST:PORT` to begin with:
//!
//! - `node`: answers until it is ended; prints `READY HOST:PORT ID` once its table holds a node, and the size of the table
//!   whenever that has changed
//! - `get-peers INFO_HASH`: prints the first peer that is found
//! - `announce INFO_HASH PORT`: announces until it is ended; rqbit tells only the nodes that share 16 bits with the info hash

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use librqbit_dht::{Dht, DhtBuilder, DhtConfig, Id20};
use tokio_stream::StreamExt;

/// For a table to fill, and for a peer to be found. rqbit begins a search again after up to a minute.
const PATIENCE: Duration = Duration::from_secs(75);
/// rqbit does not say when its table changes, so it is looked at this often.
const POLL: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(told).and_then(|runtime| runtime.block_on(run(&words))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: &[&str]) -> Result<(), String> {
    let [what, bootstrap, rest @ ..] = words else { return Err("what to do, and HOST:PORT to begin with".to_owned()) };
    let config = DhtConfig {
        listen_addr: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        bootstrap_addrs: Some(vec![(*bootstrap).to_owned()]),
        ..DhtConfig::default()
    };
    let dht = DhtBuilder::with_config(config).await.map_err(told)?;
    tokio::time::timeout(PATIENCE, meet_a_node(&dht)).await.map_err(|_| format!("{bootstrap} leads to no node"))?;
    match (*what, rest) {
        ("node", []) => {
            let id = dht.stats().id.as_string();
            println!("READY {} {id}", dht.listen_addr());
            tell_of_the_table(&dht).await
        }
        ("get-peers", [info_hash]) => {
            let mut peers = dht.get_peers(info_hash_of(info_hash)?, None);
            let found = tokio::time::timeout(PATIENCE, peers.next()).await;
            println!("{}", found.ok().flatten().ok_or("no peer was found")?);
            Ok(())
        }
        ("announce", [info_hash, port]) => {
            let mut peers = dht.get_peers(info_hash_of(info_hash)?, Some(port.parse().map_err(told)?));
            while peers.next().await.is_some() {}
            Err("the search has ended".to_owned())
        }
        _ => Err(format!("{words:?} is nothing that can be done")),
    }
}

async fn meet_a_node(dht: &Dht) {
    while dht.stats().routing_table_size == 0 {
        tokio::time::sleep(POLL).await;
    }
}

async fn tell_of_the_table(dht: &Dht) -> Result<(), String> {
    let mut told = 0;
    loop {
        let size = dht.stats().routing_table_size;
        if size != told {
            told = size;
            println!("table {size}");
        }
        tokio::time::sleep(POLL).await;
    }
}

fn info_hash_of(hex: &str) -> Result<Id20, String> {
    hex.parse().map_err(|_| format!("{hex} is no info hash"))
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
