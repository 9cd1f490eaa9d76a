//! The shim: the small process that owns one pod's ranks, their output and their end.
//!
//! ```text
//! worker ── socketpair ── shim (single thread, own session, subreaper)
//!                          ├─ rank 0 .. n   held on a pipe until Go, each in its own process group
//!                          └─ guardian      blocks on a pipe; sweeps the pod if the shim is killed
//! ```
//!
//! Reading down: [`maybe_run`] and [`spawn`] are the two ways in; `run` is the event loop, `pod_events`
//! what it does about each event, `reports` what it says; `life` decides what a generation does next and
//! touches nothing, `prepare` checks and holds, `preparing` is what the loop has to do with that, `init` runs what comes
//! before the ranks and beside them, `again` starts a rank again, `memory` limits it, `bound` sees that ranks
//! are bound as they should be, `output`
//! writes the log files, `checks` asks the ranks what their probes want to know and `notify` hears what they say, `tree` and `cgroup` find and end processes, `home` is the pod's directory.
//! Unsafe code is in `sys` and `fork` alone.

pub mod account;
mod again;
mod bound;
mod cgroup;
mod checks;
mod checks_events;
mod command;
mod environ;
#[expect(unsafe_code, reason = "fork and what runs between fork and exec")]
mod fork;
mod guardian;
mod home;
mod init;
mod ladder;
mod life;
mod limits;
mod link;
mod memory;
mod notify;
mod output;
mod pod;
pub mod pod_cgroup;
mod pod_events;
mod ports;
mod prepare;
mod preparing;
mod probe;
mod refusal;
mod reports;
mod run;
pub mod spawn;
#[expect(unsafe_code, reason = "system calls that no safe wrapper covers")]
mod sys;
pub(crate) mod tree;
mod unpack;
mod virtual_env;

pub(crate) use cgroup::end as remove_cgroup;
pub(crate) use home::{CGROUPS, LOCK, MARK};
pub use run::maybe_run;
pub(crate) use run::wall_clock;
pub(crate) use tree::kill_marked as kill_process;

/// First argument of a process that is a shim.
const MODE: &str = "__shim";
/// Option of the shim: milliseconds that its pod runs on once the worker is gone.
const ORPHAN_LIMIT: &str = "--orphan-limit";
/// Option of the shim: milliseconds between SIGTERM and SIGKILL after that; without it those of the job.
const ORPHAN_GRACE: &str = "--orphan-grace";
