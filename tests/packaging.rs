//! What stands in `packaging/` and `docs/operator.md` is what the program does.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the test reads files and asks by TCP")]

mod program;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use program::{Program, run};

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The rest of the one line that begins with `start`.
fn rest_of_line<'t>(text: &'t str, start: &str) -> &'t str {
    let mut found = text.lines().filter_map(|line| line.strip_prefix(start));
    let rest = found.next().unwrap_or_else(|| panic!("no line begins with {start:?}"));
    assert_eq!(found.next(), None, "one line begins with {start:?}");
    rest
}

/// Whether the program takes these arguments: an unknown one is an error even before `--help`.
fn assert_taken(args: &[&str]) {
    let home = tempfile::tempdir().unwrap();
    let ended = run(args.iter().chain(&["--help"]), home.path());
    assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
}

#[test]
fn the_unit_starts_a_node_with_options_that_exist() {
    let unit = file("packaging/magnes-node.service");
    let command = rest_of_line(&unit, "ExecStart=/usr/local/bin/magnes ");
    let options = |text: &str| -> Vec<String> {
        let (_, options) = text.split_once("MAGNES_NODE_OPTS=").unwrap();
        options.trim_matches('"').split(' ').map(str::to_owned).collect()
    };
    let in_unit = unit.lines().find(|line| line.starts_with("Environment=")).unwrap();
    let defaults = file("packaging/magnes-node.default");
    let in_defaults = defaults.lines().find(|line| line.starts_with("MAGNES_NODE_OPTS=")).unwrap();
    for options in [options(in_unit), options(in_defaults)] {
        let words = command.split(' ').filter(|word| *word != "$MAGNES_NODE_OPTS");
        assert_taken(&words.chain(options.iter().map(String::as_str)).collect::<Vec<_>>());
    }
    let folder = rest_of_line(&unit, "StateDirectory=");
    assert!(command.contains(&format!("--state-dir %S/{folder}")), "{command}");
}

#[test]
fn what_is_installed_has_no_symbols_and_the_build_for_profilers_has() {
    let manifest = file("Cargo.toml");
    let profile = |name: &str| -> String {
        let (_, section) = manifest.split_once(&format!("[profile.{name}]\n")).unwrap();
        section.split("\n[").next().unwrap().to_owned()
    };
    let (release, profiling) = (profile("release"), profile("profiling"));
    assert!(release.contains("strip = \"symbols\"") && !release.contains("debug ="), "{release}");
    assert!(
        profiling.contains("strip = \"none\"") && profiling.contains("debug = \"line-tables-only\""),
        "{profiling}"
    );
}

#[test]
fn the_image_starts_a_node_with_options_that_exist() {
    let image = file("packaging/Containerfile");
    let words: Vec<String> = serde_json::from_str(rest_of_line(&image, "CMD ")).unwrap();
    assert_taken(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let health: Vec<String> = serde_json::from_str(rest_of_line(&image, "    CMD ")).unwrap();
    assert_taken(&health[1..].iter().map(String::as_str).collect::<Vec<_>>());
    let volume: Vec<String> = serde_json::from_str(rest_of_line(&image, "VOLUME ")).unwrap();
    assert_eq!(words.iter().skip_while(|word| *word != "--state-dir").nth(1), Some(&volume[0]));
    let manifest = file("Cargo.toml");
    let rust = rest_of_line(&manifest, "rust-version = ").trim_matches('"');
    assert!(image.contains(&format!("rust:{rust}-")), "it builds with Rust {rust}");
}

#[test]
fn the_guide_explains_every_metric_and_no_other() {
    let home = tempfile::tempdir().unwrap();
    let args = ["node", "--json", "--listen", "127.0.0.1:0", "--no-bootstrap", "--metrics", "127.0.0.1:0"];
    let node = Program::start(args.iter().chain(&["--state-dir", "a"]), home.path());
    let listening: serde_json::Value = serde_json::from_str(&node.line_with("\"listening\"")).unwrap();
    let mut stream = TcpStream::connect(listening["metrics"].as_str().unwrap()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let names = |text: &str, start: &str, end: char| -> BTreeSet<String> {
        let rests = text.lines().filter_map(|line| line.strip_prefix(start));
        rests.map(|rest| rest.split(end).next().unwrap().to_owned()).collect()
    };
    let served = names(&answer, "# TYPE ", ' ');
    assert!(served.len() > 15, "{answer}");
    let guide = file("docs/operator.md");
    let explained: BTreeSet<String> = names(&guide, "| `", '`');
    let explained: BTreeSet<String> =
        explained.into_iter().filter(|name| name.starts_with("magnes_") || name.starts_with("process_")).collect();
    if cfg!(target_os = "linux") {
        assert_eq!(served, explained);
    }
    for label in answer.lines().filter_map(|line| line.split("{reason=\"").nth(1).or(line.split("{kind=\"").nth(1))) {
        let label = label.split('"').next().unwrap();
        assert!(guide.contains(&format!("`{label}`")), "{label} is not explained");
    }
    let alerts = file("packaging/prometheus/magnes-alerts.yml");
    let used = alerts.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    for name in used.filter(|word| word.starts_with("magnes_dht_")) {
        assert!(served.contains(name), "{name} is in a rule and not served");
    }
}
