//! What systemd is told, where it started us (`Type=notify`, `WatchdogSec=`): a line of text to a socket.

use std::time::Duration;

/// The service manager, if there is one that wants to hear of us.
#[derive(Debug)]
pub(super) struct Manager {
    #[cfg(unix)]
    socket: Option<std::os::unix::net::UnixDatagram>,
}

impl Manager {
    /// The one that the environment names.
    pub(super) fn from_environment() -> Self {
        Self {
            #[cfg(unix)]
            socket: std::env::var_os("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
                Ok(socket) => Some(socket),
                Err(error) => {
                    tracing::warn!(?name, %error, "cannot reach the service manager");
                    None
                }
            }),
        }
    }

    /// We listen, and serve.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// We are alive, and how it goes.
    pub(super) fn alive(&self, status: &str) {
        self.tell(&format!("WATCHDOG=1\nSTATUS={}", status.replace('\n', "  ")));
    }

    /// We are leaving.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Whether someone listens.
    pub(super) fn is_there(&self) -> bool {
        #[cfg(unix)]
        return self.socket.is_some();
        #[cfg(not(unix))]
        false
    }

    fn tell(&self, text: &str) {
        #[cfg(unix)]
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(text.as_bytes())
        {
            tracing::debug!(%error, "the service manager does not listen");
        }
        #[cfg(not(unix))]
        let _ = text;
    }
}

/// How often at least [`Manager::alive`] is to be called, if the environment asks for it: half of what it allows.
pub(super) fn watchdog_interval() -> Option<Duration> {
    let allowed: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    Some(Duration::from_micros(allowed / 2))
}

#[cfg(unix)]
fn connect(name: &std::ffi::OsStr) -> std::io::Result<std::os::unix::net::UnixDatagram> {
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    // A manager that does not read is no reason to wait.
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    if let [b'@', rest @ ..] = std::os::unix::ffi::OsStrExt::as_bytes(name) {
        use std::os::linux::net::SocketAddrExt;
        socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(rest)?)?;
        return Ok(socket);
    }
    socket.connect(name)?;
    Ok(socket)
}
