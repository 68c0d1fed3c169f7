//! The numbers for Prometheus, in its text format 0.0.4.

use std::fmt::Write;
use std::net::SocketAddr;

use magnes_dht::{BootstrapState, Dht, PerKind};

use super::http::{self, Page};
use super::process;
use super::status::Status;

/// The format that [`render`] writes.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The answer to a monitor.
pub(super) async fn page(dht: Dht, path: String) -> Page {
    let status = match path.as_str() {
        "/metrics" | "/health" => Status::of(&dht).await,
        _ => return Page::text(http::Status::NotFound, "there are /metrics and /health\n"),
    };
    match status {
        Ok(status) if path == "/metrics" => {
            let body = render(&status, dht.local_addrs());
            Page { status: http::Status::Ok, content_type: CONTENT_TYPE, body }
        }
        Ok(status) if status.is_ready() => Page::text(http::Status::Ok, format!("{}\n", status.readiness)),
        Ok(status) => Page::text(http::Status::Unavailable, format!("{}\n", status.readiness)),
        Err(closed) => Page::text(http::Status::Unavailable, format!("{closed}\n")),
    }
}

/// Every number, with its explanation.
pub(super) fn render(status: &Status, addrs: &[SocketAddr]) -> String {
    let (stats, traffic) = (&status.stats, &status.stats.traffic);
    let mut text = Text(String::with_capacity(8 * 1024));
    text.family("magnes_build_info", "gauge", "The version that runs.");
    text.sample("magnes_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    text.gauge(
        "magnes_dht_ready",
        "Whether lookups can succeed (1), or not (0).",
        f64::from(u8::from(status.is_ready())),
    );
    for (name, help, number) in stats.gauges() {
        let name = if name == "good_contacts" { "contacts_good" } else { name };
        text.gauge(&format!("magnes_dht_{name}"), help, number as f64);
    }
    text.kinds("magnes_dht_queries_received_total", "Queries received, by kind.", &traffic.queries_in);
    text.kinds("magnes_dht_queries_sent_total", "Queries sent, by kind.", &traffic.queries_out);
    for (name, help, count) in traffic.counters() {
        let name = counter_name(name);
        text.family(&name, "counter", help);
        text.sample(&name, &[], count as f64);
    }
    text.family("magnes_dht_drops_total", "counter", "Datagrams that came to nothing, by reason.");
    for (reason, count) in traffic.drops.iter() {
        text.sample("magnes_dht_drops_total", &[("reason", reason)], count as f64);
    }
    if let Some(drops) = &status.receive_drops {
        let name = "magnes_dht_receive_drops_total";
        text.family(name, "counter", "Datagrams that the system lost because they were not read in time.");
        for (addr, count) in addrs.iter().zip(drops) {
            text.sample(name, &[("addr", &addr.to_string())], *count as f64);
        }
    }
    text.family("magnes_dht_bootstrap_host_up", "gauge", "Whether a bootstrap host has answered (1), or failed (0).");
    for host in status.hosts.iter().filter(|host| is_known(&host.state)) {
        let is_up = f64::from(u8::from(host.state == BootstrapState::Answered));
        text.sample("magnes_dht_bootstrap_host_up", &[("host", &host.name)], is_up);
    }
    text.family("magnes_dht_socket_info", "gauge", "The addresses that are listened on, and the node id of each.");
    for (addr, id) in addrs.iter().zip(&status.ids) {
        let labels = [("addr", addr.to_string()), ("node_id", id.to_string())];
        text.sample("magnes_dht_socket_info", &labels.each_ref().map(|(name, value)| (*name, value.as_str())), 1.0);
    }
    if let Some(bytes) = status.resident_bytes {
        text.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", bytes as f64);
    }
    let started_at_s = process::started_at_s(status.uptime);
    text.gauge("process_start_time_seconds", "Start time of the process since the Unix epoch.", started_at_s);
    text.0
}

/// Neither up nor down is who was not tried.
fn is_known(state: &BootstrapState) -> bool {
    state.is_fault() || *state == BootstrapState::Answered
}

/// `responses_in` is what Prometheus knows as `magnes_dht_responses_received_total`.
fn counter_name(name: &str) -> String {
    let name = match (name.strip_suffix("_in"), name.strip_suffix("_out")) {
        (Some(what), _) => format!("{what}_received"),
        (_, Some(what)) => format!("{what}_sent"),
        _ => name.to_owned(),
    };
    format!("magnes_dht_{name}_total")
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn kinds(&mut self, name: &str, help: &str, counts: &PerKind) {
        self.family(name, "counter", help);
        for (kind, count) in counts.iter() {
            self.sample(name, &[("kind", kind.name())], count as f64);
        }
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(value));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{after} {value}");
    }
}

/// A label's value may hold anything, with these three escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use magnes_dht::{NodeId, NotReady, Readiness, Stats};
    use std::time::Duration;

    fn status() -> Status {
        let mut stats = Stats::default();
        stats.contacts = 412;
        Status {
            stats,
            readiness: Readiness::NotReady(NotReady::NoAddress),
            ids: vec![NodeId::new([0xab; 20])],
            hosts: Vec::new(),
            resident_bytes: Some(14 << 20),
            receive_drops: Some(vec![7]),
            uptime: Duration::from_secs(5),
        }
    }

    #[test]
    fn every_sample_follows_its_help_and_type() {
        let text = render(&status(), &["192.0.2.1:6881".parse().unwrap()]);
        let mut family = None;
        let mut families = Vec::new();
        for line in text.lines() {
            match line.strip_prefix("# ").map(|comment| comment.split(' ').collect::<Vec<_>>()) {
                Some(words) if words[0] == "HELP" => {
                    assert!(words.len() > 3, "{line}");
                    family = Some(words[1].to_owned());
                    families.push(words[1].to_owned());
                }
                Some(words) => {
                    assert_eq!((words[0], Some(words[1].to_owned())), ("TYPE", family.clone()), "{line}");
                    assert_eq!(words[2] == "counter", words[1].ends_with("_total"), "{line}");
                }
                None => {
                    let (series, value) = line.rsplit_once(' ').unwrap();
                    assert_eq!(series.split('{').next().map(str::to_owned), family, "{line}");
                    assert!(value.parse::<f64>().is_ok(), "{line}");
                }
            }
        }
        let count = families.len();
        families.sort();
        families.dedup();
        assert_eq!(families.len(), count, "each family once");
        for wanted in [
            "magnes_dht_ready 0\n",
            "magnes_dht_contacts 412\n",
            "magnes_dht_contacts_good 0\n",
            "magnes_dht_stored_peers 0\n",
            "magnes_dht_stored_items 0\n",
            "magnes_dht_responses_received_total 0\n",
            "magnes_dht_responses_sent_total 0\n",
            "magnes_dht_errors_received_total 0\n",
            "magnes_dht_errors_sent_total 0\n",
            "magnes_dht_datagrams_received_total 0\n",
            "magnes_dht_datagrams_sent_total 0\n",
            "magnes_dht_bytes_received_total 0\n",
            "magnes_dht_bytes_sent_total 0\n",
            "magnes_dht_queries_received_total{kind=\"get_peers\"} 0\n",
            "magnes_dht_drops_total{reason=\"prefix_bytes\"} 0\n",
            "process_resident_memory_bytes 14680064\n",
            "magnes_dht_receive_drops_total{addr=\"192.0.2.1:6881\"} 7\n",
            "magnes_dht_socket_info{addr=\"192.0.2.1:6881\",node_id=\"abababababababababababababababababababab\"} 1\n",
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }

    #[test]
    fn values_of_labels_are_escaped() {
        let mut text = Text(String::new());
        text.sample("a", &[("b", "x\"y\\z\nw")], 1.5);
        assert_eq!(text.0, "a{b=\"x\\\"y\\\\z\\nw\"} 1.5\n");
    }
}
