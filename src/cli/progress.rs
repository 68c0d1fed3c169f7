//! How far a torrent is, as a line that fits a terminal, as a line of a log, and as JSON.

use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration};
use magnes::session::{Phase, Progress, Search, Stall};
use serde_json::{Value, json};

use super::print::{fit, width};

/// Columns of the bar that shows the share that is done: its least and its most.
const BAR_COLUMNS_MIN: usize = 10;
const BAR_COLUMNS_MAX: usize = 24;
/// Between two things on a line.
const GAP: &str = "  ";

/// One line of at most `columns`. What matters least is left out first; the reason why nothing moves is cut at the end,
/// and only on a terminal that has no room for it.
pub(super) fn line(progress: &Progress, stall: Option<&str>, columns: usize) -> String {
    let mut items = items(progress, stall, 0);
    while columns_of(&items) > columns {
        let Some(least) = items.iter().enumerate().filter(|(_, item)| item.rank > 0).max_by_key(|(_, item)| item.rank)
        else {
            break;
        };
        items.remove(least.0);
    }
    if columns_of(&items) > columns {
        // Then at least without the size, which does not change.
        let short = percent(progress, 0);
        let rest = items.iter().filter(|item| !item.is_share).map(|item| item.text.clone());
        return fit(&short.into_iter().chain(rest).collect::<Vec<_>>().join(GAP), columns);
    }
    let text = join(&items);
    match (share(progress), columns.saturating_sub(width(&text) + GAP.len())) {
        (Some(share), left @ BAR_COLUMNS_MIN..) => format!("{}{GAP}{text}", bar(share, left.min(BAR_COLUMNS_MAX))),
        _ => text,
    }
}

/// One line for a log, however long.
pub(super) fn summary(progress: &Progress, stall: Option<&str>) -> String {
    join(&items(progress, stall, 1)).trim_start().to_owned()
}

/// The fields of the event `progress`.
pub(super) fn fields(progress: &Progress, stall: Option<&str>) -> Value {
    json!({
        "phase": phase_name(progress.phase),
        "bytes": progress.bytes_done,
        "total": progress.bytes_total,
        "down_bps": progress.down_bps,
        "up_bps": progress.up_bps,
        "uploaded": progress.uploaded,
        "peers": progress.peers,
        "dht_nodes": progress.dht_nodes,
        "reason": stall,
    })
}

/// Why nothing moves, and the option that may help.
pub(super) fn stall_text(stall: &Stall) -> String {
    match stall.search {
        Some(Search::Private | Search::NoDht) => format!("{stall}: give --peer"),
        _ => stall.to_string(),
    }
}

/// One thing that is said about a torrent.
struct Item {
    text: String,
    /// What is left out first has the highest; 0 stays.
    rank: u8,
    is_share: bool,
}

impl Item {
    fn new(rank: u8, text: String) -> Self {
        Self { text, rank, is_share: false }
    }
}

fn items(progress: &Progress, stall: Option<&str>, decimals: usize) -> Vec<Item> {
    let mut items = Vec::new();
    if let (Some(percent), Some(total)) = (percent(progress, decimals), progress.bytes_total) {
        let text = format!("{percent} of {}", HumanBytes(total));
        items.push(Item { text, rank: 0, is_share: true });
    }
    match progress.phase {
        Phase::Checking => items.push(Item::new(0, "checking what is there".to_owned())),
        Phase::Paused => items.push(Item::new(0, "paused".to_owned())),
        Phase::Metadata => items.push(Item::new(3, "fetching the metadata".to_owned())),
        Phase::Seeding => {
            items.push(Item::new(0, "seeding".to_owned()));
            items.push(Item::new(3, format!("up {}/s", HumanBytes(progress.up_bps))));
            items.push(Item::new(4, format!("{} sent", HumanBytes(progress.uploaded))));
        }
        _ => {
            // Rates of nothing say less than the reason for it.
            if stall.is_none() || progress.down_bps > 0 {
                items.push(Item::new(1, format!("down {}/s", HumanBytes(progress.down_bps))));
            }
            if stall.is_none() || progress.up_bps > 0 {
                items.push(Item::new(4, format!("up {}/s", HumanBytes(progress.up_bps))));
            }
        }
    }
    if progress.phase != Phase::Checking && (stall.is_none() || progress.peers > 0) {
        items.push(Item::new(5, format!("{} peer{}", progress.peers, plural(progress.peers as u64))));
    }
    if let (Phase::Downloading, Some(total), 1.., None) =
        (progress.phase, progress.bytes_total, progress.down_bps, stall)
    {
        let left = total.saturating_sub(progress.bytes_done) / progress.down_bps;
        items.push(Item::new(2, format!("{} left", HumanDuration(Duration::from_secs(left)))));
    }
    if let Some(stall) = stall {
        items.push(Item::new(0, format!("({stall})")));
    }
    items
}

/// The share that is done, where one is to be done.
fn share(progress: &Progress) -> Option<f64> {
    let total = progress.bytes_total.filter(|_| progress.phase != Phase::Seeding)?;
    if total == 0 {
        return Some(1.0);
    }
    Some((progress.bytes_done as f64 / total as f64).clamp(0.0, 1.0))
}

/// Rounded down: what is not all of it does not look like it.
fn percent(progress: &Progress, decimals: usize) -> Option<String> {
    let scale = 10_f64.powi(decimals as i32);
    let percent = (share(progress)? * 100.0 * scale).floor() / scale;
    Some(format!("{percent:>3.decimals$}%"))
}

fn bar(share: f64, columns: usize) -> String {
    let inside = columns - 2;
    let done = ((share * inside as f64) as usize).min(inside);
    let head = if done < inside { ">" } else { "" };
    format!("[{}{head}{}]", "=".repeat(done), " ".repeat(inside - done - head.len()))
}

fn join(items: &[Item]) -> String {
    items.iter().map(|item| item.text.as_str()).collect::<Vec<_>>().join(GAP)
}

fn columns_of(items: &[Item]) -> usize {
    let gaps = items.len().saturating_sub(1) * GAP.len();
    items.iter().map(|item| width(&item.text)).sum::<usize>() + gaps
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Metadata => "metadata",
        Phase::Checking => "checking",
        Phase::Downloading => "downloading",
        Phase::Seeding => "seeding",
        Phase::Paused => "paused",
        _ => "failed",
    }
}

/// The ending of a noun that is counted.
pub(super) fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: &str = "no peers found yet: it is private, the DHT is not used: give --peer";

    fn progress(phase: Phase, total: Option<u64>) -> Progress {
        let mut progress = Progress::new(phase);
        progress.name = Some("名前".repeat(100));
        (progress.bytes_done, progress.bytes_total) = (123_456_789, total);
        (progress.down_bps, progress.up_bps, progress.uploaded) = (123_456_789, 12_345_678, 1 << 50);
        (progress.peers, progress.dht_nodes) = (1_000, 100);
        progress
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let phases = [Phase::Metadata, Phase::Checking, Phase::Downloading, Phase::Seeding, Phase::Paused];
        let wide = "名前".repeat(60);
        for (phase, total) in
            phases.into_iter().flat_map(|phase| [(phase, None), (phase, Some(0)), (phase, Some(u64::MAX))])
        {
            for (stall, columns) in
                [None, Some(STALL), Some(wide.as_str())].into_iter().flat_map(|stall| (0..160).map(move |c| (stall, c)))
            {
                let line = line(&progress(phase, total), stall, columns);
                assert!(width(&line) <= columns, "{columns}: {line:?}");
            }
        }
    }

    #[test]
    fn eighty_columns_hold_the_reason_or_the_rates_whole() {
        let mut moving = progress(Phase::Downloading, Some(1 << 30));
        (moving.down_bps, moving.up_bps, moving.peers) = (12_345_678, 234_567, 25);
        let text = line(&moving, None, 78);
        for needed in [" 11% of 1.00 GiB", "down 11.77 MiB/s", "up 229.07 KiB/s", "25 peers", "76 seconds left"] {
            assert!(text.contains(needed), "{text}");
        }
        let mut still = progress(Phase::Downloading, Some(1 << 30));
        (still.down_bps, still.up_bps, still.peers) = (0, 0, 0);
        let text = line(&still, Some(STALL), 78);
        assert!(text.starts_with(" 11%") && text.ends_with(&format!("({STALL})")), "{text}");
        let text = line(&still, Some("waiting for the disk"), 78);
        assert_eq!(text, "[==>                   ]   11% of 1.00 GiB  (waiting for the disk)");
    }

    #[test]
    fn a_narrow_terminal_keeps_how_far_it_is_and_the_start_of_the_reason() {
        let mut still = progress(Phase::Downloading, Some(1 << 30));
        (still.down_bps, still.up_bps, still.peers) = (0, 0, 0);
        assert_eq!(line(&still, Some(STALL), 30), " 11%  (no peers found yet: it…");
    }

    #[test]
    fn only_what_is_complete_is_a_hundred_percent() {
        let mut nearly = progress(Phase::Downloading, Some(1_000_000));
        nearly.bytes_done = 999_999;
        assert!(summary(&nearly, None).starts_with("99.9% of"), "{}", summary(&nearly, None));
        assert!(line(&nearly, None, 78).contains(" 99% of"), "{}", line(&nearly, None, 78));
        nearly.bytes_done = 1_000_000;
        assert!(summary(&nearly, None).starts_with("100.0% of"));
    }
}
