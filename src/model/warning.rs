use super::ParsePeerAddrError;

/// Warnings that are kept of one torrent or link.
const WARNINGS_MAX: usize = 32;
/// Characters of a stranger's text that are quoted.
const QUOTE_LEN_MAX: usize = 80;

/// What was passed over in a torrent or magnet link that can be used nevertheless: one variant per rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseWarning {
    /// An optional value of another type or form, which counts as absent.
    #[error("`{key}` is not {expected}: left out")]
    WrongForm {
        /// The key.
        key: &'static str,
        /// What its value must be.
        expected: &'static str,
    },
    /// An optional key that occurs twice.
    #[error("`{0}` occurs twice: the first is used")]
    Twice(&'static str),
    /// Bytes after the end of the dictionary.
    #[error("bytes after the end of the torrent are ignored")]
    TrailingBytes,
    /// A file that was compressed.
    #[error("the torrent file is compressed with gzip: it was decompressed")]
    Compressed,
    /// Both the form for one file and the form for several.
    #[error("the torrent has both `length` and `files`: `files` is used")]
    LengthBesideFiles,
    /// A link that claims bytes of its own, which it cannot have (BEP 47).
    #[error("a symbolic link in the torrent has a length: ignored")]
    LinkWithLength,
    /// Padding without a path.
    #[error("padding in the torrent has no path: it needs none")]
    PaddingWithoutPath,
    /// A name of nothing that could be one.
    #[error("the torrent has no usable name: its info hash is used")]
    NoName,
    /// An `x.pe` that is not a host and a port.
    #[error("the peer address `x.pe={text}` is left out: {source}")]
    Peer {
        /// The value, shortened.
        text: String,
        /// What is wrong with it.
        source: ParsePeerAddrError,
    },
    /// An item of `so` that selects no files.
    #[error("`{0}` in the link's `so` selects no files: left out")]
    Selection(String),
    /// An `xt` that is no info hash beside one that is.
    #[error("`xt=urn:btih:{0}` is no info hash: left out")]
    Topic(String),
    /// A `tr` or `ws` that is no address.
    #[error("`{key}={text}` in the link is no web address: left out")]
    Url {
        /// The key.
        key: &'static str,
        /// The value, shortened.
        text: String,
    },
}

/// A bounded list of warnings, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Warnings(Vec<ParseWarning>);

impl Warnings {
    pub(super) fn push(&mut self, warning: ParseWarning) {
        if self.0.len() < WARNINGS_MAX && !self.0.contains(&warning) {
            self.0.push(warning);
        }
    }

    pub(super) fn wrong_form(&mut self, key: &'static str, expected: &'static str) {
        self.push(ParseWarning::WrongForm { key, expected });
    }

    /// The value, or a warning that it is left out.
    pub(super) fn or_left_out<T>(&mut self, value: Option<T>, key: &'static str, expected: &'static str) -> Option<T> {
        if value.is_none() {
            self.wrong_form(key, expected);
        }
        value
    }

    /// Fills a slot that an optional key fills once.
    pub(super) fn first<T>(&mut self, slot: &mut Option<T>, key: &'static str, value: Option<T>) {
        match value {
            Some(_) if slot.is_some() => self.push(ParseWarning::Twice(key)),
            Some(value) => *slot = Some(value),
            None => {}
        }
    }

    pub(super) fn into_vec(self) -> Vec<ParseWarning> {
        self.0
    }
}

/// The beginning of a stranger's text.
pub(super) fn quote(text: &str) -> String {
    text.chars().take(QUOTE_LEN_MAX).collect()
}
