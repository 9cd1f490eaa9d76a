//! Starting a shim: the worker's side.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use phalanx_common::defaults;

use super::account::Account;
use super::pod_cgroup::PodCgroup;
use super::{MODE, ORPHAN_GRACE, ORPHAN_LIMIT, sys};

/// How to start a shim.
#[derive(Clone, Debug)]
pub struct SpawnOptions {
    /// The program whose `main` begins with `maybe_run`; `/proc/self/exe` is this one.
    pub exe: PathBuf,
    /// What becomes of its pod without a worker.
    pub orphans: Orphans,
}

/// What a shim does whose worker is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orphans {
    /// Released ranks run on for this long, then they get SIGTERM.
    pub limit: Duration,
    /// Between SIGTERM and SIGKILL; `None`: the grace of their job.
    pub grace: Option<Duration>,
}

impl Orphans {
    /// Ranks of a launcher that is gone: nobody waits for them.
    pub const LOCAL: Orphans = Orphans { limit: Duration::ZERO, grace: Some(defaults::LOCAL_ORPHAN_GRACE) };
    /// Ranks of a cluster's worker, which may only be on its way back.
    pub const CLUSTER: Orphans = Orphans { limit: defaults::ORPHANED, grace: None };
}

impl SpawnOptions {
    /// This program as the shim.
    pub fn new(orphans: Orphans) -> SpawnOptions {
        SpawnOptions { exe: PathBuf::from("/proc/self/exe"), orphans }
    }
}

/// Why no shim was started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no socket pair for a shim")]
    Socket(#[source] io::Error),
    #[error("cannot start the shim {}", exe.display())]
    Start { exe: PathBuf, source: io::Error },
}

/// A running shim, as its worker holds it. Dropping it closes the socket, and the shim's pod is an orphan.
#[derive(Debug)]
pub struct ShimProcess {
    /// Frames of `phalanx_worker_core::shim`; blocking until set otherwise.
    pub socket: UnixStream,
    /// To be waited for once the socket is at its end, or a zombie stays.
    pub child: Child,
    /// To be ended once the process is waited for: nothing of the pod is left then.
    pub cgroup: Option<PodCgroup>,
    pidfd: Option<OwnedFd>,
}

/// A shim that is its user's own process.
#[derive(Debug)]
pub struct Own<'a> {
    pub account: &'a Account,
    /// Holds the shim and all that comes of it.
    pub cgroup: Option<PodCgroup>,
}

impl ShimProcess {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Readable once the shim has ended; `None` before Linux 5.3.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }
}

/// Starts a shim, as an account's own or as this process itself is. Costs least early, before the caller has touched much memory or started threads.
pub fn spawn(options: &SpawnOptions, own: Option<Own<'_>>) -> Result<ShimProcess, Error> {
    let (ours, theirs) = UnixStream::pair().map_err(Error::Socket)?;
    // Blocked signals stay blocked over exec: a Ctrl-C between here and the shim's setsid does not kill it.
    let mut before = SigSet::empty();
    let blocked = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before)).is_ok();
    let mut command = Command::new(&options.exe);
    let doors = own.iter().filter_map(|own| own.cgroup.as_ref()).flat_map(PodCgroup::doors);
    // Open until the child has executed.
    let doors: Vec<File> = doors.collect();
    doors.iter().for_each(|door| sys::enter_cgroup(&mut command, door.as_raw_fd()));
    if let Some(account) = own.as_ref().map(|own| own.account) {
        sys::give_up_oom_protection(&mut command, sys::OOM_SCORE);
        command.env_clear().envs(account.environment()).current_dir("/");
        if let Some((uid, gid, groups)) = account.ids() {
            sys::become_user(&mut command, uid, gid, groups);
        }
    }
    // Without an account no pre_exec and no group: std takes the posix_spawn path, whose cost does not grow
    // with our memory.
    command
        .arg0("phalanx-shim")
        .arg(MODE)
        .arg(ORPHAN_LIMIT)
        .arg(options.orphans.limit.as_millis().to_string());
    if let Some(grace) = options.orphans.grace {
        command.arg(ORPHAN_GRACE).arg(grace.as_millis().to_string());
    }
    let started = command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).spawn();
    if blocked {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    }
    let cgroup = own.and_then(|own| own.cgroup).and_then(PodCgroup::entered);
    let child = started.map_err(|source| Error::Start { exe: options.exe.clone(), source })?;
    let pidfd = sys::pidfd_open(child.id());
    Ok(ShimProcess { socket: ours, child, cgroup, pidfd })
}
