#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the program writes and reads its key")]

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use magnes::model::PublisherLink;
use magnes_dht::item::SigningKey;
use serde_json::json;

use super::asking::{OutputArgs, usage};
use super::hex;
use crate::cli::Outcome;
use crate::cli::exit::{Exit, Failure};

/// Longer files are no keys: 64 digits, and some white space.
const KEY_FILE_LEN_MAX: u64 = 256;

const AFTER_HELP: &str = "\
Examples:
  magnes dht keygen me.key
  magnes dht put --key me.key 'Hello World!'

Keep the file secret and back it up: anyone who has it can replace what you put, and nobody can without it.";

/// Make a key for mutable items, and print its public half.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct KeygenArgs {
    /// File to write the private key to, readable by you alone. It must not exist yet.
    file: PathBuf,
}

pub(super) fn run(args: &KeygenArgs, output: &OutputArgs) -> Outcome {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| Failure::new(Exit::Failed, format!("the system gives no random numbers: {error}")))?;
    write(&args.file, &secret)?;
    let key = SigningKey::from_bytes(&secret).verifying_key().to_bytes();
    let link = PublisherLink::new(key).to_string();
    let fields = json!({ "key": hex::encode(&key), "magnet": link.clone(), "file": args.file.display().to_string() });
    output.tell_lines("key", fields, || vec![format!("public key {}", hex::encode(&key)), link]);
    Ok(Exit::Done)
}

fn write(path: &Path, secret: &[u8; 32]) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(format!("{}\n", hex::encode(secret)).as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            usage(format!("{} exists, and a key cannot be had again: name another file", path.display()))
        }
        _ => Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display())),
    })
}

/// The key in a file that `keygen` wrote.
pub(super) fn read(path: &Path) -> Result<SigningKey, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(KEY_FILE_LEN_MAX).read_to_string(&mut text));
    match read {
        Err(error) if error.kind() != ErrorKind::InvalidData => {
            Err(Failure::new(Exit::Disk, format!("cannot read {}: {error}", path.display())))
        }
        _ => hex::decode(text.trim())
            .and_then(|secret| secret.try_into().ok())
            .map(|secret| SigningKey::from_bytes(&secret))
            .ok_or_else(|| {
                usage(format!(
                    "{} is no key file: 64 hexadecimal digits, as `magnes dht keygen` writes",
                    path.display()
                ))
            }),
    }
}
