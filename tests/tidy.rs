//! The floors of the tree, held: who may import whom, and which words may stand where.
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_methods, reason = "the test reads the sources")]

#[path = "tidy/blocking.rs"]
mod blocking;
#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/lengths.rs"]
mod lengths;

use std::path::{Path, PathBuf};

use circles::Crate;

/// The library's modules, and which others each may import besides itself.
const FLOORS: [(&str, &[&str]); 9] = [
    ("model", &[]),
    ("wire", &["model"]),
    ("disk", &["model"]),
    ("swarm", &["model", "wire", "disk"]),
    ("storage", &["model", "disk"]),
    ("fleet", &["disk", "swarm"]),
    ("torrent", &["model", "wire", "disk", "swarm", "fleet"]),
    ("engine", &["model", "wire", "disk", "swarm", "fleet", "storage", "torrent"]),
    ("session", &["model", "wire", "disk", "swarm", "fleet", "storage", "torrent", "engine"]),
];

/// The DHT's folders and files, and which others each may import besides itself and `lib.rs`.
const DHT_FLOORS: [(&str, &[&str]); 15] = [
    ("replace", &[]),
    ("network", &[]),
    ("id", &["network"]),
    ("keyed", &[]),
    ("item", &["id"]),
    ("krpc", &["id", "item"]),
    ("traffic", &["krpc", "guard"]),
    ("guard", &["id", "network"]),
    ("table", &["id", "network", "krpc"]),
    ("store", &["id", "network", "keyed", "item", "krpc"]),
    ("event", &["id", "item", "krpc", "traffic"]),
    ("rpc", &["id", "network", "krpc", "event"]),
    ("lookup", &["id", "network", "krpc"]),
    (
        "node",
        &["id", "network", "keyed", "item", "krpc", "traffic", "guard", "table", "store", "event", "rpc", "lookup"],
    ),
    ("driver", &["id", "item", "krpc", "guard", "event", "node", "replace"]),
];

/// What the program may use of the library.
const PUBLIC: [&str; 6] = ["model", "wire", "disk", "swarm", "storage", "session"];

/// Folders without I/O and clock, and the files in them that are drivers.
const PURE: [&str; 8] =
    ["bencode/src/", "dht/src/", "src/model/", "src/wire/", "src/disk/", "src/swarm/", "src/fleet/", "src/torrent/"];
const DRIVERS: [&str; 2] = ["dht/src/driver/", "dht/src/replace.rs"];
const IO: [&str; 6] = ["tokio::", "UdpSocket", "TcpStream", "TcpListener", "std::fs", "fs::File"];

/// The only file of the engine that names the sockets of peers: the others are to work over any transport.
const TRANSPORT: &str = "src/engine/transport.rs";
const STREAMS: [&str; 3] = ["TcpStream", "TcpListener", "TcpSocket"];

/// The two state files: nothing else may depend on that format.
const BINCODE: [&str; 2] = ["src/storage/resume.rs", "dht/src/node/snapshot.rs"];

/// Spellings of queues without a bound.
const UNBOUNDED: [&str; 5] = ["unbounded_channel", "Unbounded", "mpsc::channel()", "mpsc::{channel", "mpsc::channel;"];

/// What writes to stdout and stderr, and the only file that does: whatever else prints goes through it, so that nothing
/// from outside reaches a terminal raw, and nothing fails because the output does.
const PRINTER: &str = "src/cli/print.rs";
const PRINTING: [&str; 8] =
    ["println!", "print!(", "stdout()", "stderr()", "dbg!(", "ProgressBar::new", "DrawTarget", ".set_message("];

/// Judges one file by its path from the root; names line and reason of each breach.
fn breaches(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut tell = |line: usize, what: String| found.push(format!("{path}:{line}: {what}"));
    for (line, code) in text.lines().enumerate().map(|(index, line)| (index + 1, code_of(line))) {
        for word in UNBOUNDED.iter().filter(|word| code.contains(**word)) {
            tell(line, format!("`{word}`: every queue has a bound"));
        }
        if code.contains("bincode::") && !BINCODE.contains(&path) {
            tell(line, "bincode belongs to the two state files".to_owned());
        }
        for word in PRINTING.iter().filter(|word| path != PRINTER && code.contains(**word)) {
            tell(line, format!("`{word}`: only {PRINTER} prints"));
        }
        let engine = path.starts_with("src/engine/") && path != TRANSPORT;
        for word in STREAMS.iter().filter(|word| engine && code.contains(**word)) {
            tell(line, format!("`{word}`: only {TRANSPORT} knows what carries the bytes of a peer"));
        }
        let pure = PURE.iter().any(|folder| path.starts_with(folder)) && !DRIVERS.iter().any(|d| path.starts_with(d));
        for word in IO.iter().filter(|word| pure && code.contains(**word)) {
            tell(line, format!("`{word}`: I/O belongs to drivers and storage"));
        }
    }
    for (line, module) in modules_named(text, root_name(path)) {
        if !may_import(path, &module) {
            tell(line, format!("imports `{module}`, which is not below it"));
        }
    }
    found.extend(blocking::breaches(path, text));
    found
}

fn is_program(path: &str) -> bool {
    path == "src/main.rs" || path.starts_with("src/cli/")
}

fn root_name(path: &str) -> &'static str {
    if is_program(path) { "magnes::" } else { "crate::" }
}

fn may_import(path: &str, module: &str) -> bool {
    if is_program(path) {
        return PUBLIC.contains(&module);
    }
    let Some(home) = path.strip_prefix("src/").and_then(|rest| rest.split_once('/')).map(|(home, _)| home) else {
        return true;
    };
    if home == module {
        return true;
    }
    FLOORS.iter().find(|(name, _)| *name == home).is_some_and(|(_, below)| below.contains(&module))
}

/// The line without its comment.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// The modules that follow `root` in the code, one by one, those of a braced list included.
fn modules_named(text: &str, root: &str) -> Vec<(usize, String)> {
    let code: String = text.lines().map(|line| format!("{}\n", code_of(line))).collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        let inside_word =
            code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '$');
        if inside_word {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + root.len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(heads_of_list(list).into_iter().map(|head| (line, head))),
            None => found.push((line, head_of(rest))),
        }
    }
    found
}

fn head_of(path: &str) -> String {
    path.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// First words of the items of a braced list; `list` begins after the opening brace.
fn heads_of_list(list: &str) -> Vec<String> {
    let (mut depth, mut item, mut heads) = (0, String::new(), Vec::new());
    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(head_of(std::mem::take(&mut item).trim())),
            _ => item.push(letter),
        }
    }
    heads.push(head_of(item.trim()));
    heads.retain(|head| !head.is_empty());
    heads
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn the_tree_keeps_to_its_floors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "bencode/src", "dht/src", "testnet/src"] {
        sources(&root.join(folder), &mut files);
    }
    assert!(files.len() > 50, "the sources were not found: {}", files.len());
    let mut all = Vec::new();
    for file in files {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        all.extend(breaches(&path, &std::fs::read_to_string(&file).unwrap()));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// Each crate's files, and the program's by themselves: it stands on the library.
const CRATES: [&str; 5] = ["bencode/src/", "dht/src/", "src/", "src/cli/", "testnet/src/"];

#[test]
fn no_file_imports_what_imports_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for home in CRATES {
        let (mut tree, mut files) = (Crate::default(), Vec::new());
        sources(&root.join(home), &mut files);
        for file in files {
            let path = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            if is_program(&path) == (home == "src/cli/") {
                tree.add(&path, &path[home.len()..], &std::fs::read_to_string(&file).unwrap());
            }
        }
        all.extend(tree.circles());
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn the_dht_keeps_to_its_floors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = "dht/src/";
    let (mut tree, mut files) = (Crate::default(), Vec::new());
    sources(&root.join(home), &mut files);
    for file in files {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        tree.add(&path, &path[home.len()..], &std::fs::read_to_string(&file).unwrap());
    }
    let all = tree.above(&DHT_FLOORS);
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn a_floor_is_held_through_re_exports_and_knows_every_file() {
    let mut tree = Crate::default();
    tree.add("lib.rs", "lib.rs", "mod low;\nmod high;\nmod other;\npub use high::{Deep, inner};");
    tree.add("low.rs", "low.rs", "use crate::Deep;\nmod tests {\nuse crate::other::Other;");
    tree.add("high/mod.rs", "high/mod.rs", "mod inner;\npub use inner::Deep;\nuse crate::low::Low;");
    tree.add("high/inner.rs", "high/inner.rs", "pub struct Deep(super::Wide, crate::low::Low);");
    tree.add("other.rs", "other.rs", "use crate::low::Low;");
    let floors: [(&str, &[&str]); 2] = [("low", &[]), ("high", &["low"])];
    assert_eq!(tree.above(&floors), ["low.rs: imports `high`, which is not below it", "other.rs: on no floor"]);
}

#[test]
fn files_and_functions_are_no_longer_than_they_may_be() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "bencode", "dht", "testnet", "tests", "benches", "fuzz"] {
        sources(&root.join(folder), &mut files);
    }
    let mut all = Vec::new();
    for file in files {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        all.extend(lengths::breaches(&path, &std::fs::read_to_string(&file).unwrap()));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn what_is_too_long_is_told() {
    let heads =
        ["fn long() {", "pub(in crate::node) async fn long(&self) {", "pub const fn long(\n        a: u8,\n    ) {"];
    for head in heads {
        let text = |lines: usize| {
            let steps = "        step();\n".repeat(lines - head.lines().count() - 1);
            format!(
                "impl It {{\n    fn other(\n        &self,\n    );\n    fn one(&self) {{}}\n    {head}\n{steps}    }}\n}}\n"
            )
        };
        assert_eq!(lengths::breaches("a.rs", &text(70)), Vec::<String>::new(), "{head}");
        let told = ["a.rs:6: `long` has 71 lines, at most 70 are allowed"];
        assert_eq!(lengths::breaches("a.rs", &text(71)), told, "{head}");
    }
    assert_eq!(lengths::breaches("a.rs", &"//\n".repeat(600)), Vec::<String>::new());
    assert_eq!(lengths::breaches("a.rs", &"//\n".repeat(601)), ["a.rs: 601 lines, at most 600 are allowed"]);
}

#[test]
fn a_circle_is_found_through_re_exports() {
    let mut tree = Crate::default();
    tree.add("lib.rs", "lib.rs", "mod a;\nmod b;\npub use b::{Bee, inner::Deep};");
    tree.add("a.rs", "a.rs", "use crate::Deep;\npub struct A(Deep);");
    tree.add("b/inner.rs", "b/inner.rs", "pub struct Deep;");
    tree.add("b/mod.rs", "b/mod.rs", "pub(crate) mod inner;\npub struct Bee;\nuse super::a::A;");
    assert_eq!(tree.circles(), Vec::<String>::new(), "what imports both is in no circle");
    tree.add("b/inner.rs", "b/inner.rs", "use super::Bee;\npub struct Deep(crate::a::A);\nmod tests {\nuse super::*;");
    let found = tree.circles();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "a.rs is in a circle with b/inner.rs");
}

#[test]
fn every_rule_can_be_broken() {
    let bad = [
        ("src/model/a.rs", "use crate::wire::Link;"),
        ("src/wire/a.rs", "mod tests {\n    use crate::swarm::Swarm;\n}"),
        ("src/swarm/a.rs", "use crate::storage::Worker;"),
        ("src/disk/a.rs", "use crate::storage::Worker;"),
        ("src/storage/a.rs", "fn a(b: crate::swarm::Swarm) {}"),
        ("src/storage/a.rs", "use crate::{\n    model::Block,\n    wire::{Link, Message},\n};"),
        ("src/engine/a.rs", "use crate::session::Config;"),
        ("src/cli/a.rs", "use magnes::engine::Phase;"),
        ("src/cli/report.rs", "eprintln!();"),
        ("src/engine/a.rs", "std::io::stderr().lock()"),
        ("src/engine/a.rs", "async fn a(stream: &tokio::net::TcpStream) {}"),
        ("src/engine/a.rs", "use tokio::net::TcpListener;"),
        ("bencode/src/a.rs", "use std::fs;"),
        ("dht/src/a.rs", "use tokio::time::Sleep;"),
        ("src/swarm/a.rs", "use std::net::UdpSocket;"),
        ("src/storage/a.rs", "use bincode::config;"),
        ("src/engine/a.rs", "let (a, b) = mpsc::unbounded_channel();"),
        ("src/engine/a.rs", "let (a, b) = mpsc::channel();"),
        ("src/engine/a.rs", "use std::sync::mpsc::{channel, Sender};"),
        ("src/engine/a.rs", "fn a() {\n    spawn_blocking(move || b(1));\n    let lock = WriteLock::take(&layout);\n}"),
        ("src/engine/a.rs", "let found = survey(&layout, existing, None);"),
        ("src/session/a.rs", "let folder = target.canonicalize();"),
        ("src/session/a.rs", "let state = folder.and_then(StateDir::open);"),
        ("src/session/task.rs", "let kept = state.lock_resume(hash, &folder);"),
        ("src/session/a.rs", "use std::fs;"),
    ];
    for (path, text) in bad {
        let found = breaches(path, text);
        assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
        assert!(found[0].starts_with(path), "{found:?}");
    }
}

#[test]
fn what_is_allowed_is_not_told() {
    let good = [
        ("src/session/a.rs", "use crate::{engine::Mail, model::{Block, Info}};\nlet c = mpsc::channel(7);"),
        ("src/model/a.rs", "//! Read by `crate::wire`, without tokio::net."),
        ("dht/src/driver/a.rs", "use tokio::net::UdpSocket;"),
        ("src/engine/transport.rs", "use tokio::net::{TcpListener, TcpStream};"),
        ("dht/src/node/snapshot.rs", "use bincode::config;"),
        ("src/cli/a.rs", "use magnes::session::Config;"),
        (
            "src/engine/a.rs",
            "use crate::storage::{Resume, settle};\njobs.spawn_blocking(move || settle(&layout, b()));",
        ),
        ("src/engine/a.rs", "fn settle(&self) { self.files.settle(layout, have) }"),
        ("src/engine/files.rs", "fn look(config: &FilesConfig) {\n    survey(&layout)\n}"),
        ("src/session/a.rs", "#[cfg(test)]\nmod tests {\n    std::fs::write(&file, b\"\").unwrap();"),
        ("src/storage/a.rs", "let lock = WriteLock::take(&layout);"),
    ];
    for (path, text) in good {
        assert_eq!(breaches(path, text), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn a_breach_names_its_line() {
    let found = breaches("src/model/a.rs", "\n\nuse crate::wire::Link;");
    assert_eq!(found, ["src/model/a.rs:3: imports `wire`, which is not below it"]);
}
