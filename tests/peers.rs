//! The real program and peers that behave as some clients do: busy, forgetful, slow to tell, or lying.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test reads the clock, makes files and is a peer"
)]

#[path = "program/peer.rs"]
mod peer;
mod program;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use peer::{Asked, Script, Torrent, id, listen, listen_and_hang_up};
use program::{Program, run};

const PIECE_LEN: usize = 64 * 1024;

fn get(torrent: &Torrent, peer: &str, home: &Path) -> Vec<String> {
    let home = home.join("got").into_os_string().into_string().unwrap();
    let common = ["--listen", "127.0.0.1:0", "--no-dht", "--json", "--timeout", "50", "--state-dir", "state"];
    let args = ["get", &torrent.info_hash, "-o", &home, "--peer", peer];
    args.into_iter().chain(common).map(str::to_owned).collect()
}

/// Downloads from one seed with this script; how long it took.
fn complete(fast: bool, script: Script) -> Duration {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let torrent = Torrent::make(home, 16, PIECE_LEN);
    let peer = listen(&torrent, fast, script);
    let start = Instant::now();
    let got = run(get(&torrent, &peer.to_string(), home), home);
    assert_eq!(got.code, Some(0), "{got:?}");
    assert!(std::fs::read(home.join("got/data")).unwrap() == std::fs::read(home.join("share/data")).unwrap());
    start.elapsed()
}

#[test]
fn a_seed_that_rejects_each_block_of_a_piece_once_completes_a_download() {
    let mut seen = BTreeSet::new();
    let script = move |wire: &mut peer::Wire, asked| match asked {
        Asked::Block(block) if block.piece == 3 && seen.insert(block) => wire.reject(asked),
        asked => wire.serve(asked),
    };
    let took = complete(true, Box::new(script));
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_seed_that_keeps_eight_requests_and_drops_the_others_completes_a_download() {
    for fast in [true, false] {
        let mut kept = Vec::new();
        let script = move |wire: &mut peer::Wire, asked| match asked {
            Asked::Block(_) if kept.len() < 8 => {
                kept.push(asked);
                Ok(())
            }
            Asked::Block(_) => Ok(()),
            Asked::Nothing => kept.drain(..).try_for_each(|asked| wire.serve(asked)),
            asked => wire.serve(asked),
        };
        let took = complete(fast, Box::new(script));
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
}

#[test]
fn a_seed_that_forgets_at_a_choke_what_it_was_asked_completes_a_download() {
    for fast in [true, false] {
        let mut kept = Vec::new();
        let script = move |wire: &mut peer::Wire, asked| match asked {
            Asked::Block(_) if kept.len() < 12 => {
                kept.push(asked);
                Ok(())
            }
            Asked::Block(_) => {
                kept.drain(..6).try_for_each(|asked| wire.serve(asked))?;
                kept.clear();
                wire.send(id::CHOKE, &[]).and_then(|()| wire.send(id::UNCHOKE, &[]))
            }
            Asked::Nothing => kept.drain(..).try_for_each(|asked| wire.serve(asked)),
            asked => wire.serve(asked),
        };
        let took = complete(fast, Box::new(script));
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
}

#[test]
fn metadata_that_are_rejected_are_asked_for_again_at_a_pace() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = times.clone();
    let script = move |wire: &mut peer::Wire, asked| match asked {
        Asked::Metadata(_) => {
            let mut times = seen.lock().unwrap();
            times.push(Instant::now());
            if times.len() < 3 { wire.reject(asked) } else { wire.serve(asked) }
        }
        asked => wire.serve(asked),
    };
    complete(true, Box::new(script));
    let times = times.lock().unwrap();
    let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() == 2 && pauses.iter().all(|pause| *pause > Duration::from_millis(700)), "{pauses:?}");
}

/// Waits until a download from this peer says so.
fn says(peer: &str, torrent: &Torrent, home: &Path, text: &str) {
    Program::start(get(torrent, peer, home), home).line_with(text);
}

#[test]
fn who_hangs_up_in_the_handshake_was_reached_and_that_is_said() {
    let home = tempfile::tempdir().unwrap();
    let torrent = Torrent::make(home.path(), 1, PIECE_LEN);
    let peer = listen_and_hang_up().to_string();
    let text = "1 peer reached, 1 hung up during the handshake (they may require encryption)";
    says(&peer, &torrent, home.path(), text);
}

#[test]
fn when_blocks_stop_coming_the_rate_is_0_and_the_reason_is_said() {
    let home = tempfile::tempdir().unwrap();
    let torrent = Torrent::make(home.path(), 64, PIECE_LEN);
    let stopped = Arc::new(Mutex::new(None));
    let (mut blocks, stops) = (0, stopped.clone());
    let script = move |wire: &mut peer::Wire, asked| {
        blocks += u32::from(matches!(asked, Asked::Block(_)));
        if blocks > 100 {
            stops.lock().unwrap().get_or_insert_with(Instant::now);
            return Ok(());
        }
        wire.serve(asked)
    };
    let peer = listen(&torrent, true, Box::new(script)).to_string();
    let program = Program::start(get(&torrent, &peer, home.path()), home.path());
    // Before the first block it says so too; the download itself has a rate.
    let mut had_rate = false;
    let after = loop {
        let progress: serde_json::Value = serde_json::from_str(&program.line_with("\"progress\"")).unwrap();
        had_rate |= progress["down_bps"].as_u64().unwrap() > 0;
        if had_rate && progress["reason"] == "waiting for blocks from 1 peer" {
            assert_eq!(progress["down_bps"], 0);
            break stopped.lock().unwrap().expect("it stopped").elapsed();
        }
    };
    assert!(after < Duration::from_secs(15), "{after:?}");
}

#[test]
fn the_only_seed_is_banned_at_its_second_bad_copy_and_the_reason_says_so() {
    let home = tempfile::tempdir().unwrap();
    let torrent = Torrent::make(home.path(), 4, PIECE_LEN);
    let script = |wire: &mut peer::Wire, asked| match asked {
        Asked::Block(block) => wire.send_block(block, &vec![7; block.len as usize]),
        asked => wire.serve(asked),
    };
    let peer = listen(&torrent, true, Box::new(script)).to_string();
    let text = "the only peer that has the missing pieces was banned: it sent corrupt blocks";
    says(&peer, &torrent, home.path(), text);
}
