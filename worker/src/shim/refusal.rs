//! Why a pod cannot be prepared, in words for the person who started the job.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use phalanx_common::exit::ExitStatus;
use phalanx_common::health::Question;
use phalanx_common::report::{PrepareFailure, PrepareFailureKind};
use phalanx_common::spec::ProbeKind;
use phalanx_common::topology::machine::CpuSet;

/// One reason. The message says what failed, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("cannot enter the working directory {}: {}{}", path.display(), why(error), then(.hint))]
    WorkingDir { path: PathBuf, error: io::Error, hint: Option<String> },
    #[error("the job has no command")]
    NoCommand,
    #[error("{name}: command not found in PATH ({path}){}", then(.hint))]
    NotInPath { name: String, path: String, hint: Option<String> },
    #[error("{}: {}{}", path.display(), why(error), then(.hint))]
    NoSuchCommand { path: PathBuf, error: io::Error, hint: Option<String> },
    #[error("{}: is a directory, not a program{}", path.display(), then(.hint))]
    IsDirectory { path: PathBuf, hint: Option<String> },
    #[error("{}: cannot be executed: {}{}", path.display(), why(error), then(.hint))]
    NotExecutable { path: PathBuf, error: io::Error, hint: Option<String> },
    #[error("{}: neither a binary nor a script that begins with #!{}", path.display(), then(.hint))]
    NoFormat { path: PathBuf, hint: Option<String> },
    #[error(
        "{}: its first line asks for the interpreter {interpreter:?}, and lines of this file end in CR LF; \
         convert it with `sed -i 's/\\r$//' {}`",
        script.display(), script.display()
    )]
    CarriageReturn { script: PathBuf, interpreter: String },
    #[error(
        "{}: its interpreter {interpreter} does not exist; correct the #! line or install the interpreter",
        script.display()
    )]
    NoInterpreter { script: PathBuf, interpreter: String },
    #[error("{}: its interpreter {interpreter} cannot be executed: {}", script.display(), why(error))]
    InterpreterNotExecutable { script: PathBuf, interpreter: String, error: io::Error },
    #[error(
        "port {port} is taken by another process; where several workers share a host, give each a range of its own (`--ports A-B`)"
    )]
    PortTaken { port: u16 },
    #[error("cannot test port {port}: {}", why(error))]
    Port { port: u16, error: io::Error },
    #[error("cannot use {} as the job's directory: {}; make room, or name another place with TMPDIR", path.display(), why(error))]
    JobDir { path: PathBuf, error: io::Error },
    #[error(
        "will not use {} as the job's directory: {what}; remove it, or name another place with TMPDIR",
        path.display()
    )]
    UnsafeJobDir { path: PathBuf, what: &'static str },
    #[error("cannot write logs to {}: {}; choose another directory with --log-dir", path.display(), why(error))]
    LogDir { path: PathBuf, error: io::Error },
    #[error("cannot unpack the job's directory to {}: {}", path.display(), why(error))]
    Unpack { path: PathBuf, error: io::Error },
    #[error("the job's Python environment {} this node: {}: {}; {}, or submit with --no-virtual-env",
        if is_missing(error) { "is not on" } else { "cannot be used on" }, python.display(), why(error),
        if is_missing(error) { "install it there at the same path" } else { "let the job's user execute it" })]
    VirtualEnv { python: PathBuf, error: io::Error },
    #[error("rank {rank}: environment variable {name:?} cannot be set: {what}")]
    Variable { rank: u32, name: String, what: &'static str },
    #[error("{what:?} holds a NUL byte")]
    NulByte { what: String },
    #[error("cannot start rank {rank}: {what}: {}{}", why(error), advice(error))]
    Start { rank: u32, what: &'static str, error: io::Error },
    #[error(
        "rank {rank} is bound to CPUs {cpus}, and {} here: a CPU went offline, or the cpuset of the worker's control \
         group shrank, after the job was placed; bring them back, or let the job be placed anew",
        usable(allowed)
    )]
    Cpus { rank: u32, cpus: CpuSet, allowed: CpuSet },
    #[error("rank {rank} cannot be bound to CPUs {cpus}: {}", why(error))]
    CpusRefused { rank: u32, cpus: CpuSet, error: io::Error },
    #[error(
        "rank {rank} is bound to memory of NUMA nodes {nodes}, and {} here: the worker's control group allows no \
         other any more; widen it (cpuset.mems), or let the job be placed anew",
        usable(allowed)
    )]
    Nodes { rank: u32, nodes: CpuSet, allowed: CpuSet },
    #[error(
        "rank {rank} cannot be bound to memory of NUMA nodes {nodes}: {}{}",
        why(error),
        memory_advice(error)
    )]
    NodesRefused { rank: u32, nodes: CpuSet, error: io::Error },
    #[error("the kernel does not keep the memory policy of rank {rank} for NUMA nodes {nodes}")]
    NodesNotKept { rank: u32, nodes: CpuSet },
    #[error("rank {rank} was not bound to its CPUs and memory within {} s; the node is overloaded", within.as_secs())]
    NotBound { rank: u32, within: Duration },
    #[error(
        "no rank can have a memory limit on this node: {}: {}; run the worker as root, or as a service with \
         Delegate=yes and its own cgroup, or leave out resources.memoryLimit",
        path.display(), why(error)
    )]
    MemoryLimit { path: PathBuf, error: io::Error },
    #[error("the {probe}: {why}")]
    Probe { probe: Question, why: Box<Refusal> },
    #[error("the pattern of the {probe} probe cannot be used: {error}")]
    Pattern { probe: ProbeKind, error: Box<regex::Error> },
    #[error("the init container {name}: {why}")]
    InitProgram { name: String, why: Box<Refusal> },
    #[error("cannot start the init container {name}: {}{}", why(error), advice(error))]
    InitFork { name: String, error: io::Error },
    #[error(
        "the init container {name} ended with {status}{}; all that it wrote is in {}",
        said.as_ref().map(|said| format!(": {said}")).unwrap_or_default(),
        log_dir.display()
    )]
    InitFailed { name: String, status: ExitStatus, said: Option<String>, log_dir: PathBuf },
    #[error("generation {alive} is still alive in this pod")]
    Busy { alive: u32 },
}

impl Refusal {
    fn kind(&self) -> PrepareFailureKind {
        use PrepareFailureKind::{CommandNotExecutable, CommandNotFound, Init, Job, Node, PortTaken};
        match self {
            Refusal::NoSuchCommand { error, .. } => {
                if is_missing(error) {
                    CommandNotFound
                } else {
                    CommandNotExecutable
                }
            }
            Refusal::NoCommand
            | Refusal::NotInPath { .. }
            | Refusal::CarriageReturn { .. }
            | Refusal::NoInterpreter { .. } => CommandNotFound,
            Refusal::IsDirectory { .. }
            | Refusal::NotExecutable { .. }
            | Refusal::NoFormat { .. }
            | Refusal::InterpreterNotExecutable { .. } => CommandNotExecutable,
            Refusal::PortTaken { port } => PortTaken(*port),
            Refusal::Probe { why, .. } | Refusal::InitProgram { why, .. } => why.kind(),
            Refusal::InitFailed { .. } => Init,
            Refusal::Pattern { .. } | Refusal::Variable { .. } | Refusal::NulByte { .. } => Job,
            Refusal::WorkingDir { .. }
            | Refusal::Port { .. }
            | Refusal::JobDir { .. }
            | Refusal::UnsafeJobDir { .. }
            | Refusal::LogDir { .. }
            | Refusal::Unpack { .. }
            | Refusal::VirtualEnv { .. }
            | Refusal::Start { .. }
            | Refusal::InitFork { .. }
            | Refusal::Cpus { .. }
            | Refusal::CpusRefused { .. }
            | Refusal::Nodes { .. }
            | Refusal::NodesRefused { .. }
            | Refusal::NodesNotKept { .. }
            | Refusal::NotBound { .. }
            | Refusal::MemoryLimit { .. }
            | Refusal::Busy { .. } => Node,
        }
    }
}

impl From<Refusal> for PrepareFailure {
    fn from(refusal: Refusal) -> PrepareFailure {
        PrepareFailure { kind: refusal.kind(), message: refusal.to_string() }
    }
}

pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

/// The system's words for an error, without the number.
pub(super) fn why(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_string(),
        None => error.to_string(),
    }
}

fn then(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default()
}

/// Which of those that were asked for there are.
fn usable(allowed: &CpuSet) -> String {
    if allowed.is_empty() {
        "none of them can be used".to_owned()
    } else {
        format!("only {allowed} can be used")
    }
}

fn memory_advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::ENOSYS) => {
            "; allow the system call set_mempolicy (containers forbid it without CAP_SYS_NICE), or ask for preferred memory"
        }
        _ => "",
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "; raise the limit of open files (ulimit -n)",
        Some(libc::EAGAIN) => "; raise the limit of processes (ulimit -u)",
        _ => "",
    }
}

/// A path as a message shows it: absolute where that is known.
pub(super) fn shown(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
