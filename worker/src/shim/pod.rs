//! One generation of a pod: its processes, pipes and reservations.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use phalanx_common::defaults::LOG_TAIL;
use phalanx_common::exit::ExitStatus;
use phalanx_common::health::ProbeFailure;
use phalanx_common::id::{Generation, Rank};
use phalanx_common::report::{Notice, OutOfMemory, PodEnd, RankExit};
use phalanx_common::spec::StopScope;
use phalanx_common::time::Timestamp;
use phalanx_worker_core::shim::{ShimPlan, ShimRank};

use super::again::Again;
use super::cgroup::Cgroup;
use super::checks::{Checks, Order};
use super::fork::{Step, Word};
use super::init::{Inits, Turned};
use super::life::Life;
use super::memory::Limits;
use super::output::OutputStream;
use super::ports::Reserved;
use super::probe::Probes;
use super::refusal::Refusal;
use super::run::Poll;
use super::sys;
use super::tree::{self, Process, signal, signal_found, signal_group};

/// After this many rounds of SIGKILL the whole host is searched for the mark.
const ROUNDS_BEFORE_SCAN: u32 = 5;
/// Rounds of SIGSTOP: processes may fork while they are being listed.
const STOP_ROUNDS: u32 = 4;

/// A rank's process as the shim knows it.
#[derive(Debug)]
pub(super) struct RankProcess {
    pub(super) rank: Rank,
    pub(super) pid: i32,
    pub(super) streams: [OutputStream; 2],
    error_file: PathBuf,
    program: String,
    ended: Option<Ended>,
    /// The probe for which it was told to end.
    failure: Option<ProbeFailure>,
    /// How often it was started again.
    pub(super) attempt: u32,
    /// It is ended to be started again.
    makes_way: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    status: ExitStatus,
    at: Timestamp,
    after_stop: bool,
    oom: Option<OutOfMemory>,
}

impl RankProcess {
    pub(super) fn new(rank: &ShimRank, pid: i32, streams: [OutputStream; 2], program: String) -> RankProcess {
        let error_file = PathBuf::from(&rank.error_file);
        RankProcess {
            rank: rank.rank,
            pid,
            streams,
            error_file,
            program,
            ended: None,
            failure: None,
            attempt: 0,
            makes_way: false,
        }
    }

    /// Another process of the same rank.
    pub(super) fn begin_again(&mut self, pid: i32, program: String) {
        (self.pid, self.program) = (pid, program);
        (self.ended, self.failure, self.makes_way) = (None, None, false);
    }

    /// It could not be started again: it counts as one that failed so.
    pub(super) fn fail_again(&mut self, why: &str, status: ExitStatus, now: Instant, at: Timestamp) {
        self.streams[1].file(why.as_bytes(), now, at);
        (self.failure, self.makes_way) = (None, false);
        self.ended = Some(Ended { status, at, after_stop: false, oom: None });
    }

    pub(super) fn is_alive(&self) -> bool {
        self.ended.is_none()
    }
}

/// What forking the ranks made. Dropped, it aborts those that are still held.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) ranks: Vec<RankProcess>,
    /// One byte per rank releases them; end-of-file aborts them.
    pub(super) hold: Option<File>,
    /// A record per rank whose exec failed; end-of-file once none is left before its exec.
    pub(super) errors: Option<File>,
    pub(super) limits: Option<Limits>,
    pub(super) cgroup: Option<Cgroup>,
    /// What people should know of how the ranks are held.
    pub(super) told: Vec<Notice>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        // Released ranks belong to the life of the pod, which ends them by its own rules.
        if self.hold.take().is_some() {
            for rank in self.ranks.iter().filter(|rank| rank.is_alive()) {
                signal(rank.pid, Signal::SIGKILL);
                sys::wait_for(rank.pid);
            }
        }
        if let Some(cgroup) = &self.cgroup {
            let _ = cgroup.remove();
        }
    }
}

/// One generation, held or later.
pub(super) struct Pod {
    pub(super) generation: Generation,
    pub(super) life: Life,
    /// What the job gives its ranks between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
    mark: String,
    stop_scope: StopScope,
    stop_signal: Signal,
    /// Ranks do their preStop hook before the stop signal.
    pub(super) wants_pre_stop: bool,
    parts: Parts,
    exec_failed: bool,
    /// Ranks that are to start again; `None`: none ever is.
    pub(super) again: Option<Again>,
    /// Numbers of what `reserved` holds.
    ports: Vec<u16>,
    _reserved: Reserved,
    /// Peers' probes; `None` where nobody probes.
    pub(super) probes: Option<Probes>,
    /// What its ranks are asked, and say.
    pub(super) checks: Checks,
    /// What runs before there are ranks, and beside them.
    pub(super) inits: Option<Inits>,
    /// Why there will be no ranks: it ends for that.
    pub(super) refusal: Option<Refusal>,
    swept: BTreeSet<i32>,
    rounds: u32,
}

impl Pod {
    pub(super) fn new(
        plan: &ShimPlan,
        parts: Parts,
        ports: Reserved,
        probes: Option<Probes>,
        inits: Option<Inits>,
        now: Instant,
    ) -> Pod {
        Pod {
            generation: plan.generation,
            life: Life::held(now, plan.lease, plan.termination_grace),
            grace: plan.termination_grace,
            mark: plan.mark.clone(),
            stop_scope: plan.stop_scope,
            stop_signal: Signal::try_from(i32::from(plan.stop_signal)).unwrap_or(Signal::SIGTERM),
            wants_pre_stop: false,
            parts,
            exec_failed: false,
            again: None,
            ports: plan.ports.clone(),
            _reserved: ports,
            probes,
            checks: Checks::none(now),
            inits,
            refusal: None,
            swept: BTreeSet::new(),
            rounds: 0,
        }
    }

    pub(super) fn ranks(&self) -> &[RankProcess] {
        &self.parts.ranks
    }

    /// What tells of ranks that want memory which they may not have.
    pub(super) fn alarms(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.parts.limits.iter().flat_map(Limits::alarms)
    }

    pub(super) fn parts_mut(&mut self) -> &mut Parts {
        &mut self.parts
    }

    /// Output of ranks and of what runs beside them.
    pub(super) fn streams(&self) -> impl Iterator<Item = &OutputStream> {
        let of_ranks = self.parts.ranks.iter().flat_map(|rank| &rank.streams);
        of_ranks.chain(self.inits.iter().flat_map(Inits::streams))
    }

    pub(super) fn streams_mut(&mut self) -> impl Iterator<Item = &mut OutputStream> {
        let of_ranks = self.parts.ranks.iter_mut().flat_map(|rank| &mut rank.streams);
        of_ranks.chain(self.inits.iter_mut().flat_map(Inits::streams_mut))
    }

    pub(super) fn ranks_mut(&mut self) -> &mut [RankProcess] {
        &mut self.parts.ranks
    }

    /// The error pipe, until it has come to its end.
    pub(super) fn errors(&self) -> Option<BorrowedFd<'_>> {
        self.parts.errors.as_ref().map(AsFd::as_fd)
    }

    /// What people should know of how it was prepared, once.
    pub(super) fn told(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.parts.told)
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.parts.ranks.iter().map(|rank| rank.pid as u32).collect()
    }

    pub(super) fn alive(&self) -> usize {
        self.parts.ranks.iter().filter(|rank| rank.is_alive()).count()
    }

    /// Ranks that have ended and may start again, or are to: what follows for them is not told yet, or not done.
    pub(super) fn awaited(&self) -> usize {
        let Some(again) = self.again.as_ref().filter(|_| !self.life.is_stopping()) else { return 0 };
        let failed = |ended: &Ended| !ended.status.success() && !ended.after_stop;
        let ranks = self.parts.ranks.iter().enumerate();
        let awaited = ranks
            .filter_map(|(index, rank)| Some((index, rank.ended.as_ref()?)))
            .filter(|(index, ended)| again.is_due(*index) || failed(ended));
        awaited.count()
    }

    /// The stop signal for a rank that is to start again, and SIGKILL after this grace.
    pub(super) fn make_way(&mut self, index: usize, grace: Duration, now: Instant) {
        let Some(rank) = self.parts.ranks.get_mut(index).filter(|rank| rank.is_alive()) else { return };
        rank.makes_way = true;
        let pid = rank.pid;
        self.ask_to_end(&self.parts.ranks[index]);
        signal_group(pid, Signal::SIGCONT);
        self.checks.kills(index, grace, now);
    }

    /// SIGKILL to what a rank that has ended left behind; false if there is nothing. What is below another rank, a probe or an
    /// init container is theirs, whatever it says of itself.
    pub(super) fn sweep_after(&self, index: usize, guardian: Option<i32>) -> bool {
        let Some(rank) = self.parts.ranks.get(index) else { return false };
        let alive = self.parts.ranks.iter().filter(|other| other.is_alive()).map(|other| other.pid);
        let inits = self.inits.iter().flat_map(Inits::pids);
        let roots: BTreeSet<i32> = alive.chain(self.checks.pids()).chain(inits).collect();
        let of_others: BTreeSet<i32> = roots
            .iter()
            .flat_map(|root| tree::descendants(*root, None))
            .map(|process| process.pid)
            .chain(roots.iter().copied())
            .collect();
        let own = format!("RANK={}", rank.rank);
        let is_left = |it: &Process| {
            !of_others.contains(&it.pid)
                && (it.group == rank.pid || tree::environ_has(it.pid, own.as_bytes()))
        };
        let below = self.below(guardian).into_iter().filter(is_left);
        let limited = self.parts.limits.as_ref().map(|limits| limits.processes_of(index)).unwrap_or_default();
        let left: Vec<Process> = below.chain(limited.into_iter().filter_map(tree::process)).collect();
        left.iter().for_each(|process| signal_found(process, Signal::SIGKILL));
        left.iter().any(Process::is_alive)
    }

    /// The error pipe tells of another attempt.
    pub(super) fn expect_exec(&mut self) {
        self.exec_failed = false;
    }

    pub(super) fn has_open_pipes(&self) -> bool {
        self.streams().any(|stream| stream.pipe().is_some())
    }

    /// Releases every held rank with one write.
    pub(super) fn release(&mut self) -> io::Result<()> {
        let Some(mut hold) = self.parts.hold.take() else { return Ok(()) };
        match hold.write_all(&vec![1; self.parts.ranks.len()]) {
            // All of them died while held: their exits tell.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Reads the error pipe. Once every rank is past its exec, says whether all made it.
    pub(super) fn read_errors(&mut self, now: Instant, at: Timestamp) -> Option<bool> {
        let mut bytes = [0; Word::LEN];
        loop {
            // Records are written whole, so they are read whole.
            match self.parts.errors.as_mut()?.read(&mut bytes) {
                Ok(Word::LEN) => {
                    self.exec_failed = true;
                    self.tell_failure(Word::from_bytes(bytes), now, at);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Ok(_) | Err(_) => {
                    // Closed, it leaves the epoll by itself.
                    self.parts.errors = None;
                    return Some(!self.exec_failed);
                }
            }
        }
    }

    /// What failed before the program ran stands in the rank's stderr.
    fn tell_failure(&mut self, failure: Word, now: Instant, at: Timestamp) {
        let Some(rank) = self.parts.ranks.get_mut(failure.index as usize) else { return };
        let why = nix::errno::Errno::from_raw(failure.errno).desc();
        let text = match (failure.step, failure.errno) {
            (Step::Chdir, _) => format!("phalanx: cannot enter the working directory: {why}\n"),
            // Said before the pod is prepared, and read then.
            (Step::Cpus | Step::Memory | Step::Bound, _) => format!("phalanx: cannot bind the rank: {why}\n"),
            (Step::Exec, libc::ENOENT) if fs::exists(&rank.program).unwrap_or(false) => {
                format!("phalanx: cannot execute {}: its dynamic loader does not exist\n", rank.program)
            }
            (Step::Exec, libc::ENOEXEC) => {
                format!("phalanx: cannot execute {}: not a program for this machine\n", rank.program)
            }
            (Step::Exec, libc::E2BIG) => format!(
                "phalanx: cannot execute {}: arguments and environment are too long together\n",
                rank.program
            ),
            (Step::Exec, _) => format!("phalanx: cannot execute {}: {why}\n", rank.program),
        };
        rank.streams[1].file(text.as_bytes(), now, at);
    }

    /// A child was reaped; the index of the rank it was.
    pub(super) fn on_reaped(&mut self, pid: i32, status: ExitStatus, at: Timestamp) -> Option<usize> {
        let index = self.parts.ranks.iter().position(|rank| rank.pid == pid && rank.is_alive())?;
        let after_stop = self.life.is_stopping() || self.parts.ranks[index].makes_way;
        let limits = self.parts.limits.as_ref().filter(|_| !status.success());
        let oom = limits.and_then(|limits| limits.out_of_memory(index));
        self.parts.ranks[index].ended = Some(Ended { status, at, after_stop, oom });
        Some(index)
    }

    /// The report of a rank that has ended.
    pub(super) fn exit_of(&self, index: usize) -> Option<RankExit> {
        let rank = self.parts.ranks.get(index)?;
        let Ended { status, at, after_stop, oom } = rank.ended?;
        let stderr_tail = rank.streams[1].tail();
        let error_file = read_error_file(&rank.error_file);
        let port_conflict = !status.success()
            && [Some(&stderr_tail), error_file.as_ref()]
                .into_iter()
                .flatten()
                .any(|text| says_in_use(text, &self.ports));
        let stdout_tail = rank.streams[0].tail();
        Some(RankExit {
            rank: rank.rank,
            attempt: rank.attempt,
            status,
            at,
            after_stop,
            port_conflict,
            stderr_tail,
            stdout_tail,
            error_file,
            probe: rank.failure.clone(),
            oom,
        })
    }

    /// The stop signal, and SIGCONT so that a stopped process can act on it.
    pub(super) fn terminate(&mut self, guardian: Option<i32>) {
        // Held ranks abort at end-of-file.
        self.parts.hold = None;
        let below = tree::descendants(std::process::id() as i32, guardian);
        if let Some(inits) = &mut self.inits {
            inits.terminate(self.stop_signal);
        }
        let hooked = self.wants_pre_stop && self.life.is_started();
        for (index, rank) in self.parts.ranks.iter().enumerate() {
            match (self.stop_scope, rank.is_alive()) {
                (_, true) if hooked && self.checks.begin_pre_stop(index) => {}
                (_, true) => self.ask_to_end(rank),
                (StopScope::Group, false) => {
                    // Children that outlived their rank, one by one: the id of an empty group may be reused.
                    let left = below.iter().filter(|process| process.group == rank.pid);
                    left.for_each(|process| signal_found(process, self.stop_signal));
                }
                (StopScope::Process, false) => {}
            }
        }
        self.proceed(&below);
    }

    fn ask_to_end(&self, rank: &RankProcess) {
        match self.stop_scope {
            StopScope::Group => signal_group(rank.pid, self.stop_signal),
            StopScope::Process => signal(rank.pid, self.stop_signal),
        }
    }

    /// The stop signal for a rank whose preStop hook is over.
    pub(super) fn after_pre_stop(&mut self, index: usize, now: Instant) {
        if let Some(rank) = self.parts.ranks.get(index).filter(|rank| rank.is_alive()) {
            self.ask_to_end(rank);
            self.life.signalled(now);
        }
    }

    /// Starts what is due of what comes before the ranks, or runs beside them.
    pub(super) fn turn_inits(&mut self, now: Instant, poll: &Poll) -> Turned {
        match &mut self.inits {
            Some(inits) => inits.turn(now, poll, self.parts.cgroup.as_ref()),
            None => Turned::Waits,
        }
    }

    /// Asks what is due, and says what is to be done about ranks.
    pub(super) fn turn_checks(&mut self, now: Instant, poll: &Poll) -> Vec<Order> {
        self.checks.turn(now, poll, self.parts.cgroup.as_ref())
    }

    /// The end of one rank, whose probe is bad or whose postStart hook failed: a preStop hook, and the stop signal.
    pub(super) fn end_rank(
        &mut self,
        index: usize,
        failure: ProbeFailure,
        guardian: Option<i32>,
        now: Instant,
    ) {
        let Some(rank) = self.parts.ranks.get_mut(index).filter(|rank| rank.is_alive()) else { return };
        self.checks.ends(index, failure.probe, self.grace, now);
        rank.failure = Some(failure);
        let rank = &self.parts.ranks[index];
        if self.checks.begin_pre_stop(index) {
            return;
        }
        self.ask_to_end(rank);
        // One that was stopped by a debugger could not act on it.
        signal_group(rank.pid, Signal::SIGCONT);
        tree::descendants(rank.pid, guardian)
            .iter()
            .for_each(|process| signal_found(process, Signal::SIGCONT));
    }

    /// SIGKILL for one rank and all that is below it.
    pub(super) fn kill_rank(&mut self, index: usize) {
        let Some(rank) = self.parts.ranks.get(index).filter(|rank| rank.is_alive()) else { return };
        let below = tree::descendants(rank.pid, None);
        signal_group(rank.pid, Signal::SIGKILL);
        below.iter().for_each(|process| signal_found(process, Signal::SIGKILL));
    }

    /// SIGKILL to everything of this generation.
    pub(super) fn kill(&mut self, guardian: Option<i32>) {
        self.parts.hold = None;
        self.rounds += 1;
        let mut found: BTreeMap<i32, Process> =
            self.below(guardian).into_iter().map(|process| (process.pid, process)).collect();
        if self.rounds > ROUNDS_BEFORE_SCAN {
            found.extend(tree::marked(&self.mark).into_iter().map(|process| (process.pid, process)));
        }
        for rank in self.parts.ranks.iter().filter(|rank| rank.is_alive()) {
            signal_group(rank.pid, Signal::SIGKILL);
        }
        if let Some(limits) = &self.parts.limits {
            let inside = limits.processes().into_iter().filter_map(tree::process);
            found.extend(inside.map(|process| (process.pid, process)));
        }
        if let Some(cgroup) = &self.parts.cgroup {
            let inside = cgroup.processes().into_iter().filter_map(tree::process);
            found.extend(inside.map(|process| (process.pid, process)));
            cgroup.kill();
        }
        for (pid, process) in found {
            signal_found(&process, Signal::SIGKILL);
            let beside = self.checks.pids().any(|known| known == pid)
                || self.inits.as_ref().is_some_and(|inits| inits.pids().contains(&pid));
            if !beside && !self.parts.ranks.iter().any(|rank| rank.pid == pid) {
                self.swept.insert(pid);
            }
        }
    }

    fn below(&self, guardian: Option<i32>) -> Vec<Process> {
        tree::descendants(std::process::id() as i32, guardian)
    }

    /// SIGSTOP to every process of the pod.
    pub(super) fn suspend(&self, guardian: Option<i32>) {
        for rank in self.parts.ranks.iter().filter(|rank| rank.is_alive()) {
            signal_group(rank.pid, Signal::SIGSTOP);
        }
        for _ in 0..STOP_ROUNDS {
            let running = self.below(guardian).into_iter().filter(|process| process.state != 'T');
            let stopped = running.map(|process| signal_found(&process, Signal::SIGSTOP)).count();
            if stopped == 0 {
                return;
            }
        }
    }

    /// SIGCONT to every process of the pod.
    pub(super) fn resume(&self, guardian: Option<i32>) {
        self.proceed(&self.below(guardian));
    }

    fn proceed(&self, below: &[Process]) {
        for rank in self.parts.ranks.iter().filter(|rank| rank.is_alive()) {
            signal_group(rank.pid, Signal::SIGCONT);
        }
        below.iter().for_each(|process| signal_found(process, Signal::SIGCONT));
    }

    /// Nothing more will happen: what is there to say about this generation.
    pub(super) fn end(&mut self, guardian: Option<i32>) -> PodEnd {
        let mut survivors: Vec<(u32, String)> = Vec::new();
        if self.rounds > 0 {
            survivors.extend(self.below(guardian).into_iter().map(|p| (p.pid as u32, p.name)));
        }
        self.parts.limits = None;
        if let Some(cgroup) = self.parts.cgroup.take() {
            let _ = cgroup.remove();
        }
        PodEnd {
            swept: self.swept.len() as u32,
            shim_lost: false,
            lease_lapsed: self.life.lease_lapsed(),
            survivors,
        }
    }
}

fn read_error_file(path: &Path) -> Option<Vec<u8>> {
    // The rank's user may have put anything there: neither a link nor a fifo is followed.
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut content = Vec::new();
    file.take(LOG_TAIL as u64).read_to_end(&mut content).ok()?;
    Some(content)
}

/// Somebody else had one of the pod's own ports: a line says that an address was in use and names
/// the port. Other servers of a rank are its own affair.
fn says_in_use(text: &[u8], ports: &[u16]) -> bool {
    let text = String::from_utf8_lossy(text);
    let in_use = |line: &&str| {
        ["EADDRINUSE", "Address already in use", "address already in use"]
            .iter()
            .any(|words| line.contains(words))
    };
    text.lines().filter(in_use).any(|line| {
        let mut numbers = line.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
        numbers.any(|number: u16| ports.contains(&number))
    })
}
