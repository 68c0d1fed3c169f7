//! Ctrl-C: the first leaves cleanly, the second at once.

use super::exit::Exit;

/// Which signal asks the program to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// A service manager, or `kill`.
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
}

impl Signals {
    /// Starts to catch them. From here on they do not end the process by themselves.
    pub(crate) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            interrupt: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?,
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Signal {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
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
