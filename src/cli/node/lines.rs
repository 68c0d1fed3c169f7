//! What the operator reads: lines on a terminal or in a log, and JSON.

use std::fmt::Write;
use std::net::SocketAddr;

use indicatif::{HumanBytes, HumanDuration};
use magnes_dht::{NodeId, PerKind};
use serde_json::{Map, Value, json};

use super::status::{Rates, Status};

/// Four lines for a terminal.
pub(super) fn block(status: &Status, rates: &Rates) -> [String; 4] {
    let rate_in = HumanBytes(rates.per_s(|traffic| traffic.bytes_in) as u64);
    let rate_out = HumanBytes(rates.per_s(|traffic| traffic.bytes_out) as u64);
    let incoming = rates.grown(|traffic| names(&traffic.queries_in));
    let outgoing = rates.grown(|traffic| names(&traffic.queries_out));
    let drops = rates.grown(|traffic| traffic.drops.iter().collect::<Vec<_>>());
    [
        summary(status),
        format!("  in   {rate_in}/s  {}", rates_text(&incoming, "queries")),
        format!("  out  {rate_out}/s  {}", rates_text(&outgoing, "queries")),
        format!("  dropped {} in all  {}", status.stats.traffic.drops.total(), rates_text(&drops, "drops")),
    ]
}

/// One line for a log.
pub(super) fn summary(status: &Status) -> String {
    let stats = &status.stats;
    let mut text = format!(
        "{}: {} contacts ({} good), {} peers and {} items stored, {} queries answered",
        status.readiness,
        stats.contacts,
        stats.good_contacts,
        stats.stored_peers,
        stats.stored_items,
        stats.queries_answered
    );
    if let Some(bytes) = status.resident_bytes {
        let _ = write!(text, ", {} of memory", HumanBytes(bytes));
    }
    if let Some(lost @ 1..) = lost(status) {
        let _ = write!(text, ", {lost} lost before they were read");
    }
    let _ = write!(text, ", up {}", HumanDuration(status.uptime));
    text
}

/// Datagrams that the system lost before they were read.
fn lost(status: &Status) -> Option<u64> {
    status.receive_drops.as_ref().map(|drops| drops.iter().sum())
}

fn names(counts: &PerKind) -> Vec<(&'static str, u64)> {
    counts.iter().map(|(kind, count)| (kind.name(), count)).collect()
}

fn rates_text(rates: &[(&'static str, f64)], what: &str) -> String {
    if rates.is_empty() {
        return format!("no {what}");
    }
    let texts: Vec<String> = rates.iter().map(|(name, rate)| format!("{name} {}", rate_text(*rate))).collect();
    format!("{} a second", texts.join("  "))
}

/// Whole numbers where they say enough.
fn rate_text(rate: f64) -> String {
    if rate < 9.95 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// The event `listening`.
pub(super) fn listening_json(addrs: &[SocketAddr], ids: &[NodeId], metrics: Option<SocketAddr>) -> Value {
    let all: Vec<String> = addrs.iter().map(ToString::to_string).collect();
    json!({
        "udp": all.first(),
        "node_id": ids.first().map(ToString::to_string),
        "all": all,
        "node_ids": id_texts(ids),
        "metrics": metrics.map(|addr| addr.to_string()),
    })
}

/// The event `status`.
pub(super) fn status_json(status: &Status) -> Value {
    let stats = &status.stats;
    let traffic = &stats.traffic;
    let hosts: Vec<Value> = status
        .hosts
        .iter()
        .map(|host| json!({ "host": host.name, "state": host.state.to_string(), "fault": host.state.is_fault() }))
        .collect();
    let mut object = json!({
        "ready": status.is_ready(), "readiness": status.readiness.to_string(),
        "queries_answered": stats.queries_answered, "queries_sent": traffic.queries_out.total(),
        "responses": traffic.responses_in, "dropped": traffic.drops.total(),
        "queries_in": kinds_json(&traffic.queries_in), "queries_out": kinds_json(&traffic.queries_out),
        "drops": object_of(traffic.drops.iter()),
        "memory_bytes": status.resident_bytes,
        "receive_drops": lost(status),
        "node_ids": id_texts(&status.ids),
        "bootstrap": hosts,
    });
    if let Value::Object(object) = &mut object {
        let numbers = stats.gauges().into_iter().chain(traffic.counters());
        object.extend(numbers.map(|(name, _, number)| (name.to_owned(), number.into())));
    }
    object
}

fn kinds_json(counts: &PerKind) -> Value {
    object_of(names(counts).into_iter())
}

fn object_of(counts: impl Iterator<Item = (&'static str, u64)>) -> Value {
    Value::Object(counts.map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, _>>())
}

fn id_texts(ids: &[NodeId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
