//! The log: to stderr, above what is drawn in place there.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::{ProgressBar, WeakProgressBar};
use tracing_subscriber::EnvFilter;

/// What is drawn in place on the terminal's last lines. The log is the process's as the terminal is; so is this.
static DRAWN: OnceLock<WeakProgressBar> = OnceLock::new();

/// Warnings by default, what `MAGNES_LOG` says otherwise.
pub(super) fn start() {
    let filter = EnvFilter::try_from_env("MAGNES_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Above)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
}

/// From here on log lines go above `bar`, as long as it is there. A process has one.
pub(super) fn keep_above(bar: &ProgressBar) {
    let _ = DRAWN.set(bar.downgrade());
}

/// Takes the bar away for as long as a line is written, so that neither breaks into the other.
#[derive(Debug)]
struct Above;

impl Write for Above {
    /// Lines come whole: the subscriber writes each at once.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let write = || std::io::stderr().write_all(line).map(|()| line.len());
        match DRAWN.get().and_then(WeakProgressBar::upgrade) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
