//! `magnes node` as an operator runs it: the real program on the loopback network.
#![cfg(all(feature = "cli", unix))]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the test looks at files and asks by TCP")]

mod program;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;

use program::{Program, run};
use serde_json::Value;

const ANYWHERE: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// A running node that has said where it listens.
struct Node {
    program: Program,
    listening: Value,
}

impl Node {
    fn start(home: &Path, state: &str, args: &[&str]) -> Self {
        let common = ["node", "--json", "--state-dir", state];
        let program = Program::start(common.iter().chain(args), home);
        let listening = serde_json::from_str(&program.line_with("\"listening\"")).unwrap();
        Self { program, listening }
    }

    fn addr(&self) -> &str {
        self.listening["udp"].as_str().unwrap()
    }

    /// The first status that `check` is content with.
    fn status(&self, check: impl Fn(&Value) -> bool) -> Value {
        loop {
            let status: Value = serde_json::from_str(&self.program.line_with("\"status\"")).unwrap();
            if check(&status) {
                return status;
            }
        }
    }

    /// Status line and body of the answer to a GET.
    fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.listening["metrics"].as_str().unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// Every sample by its name and labels.
    fn metrics(&self) -> BTreeMap<String, f64> {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, "HTTP/1.1 200 OK");
        let samples = body.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap());
        samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_node_is_watched_stopped_and_finds_its_way_back() {
    let home = tempfile::tempdir().unwrap();
    let router = Node::start(home.path(), "router", &[&ANYWHERE[..], &["--no-bootstrap"]].concat());
    let others: Vec<Node> = ["one", "two", "three"]
        .map(|state| Node::start(home.path(), state, &[&ANYWHERE[..], &["--bootstrap", router.addr()]].concat()))
        .into();

    let mut listen = vec!["127.0.0.1:0".to_owned(), "127.0.0.2:0".to_owned()];
    if UdpSocket::bind("[::1]:0").is_ok() {
        listen.push("[::1]:0".to_owned());
    }
    let args = |listen: &[String], more: &[&str]| -> Vec<String> {
        let listen = listen.iter().flat_map(|addr| ["--listen", addr.as_str()]);
        listen.chain(more.iter().copied()).map(str::to_owned).collect()
    };
    let start = |listen: &[String], more: &[&str]| {
        let args = args(listen, more);
        Node::start(home.path(), "mine", &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let node = start(&listen, &["--bootstrap", router.addr(), "--metrics", "127.0.0.1:0"]);
    let status = node.status(|status| status["contacts"].as_u64() >= Some(3));
    assert_eq!(status["ready"], Value::Bool(true));
    assert_eq!(status["bootstrap"][0]["state"], "it answers");
    assert!(status["queries_out"]["find_node"].as_u64() >= Some(1), "{status}");
    let (addrs, ids) = (texts(&node.listening["all"]), texts(&node.listening["node_ids"]));
    assert_eq!((addrs.len(), ids.len()), (listen.len(), listen.len()));
    assert!(ids.iter().all(|id| ids.iter().filter(|other| *other == id).count() == 1), "one id each: {ids:?}");

    let metrics = node.metrics();
    assert_eq!(metrics["magnes_dht_ready"], 1.0);
    assert!(metrics["magnes_dht_contacts"] >= 3.0);
    assert!(metrics["magnes_dht_queries_sent_total{kind=\"find_node\"}"] >= 1.0, "{metrics:?}");
    assert_eq!(metrics[&format!("magnes_dht_bootstrap_host_up{{host=\"{}\"}}", router.addr())], 1.0);
    assert_eq!(metrics[&format!("magnes_dht_socket_info{{addr=\"{}\",node_id=\"{}\"}}", addrs[1], ids[1])], 1.0);
    assert_eq!(node.get("/health").0, "HTTP/1.1 200 OK");
    assert_eq!(node.get("/else").0, "HTTP/1.1 404 Not Found");

    node.program.signal("TERM");
    assert_eq!(node.program.end().code, Some(0));
    drop(router);
    // Nobody is named to begin with: only the saved table leads back.
    let again = start(&addrs, &["--no-bootstrap"]);
    assert_eq!(texts(&again.listening["all"]), addrs);
    assert_eq!(texts(&again.listening["node_ids"]), ids);
    again.status(|status| status["ready"] == Value::Bool(true) && status["contacts"].as_u64() >= Some(2));
    drop(others);
}

#[test]
fn a_node_without_a_network_says_that_it_is_not_ready() {
    let home = tempfile::tempdir().unwrap();
    let node =
        Node::start(home.path(), "a", &[&ANYWHERE[..], &["--no-bootstrap", "--metrics", "127.0.0.1:0"]].concat());
    let (status, body) = node.get("/health");
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 503 Service Unavailable", "the DHT knows no node yet\n"));
    assert_eq!(node.metrics()["magnes_dht_ready"], 0.0);
    node.program.signal("INT");
    assert_eq!(node.program.end().code, Some(130));
}

#[test]
fn a_foreign_state_file_is_said_and_kept() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("a");
    std::fs::create_dir(&folder).unwrap();
    for (name, content) in [("dht-node.state.bad", &b"hello"[..]), ("dht-node.state.bad.1", &[0xff; 40])] {
        std::fs::write(folder.join("dht-node.state"), content).unwrap();
        let node = Node::start(home.path(), "a", &[&ANYWHERE[..], &["--no-bootstrap"]].concat());
        node.program.signal("TERM");
        let ended = node.program.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains(name), "{ended:?}");
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), content);
        assert!(
            std::fs::read(folder.join("dht-node.state")).unwrap().starts_with(b"magnesD"),
            "our own is in its place"
        );
    }
}

#[test]
fn a_port_in_use_is_6_and_named() {
    let home = tempfile::tempdir().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp_addr = udp.local_addr().unwrap().to_string();
    let tcp_addr = tcp.local_addr().unwrap().to_string();
    for (args, addr) in [
        (&["--listen", "127.0.0.1:0", "--listen", &udp_addr][..], &udp_addr),
        (&["--listen", "127.0.0.1:0", "--metrics", &tcp_addr], &tcp_addr),
    ] {
        let common = ["node", "--no-bootstrap", "--json", "--state-dir", "a"];
        let ended = run(common.iter().chain(args), home.path());
        assert_eq!(ended.code, Some(6), "{ended:?}");
        assert!(ended.stderr.contains(addr) && ended.stdout.contains("\"error\""), "{ended:?}");
    }
}

#[test]
fn wrong_limits_are_2() {
    let home = tempfile::tempdir().unwrap();
    for wrong in [
        &["--exempt", "10.0.0.0/33"][..],
        &["--exempt", "everybody"],
        &["--max-reply-rate", "-1"],
        &["--peer-memory", "0"],
        &["--bootstrap", "127.0.0.1:1", "--no-bootstrap"],
    ] {
        let ended = run(["node"].iter().chain(wrong), home.path());
        assert_eq!(ended.code, Some(2), "{wrong:?}: {ended:?}");
    }
}

#[test]
fn a_service_manager_hears_of_start_life_and_end() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let args = ["node", "--listen", "127.0.0.1:0", "--no-bootstrap", "--state-dir", "a"];
    let environment = [("NOTIFY_SOCKET", path.as_os_str()), ("WATCHDOG_USEC", "100000".as_ref())];
    let node = Program::start_with(args, home.path(), &environment);
    let hear = |wanted: &str| loop {
        let mut text = [0; 1024];
        let len = match manager.recv(&mut text) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            len => len.unwrap(),
        };
        let text = String::from_utf8_lossy(&text[..len]).into_owned();
        if text.contains(wanted) {
            return text;
        }
    };
    assert_eq!(hear("READY=1"), "READY=1");
    assert!(hear("WATCHDOG=1").contains("STATUS=the DHT knows no node yet"));
    node.signal("TERM");
    hear("STOPPING=1");
    assert_eq!(node.end().code, Some(0));
}
