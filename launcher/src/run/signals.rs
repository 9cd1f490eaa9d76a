//! Signals of a terminal, as what they ask for.

use std::future::pending;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal as Number, raise};
use phalanx_common::exit::ExitStatus;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long Ctrl-Z waits for the ranks to stop before this process stops; one that cannot stop in
/// that time (it waits for a disk) stops when it can.
const STOP_WAIT: Duration = Duration::from_millis(500);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signalled {
    /// End the job. `at_once`: without grace.
    Stop { by: &'static str, status: ExitStatus, at_once: bool },
    /// Ctrl-Z.
    Suspend,
}

/// The signals this process takes.
pub(crate) struct Signals {
    // `None`: what was ignored before this process began stays ignored, as under `nohup` and for
    // background jobs of a shell without job control.
    interrupt: Option<Signal>,
    quit: Option<Signal>,
    hangup: Option<Signal>,
    terminate: Signal,
    suspend: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: unless_ignored(Number::SIGINT)?,
            quit: unless_ignored(Number::SIGQUIT)?,
            hangup: unless_ignored(Number::SIGHUP)?,
            terminate: signal(SignalKind::terminate())?,
            suspend: signal(SignalKind::from_raw(Number::SIGTSTP as i32))?,
        })
    }

    /// The next one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signalled {
        let stop = |by, number: Number, at_once| Signalled::Stop {
            by,
            status: ExitStatus::Signal(number as u8),
            at_once,
        };
        tokio::select! {
            _ = received(&mut self.interrupt) => stop("SIGINT (Ctrl-C)", Number::SIGINT, false),
            _ = self.terminate.recv() => stop("SIGTERM", Number::SIGTERM, false),
            _ = received(&mut self.quit) => stop("SIGQUIT", Number::SIGQUIT, true),
            _ = received(&mut self.hangup) => stop("SIGHUP", Number::SIGHUP, false),
            _ = self.suspend.recv() => Signalled::Suspend,
        }
    }
}

async fn received(signal: &mut Option<Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => pending().await,
    }
}

fn unless_ignored(number: Number) -> io::Result<Option<Signal>> {
    if ignored(number)? { Ok(None) } else { signal(SignalKind::from_raw(number as i32)).map(Some) }
}

/// The signal was ignored when this process began.
fn ignored(number: Number) -> io::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    Ok(mask & (1 << (number as i32 - 1)) != 0)
}

/// Waits until each of `pids` is stopped or gone, within `STOP_WAIT`.
pub(super) async fn wait_until_stopped(pids: &[u32]) {
    let deadline = Instant::now() + STOP_WAIT;
    while Instant::now() < deadline && !pids.iter().all(|pid| stopped(*pid)) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn stopped(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // The state follows the name, which stands in parentheses and may hold anything.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some('T' | 't' | 'Z' | 'X'))
}

/// Stops this process until somebody continues it; returns then.
pub(super) fn stop_this_process() {
    // SIGSTOP, because SIGTSTP is caught; the shell sees the same.
    let _: Result<(), _> = raise(Number::SIGSTOP);
}
