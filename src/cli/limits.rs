//! What the system allows the process.

/// Takes as many open files as the system lets the process have, and has a write beyond the limit of a file's length
/// (`ulimit -f`) fail like any other instead of ending the process.
pub(crate) fn start() {
    #[cfg(unix)]
    {
        raise_open_files();
        catch_file_size();
    }
}

#[cfg(unix)]
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What cannot be raised is made do with.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A signal with a handler ends nothing, and a handler stays for as long as the process runs.
#[cfg(unix)]
fn catch_file_size() {
    use tokio::signal::unix::{SignalKind, signal};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    let caught = runtime.and_then(|runtime| {
        let _inside = runtime.enter();
        signal(kind)
    });
    if let Err(error) = caught {
        tracing::debug!(%error, "a file that grows beyond the limit of the process will end it");
    }
}
