//! Ctrl-C: the first leaves cleanly, the second at once.

use super::exit::Exit;

/// Which signal asks the program to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// A service manager, `kill`, or a terminal that is gone.
    Terminate,
}

/// The signals that ask the program to leave.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Listened to all the time: a signal that comes while something else is done is not missed.
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// `None` where whoever started the program had it ignored, as `nohup` does.
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Starts to catch them. From now on they do not end the process by themselves.
    pub(crate) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            interrupt: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?,
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
            #[cfg(unix)]
            hangup: match is_hangup_ignored() {
                true => None,
                false => Some(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?),
            },
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Signal {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            _ = next_of(&mut self.hangup) => Signal::Terminate,
        }
        #[cfg(not(unix))]
        {
            // Without a handler there is nothing to wait for.
            let _ = tokio::signal::ctrl_c().await;
            Signal::Interrupt
        }
    }

    /// Finishes `leaving`; another signal meanwhile ends the process at once.
    pub(crate) async fn leave(&mut self, leaving: impl Future<Output = ()>) {
        tokio::select! {
            () = leaving => {}
            _ = self.next() => std::process::exit(Exit::Interrupted as i32),
        }
    }
}

#[cfg(unix)]
async fn next_of(signal: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether SIGHUP was ignored at the start. Only Linux says so in a file; elsewhere it is taken as not ignored.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

#[cfg(unix)]
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit is that of signal 1, SIGHUP.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert!(ignores_hangup("Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("SigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup("SigIgn:\tnone\n") && !ignores_hangup(""));
    }
}
