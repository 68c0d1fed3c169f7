//! The real program as a process: ended by its own handle, waited for with a deadline.
#![allow(dead_code, reason = "each test file uses its share")]
#![allow(clippy::disallowed_methods, reason = "the tests wait for processes")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// No step of a test takes nearly as long, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// How a process ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running process; dropping it ends it.
pub(crate) struct Program {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Program {
    pub(crate) fn start<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>, home: &Path) -> Self {
        Self::start_with(args, home, &[])
    }

    /// The same with additional environment variables.
    pub(crate) fn start_with<A: AsRef<OsStr>>(
        args: impl IntoIterator<Item = A>,
        home: &Path,
        environment: &[(&str, &OsStr)],
    ) -> Self {
        Self::spawn(command(env!("CARGO_BIN_EXE_magnes"), home).args(args).envs(environment.iter().copied()))
    }

    /// The same by a shell, in whose script `"$@"` is the program with its arguments. With `exec` signals reach it.
    #[cfg(unix)]
    pub(crate) fn start_by<A: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = A>, home: &Path) -> Self {
        Self::spawn(command("sh", home).args(["-c", script, "sh", env!("CARGO_BIN_EXE_magnes")]).args(args))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = lines_of(child.stdout.take().unwrap());
        let stderr = lines_of(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// The next line of stdout that contains `text`.
    pub(crate) fn line_with(&self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.stdout.recv_timeout(left).unwrap_or_else(|_| panic!("no line with {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends it a signal, `TERM` or `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Waits for the end of both streams, then of the process.
    pub(crate) fn end(mut self) -> Ended {
        let deadline = Instant::now() + DEADLINE;
        let stdout = rest_of(&self.stdout, deadline);
        let stderr = rest_of(&self.stderr, deadline);
        let status: ExitStatus = self.child.wait().unwrap();
        Ended { code: status.code(), stdout, stderr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // That it has ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whatever runs in `home`.
fn command(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(home).env("XDG_STATE_HOME", home.join("state")).env_remove("MAGNES_LOG").stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>, home: &Path) -> Ended {
    Program::start(args, home).end()
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(4096);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn rest_of(lines: &Receiver<String>, deadline: Instant) -> String {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => text.extend([line.as_str(), "\n"]),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return text,
            Err(timeout) => panic!("{timeout}; so far:\n{text}"),
        }
    }
}
