#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the program reads the file it is told")]

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use magnes::model::PublisherLink;
use magnes_dht::item::{self, SigningKey, VALUE_LEN_MAX};
use magnes_dht::{Dht, MutableItem, PutOutcome};
use serde_json::{Value, json};

use super::asking::{AskArgs, OutputArgs, failed, usage};
use super::hex::{self, Salt};
use super::{keygen, value};
use crate::cli::Outcome;
use crate::cli::exit::{Exit, Failure};

const AFTER_HELP: &str = "\
Examples:
  magnes dht put 'Hello World!'                        an immutable item; prints where it lives
  magnes dht keygen me.key
  magnes dht put --key me.key --salt motto 'Hello!'    a mutable one; a later put replaces it
  magnes dht put --key me.key --torrent INFO_HASH      a pointer to a torrent, as a magnet link
  magnes dht put --file data --key me.key --cas 4      only if version 4 is the newest

A value has at most 1000 bytes, bencoded. Nodes forget it after two hours: put it again every hour.";

/// Store an item: a value that anybody can find by its hash, or by your public key (BEP 44).
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
#[command(group = clap::ArgGroup::new("content").required(true))]
pub(super) struct PutArgs {
    /// The value, a text.
    #[arg(group = "content")]
    value: Option<OsString>,
    /// The content of this file is the value.
    #[arg(long, value_name = "FILE", group = "content")]
    file: Option<PathBuf>,
    /// The value is a pointer to this torrent (BEP 46): its info hash, magnet link or .torrent file.
    #[arg(long, value_name = "INFO_HASH|MAGNET", group = "content", requires = "key")]
    torrent: Option<OsString>,
    /// The value is bencoded already.
    #[arg(long, conflicts_with = "torrent")]
    bencoded: bool,
    /// Sign with the private key in this file, which `magnes dht keygen` wrote: a mutable item.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Distinguishes items of one key; at most 64 bytes.
    #[arg(long, value_name = "TEXT", requires = "key")]
    salt: Option<String>,
    /// The same in hexadecimal.
    #[arg(long, value_name = "HEX", requires = "key", conflicts_with = "salt", value_parser = hex::parse_salt)]
    salt_hex: Option<Salt>,
    /// Sequence number. Default: the one after that of the newest version.
    #[arg(long, value_name = "NUMBER", requires = "key", value_parser = clap::value_parser!(i64).range(0..))]
    seq: Option<i64>,
    /// Replace only the version with this sequence number.
    #[arg(long, value_name = "NUMBER", requires = "key", value_parser = clap::value_parser!(i64).range(0..))]
    cas: Option<i64>,
    #[command(flatten)]
    ask: AskArgs,
}

pub(super) fn run(args: &PutArgs, output: &OutputArgs) -> Outcome {
    let value = content(args)?;
    item::check_value(&value).map_err(usage)?;
    let Some(path) = &args.key else {
        return args.ask.ask(async |dht| {
            let outcome = dht.put_immutable(&value).await.map_err(failed)?;
            let target = item::immutable_target(&value).to_string();
            tell(output, &outcome, json!({ "target": target }), || target.clone())
        });
    };
    let key = keygen::read(path)?;
    let text = args.salt.as_ref().map(|salt| salt.clone().into_bytes());
    let salt = text.or(args.salt_hex.as_ref().map(|salt| salt.0.clone())).unwrap_or_default();
    // What cannot be signed is told before anybody is asked.
    MutableItem::sign(&key, &salt, args.seq.unwrap_or(0), value.clone()).map_err(usage)?;
    args.ask.ask(async |dht: Dht| {
        let (item, outcome) = put_mutable(&dht, args, &key, &salt, &value).await?;
        let link = PublisherLink { salt, ..PublisherLink::new(item.key) };
        let fields = json!({
            "target": item.target().to_string(),
            "seq": item.seq,
            "key": hex::encode(&item.key),
            "magnet": args.torrent.as_ref().map(|_| link.to_string()),
        });
        tell(output, &outcome, fields, || match args.torrent {
            Some(_) => link.to_string(),
            None => format!("{} version {} of key {}", item.target(), item.seq, hex::encode(&item.key)),
        })
    })
}

async fn put_mutable(
    dht: &Dht,
    args: &PutArgs,
    key: &SigningKey,
    salt: &[u8],
    value: &[u8],
) -> Result<(MutableItem, PutOutcome), Failure> {
    let seq = match (args.seq, args.cas) {
        (Some(seq), _) => seq,
        (None, None) => return dht.put_next(key, salt, value).await.map_err(failed),
        (None, Some(cas)) => cas.checked_add(1).ok_or_else(|| usage(item::ItemError::LastSequence))?,
    };
    let item = MutableItem::sign(key, salt, seq, value.to_vec()).map_err(usage)?;
    let outcome = dht.put_mutable(item.clone(), args.cas).await.map_err(failed)?;
    Ok((item, outcome))
}

/// The value, bencoded.
fn content(args: &PutArgs) -> Result<Vec<u8>, Failure> {
    let bytes = match (&args.value, &args.file, &args.torrent) {
        (Some(text), ..) => text.clone().into_encoded_bytes(),
        (_, Some(path), _) => {
            // One byte more than there is room for is enough to say that it is too much.
            let mut bytes = Vec::new();
            let failed = |error| Failure::new(Exit::Disk, format!("cannot read {}: {error}", path.display()));
            let file = File::open(path).map_err(failed)?;
            let len = file.metadata().map_err(failed)?.len();
            if len > VALUE_LEN_MAX as u64 {
                let why = format!("{} has {len} bytes; an item has room for {VALUE_LEN_MAX}", path.display());
                return Err(usage(why));
            }
            file.take(VALUE_LEN_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
            bytes
        }
        (.., Some(text)) => return Ok(item::torrent_pointer(&hex::info_hash(text)?)),
        _ => return Err(usage("nothing to put: give a value, --file or --torrent")),
    };
    Ok(if args.bencoded { bytes } else { value::of_bytes(&bytes) })
}

/// Tells where the item lives and who took it; it failed when nobody did.
fn tell(output: &OutputArgs, outcome: &PutOutcome, mut fields: Value, place: impl Fn() -> String) -> Outcome {
    if let Some(conflict) = &outcome.conflict {
        return Err(Failure::new(Exit::Failed, format!("not put: {conflict}")));
    }
    let refusals: Vec<String> = outcome.refused.iter().map(ToString::to_string).collect();
    if outcome.acknowledged == 0 {
        let why = match (refusals.is_empty(), outcome.asked) {
            (false, _) => refusals.join("; "),
            (true, 0) => "no node gave a token".to_owned(),
            (true, asked) => format!("none of {asked} nodes answered"),
        };
        return Err(Failure::new(Exit::Failed, format!("not put: {why}")));
    }
    if let Value::Object(fields) = &mut fields {
        let refused = outcome.refused.iter().map(|refusal| json!({ "code": refusal.code, "nodes": refusal.nodes }));
        fields.insert("asked".into(), json!(outcome.asked));
        fields.insert("acknowledged".into(), json!(outcome.acknowledged));
        fields.insert("refused".into(), refused.collect());
        fields.insert("elapsed_s".into(), json!(outcome.elapsed.as_secs_f64()));
    }
    output.tell_lines("put", fields, || {
        let taken = format!("{} of {} nodes took it", outcome.acknowledged, outcome.asked);
        let refusals: String = refusals.iter().map(|refusal| format!("; {refusal}")).collect();
        vec![place(), format!("{taken}{refusals}")]
    });
    Ok(Exit::Done)
}
