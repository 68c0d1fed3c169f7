//! What the program takes and gives at its edges: arguments, output that fails, state that cannot be kept, signals.
#![cfg(all(feature = "cli", unix))]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_methods, reason = "the test makes files")]

mod program;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use program::{Ended, Program, run};
use serde_json::Value;

const LOCAL: [&str; 3] = ["--no-dht", "--listen", "127.0.0.1:0"];
const HASH: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn by<A: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = A>, home: &Path) -> Ended {
    Program::start_by(script, args, home).end()
}

/// A file `data` of a few pieces, and `data.torrent`.
fn make_torrent(home: &Path, more: &[&str]) {
    std::fs::write(home.join("data"), "0123456789".repeat(10_000)).unwrap();
    let made = run(["create", "data"].iter().chain(more), home);
    assert_eq!(made.code, Some(0), "{made:?}");
}

/// Starts a seed of `data`; the second is its address.
fn start_seed(home: &Path) -> (Program, String) {
    let seed = Program::start(["seed", "data.torrent", "--json"].iter().chain(&LOCAL), home);
    let listening: Value = serde_json::from_str(&seed.line_with("\"listening\"")).unwrap();
    (seed, listening["tcp"].as_str().unwrap().to_owned())
}

#[test]
fn output_that_nobody_takes_changes_no_exit_code_and_costs_no_data() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_torrent(home, &[]);
    let (_seed, peer) = start_seed(home);
    // A resume file that is none makes a line of the log; the state folder is the download's own.
    let hash = run(["show", "data.torrent", "--json"], home).stdout;
    let hash = serde_json::from_str::<Value>(&hash).unwrap()["info_hash"].as_str().unwrap().to_owned();
    let scripts = [
        r#"exec "$@" 2>/dev/full"#,
        r#"exec "$@" >/dev/full 2>&1"#,
        r#"exec "$@" >&- 2>&-"#,
        r#"{ "$@" 2>&1; echo $? >code; } | head -1; exit $(cat code)"#,
        r#"MAGNES_LOG=trace exec "$@" 2>/dev/full"#,
        r#"{ "$@" --json; echo $? >code; } | head -1; exit $(cat code)"#,
    ];
    for (number, script) in scripts.iter().enumerate() {
        let (out, state) = (format!("out{number}"), format!("state{number}"));
        std::fs::create_dir(home.join(&state)).unwrap();
        std::fs::write(home.join(&state).join(format!("{hash}.resume")), "not a resume file").unwrap();
        let get = ["get", "data.torrent", "-o", &out, "--peer", &peer, "--timeout", "50", "--state-dir", &state];
        let ended = by(script, get.iter().chain(&LOCAL), home);
        assert_eq!(ended.code, Some(0), "{script}: {ended:?}");
        assert_eq!(std::fs::read(home.join(out).join("data")).unwrap().len(), 100_000, "{script}");
    }
    let lonely = ["get", HASH, "--timeout", "1", "--no-dht", "--listen", "127.0.0.1:0"];
    for script in &scripts[..3] {
        assert_eq!(by(script, ["get", "nowhere/x.torrent"], home).code, Some(5), "{script}");
        assert_eq!(by(script, ["get", "--no-such-option"], home).code, Some(2), "{script}");
        assert_eq!(by(script, ["--help"], home).code, Some(0), "{script}");
        assert_eq!(by(script, ["completions", "bash"], home).code, Some(0), "{script}");
        assert_eq!(by(script, ["show", "data.torrent"], home).code, Some(0), "{script}");
        assert_eq!(by(script, ["verify", "data.torrent", "."], home).code, Some(0), "{script}");
        assert_eq!(by(script, lonely, home).code, Some(3), "{script}");
    }
}

#[test]
fn what_a_stranger_wrote_is_escaped_for_people_and_whole_in_json() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_torrent(home, &["--comment", "\x1b[2Jgone\ninfo hash  0000\u{202e}\u{9b}31m"]);
    let link = format!("magnet:?xt=urn:btih:{HASH}&dn=%1b%5b2Jx%0Ainfo hash  0000&tr=%1b%5b31m");
    for (source, quoted) in [("data.torrent", "gone\\n"), (link.as_str(), "\\u{1b}[2Jx\\n")] {
        let shown = run(["show", source], home);
        assert!(!shown.stdout.contains(|letter: char| letter.is_control() && letter != '\n'), "{shown:?}");
        assert!(!shown.stdout.contains('\u{202e}') && shown.stdout.contains(quoted), "{shown:?}");
        assert!(!shown.stdout.lines().any(|line| line == "info hash  0000"), "{shown:?}");
    }
    let shown: Value = serde_json::from_str(&run(["show", &link, "--json"], home).stdout).unwrap();
    assert_eq!(shown["name"], "\x1b[2Jx\ninfo hash  0000");
    // What is quoted from the arguments, by clap and by the program.
    for (args, code) in [(["show", "\x1b[2J\u{9b}.torrent"], 5), (["get", "--\x1b[2J\u{9b}"], 2)] {
        let ended = run(args, home);
        assert!(ended.code == Some(code) && ended.stderr.contains("\\u{9b}"), "{ended:?}");
        assert!(!ended.stderr.contains(['\x1b', '\u{9b}']), "{ended:?}");
    }
}

#[test]
fn a_state_folder_is_a_help_and_no_condition() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_torrent(home, &[]);
    std::fs::write(home.join("file"), "").unwrap();
    let get = ["get", "data.torrent", "-o", ".", "--timeout", "50"];
    for script in [
        r#"unset XDG_STATE_HOME; HOME=/proc/nonexistent exec "$@""#,
        r#"unset XDG_STATE_HOME HOME; exec "$@""#,
        r#"exec "$@" --state-dir file/below"#,
    ] {
        let ended = by(script, get.iter().chain(&LOCAL), home);
        assert_eq!(ended.code, Some(0), "{script}: {ended:?}");
        let warning = ended.stderr.lines().next().unwrap_or_default();
        assert!(warning.starts_with("warning: ") && warning.contains("--state-dir"), "{script}: {ended:?}");
    }
    let quiet = by(r#"exec "$@" -q --state-dir file/below"#, get.iter().chain(&LOCAL), home);
    assert!(quiet.code == Some(0) && quiet.stderr.is_empty(), "a warning is no error: {quiet:?}");
    let node = ["node", "--no-bootstrap", "--listen", "127.0.0.1:0", "--json", "--state-dir", "file/below"];
    let node = Program::start(node, home);
    node.line_with("\"listening\"");
    node.signal("TERM");
    let ended = node.end();
    assert!(ended.code == Some(0) && ended.stderr.contains("--state-dir"), "{ended:?}");
}

#[test]
fn addresses_are_checked_before_anything_is_done() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let wrong = [
        ("router.example", "the port is missing"),
        ("foo bar:6881", "neither an address nor a name"),
        ("router.example:xx", "not a number from 1 to 65535"),
        ("router.example:0", "not a number from 1 to 65535"),
        ("::1:6881", "needs brackets"),
    ];
    for (addr, why) in wrong {
        for args in [
            &["get", HASH, "--bootstrap", addr][..],
            &["get", HASH, "--peer", addr],
            &["seed", ".", "--bootstrap", addr],
            &["node", "--bootstrap", addr],
            &["dht", "get-peers", HASH, "--bootstrap", addr],
            &["dht", "ping", addr],
            &["dht", "sample", "--node", addr],
            &["create", ".", "--node", addr],
        ] {
            let ended = run(args, home);
            assert!(ended.code == Some(2) && ended.stderr.contains(why), "{args:?}: {ended:?}");
        }
    }
    for (addr, why) in [("6881", "the port is missing"), ("::1:6881", "needs brackets"), ("localhost:1", "not a name")]
    {
        let ended = run(["node", "--listen", addr], home);
        assert!(ended.code == Some(2) && ended.stderr.contains(why), "{addr}: {ended:?}");
    }
}

#[test]
fn a_torrent_is_named_in_any_way_wherever_an_info_hash_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_torrent(home, &[]);
    let link = format!("magnet:?xt=urn:btih:{HASH}&dn=x");
    let ask = |args: &[&str]| {
        let common = ["--bootstrap", "127.0.0.1:1", "--listen", "127.0.0.1:0", "--timeout", "0"];
        run(["dht"].iter().chain(args).chain(&common), home)
    };
    for source in [HASH, &link, "data.torrent"] {
        for args in
            [&["get-peers", source][..], &["scrape", source], &["trace", source], &["announce", source, "--port", "1"]]
        {
            let ended = ask(args);
            assert_eq!(ended.code, Some(3), "nobody answers, which is no fault of the arguments: {args:?}: {ended:?}");
        }
    }
    let publisher = format!("magnet:?xs=urn:btpk:{}", "ab".repeat(32));
    for (source, why) in [("neither", "not an info hash"), (&publisher, "magnes dht get")] {
        let ended = ask(&["get-peers", source]);
        assert!(ended.code == Some(5) && ended.stderr.contains(why), "{source}: {ended:?}");
    }
}

#[test]
fn paths_are_bytes() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_torrent(home, &[]);
    let odd = |name: &[u8]| OsString::from(OsStr::from_bytes(name));
    let (torrent, out, state) = (odd(b"a\xff.torrent"), odd(b"out\xfe"), odd(b"state\xfd"));
    std::fs::rename(home.join("data.torrent"), home.join(&torrent)).unwrap();
    std::fs::create_dir(home.join(&out)).unwrap();
    std::fs::rename(home.join("data"), home.join(&out).join("data")).unwrap();
    assert_eq!(run([odd(b"show"), torrent.clone()], home).code, Some(0));
    let args = [odd(b"get"), torrent.clone(), odd(b"-o"), out.clone(), odd(b"--state-dir"), state.clone()];
    let got = run(args.into_iter().chain(LOCAL.map(OsString::from)), home);
    assert_eq!(got.code, Some(0), "{got:?}");
    assert!(home.join(&state).is_dir());
    assert_eq!(run([odd(b"verify"), torrent, out], home).code, Some(0));
    let keygen = run([odd(b"dht"), odd(b"keygen"), odd(b"key\xff"), odd(b"--json")], home);
    assert_eq!(keygen.code, Some(0), "{keygen:?}");
}

#[test]
fn why_nobody_is_found_is_said() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_torrent(home, &["--private"]);
    // A label of more than 63 bytes: no resolver asks anybody for it.
    let unknown = format!("{}.invalid:6881", "x".repeat(64));
    let get = |source: &str, more: &[&str]| {
        let args = ["get", source, "-o", "out", "--listen", "127.0.0.1:0", "--json"];
        Program::start(args.iter().chain(more), home)
    };
    let private = "no peers found yet: it is private, the DHT is not used: give --peer";
    get("data.torrent", &["--bootstrap", "127.0.0.1:1"]).line_with(private);
    get(HASH, &["--no-dht"]).line_with("no peers found yet: the DHT is not used: give --peer");
    get(HASH, &["--bootstrap", &unknown]).line_with("this machine seems to be offline");
    let ended = get("data.torrent", &["--bootstrap", "127.0.0.1:1", "--timeout", "2"]).end();
    let message = format!("magnes: not complete after 2 s: {private}; what was downloaded is kept");
    assert_eq!((ended.code, ended.stderr.lines().last()), (Some(3), Some(message.as_str())), "{ended:?}");
    let publisher = format!("magnet:?xs=urn:btpk:{}", "ab".repeat(32));
    let publisher = get(&publisher, &["--bootstrap", &unknown, "--timeout", "2"]).end();
    assert!(
        publisher.code == Some(3) && publisher.stderr.contains("this machine seems to be offline"),
        "{publisher:?}"
    );
    let asked = run(["dht", "get-peers", HASH, "--bootstrap", &unknown, "--timeout", "2"], home);
    assert!(asked.code == Some(3) && asked.stderr.contains("this machine seems to be offline"), "{asked:?}");
}

#[test]
fn a_hangup_ends_a_seed_as_sigterm_does_and_under_nohup_nothing() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_torrent(home, &[]);
    let args = ["seed", "data.torrent", "--json"];
    // The tests themselves may run under `nohup`, and no shell takes back what was ignored when it started.
    let heard = r#"reset="env --default-signal=HUP"; $reset true 2>/dev/null && exec $reset "$@"; exec "$@""#;
    let seed = Program::start_by(heard, args.iter().chain(&LOCAL), home);
    seed.line_with("\"complete\"");
    seed.signal("HUP");
    assert_eq!(seed.end().code, Some(0));
    // As `nohup` starts it.
    let seed = Program::start_by(r#"trap "" HUP; exec "$@""#, args.iter().chain(&LOCAL), home);
    seed.line_with("\"complete\"");
    seed.signal("HUP");
    seed.signal("INT");
    assert_eq!(seed.end().code, Some(130), "it is the interrupt that ended it");
}
