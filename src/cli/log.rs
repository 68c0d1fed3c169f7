//! The log: sentences for a user, lines with time and module for whoever asks for them with `MAGNES_LOG`.

use std::fmt::{self, Debug, Write as _};
use std::io;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::print;

/// For whom the log is when `MAGNES_LOG` says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// A user who waits for a result: warnings as sentences.
    User,
    /// A user who wants to hear of errors alone.
    QuietUser,
    /// A service manager: warnings with time and module.
    Service,
}

/// Starts the log of the process.
pub(super) fn start(reader: Reader) {
    let wanted = std::env::var("MAGNES_LOG").ok().filter(|filter| !filter.is_empty());
    let wanted = wanted.and_then(|filter| {
        let parsed = EnvFilter::try_new(&filter);
        parsed.inspect_err(|error| print::warning(&format!("MAGNES_LOG={filter} is not used: {error}"))).ok()
    });
    let is_wanted = wanted.is_some();
    let filter = wanted.unwrap_or_else(|| EnvFilter::new(if reader == Reader::QuietUser { "error" } else { "warn" }));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Its own complaints about a writer would go to stderr past everything here.
        .log_internal_errors(false)
        .with_writer(|| Lines)
        .with_ansi(print::is_stderr_terminal() && std::env::var_os("NO_COLOR").is_none());
    if is_wanted || reader == Reader::Service {
        let fields = debug_fn(|writer, field, value| match field.name() {
            "message" => write!(writer, "{}", shown(value)),
            name => write!(writer, "{name}={}", shown(value)),
        });
        builder.fmt_fields(tracing_subscriber::field::MakeExt::delimited(fields, " ")).init();
    } else {
        builder.event_format(Sentences).init();
    }
}

fn shown(value: &dyn Debug) -> String {
    print::printable(&format!("{value:?}")).into_owned()
}

/// Hands finished lines to [`print`], and never fails.
#[derive(Debug)]
struct Lines;

impl io::Write for Lines {
    /// Lines come whole: the subscriber writes each at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        print::log_line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the library names as the way out, and the option that leads there.
const WAYS_OUT: [(&str, &str); 2] = [
    ("another state folder", "--state-dir names another folder"),
    ("a state folder of its own", "--state-dir names a folder of its own"),
];

/// Events as a user reads them: how bad, what, why, and the rest in brackets.
#[derive(Debug)]
struct Sentences;

impl<S, N> FormatEvent<S, N> for Sentences
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut sentence = Sentence::default();
        event.record(&mut sentence);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            _ => "note",
        };
        writeln!(writer, "{level}: {}", print::printable(&sentence.text()))
    }
}

#[derive(Debug, Default)]
struct Sentence {
    message: String,
    error: String,
    rest: String,
}

impl Sentence {
    fn text(self) -> String {
        let Self { mut message, error, rest } = self;
        if !error.is_empty() {
            message += &format!(": {error}");
        }
        if !rest.is_empty() {
            message += &format!(" ({rest})");
        }
        message
    }
}

impl Visit for Sentence {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing into a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "error" => write!(self.error, "{value:?}"),
            "way_out" => write!(self.rest, "{}", option_for(&format!("{value:?}"))),
            name => {
                let comma = if self.rest.is_empty() { "" } else { ", " };
                write!(self.rest, "{comma}{} {value:?}", name.replace('_', " "))
            }
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

fn option_for(way_out: &str) -> &str {
    WAYS_OUT.iter().find(|(name, _)| *name == way_out).map_or(way_out, |(_, option)| option)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex, PoisonError};

    #[derive(Debug, Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_warning_is_a_sentence_without_time_and_module() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt().event_format(Sentences).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let error = io::Error::other("no space\x1b[2J left\n");
            tracing::warn!(path = %"a/b", needed_bytes = 5, %error, "cannot save the table");
            tracing::error!("a disk thread does not take jobs");
            tracing::warn!(way_out = "another state folder", "cannot use x");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let first = "warning: cannot save the table: no space\\u{1b}[2J left\\n (path a/b, needed bytes 5)";
        let last = "warning: cannot use x (--state-dir names another folder)";
        assert_eq!(text, format!("{first}\nerror: a disk thread does not take jobs\n{last}\n"));
    }
}
