use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{Bitfield, Info};

/// Ranges of one selection; a longer text is refused before it is sorted.
const RANGES_MAX: usize = 16 * 1024;

/// Some of a torrent's files, by their index in the torrent, from 0 (BEP 53).
///
/// As text: numbers and ranges such as `0,2,4-7`. It prints with the ranges in ascending order and joined where they touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSelection {
    ranges: Vec<RangeInclusive<u32>>,
}

impl FileSelection {
    /// Reads the `so` of a magnet link, whose author may be anybody: blanks, empty items and ends beyond every index do no
    /// harm, and what selects nothing is left out, each item of it told to `left_out`. `None` when nothing is selected.
    pub(super) fn parse_lenient(text: &str, mut left_out: impl FnMut(&str)) -> Option<Self> {
        let mut ranges = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (start, end) = item.split_once('-').unwrap_or((item, item));
            match (index(start), index(end)) {
                (Some(start), Some(end)) if start <= end && ranges.len() < RANGES_MAX => ranges.push(start..=end),
                _ => left_out(item),
            }
        }
        (!ranges.is_empty()).then(|| Self::of(ranges))
    }

    /// Those that a torrent of so many files has. All of them stay when it has none: that is for [`FileSelection::pieces`]
    /// to say.
    pub fn within(&self, files: usize) -> Self {
        let Some(last) = files.checked_sub(1).and_then(|last| u32::try_from(last).ok()) else { return self.clone() };
        let there = self.ranges.iter().filter(|range| *range.start() <= last);
        let ranges: Vec<_> = there.map(|range| *range.start()..=last.min(*range.end())).collect();
        if ranges.is_empty() { self.clone() } else { Self { ranges } }
    }

    /// Puts ranges in order and joins those that touch.
    fn of(mut ranges: Vec<RangeInclusive<u32>>) -> Self {
        ranges.sort_by_key(|range| *range.start());
        ranges.dedup_by(|next, range| {
            let touches = u64::from(*next.start()) <= u64::from(*range.end()) + 1;
            if touches {
                *range = *range.start()..=*range.end().max(next.end());
            }
            touches
        });
        Self { ranges }
    }

    /// Whether the file with this index is one of them.
    pub fn contains(&self, file: u32) -> bool {
        let after = self.ranges.partition_point(|range| *range.start() <= file);
        after > 0 && self.ranges[after - 1].contains(&file)
    }

    /// The pieces that hold bytes of the files, and so bytes of their neighbours at both ends.
    ///
    /// # Errors
    /// An index that is none of the torrent's.
    pub fn pieces(&self, info: &Info) -> Result<Bitfield, SelectionError> {
        let files = info.files();
        let last = self.ranges.last().map_or(0, |range| *range.end());
        if last as usize >= files.len() {
            return Err(SelectionError { index: last, files: files.len() });
        }
        let geometry = info.geometry();
        let mut pieces = Bitfield::empty(geometry.piece_count());
        for (_, file) in (0_u32..).zip(files).filter(|(index, _)| self.contains(*index)) {
            for piece in geometry.pieces_of(file.offset, file.len) {
                pieces.insert(piece);
            }
        }
        Ok(pieces)
    }
}

impl FromStr for FileSelection {
    type Err = ParseSelectionError;

    fn from_str(text: &str) -> Result<Self, ParseSelectionError> {
        let wrong = || ParseSelectionError(text.chars().take(80).collect());
        let mut ranges = Vec::new();
        for range in text.split(',') {
            let (start, end) = range.split_once('-').unwrap_or((range, range));
            let (Ok(start), Ok(end)) = (start.parse::<u32>(), end.parse::<u32>()) else { return Err(wrong()) };
            if start > end || ranges.len() == RANGES_MAX {
                return Err(wrong());
            }
            ranges.push(start..=end);
        }
        Ok(Self::of(ranges))
    }
}

/// An index from 0; one that is too large for any torrent is beyond its end as well.
fn index(text: &str) -> Option<u32> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

impl fmt::Display for FileSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.ranges.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match range.start() == range.end() {
                true => write!(f, "{comma}{}", range.start())?,
                false => write!(f, "{comma}{}-{}", range.start(), range.end())?,
            }
        }
        Ok(())
    }
}

/// Why a text selects no files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the file selection `{0}` is wrong: numbers and ranges like `0,2,4-7` are needed")]
pub struct ParseSelectionError(String);

/// A selection of a file that the torrent does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("file {index} is selected, but the torrent has the files 0 to {}", files - 1)]
pub struct SelectionError {
    /// The index.
    pub index: u32,
    /// How many files there are.
    pub files: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(text: &str) -> FileSelection {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_are_put_in_order_and_joined() {
        assert_eq!(selection("9,4-6,7,0,5-5").to_string(), "0,4-7,9");
        let all: Vec<u32> = (0..12).filter(|file| selection("9,4-6,7,0").contains(*file)).collect();
        assert_eq!(all, [0, 4, 5, 6, 7, 9]);
        assert!(selection("4294967295").contains(u32::MAX));
        for text in ["", ",", "1,", "3-2", "x", "-1", "1-", "4294967296"] {
            assert!(text.parse::<FileSelection>().is_err(), "{text}");
        }
    }

    #[test]
    fn of_a_link_what_selects_nothing_is_left_out() {
        for (text, read, left) in [
            ("", None, &[][..]),
            (",", None, &[]),
            ("1,2,", Some("1-2"), &[]),
            ("1, 2", Some("1-2"), &[]),
            ("0,x,2", Some("0,2"), &["x"]),
            ("3-1,-1,1-,+1", None, &["3-1", "-1", "1-", "+1"]),
            ("0-99999999999", Some("0-4294967295"), &[]),
        ] {
            let mut told = Vec::new();
            let found = FileSelection::parse_lenient(text, |item| told.push(item.to_owned()));
            assert_eq!(found.map(|found| found.to_string()).as_deref(), read, "{text}");
            assert_eq!(told, left, "{text}");
        }
    }

    #[test]
    fn what_the_torrent_does_not_have_is_cut_off() {
        let within = |text: &str, files| selection(text).within(files).to_string();
        assert_eq!(within("0,9", 3), "0");
        assert_eq!(within("1-4294967295", 3), "1-2");
        assert_eq!(within("0-2", 3), "0-2");
        assert_eq!(within("9", 3), "9", "nothing is there");
        assert_eq!(within("9", 0), "9");
    }

    #[test]
    fn pieces_at_both_ends_are_shared_with_neighbours() {
        // Pieces of 16 KiB; files of 20,000, 0, 12,768 and 16,384 bytes: 0-1, none, 1, and 2.
        let raw = "d5:filesld6:lengthi20000e4:pathl1:aeed6:lengthi0e4:pathl1:beed6:lengthi12768e4:pathl1:ceed6:lengthi16384e\
                   4:pathl1:deee4:name1:n12:piece lengthi16384e6:pieces60:";
        let mut raw = raw.as_bytes().to_vec();
        raw.extend([7; 60]);
        raw.push(b'e');
        let info = Info::parse(raw.into()).unwrap();
        let pieces = |text: &str| -> Vec<u32> {
            selection(text).pieces(&info).unwrap().iter().map(|piece| piece.get()).collect()
        };
        assert_eq!(pieces("0"), [0, 1]);
        assert_eq!(pieces("1"), [] as [u32; 0]);
        assert_eq!(pieces("2"), [1]);
        assert_eq!(pieces("1,3"), [2]);
        assert_eq!(pieces("0-3"), [0, 1, 2]);
        let error = selection("2,4").pieces(&info).unwrap_err();
        assert_eq!(error.to_string(), "file 4 is selected, but the torrent has the files 0 to 3");
    }
}
