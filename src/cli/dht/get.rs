use clap::Args;
use magnes::model::{Magnet, PublisherLink};
use magnes_dht::{Dht, Item, MutableItem, Target, item};
use serde_json::{Value, json};

use super::asking::{AskArgs, OutputArgs, failed, usage};
use super::hex::{self, Salt};
use super::value;
use crate::cli::Outcome;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print;

const AFTER_HELP: &str = "\
Examples:
  magnes dht get e5f96f6f38320f0f33959cb4d3d656452117aadb     an immutable item
  magnes dht get --key PUBLIC_KEY --salt motto                the newest version of a mutable one
  magnes dht get 'magnet:?xs=urn:btpk:...'                    the torrent that a publisher points to
  magnes dht get --key PUBLIC_KEY --follow                    this and every later version";

/// Find an item, and verify it (BEP 44).
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct GetArgs {
    /// The hash of an immutable item, 40 hexadecimal digits, or the magnet link of a publisher.
    #[arg(required_unless_present = "key", conflicts_with = "key")]
    target: Option<String>,
    /// The public key of a mutable item, 64 hexadecimal digits.
    #[arg(long, value_name = "HEX", value_parser = hex::parse_key)]
    key: Option<[u8; 32]>,
    /// The salt of a mutable item.
    #[arg(long, value_name = "TEXT", requires = "key")]
    salt: Option<String>,
    /// The same in hexadecimal.
    #[arg(long, value_name = "HEX", requires = "key", conflicts_with = "salt", value_parser = hex::parse_salt)]
    salt_hex: Option<Salt>,
    /// Print the value as it is stored, bencoded, and nothing else.
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Keep printing every newer version, until Ctrl-C or the timeout.
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    ask: AskArgs,
}

/// What is looked for.
enum Wanted {
    Immutable(Target),
    Mutable(PublisherLink),
}

pub(super) fn run(args: &GetArgs, output: &OutputArgs) -> Outcome {
    let wanted = wanted(args)?;
    let (target, link) = match &wanted {
        Wanted::Immutable(target) => (*target, None),
        Wanted::Mutable(link) => (link.target(), Some(link)),
    };
    if args.follow && link.is_none() {
        return Err(usage("an immutable item does not change: --follow needs --key or a publisher's magnet link"));
    }
    if let Some(link) = link.filter(|_| args.follow) {
        return args.ask.follow(async |dht: Dht| {
            let mut versions = dht.watch(link.key, &link.salt, None);
            loop {
                let version = versions.next().await.map_err(failed)?;
                tell(args, output, &Item::Mutable(version), None);
            }
        });
    }
    args.ask.ask(async |dht: Dht| {
        let outcome = match link {
            None => dht.get_immutable(target).await,
            Some(link) => dht.get_mutable(link.key, &link.salt, None).await,
        };
        let outcome = outcome.map_err(failed)?;
        let Some(item) = &outcome.item else {
            let rejected = match outcome.rejected {
                0 => String::new(),
                rejected => format!(", {rejected} of them with something that does not verify"),
            };
            let why = format!("no such item at {target}: {} nodes answered{rejected}", outcome.answered);
            return Err(Failure::new(Exit::Failed, why));
        };
        tell(args, output, item, Some(outcome.holders));
        Ok(Exit::Done)
    })
}

fn wanted(args: &GetArgs) -> Result<Wanted, Failure> {
    if let Some(key) = args.key {
        let text = args.salt.as_ref().map(|salt| salt.clone().into_bytes());
        let salt = text.or(args.salt_hex.as_ref().map(|salt| salt.0.clone())).unwrap_or_default();
        return Ok(Wanted::Mutable(PublisherLink { salt, ..PublisherLink::new(key) }));
    }
    let text = args.target.as_deref().unwrap_or_default();
    if text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet:")) {
        return text.parse().map(Wanted::Mutable).map_err(Failure::bad_torrent);
    }
    text.parse().map(Wanted::Immutable).map_err(|error| usage(format!("`{text}` is no hash of an item: {error}")))
}

fn tell(args: &GetArgs, output: &OutputArgs, item: &Item, holders: Option<usize>) {
    let value = item.value();
    if args.raw {
        // A terminal is not steered by what a stranger put.
        match print::is_stdout_terminal() {
            true => print::line(&value.escape_ascii().to_string()),
            false => print::raw(value),
        }
        return;
    }
    let torrent = item::parse_torrent_pointer(value).map(Magnet::new);
    let mut fields = json!({
        "target": item.target().to_string(),
        "value": value::text(value),
        "bencoded_hex": hex::encode(value),
        "bytes": value.len(),
        "holders": holders,
    });
    if let (Item::Mutable(item), Value::Object(fields)) = (item, &mut fields) {
        let MutableItem { key, salt, seq, signature, .. } = item;
        fields.insert("seq".into(), json!(seq));
        fields.insert("key".into(), json!(hex::encode(key)));
        fields.insert("salt_hex".into(), json!(hex::encode(salt)));
        fields.insert("signature".into(), json!(hex::encode(signature)));
    }
    if let (Some(magnet), Value::Object(fields)) = (&torrent, &mut fields) {
        fields.insert("info_hash".into(), json!(magnet.info_hash.to_string()));
        fields.insert("magnet".into(), json!(magnet.to_string()));
    }
    output.tell_lines("item", fields, || match torrent {
        Some(magnet) => vec![magnet.to_string()],
        None => value::shown(value),
    });
}
