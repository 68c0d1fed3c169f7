//! One node of the `mainline` crate on 127.0.0.1, for the interop cases. The first two words are what to do and
//! `HOST:PORT` to begin with (`-`: nobody):
//!
//! - `node`: answers until it is ended; prints `READY HOST:PORT`
//! - `put TEXT`, `get TARGET`: an immutable item
//! - `put-mutable SECRET SALT SEQ TEXT`, `get-mutable KEY SALT`: a mutable one; secret and key in hexadecimal digits
#![allow(deprecated, reason = "blocking calls are what a process that does one thing wants")]

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::str::FromStr;

use mainline::{Dht, Id, MutableItem, SigningKey};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<String, String> {
    let [what, bootstrap, rest @ ..] = words else { return Err("what to do, and HOST:PORT to begin with".to_owned()) };
    let dht = start(*what == "node", bootstrap)?;
    match (*what, rest) {
        ("node", []) => {
            println!("READY 127.0.0.1:{}", dht.info().local_addr().port());
            loop {
                std::thread::park();
            }
        }
        ("put", [text]) => dht.put_immutable(text.as_bytes()).map(|target| target.to_string()).map_err(told),
        ("get", [target]) => {
            let value = dht.get_immutable(Id::from_str(target).map_err(told)?).ok_or("nothing is there")?;
            Ok(String::from_utf8_lossy(&value).into_owned())
        }
        ("put-mutable", [secret, salt, seq, text]) => {
            let signer = SigningKey::from_bytes(&key(secret)?);
            let seq = seq.parse().map_err(told)?;
            let item = MutableItem::new(signer, text.as_bytes(), seq, salt_of(salt));
            dht.put_mutable(item, None).map(|target| target.to_string()).map_err(told)
        }
        ("get-mutable", [public, salt]) => {
            let item = dht.get_mutable_most_recent(&key(public)?, salt_of(salt)).ok_or("nothing is there")?;
            Ok(format!("{} {}", item.seq(), String::from_utf8_lossy(item.value())))
        }
        _ => Err(format!("{words:?} is nothing that can be done")),
    }
}

fn start(is_server: bool, bootstrap: &str) -> Result<Dht, String> {
    let mut builder = Dht::builder();
    builder.bind_address(Ipv4Addr::LOCALHOST);
    match bootstrap {
        "-" => builder.no_bootstrap(),
        host => builder.bootstrap(&[host]),
    };
    if is_server {
        builder.server_mode();
    }
    let dht = builder.build().map_err(told)?;
    if bootstrap != "-" && !dht.bootstrapped() {
        return Err(format!("{bootstrap} does not answer"));
    }
    Ok(dht)
}

fn salt_of(text: &str) -> Option<&[u8]> {
    Some(text.as_bytes()).filter(|salt| !salt.is_empty())
}

fn key(hex: &str) -> Result<[u8; 32], String> {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    let bytes: Result<Vec<u8>, _> = digits.map(|pair| u8::from_str_radix(pair, 16)).collect();
    bytes.map_err(told)?.try_into().map_err(|_| format!("{hex} has not 64 digits"))
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
