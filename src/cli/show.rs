//! `magnes show`: what a `.torrent` file or magnet link says.

use std::ffi::OsString;

use clap::Args;
use data_encoding::HEXLOWER;
use indicatif::HumanBytes;
use magnes::model::{Magnet, Metainfo, PublisherLink, Renamed, Source};
use serde_json::json;

use super::Outcome;
use super::exit::Exit;
use super::files::{parse_source, read_metainfo};
use super::print;

/// Show what is in a .torrent file or magnet link.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// A .torrent file, magnet link or info hash.
    #[arg(value_name = "FILE.torrent|MAGNET")]
    source: OsString,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: ShowArgs) -> Outcome {
    match parse_source(&args.source)? {
        Source::File(path) => show_metainfo(&read_metainfo(&path)?, args.json),
        Source::Magnet(magnet) => show_magnet(&magnet, args.json),
        Source::Publisher(link) => show_publisher(&link, args.json),
    }
    Ok(Exit::Done)
}

fn show_metainfo(metainfo: &Metainfo, as_json: bool) {
    let info = &metainfo.info;
    let geometry = info.geometry();
    let files: Vec<_> = info.files().iter().enumerate().filter(|(_, file)| !file.padding).collect();
    let warnings: Vec<String> = info.warnings().iter().chain(&metainfo.warnings).map(ToString::to_string).collect();
    if as_json {
        let files: Vec<_> = files
            .iter()
            .map(|(number, file)| json!({ "number": number, "path": info.text(&file.path), "bytes": file.len }))
            .collect();
        let object = json!({
            "info_hash": info.hash().to_string(),
            "name": info.name(),
            "bytes": geometry.total_len(),
            "piece_length": geometry.piece_len_nominal(),
            "pieces": geometry.piece_count(),
            "private": info.is_private(),
            "files": files,
            "comment": metainfo.comment,
            "created_by": metainfo.created_by,
            "creation_date": metainfo.creation_date,
            "trackers": metainfo.trackers,
            "nodes": metainfo.nodes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "magnet": metainfo.magnet().to_string(),
            "warnings": warnings,
            "renamed": info.renamed().map(|Renamed { from, to }| json!({ "from": from, "to": to })).collect::<Vec<_>>(),
        });
        print::json(&object);
        return;
    }
    print::line(&format!("name       {}", info.name()));
    print::line(&format!("info hash  {}", info.hash()));
    print::line(&format!("size       {} in {} files", HumanBytes(geometry.total_len()), files.len()));
    print::line(&format!(
        "pieces     {} of {}",
        geometry.piece_count(),
        HumanBytes(geometry.piece_len_nominal().into())
    ));
    if info.is_private() {
        print::line("private    yes: neither DHT nor peer exchange");
    }
    for (title, text) in [("comment", &metainfo.comment), ("made by", &metainfo.created_by)] {
        if let Some(text) = text {
            print::line(&format!("{title:10} {text}"));
        }
    }
    for tracker in metainfo.trackers.iter().flatten() {
        print::line(&format!("tracker    {tracker} (not used)"));
    }
    print::line(&format!("magnet     {}", metainfo.magnet()));
    for (number, file) in files {
        print::line(&format!("  {number:>5}  {:>12}  {}", HumanBytes(file.len).to_string(), info.text(&file.path)));
    }
    for Renamed { from, to } in info.renamed() {
        print::line(&format!("renamed    {from} -> {to}"));
    }
    warnings.iter().for_each(|warning| print::warning(warning));
}

fn show_publisher(link: &PublisherLink, as_json: bool) {
    let (key, salt) = (HEXLOWER.encode(&link.key), HEXLOWER.encode(&link.salt));
    if as_json {
        let object = json!({
            "key": key,
            "salt_hex": salt,
            "target": link.target().to_string(),
            "name": link.display_name,
            "magnet": link.to_string(),
        });
        print::json(&object);
        return;
    }
    print::line(&format!("public key {key}"));
    if !salt.is_empty() {
        print::line(&format!("salt       {salt} (hexadecimal)"));
    }
    print::line(&format!("item       {}", link.target()));
    if let Some(name) = &link.display_name {
        print::line(&format!("name       {name}"));
    }
    print::line(&format!("magnet     {link}"));
    print::line("what it points to is found by `magnes dht get`");
}

fn show_magnet(magnet: &Magnet, as_json: bool) {
    let peers: Vec<String> = magnet.peers.iter().map(ToString::to_string).collect();
    let warnings: Vec<String> = magnet.warnings.iter().map(ToString::to_string).collect();
    if as_json {
        let object = json!({
            "info_hash": magnet.info_hash.to_string(),
            "name": magnet.display_name,
            "peers": peers,
            "trackers": magnet.trackers,
            "web_seeds": magnet.web_seeds,
            "files": magnet.select_only.as_ref().map(ToString::to_string),
            "magnet": magnet.to_string(),
            "warnings": warnings,
        });
        print::json(&object);
        return;
    }
    print::line(&format!("info hash  {}", magnet.info_hash));
    if let Some(name) = &magnet.display_name {
        print::line(&format!("name       {name}"));
    }
    for peer in peers {
        print::line(&format!("peer       {peer}"));
    }
    if let Some(files) = &magnet.select_only {
        print::line(&format!("files      {files} only"));
    }
    for tracker in &magnet.trackers {
        print::line(&format!("tracker    {tracker} (not used)"));
    }
    print::line(&format!("magnet     {magnet}"));
    warnings.iter().for_each(|warning| print::warning(warning));
}
