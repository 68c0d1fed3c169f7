//! The real program seeds, rude peers do to it what they can, and it serves an honest download all the same.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the rude peers are sockets of the test's own")]

mod program;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use program::{Program, run};

/// No answer takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(20);

struct Seed {
    program: Program,
    addr: SocketAddr,
    info_hash: [u8; 20],
}

fn start_seed(home: &Path) -> Seed {
    let folder = home.join("share");
    std::fs::create_dir_all(&folder).unwrap();
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(folder.join("data"), bytes).unwrap();
    let made = run(["create", "share/data", "-o", "data.torrent"], home);
    assert_eq!(made.code, Some(0), "{made:?}");
    let hash = made.stdout.lines().find_map(|line| line.strip_prefix("info hash ")).unwrap().to_owned();
    let info_hash = std::array::from_fn(|at| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap());
    let seed = ["seed", "data.torrent", "--data", "share", "--listen", "127.0.0.1:0", "--no-dht", "--json"];
    let program = Program::start(seed.into_iter().chain(["--state-dir", "state-seed"]), home);
    let listening: serde_json::Value = serde_json::from_str(&program.line_with("\"listening\"")).unwrap();
    let addr = listening["tcp"].as_str().unwrap().parse().unwrap();
    Seed { program, addr, info_hash }
}

/// A connection with both handshakes done.
fn connect(seed: &Seed, name: u8) -> TcpStream {
    let mut stream = TcpStream::connect(seed.addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x05".to_vec();
    hello.extend(seed.info_hash);
    hello.extend([name; 20]);
    stream.write_all(&hello).unwrap();
    stream.read_exact(&mut [0; 68]).unwrap();
    stream
}

/// Reads what comes until the seed hangs up; it must do so.
fn read_to_the_end(mut stream: TcpStream) -> std::io::Result<u64> {
    std::io::copy(&mut stream, &mut std::io::sink())
}

fn is_closed(result: &std::io::Result<u64>) -> bool {
    result.as_ref().err().is_none_or(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

fn assert_serves(seed: &Seed, home: &Path, out: &str) {
    let addr = seed.addr.to_string();
    let get = ["get", "data.torrent", "-o", out, "--peer", &addr, "--timeout", "50", "--listen", "127.0.0.1:0"];
    let got = run(get.into_iter().chain(["--no-dht", "--state-dir", &format!("state-{out}")]), home);
    assert_eq!(got.code, Some(0), "{got:?}");
    assert!(std::fs::read(home.join(out).join("data")).unwrap() == std::fs::read(home.join("share/data")).unwrap());
}

fn end(seed: Seed) {
    seed.program.signal("TERM");
    assert_eq!(seed.program.end().code, Some(0));
}

#[test]
fn twenty_thousand_requests_of_one_byte_end_their_connection_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let seed = start_seed(home.path());
    let mut rude = connect(&seed, 1);
    let reader = rude.try_clone().unwrap();
    let reader = std::thread::spawn(move || read_to_the_end(reader));
    let mut requests = b"\0\0\0\x01\x0f\0\0\0\x01\x02".to_vec();
    for number in 0..20_000_u32 {
        requests.extend(b"\0\0\0\x0d\x06\0\0\0\0");
        requests.extend((number * 7 % 16_000).to_be_bytes());
        requests.extend(1_u32.to_be_bytes());
    }
    // The seed may hang up before all are written.
    let _ = rude.write_all(&requests);
    let read = reader.join().unwrap();
    assert!(is_closed(&read), "{read:?}");
    assert_serves(&seed, home.path(), "out");
    end(seed);
}

#[test]
fn floods_of_messages_that_say_nothing_end_their_connections_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let seed = start_seed(home.path());
    let floods: [&[u8]; 6] = [
        b"\0\0\0\0",
        b"\0\0\0\x01\x02\0\0\0\x01\x03",
        b"\0\0\0\x02\x63x",
        b"\0\0\0\x03\x09\x1a\xe1",
        b"\0\0\0\x04\x14\0de",
        b"\0\0\0\x0d\x08\0\0\0\0\0\0\0\0\0\0\x40\0",
    ];
    for (number, flood) in floods.iter().enumerate() {
        let mut rude = connect(&seed, number as u8);
        let reader = rude.try_clone().unwrap();
        let _ = rude.write_all(&flood.repeat(10_000));
        let read = read_to_the_end(reader);
        assert!(is_closed(&read), "{number}: {read:?}");
    }
    assert_serves(&seed, home.path(), "out");
    end(seed);
}

#[test]
fn silent_connections_and_readers_that_read_nothing_keep_nobody_out() {
    let home = tempfile::tempdir().unwrap();
    let seed = start_seed(home.path());
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(seed.addr).unwrap()).collect();
    let readers: Vec<TcpStream> = (0..5)
        .map(|number| {
            let mut reader = connect(&seed, 100 + number);
            let mut requests = b"\0\0\0\x01\x0f\0\0\0\x01\x02".to_vec();
            for block in 0..100_u32 {
                requests.extend(b"\0\0\0\x0d\x06\0\0\0\0");
                requests.extend((block % 2 * 16_384).to_be_bytes());
                requests.extend(16_384_u32.to_be_bytes());
            }
            reader.write_all(&requests).unwrap();
            reader
        })
        .collect();
    assert_serves(&seed, home.path(), "out");
    drop((silent, readers));
    end(seed);
}
