#![allow(clippy::disallowed_methods, reason = "the program measures its own time")]

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Instant;

use clap::Args;
use magnes_dht::{Contact, Hop, LookupOutcome, NodeId, Target};
use serde_json::{Value, json};

use super::asking::{AskArgs, OutputArgs, failed};
use super::hex;
use crate::cli::Outcome;
use crate::cli::exit::{Exit, Failure};

const AFTER_HELP: &str = "\
Each line is one step: when, what, the node, and how many leading bits its id shares with the target.

  ask      a query goes out; from whom the node is known
  answer   how long it took, what it gave, whether the id fits the address (BEP 42)
  slow     no answer for longer than most take: another node is asked meanwhile
  give up  so late that an answer is unlikely: the lookup no longer waits for it
  fail     no answer after 3 seconds, or the node cannot be reached";

/// Show a lookup step by step: whom it asks, who named them, what they answer, what it waits for.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct TraceArgs {
    /// Where it goes: an info hash, a magnet link, or any point as 40 hexadecimal digits.
    #[arg(value_name = "TARGET|MAGNET")]
    target: OsString,
    #[command(flatten)]
    ask: AskArgs,
}

pub(super) fn run(args: &TraceArgs, output: &OutputArgs) -> Outcome {
    let info_hash = hex::info_hash(&args.target)?;
    let target = Target::from(info_hash);
    args.ask.ask(async |dht| {
        let start = Instant::now();
        let mut trace = dht.trace(info_hash);
        while let Some((addr, hop)) = trace.next().await {
            let seconds = start.elapsed().as_secs_f64();
            output.tell("hop", fields(&target, addr, &hop), || format!("{seconds:7.3}  {}", line(&target, addr, &hop)));
        }
        match trace.outcome() {
            Some(Err(error)) => Err(failed(*error)),
            Some(Ok(outcome)) => {
                tell_outcome(output, &target, outcome);
                if outcome.answered > 0 { Ok(Exit::Done) } else { Err(Failure::new(Exit::Failed, "no node answered")) }
            }
            None => Ok(Exit::Done),
        }
    })
}

fn tell_outcome(output: &OutputArgs, target: &Target, outcome: &LookupOutcome) {
    let closest = |contact: &Contact| json!({ "node_id": contact.id.to_string(), "addr": contact.addr.to_string() });
    let fields = json!({
        "asked": outcome.asked,
        "answered": outcome.answered,
        "elapsed_s": outcome.elapsed.as_secs_f64(),
        "closest": outcome.closest.iter().map(closest).collect::<Vec<_>>(),
    });
    output.tell_lines("traced", fields, || {
        let (asked, answered, seconds) = (outcome.asked, outcome.answered, outcome.elapsed.as_secs_f64());
        let mut lines = vec![format!("{answered} of {asked} nodes answered within {seconds:.3} s; the nearest:")];
        for contact in &outcome.closest {
            lines.push(format!("         {:>3} bits  {}  {}", bits(target, &contact.id), contact.id, contact.addr));
        }
        lines
    });
}

fn bits(target: &Target, id: &NodeId) -> u32 {
    target.distance(id).common_bits()
}

fn line(target: &Target, addr: SocketAddr, hop: &Hop) -> String {
    match hop {
        Hop::Asked { id, suggester } => {
            let near = id.map_or("    router".to_owned(), |id| format!("{:>3} bits  {id}", bits(target, &id)));
            let from = match (suggester, id) {
                (Some(suggester), _) => format!("named by {suggester}"),
                (None, Some(_)) => "known before".to_owned(),
                (None, None) => "to begin with".to_owned(),
            };
            format!("ask      {addr:<21} {near}  {from}")
        }
        Hop::Answered { id, rtt, nodes, values, has_token, is_compliant } => {
            let token = if *has_token { "a token" } else { "no token" };
            let fits = if *is_compliant { "fits" } else { "does not fit" };
            let (near, rtt_ms) = (bits(target, id), rtt.as_secs_f64() * 1000.0);
            format!(
                "answer   {addr:<21} {near:>3} bits  after {rtt_ms:.0} ms: {nodes} nodes, {values} peers, {token}; id {fits}"
            )
        }
        Hop::Stalled => format!("slow     {addr}"),
        Hop::GivenUp => format!("give up  {addr}"),
        Hop::Failed => format!("fail     {addr}"),
        _ => format!("{hop:?}  {addr}"),
    }
}

fn fields(target: &Target, addr: SocketAddr, hop: &Hop) -> Value {
    let addr = addr.to_string();
    match hop {
        Hop::Asked { id, suggester } => json!({
            "step": "asked",
            "addr": addr,
            "node_id": id.map(|id| id.to_string()),
            "shared_bits": id.map(|id| bits(target, &id)),
            "named_by": suggester.map(|suggester| suggester.to_string()),
        }),
        Hop::Answered { id, rtt, nodes, values, has_token, is_compliant } => json!({
            "step": "answered",
            "addr": addr,
            "node_id": id.to_string(),
            "shared_bits": bits(target, id),
            "rtt_ms": rtt.as_secs_f64() * 1000.0,
            "nodes": nodes,
            "peers": values,
            "token": has_token,
            "bep42": is_compliant,
        }),
        Hop::Stalled => json!({ "step": "stalled", "addr": addr }),
        Hop::GivenUp => json!({ "step": "given_up", "addr": addr }),
        Hop::Failed => json!({ "step": "failed", "addr": addr }),
        _ => json!({ "step": "other", "addr": addr }),
    }
}
