//! Prepare: every check that can fail early, then the ranks, held. What fails leaves nothing behind.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{AccessFlags, access, pipe2};
use phalanx_worker_core::shim::{NCCL_TOPOLOGY, ShimPlan, ShimRank, Stream};

use super::bound;
use super::cgroup::Cgroup;
use super::checks::Checks;
use super::command::Lookup;
use super::environ::{Inherited, Overlay, arguments, c_string, null_terminated};
use super::fork::{self, Image};
use super::guardian::Guardian;
use super::home::Home;
use super::init::Inits;
use super::limits::OpenFiles;
use super::memory::Limits;
use super::notify::{self, NotifySocket};
use super::output::{LogPlace, OutputStream, Watch};
use super::pod::{Parts, Pod, RankProcess};
use super::ports;
use super::probe::Probes;
use super::refusal::{Refusal, is_missing, shown};

/// A rank that passed every check, with all that its fork needs.
struct Ready<'a> {
    rank: &'a ShimRank,
    overlay: Overlay<'a>,
    path: CString,
    streams: [OutputStream; 2],
}

/// What ranks need before they are made, checked.
struct Checked<'a> {
    argv: Vec<CString>,
    inherited: Inherited,
    resolved: Vec<(&'a ShimRank, Overlay<'a>, CString)>,
    watch: Watch,
    checks: Checks,
}

/// What a shim keeps from one generation of its pod to the next.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) home: Option<Home>,
    pub(super) guardian: Option<Guardian>,
}

/// Checks the plan and forks its ranks, or makes all but them if init containers come first. The first generation of a
/// pod opens its home and starts the guardian; both stay for the next ones.
pub(super) fn prepare(
    plan: &mut ShimPlan,
    kept: &mut Kept,
    files: &OpenFiles,
    skip: &dyn Fn(&str) -> bool,
    now: Instant,
) -> Result<Pod, Refusal> {
    check_working_dir(Path::new(plan.working_dir.as_deref().unwrap_or(".")), is_far(plan))?;
    let inits = Inits::prepare(plan, files, skip, now)?;
    let sockets = if inits.is_none() { Some(notify::open(plan)?) } else { None };
    let plan = &*plan;
    let checked = sockets.map(|sockets| check(plan, files, sockets, now)).transpose()?;
    let opened = kept.home.is_none();
    let open = match &mut kept.home {
        Some(home) => home,
        home => home.insert(Home::open(Path::new(&plan.job_dir), &plan.mark, plan.keep)?),
    };
    let guardian = &mut kept.guardian;
    let make_all = || {
        // What is refused here leaves nothing behind.
        let limits = Limits::make(plan)?;
        let cgroup = Cgroup::create(&format!("phalanx-{}-{}", plan.job, std::process::id()));
        let paths = cgroup.iter().map(Cgroup::path).chain(limits.iter().map(Limits::path));
        let cgroups: Vec<PathBuf> = paths.map(Path::to_owned).collect();
        note_cgroups(open, &cgroups);
        // A copy of this process, so before there are ports and pipes of which it would hold copies.
        *guardian = Guardian::renew(guardian.take(), open, &plan.mark, cgroups).ok();
        let parts = Parts { ranks: Vec::new(), hold: None, errors: None, limits, cgroup, told: Vec::new() };
        let ports = ports::reserve(&plan.ports)?;
        let probes = open_probes(plan)?;
        let same = plan.init.iter().any(|init| !init.sidecar && skip(&init.name));
        open.make_tmp(plan.generation.0, same)?;
        if let Some(topology) = &plan.nccl_topology {
            let path = open.path().join(NCCL_TOPOLOGY);
            let failed = |error| Refusal::JobDir { path, error };
            open.note(NCCL_TOPOLOGY, topology.as_bytes()).map_err(failed)?;
        }
        let mut pod = Pod::new(plan, parts, ports, probes, inits, now);
        if let Some(checked) = checked {
            hold_all(&mut pod, plan, checked, files)?;
        }
        Ok(pod)
    };
    let made = make_all();
    if made.is_err() && opened {
        if let Some(home) = kept.home.take() {
            home.discard();
        }
        if let Some(guardian) = kept.guardian.take() {
            guardian.dismiss();
        }
    }
    made
}

/// Forks the ranks of a pod whose init containers are done.
pub(super) fn make_ranks(
    pod: &mut Pod,
    plan: &mut ShimPlan,
    files: &OpenFiles,
    now: Instant,
) -> Result<(), Refusal> {
    let sockets = notify::open(plan)?;
    let checked = check(plan, files, sockets, now)?;
    hold_all(pod, plan, checked, files)
}

fn check<'a>(
    plan: &'a ShimPlan,
    files: &OpenFiles,
    sockets: Vec<NotifySocket>,
    now: Instant,
) -> Result<Checked<'a>, Refusal> {
    let working_dir = Path::new(plan.working_dir.as_deref().unwrap_or("."));
    let inherited = Inherited::new(&plan.remove_env);
    Ok(Checked {
        argv: arguments(&plan.command)?,
        resolved: resolve(plan, working_dir, &inherited)?,
        watch: Checks::watch(plan)?,
        checks: Checks::prepare(plan, &inherited, files, sockets, now)?,
        inherited,
    })
}

fn hold_all(pod: &mut Pod, plan: &ShimPlan, checked: Checked<'_>, files: &OpenFiles) -> Result<(), Refusal> {
    let Checked { argv, inherited, resolved, watch, checks } = checked;
    let mut made = Vec::new();
    files.make_room(plan.ranks.len());
    let held = make_logs(plan, resolved, &watch, &mut made)
        .and_then(|ready| hold(plan, ready, &argv, &inherited, files, pod.parts_mut()));
    match held {
        Ok(()) => pod.checks = checks,
        Err(_) => made.iter().for_each(|dir| remove_logs(dir)),
    }
    held
}

/// Only a sweep after a catastrophe reads it.
fn note_cgroups(home: &Home, cgroups: &[PathBuf]) {
    let lines: Vec<&[u8]> = cgroups.iter().map(|path| path.as_os_str().as_encoded_bytes()).collect();
    let _ = home.note(super::home::CGROUPS, &lines.join(&b'\n'));
}

fn open_probes(plan: &ShimPlan) -> Result<Option<Probes>, Refusal> {
    let Some(probe) = &plan.probe else { return Ok(None) };
    match Probes::open(probe, &plan.job, plan.generation) {
        Ok(probes) => Ok(Some(probes)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(Refusal::PortTaken { port: probe.port })
        }
        Err(error) => Err(Refusal::Port { port: probe.port, error }),
    }
}

/// The job was started on another host. A lease is what every job of a cluster has.
fn is_far(plan: &ShimPlan) -> bool {
    plan.lease.is_some()
}

fn check_working_dir(path: &Path, far: bool) -> Result<(), Refusal> {
    let refuse = |error: io::Error| {
        let hint = (far && is_missing(&error)).then(|| {
            "share the path between the nodes, or send the directory along with --ship DIR".to_owned()
        });
        Refusal::WorkingDir { path: shown(path), error, hint }
    };
    if !fs::metadata(path).map_err(refuse)?.is_dir() {
        return Err(refuse(io::Error::from_raw_os_error(libc::ENOTDIR)));
    }
    access(path, AccessFlags::X_OK).map_err(|errno| refuse(errno.into()))
}

/// The program of every rank; ranks with the same PATH share one search.
fn resolve<'a>(
    plan: &'a ShimPlan,
    working_dir: &Path,
    inherited: &Inherited,
) -> Result<Vec<(&'a ShimRank, Overlay<'a>, CString)>, Refusal> {
    let mut resolved: Vec<(&ShimRank, Overlay<'_>, CString)> = Vec::with_capacity(plan.ranks.len());
    for rank in &plan.ranks {
        let overlay = Overlay::new(&plan.env, rank)?;
        let path = overlay.value(inherited, "PATH");
        let found = match resolved.last() {
            Some((_, before, found)) if before.value(inherited, "PATH") == path => found.clone(),
            _ => look_up(plan, working_dir, path)?,
        };
        resolved.push((rank, overlay, found));
    }
    Ok(resolved)
}

/// Makes every log file, so that a full or read-only directory is known before anything starts.
fn make_logs<'a>(
    plan: &ShimPlan,
    resolved: Vec<(&'a ShimRank, Overlay<'a>, CString)>,
    watch: &Watch,
    made: &mut Vec<PathBuf>,
) -> Result<Vec<Ready<'a>>, Refusal> {
    let mut ready = Vec::with_capacity(resolved.len());
    let mut error_dir = None;
    for (rank, overlay, path) in resolved {
        let dir = PathBuf::from(&rank.log_dir);
        let refuse = |error| Refusal::LogDir { path: dir.clone(), error };
        match fs::create_dir(&dir) {
            Err(error) if is_missing(&error) => fs::create_dir_all(&dir).map_err(refuse)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(refuse)?,
        }
        made.push(dir.clone());
        if ready.is_empty() {
            prove_room(&dir).map_err(refuse)?;
        }
        let place =
            LogPlace { dir: dir.clone(), max_file_bytes: plan.max_file_bytes, keep_files: plan.keep_files };
        let create =
            |stream| OutputStream::create(rank.rank, stream, place.clone(), watch.clone()).map_err(refuse);
        let streams = [create(Stream::Stdout)?, create(Stream::Stderr)?];
        make_way_for(Path::new(&rank.error_file), &mut error_dir)?;
        ready.push(Ready { rank, overlay, path, streams });
    }
    Ok(ready)
}

/// An empty file can be made on a full disk; a byte in it cannot.
fn prove_room(dir: &Path) -> io::Result<()> {
    let probe = dir.join(".phalanx-probe");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&probe)?;
    let wrote = file.write_all(b"x");
    let removed = fs::remove_file(&probe);
    wrote.and(removed)
}

/// The directory of an error file exists, and no file of an earlier generation is in its place.
/// `known` is the last directory that was made: ranks mostly share one.
fn make_way_for(error_file: &Path, known: &mut Option<(PathBuf, bool)>) -> Result<(), Refusal> {
    let refuse = |error| Refusal::JobDir { path: error_file.to_path_buf(), error };
    let Some(dir) = error_file.parent() else { return Ok(()) };
    let is_new = match known {
        Some((last, is_new)) if last == dir => *is_new,
        _ => {
            let is_new = match fs::create_dir(dir) {
                Ok(()) => true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                Err(_) => fs::create_dir_all(dir).map(|()| false).map_err(refuse)?,
            };
            *known = Some((dir.to_path_buf(), is_new));
            is_new
        }
    };
    if is_new {
        return Ok(());
    }
    match fs::remove_file(error_file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refuse(error)),
        _ => Ok(()),
    }
}

fn remove_logs(dir: &Path) {
    for stream in [Stream::Stdout, Stream::Stderr] {
        let (name, _) = phalanx_worker_core::shim::log_file(stream, 0, 1);
        let _ = fs::remove_file(dir.join(name));
    }
    let _ = fs::remove_dir(dir);
}

fn hold(
    plan: &ShimPlan,
    ready: Vec<Ready<'_>>,
    argv: &[CString],
    inherited: &Inherited,
    files: &OpenFiles,
    parts: &mut Parts,
) -> Result<(), Refusal> {
    let working_dir = plan.working_dir.as_deref().map(c_string).transpose()?;
    let ends = Ends::open(plan.ranks.first().map_or(0, |rank| rank.rank.0))?;
    let pipes = ends.pipes();
    let Ends { hold_read: _held, hold_write, errors_read, errors_write: _told } = ends;
    let argv = null_terminated(argv.iter().map(CString::as_c_str));
    parts.hold = Some(hold_write);
    parts.errors = Some(errors_read);
    let same = Same { plan, argv: &argv, inherited, working_dir: working_dir.as_deref(), files, pipes };
    for (index, rank) in ready.into_iter().enumerate() {
        let Ready { overlay, path, mut streams, rank } = rank;
        let pid = fork_one(&same, index, (rank, &overlay, &path), &mut streams, &mut parts.cgroup)?;
        let program = path.to_string_lossy().into_owned();
        parts.ranks.push(RankProcess::new(rank, pid, streams, program));
        parts.limits.iter_mut().try_for_each(|limits| limits.take_in(index, pid))?;
    }
    bound::wait(plan, parts, 0..plan.ranks.len())?;
    bound::verify(plan, parts, 0..plan.ranks.len())
}

/// What ranks that are forked together have in common.
struct Same<'a> {
    plan: &'a ShimPlan,
    /// Null-terminated.
    argv: &'a [*const c_char],
    inherited: &'a Inherited,
    working_dir: Option<&'a CStr>,
    files: &'a OpenFiles,
    pipes: Pipes,
}

/// What a rank needs of the pipes that hold it and tell of it.
#[derive(Clone, Copy)]
struct Pipes {
    hold_read: RawFd,
    hold_write: RawFd,
    errors: RawFd,
}

/// All ends of these pipes. Those of the ranks stay open here until they are forked.
struct Ends {
    hold_read: OwnedFd,
    hold_write: File,
    errors_read: File,
    errors_write: OwnedFd,
}

impl Ends {
    fn open(rank: u32) -> Result<Ends, Refusal> {
        let refuse = |what| move |errno: nix::Error| Refusal::Start { rank, what, error: errno.into() };
        let (hold_read, hold_write) = pipe2(OFlag::O_CLOEXEC).map_err(refuse("hold pipe"))?;
        let (errors_read, errors_write) = pipe2(OFlag::O_CLOEXEC).map_err(refuse("error pipe"))?;
        fcntl(&errors_read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(refuse("error pipe"))?;
        Ok(Ends {
            hold_read,
            hold_write: File::from(hold_write),
            errors_read: File::from(errors_read),
            errors_write,
        })
    }

    fn pipes(&self) -> Pipes {
        Pipes {
            hold_read: self.hold_read.as_raw_fd(),
            hold_write: self.hold_write.as_raw_fd(),
            errors: self.errors_write.as_raw_fd(),
        }
    }
}

/// Forks one rank, held, its output into new pipes of these streams.
fn fork_one(
    same: &Same<'_>,
    index: usize,
    (rank, overlay, path): (&ShimRank, &Overlay<'_>, &CStr),
    streams: &mut [OutputStream; 2],
    cgroup: &mut Option<Cgroup>,
) -> Result<i32, Refusal> {
    let number = rank.rank.0;
    let mut open = |at: usize, what| -> Result<OwnedFd, Refusal> {
        let refuse = |errno: nix::Error| Refusal::Start { rank: number, what, error: errno.into() };
        streams[at].open_pipe().map_err(refuse)
    };
    let (stdout, stderr) = (open(0, "pipe for stdout")?, open(1, "pipe for stderr")?);
    let envp = overlay.envp(same.inherited);
    let image = Image {
        index: index as u32,
        path,
        argv: same.argv,
        envp: &envp,
        working_dir: same.working_dir,
        stdout: stdout.as_raw_fd(),
        stderr: stderr.as_raw_fd(),
        hold_read: same.pipes.hold_read,
        hold_write: same.pipes.hold_write,
        errors: same.pipes.errors,
        open_files: same.files.of_ranks(),
        bound: bound::of(rank, same.plan.memory),
    };
    start(&image, cgroup).map_err(|error| Refusal::Start { rank: number, what: "fork", error })
}

/// Forks and releases one rank of a pod that runs, with all checks of the first time. `plan` is that of its generation, with
/// the environment of this attempt.
pub(super) fn start_again(
    pod: &mut Pod,
    plan: &ShimPlan,
    index: usize,
    files: &OpenFiles,
) -> Result<(), Refusal> {
    let Some(rank) = plan.ranks.get(index) else { return Ok(()) };
    let dir = Path::new(plan.working_dir.as_deref().unwrap_or("."));
    check_working_dir(dir, is_far(plan))?;
    let inherited = Inherited::new(&plan.remove_env);
    let argv = arguments(&plan.command)?;
    let overlay = Overlay::new(&plan.env, rank)?;
    let path = look_up(plan, dir, overlay.value(&inherited, "PATH"))?;
    make_way_for(Path::new(&rank.error_file), &mut None)?;
    let working_dir = plan.working_dir.as_deref().map(c_string).transpose()?;
    let ends = Ends::open(rank.rank.0)?;
    let pipes = ends.pipes();
    let Ends { hold_read: _held, mut hold_write, errors_read, errors_write } = ends;
    let argv = null_terminated(argv.iter().map(CString::as_c_str));
    let same =
        Same { plan, argv: &argv, inherited: &inherited, working_dir: working_dir.as_deref(), files, pipes };
    let watch = Checks::watch(plan)?;
    let parts = pod.parts_mut();
    let Some(process) = parts.ranks.get_mut(index) else { return Ok(()) };
    process.streams.iter_mut().for_each(|stream| stream.begin_again(watch.clone()));
    let pid = fork_one(&same, index, (rank, &overlay, &path), &mut process.streams, &mut parts.cgroup)?;
    process.begin_again(pid, path.to_string_lossy().into_owned());
    parts.limits.iter_mut().try_for_each(|limits| limits.take_in(index, pid))?;
    drop(errors_write);
    parts.errors = Some(errors_read);
    bound::wait(plan, parts, index..index + 1)?;
    bound::verify(plan, parts, index..index + 1)?;
    // It waits for one byte; a full pipe cannot be.
    let _ = hold_write.write_all(&[1]);
    Ok(())
}

/// The job's program, with this PATH.
fn look_up(plan: &ShimPlan, working_dir: &Path, path: Option<&OsStr>) -> Result<CString, Refusal> {
    let command = plan.command.first().ok_or(Refusal::NoCommand)?;
    c_string(Lookup { working_dir, path, far: is_far(plan) }.resolve(command)?)
}

/// Forks into the cgroup, or without one where the host does not let us (no delegation, a seccomp
/// filter, an old kernel).
fn start(image: &Image<'_>, cgroup: &mut Option<Cgroup>) -> io::Result<i32> {
    if let Some(group) = cgroup {
        if let Ok(pid) = fork::rank(image, Some(group.as_fd())) {
            return Ok(pid);
        }
        // Empty, it has not let the first one in.
        if group.processes().is_empty() {
            let _ = group.remove();
            *cgroup = None;
        }
    }
    fork::rank(image, None)
}
