//! Init containers and sidecars of one generation: processes that run one after another before there are ranks, and beside
//! them. `preparing` is where the event loop meets this.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::signal::Signal;
use phalanx_common::defaults;
use phalanx_common::exit::ExitStatus;
use phalanx_common::health::{MAX_MESSAGE, ProbeWord, Question, last_of, one_line};
use phalanx_common::spec::{Backoff, Probe, ProbeHandler, ProbeKind, Probes};
use phalanx_common::time::Timestamp;
use phalanx_worker_core::prober::{Act, Prober};
use phalanx_worker_core::shim::{ShimInit, ShimPlan, ShimRank, Stream};

use super::cgroup::Cgroup;
use super::checks::clock::PodClock;
use super::checks::exec::{Asked, Kit};
use super::checks::questions::{Answered, Asks, Questions};
use super::command::Lookup;
use super::environ::{Inherited, Overlay, arguments, c_string, null_terminated};
use super::fork::{self, Image};
use super::limits::OpenFiles;
use super::output::{LogPlace, OutputStream, Watch};
use super::refusal::{Refusal, is_missing};
use super::run::{Poll, Source, wall_clock};
use super::tree::{self, signal_found, signal_group};

/// A sidecar that ends is started again at once, and after longer and longer waits.
const AGAIN: Backoff = Backoff { initial: defaults::BACKOFF_INITIAL, max: defaults::BACKOFF_MAX };

/// The init containers of a generation.
pub(super) struct Inits {
    all: Vec<Container>,
    /// The first that was not begun.
    next: usize,
    /// What ended before the ranks could begin.
    failed: Option<Refusal>,
    /// How many had begun when that was told last.
    told: usize,
    /// All that the ranks wait for is done.
    done: bool,
    /// Nothing is started any more.
    ending: bool,
    clock: PodClock,
    questions: Questions,
    env: Vec<(String, String)>,
    inherited: Inherited,
    working_dir: Option<CString>,
    open_files: libc::rlimit,
    /// Reads as the byte that releases a held process.
    zero: File,
    /// In events they are numbered behind so many ranks.
    ranks: usize,
}

struct Container {
    init: ShimInit,
    /// Its variables, as a rank has them.
    seat: ShimRank,
    path: CString,
    argv: Vec<CString>,
    streams: [OutputStream; 2],
    pid: Option<i32>,
    /// What comes after it need not wait: it ended well, or is a sidecar that has started.
    passed: bool,
    prober: Option<Prober>,
    /// When it was started last, and how often since it last ran for long.
    began: Timestamp,
    starts: u32,
    again_at: Option<Timestamp>,
}

/// What became of the waiting.
pub(super) enum Turned {
    Waits,
    /// The ranks can be made.
    Done,
    Failed(Refusal),
}

impl Inits {
    /// Finds the programs and makes the log files, before anything is started. `skip` names those that are not to run again.
    pub(super) fn prepare(
        plan: &ShimPlan,
        files: &OpenFiles,
        skip: &dyn Fn(&str) -> bool,
        now: Instant,
    ) -> Result<Option<Inits>, Refusal> {
        let inits = plan.init.iter().filter(|init| init.sidecar || !skip(&init.name));
        let inherited = Inherited::new(&plan.remove_env);
        let mut all = Vec::new();
        for init in inits {
            let why = |why: Refusal| Refusal::InitProgram { name: init.name.clone(), why: Box::new(why) };
            all.push(Container::prepare(plan, init, &inherited).map_err(why)?);
        }
        if all.is_empty() {
            return Ok(None);
        }
        let seats: Vec<ShimRank> = all.iter().map(|container| container.seat.clone()).collect();
        let asked = all.iter().enumerate().filter_map(|(index, container)| {
            match &container.init.startup.as_ref()?.handler {
                ProbeHandler::Exec { command } => Some(Asked { key: (index, Question::Startup), command }),
                _ => None,
            }
        });
        let kit = Kit::of(plan, seats, asked.collect(), (&inherited, files))?;
        let zero = File::open("/dev/zero").map_err(|error| Refusal::Start {
            rank: plan.ranks.first().map_or(0, |rank| rank.rank.0),
            what: "/dev/zero for its init containers",
            error,
        })?;
        Ok(Some(Inits {
            all,
            next: 0,
            failed: None,
            told: 0,
            done: false,
            ending: false,
            clock: PodClock::new(now),
            questions: Questions::new(kit, plan.ranks.len()),
            env: plan.env.clone(),
            inherited,
            working_dir: plan.working_dir.as_deref().map(c_string).transpose()?,
            open_files: files.of_ranks(),
            zero,
            ranks: plan.ranks.len(),
        }))
    }

    /// Starts what is due, asks sidecars whether they have started, and says how the ranks stand with that.
    pub(super) fn turn(&mut self, now: Instant, poll: &Poll, cgroup: Option<&Cgroup>) -> Turned {
        let at = self.clock.at(now);
        if let Some(why) = self.failed.take() {
            return Turned::Failed(why);
        }
        let late = self.questions.late(at, poll);
        late.into_iter().for_each(|answered| self.answer(answered, at));
        for index in 0..self.all.len() {
            if !self.ending && self.all[index].again_at.is_some_and(|again| again <= at) {
                self.start(index, at, poll, cgroup);
            }
            self.probe(index, at, (poll, cgroup));
        }
        while !self.ending && !self.done && self.failed.is_none() && self.is_passed() {
            if self.next == self.all.len() {
                self.done = true;
                return Turned::Done;
            }
            self.next += 1;
            self.start(self.next - 1, at, poll, cgroup);
        }
        self.failed.take().map_or(Turned::Waits, Turned::Failed)
    }

    /// What the ranks wait for, if that is another than told before.
    pub(super) fn news(&mut self) -> Option<ProbeWord> {
        let begun = self.all.get(self.next.checked_sub(1)?)?;
        let new = !begun.passed && self.told != self.next;
        new.then(|| {
            self.told = self.next;
            let message = format!("{}, {} of {}", begun.init.name, self.next, self.all.len());
            ProbeWord { probe: Question::Init, message }
        })
    }

    /// What was begun last need not be waited for.
    fn is_passed(&self) -> bool {
        self.next.checked_sub(1).is_none_or(|last| self.all[last].passed)
    }

    fn start(&mut self, index: usize, at: Timestamp, poll: &Poll, cgroup: Option<&Cgroup>) {
        let sidecar = self.all[index].init.sidecar;
        match self.fork(index, poll, cgroup) {
            Ok(pid) => self.all[index].begun(pid, at),
            Err(_) if sidecar && self.all[index].passed => self.all[index].ended(at),
            Err(error) => {
                let name = self.all[index].init.name.clone();
                self.failed = Some(Refusal::InitFork { name, error });
            }
        }
    }

    fn fork(&mut self, index: usize, poll: &Poll, cgroup: Option<&Cgroup>) -> io::Result<i32> {
        let number = self.ranks + index;
        let container = &mut self.all[index];
        let mut write_ends = Vec::with_capacity(2);
        for (at, stream) in container.streams.iter_mut().enumerate() {
            write_ends.push(stream.open_pipe()?);
            if let Some(pipe) = stream.pipe() {
                poll.add(pipe, Source::Output(number, at))?;
            }
        }
        let overlay = Overlay::new(&self.env, &container.seat)
            .map_err(|refusal| io::Error::new(io::ErrorKind::InvalidInput, refusal.to_string()))?;
        let envp = overlay.envp(&self.inherited);
        let argv = null_terminated(container.argv.iter().map(CString::as_c_str));
        let image = Image {
            index: index as u32,
            path: &container.path,
            argv: &argv,
            envp: &envp,
            working_dir: self.working_dir.as_deref(),
            stdout: write_ends[0].as_raw_fd(),
            stderr: write_ends[1].as_raw_fd(),
            hold_read: self.zero.as_raw_fd(),
            hold_write: -1,
            errors: -1,
            open_files: self.open_files,
            bound: None,
        };
        match cgroup {
            Some(cgroup) => fork::rank(&image, Some(cgroup.as_fd())).or_else(|_| fork::rank(&image, None)),
            None => fork::rank(&image, None),
        }
    }

    /// The startup probe of a sidecar.
    fn probe(&mut self, index: usize, at: Timestamp, ways: (&Poll, Option<&Cgroup>)) {
        let Some(prober) = &mut self.all[index].prober else { return };
        prober.handle_timeout(at);
        while let Some(act) = self.all[index].prober.as_mut().and_then(Prober::poll_act) {
            match act {
                Act::Ask { number, .. } => {
                    let Some(Probe { handler, timeout, .. }) = &self.all[index].init.startup else {
                        continue;
                    };
                    let key = (index, Question::Startup);
                    let asks = Asks { key, number, handler, within: Some((*timeout, at)) };
                    if let Some(answered) = self.questions.ask(asks, ways) {
                        self.answer(answered, at);
                    }
                }
                Act::Ready(ready) => self.all[index].passed |= ready,
                // It is started again when it is gone.
                Act::End { .. } => self.all[index].signal(Signal::SIGKILL),
            }
        }
    }

    fn answer(&mut self, answered: Answered, at: Timestamp) {
        let Answered { key: (index, _), number, answer } = answered;
        if let Some(prober) = self.all.get_mut(index).and_then(|container| container.prober.as_mut()) {
            prober.handle_answer(at, ProbeKind::Startup, number, answer);
        }
    }

    /// One of these has this number in events.
    pub(super) fn has(&self, number: usize) -> bool {
        number >= self.ranks
    }

    /// Something happened to what a sidecar is asked. `number`: as in events.
    pub(super) fn on_question(&mut self, number: usize, now: Instant, poll: &Poll) {
        let Some(index) = number.checked_sub(self.ranks) else { return };
        let answered = self.questions.on_event((index, Question::Startup), poll);
        let at = self.clock.at(now);
        answered.into_iter().for_each(|answered| self.answer(answered, at));
    }

    /// A child was reaped; false if it is none of these.
    pub(super) fn on_reaped(
        &mut self,
        pid: i32,
        status: ExitStatus,
        (now, buffer): (Instant, &mut [u8]),
        poll: &Poll,
    ) -> bool {
        let at = self.clock.at(now);
        let Some(index) = self.all.iter().position(|container| container.pid == Some(pid)) else {
            let answered = self.questions.on_reaped(pid, status, &self.pids(), poll);
            let ours = answered.is_some();
            answered.into_iter().for_each(|answered| self.answer(answered, at));
            return ours;
        };
        let container = &mut self.all[index];
        container.pid = None;
        container.close(now, buffer, poll);
        if container.init.sidecar {
            container.ended(at);
            if self.ending {
                container.again_at = None;
                self.end_next();
            }
        } else if status.success() {
            container.passed = true;
        } else if !self.ending {
            self.failed = Some(container.failure(status));
        }
        let wanted = |(index, _): (usize, Question), number| {
            let prober = self.all.get(index).and_then(|container| container.prober.as_ref());
            prober.is_some_and(|prober| prober.awaits(ProbeKind::Startup, number))
        };
        self.questions.keep(poll, wanted);
        true
    }

    /// The stop signal for what the ranks wait for; nothing is started any more.
    pub(super) fn terminate(&mut self, signal: Signal) {
        self.ending = true;
        self.all.iter().filter(|container| !container.init.sidecar).for_each(|it| it.signal(signal));
    }

    /// Ends sidecars, the last one first.
    pub(super) fn end_sidecars(&mut self) {
        self.ending = true;
        self.all.iter_mut().for_each(|container| container.again_at = None);
        self.end_next();
    }

    fn end_next(&self) {
        let alive = self.all.iter().rev().find(|container| container.pid.is_some());
        alive.into_iter().for_each(|container| container.signal(Signal::SIGTERM));
    }

    /// Ranks wait for one of these.
    pub(super) fn holds(&self) -> bool {
        let runs = |container: &Container| !container.init.sidecar && container.pid.is_some();
        self.all.iter().any(runs) || !(self.done || self.ending)
    }

    pub(super) fn has_sidecars(&self) -> bool {
        self.all.iter().any(|container| container.init.sidecar && container.pid.is_some())
    }

    /// Those that ran to a good end.
    pub(super) fn ended_well(&self) -> impl Iterator<Item = &str> {
        let well = self.all.iter().filter(|container| !container.init.sidecar && container.passed);
        well.map(|container| container.init.name.as_str())
    }

    pub(super) fn pids(&self) -> Vec<i32> {
        self.all.iter().filter_map(|container| container.pid).chain(self.questions.pids()).collect()
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = &OutputStream> {
        self.all.iter().flat_map(|container| &container.streams)
    }

    pub(super) fn streams_mut(&mut self) -> impl Iterator<Item = &mut OutputStream> {
        self.all.iter_mut().flat_map(|container| &mut container.streams)
    }

    /// One stream of the program with this number in events.
    pub(super) fn stream(&mut self, number: usize, stream: usize) -> Option<&mut OutputStream> {
        let index = number.checked_sub(self.ranks)?;
        self.all.get_mut(index)?.streams.get_mut(stream)
    }

    pub(super) fn freeze(&mut self, now: Instant) {
        self.clock.freeze(now);
    }

    pub(super) fn thaw(&mut self, now: Instant) {
        self.clock.thaw(now);
    }

    /// When to turn again if nothing else happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.failed.is_some() || (!self.ending && !self.done && self.is_passed()) {
            return Some(Instant::now());
        }
        let again = self.all.iter().filter_map(|container| container.again_at);
        let probes = self.all.iter().filter_map(|container| container.prober.as_ref()?.poll_timeout());
        let next = again.chain(probes).chain(self.questions.next()).min()?;
        self.clock.instant(next)
    }
}

impl Container {
    fn prepare(plan: &ShimPlan, init: &ShimInit, inherited: &Inherited) -> Result<Container, Refusal> {
        let rank = plan.ranks.first().map(|rank| rank.rank).unwrap_or_default();
        let seat = ShimRank {
            rank,
            env: init.env.clone(),
            log_dir: init.log_dir.clone(),
            error_file: String::new(),
            cpus: Default::default(),
            nodes: Default::default(),
        };
        let command = init.command.first().ok_or(Refusal::NoCommand)?;
        let overlay = Overlay::new(&plan.env, &seat)?;
        let working_dir = Path::new(plan.working_dir.as_deref().unwrap_or("."));
        let lookup =
            Lookup { working_dir, path: overlay.value(inherited, "PATH"), far: plan.lease.is_some() };
        let path = c_string(lookup.resolve(command)?)?;
        let argv = arguments(&init.command)?;
        let dir = PathBuf::from(&init.log_dir);
        let refuse = |error| Refusal::LogDir { path: dir.clone(), error };
        match fs::create_dir(&dir) {
            Err(error) if is_missing(&error) => fs::create_dir_all(&dir).map_err(refuse)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(refuse)?,
        }
        let place =
            LogPlace { dir: dir.clone(), max_file_bytes: plan.max_file_bytes, keep_files: plan.keep_files };
        let create =
            |stream| OutputStream::create(rank, stream, place.clone(), Watch::default()).map_err(refuse);
        let streams = [create(Stream::Stdout)?, create(Stream::Stderr)?];
        let probes = Probes { startup: init.startup.clone(), ..Probes::default() };
        Ok(Container {
            prober: probes.startup.is_some().then(|| Prober::new(&probes)),
            init: init.clone(),
            seat,
            path,
            argv,
            streams,
            pid: None,
            passed: false,
            began: Timestamp::default(),
            starts: 0,
            again_at: None,
        })
    }

    fn begun(&mut self, pid: i32, at: Timestamp) {
        self.pid = Some(pid);
        self.began = at;
        self.again_at = None;
        match &mut self.prober {
            Some(prober) if !self.passed => prober.handle_begun(at),
            _ => self.passed |= self.init.sidecar,
        }
    }

    /// A sidecar is gone: it is started again.
    fn ended(&mut self, at: Timestamp) {
        if let Some(prober) = &mut self.prober {
            prober.handle_ended();
            while prober.poll_act().is_some() {}
        }
        self.starts = if at.since(self.began) >= defaults::BACKOFF_RESET { 0 } else { self.starts };
        self.again_at = Some(at + AGAIN.wait(self.starts));
        self.starts = self.starts.saturating_add(1);
    }

    fn signal(&self, signal: Signal) {
        let Some(pid) = self.pid else { return };
        let below = tree::descendants(pid, None);
        signal_group(pid, signal);
        if signal == Signal::SIGKILL {
            below.iter().for_each(|process| signal_found(process, signal));
        } else {
            signal_group(pid, Signal::SIGCONT);
        }
    }

    /// Files what it wrote last.
    fn close(&mut self, now: Instant, buffer: &mut [u8], poll: &Poll) {
        for stream in &mut self.streams {
            stream.drain(buffer, now, wall_clock());
            if let Some(pipe) = stream.pipe() {
                poll.remove(pipe);
            }
            stream.close_pipe();
        }
    }

    /// Why the ranks cannot begin, with what it said last.
    fn failure(&self, status: ExitStatus) -> Refusal {
        let tails = [self.streams[1].tail(), self.streams[0].tail()];
        let said =
            tails.iter().map(|tail| String::from_utf8_lossy(tail)).find(|tail| !tail.trim().is_empty());
        let said = said.map(|said| one_line(last_of(said.trim(), MAX_MESSAGE)));
        let (name, log_dir) = (self.init.name.clone(), PathBuf::from(&self.init.log_dir));
        Refusal::InitFailed { name, status, said, log_dir }
    }
}
