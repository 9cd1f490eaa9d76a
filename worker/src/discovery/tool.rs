//! Runs a tool of the host and takes what it writes: bounded in time and in bytes.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::os::fd::AsFd;

/// After its output has ended a tool has this long to end, too.
const ENDING: Duration = Duration::from_millis(5);
/// A tool that was killed is gone within this, unless a driver holds it.
const KILLED_WITHIN: Duration = Duration::from_secs(1);

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no {tool} on this host")]
    Missing { tool: String },
    #[error("{tool} does not run: {source}")]
    Run { tool: String, source: io::Error },
    #[error("{tool} did not end within {} s", within.as_secs())]
    TooLong { tool: String, within: Duration },
    #[error("{tool} wrote more than {limit} bytes")]
    TooMuch { tool: String, limit: usize },
    #[error("{tool} ended with {code}")]
    Failed { tool: String, code: String },
}

/// A tool, its arguments and its bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tool<'a> {
    pub(super) name: &'a str,
    pub(super) args: &'a [&'a str],
    pub(super) within: Duration,
    /// Bytes.
    pub(super) limit: usize,
}

impl Tool<'_> {
    /// Its standard output, if it ends with 0. Blocks.
    ///
    /// # Errors
    /// It is not there, fails, takes too long or writes too much; it is ended then.
    pub(super) fn output(&self) -> Result<Vec<u8>, Error> {
        let tool = || self.name.to_owned();
        let mut command = Command::new(self.name);
        command
            .args(self.args)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        die_with_us(&mut command);
        let mut child = command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { tool: tool() },
            _ => Error::Run { tool: tool(), source },
        })?;
        let taken = self.take(&mut child);
        if taken.is_err() {
            end(&mut child);
        }
        taken
    }

    fn take(&self, child: &mut Child) -> Result<Vec<u8>, Error> {
        let tool = || self.name.to_owned();
        let failed = |source| Error::Run { tool: tool(), source };
        let too_long = || Error::TooLong { tool: tool(), within: self.within };
        let deadline = Instant::now() + self.within;
        let mut stdout = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)], left) {
                Ok(0) => return Err(too_long()),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(failed(errno.into())),
                Ok(_) => {}
            }
            match stdout.read(&mut chunk).map_err(failed)? {
                0 => break,
                read => bytes.extend_from_slice(&chunk[..read]),
            }
            if bytes.len() > self.limit {
                return Err(Error::TooMuch { tool: tool(), limit: self.limit });
            }
        }
        loop {
            match child.try_wait().map_err(failed)? {
                Some(status) if status.success() => return Ok(bytes),
                Some(status) => return Err(Error::Failed { tool: tool(), code: status.to_string() }),
                None if Instant::now() >= deadline => return Err(too_long()),
                None => std::thread::sleep(ENDING),
            }
        }
    }
}

/// The kernel kills the tool once the thread that started it ends, which stays until the tool has ended or was
/// given up, or goes with the process (prctl(2), PR_SET_PDEATHSIG).
fn die_with_us(command: &mut Command) {
    let set = || nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from);
    // SAFETY: one system call, which takes no lock and allocates nothing.
    unsafe {
        command.pre_exec(set);
    }
}

/// Ends a tool and whatever it started. One that a driver holds cannot be ended, and nobody waits for it.
fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().map(Pid::from_raw);
    // Fails where all of it has just ended.
    let _ = group.map(|group| killpg(group, Signal::SIGKILL));
    let deadline = Instant::now() + KILLED_WITHIN;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
        std::thread::sleep(ENDING);
    }
}

/// Whether a tool of that name is where the shell would find it.
pub(super) fn is_there(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, within: Duration) -> Result<Vec<u8>, Error> {
        Tool { name: "sh", args: &["-c", script], within, limit: 1000 }.output()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_tools_output_is_taken_and_its_failures_are_told_apart() {
        assert_eq!(shell("echo $LC_ALL", LONG).unwrap(), b"C\n");
        assert!(matches!(shell("exit 3", LONG), Err(Error::Failed { .. })));
        assert!(matches!(shell("yes", LONG), Err(Error::TooMuch { limit: 1000, .. })));
        assert!(matches!(shell("exec sleep 60", Duration::from_millis(50)), Err(Error::TooLong { .. })));
        let closed = shell("exec >&-; exec sleep 60", Duration::from_millis(50));
        assert!(matches!(closed, Err(Error::TooLong { .. })), "{closed:?}");
        let missing = Tool { name: "no-such-tool", args: &[], within: LONG, limit: 1 }.output().unwrap_err();
        assert_eq!(missing.to_string(), "there is no no-such-tool on this host");
    }

    #[test]
    fn what_a_tool_that_takes_too_long_started_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! >{}; wait", file.display());
        assert!(matches!(shell(&script, Duration::from_millis(500)), Err(Error::TooLong { .. })));
        let pid: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let deadline = Instant::now() + LONG;
        // Until init has reaped it.
        while crate::shim::tree::process(pid).is_some_and(|found| found.state != 'Z') {
            assert!(Instant::now() < deadline, "process {pid} still runs");
            std::thread::sleep(ENDING);
        }
    }
}
