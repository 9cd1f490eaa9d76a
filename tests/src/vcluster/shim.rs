//! A fake shim: does what the real one promises to the worker, on virtual processes.

mod again;
mod begun;
mod lifecycle;
mod probed;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Generation, JobId, NodeId, Rank};
use phalanx_common::report::{OutOfMemory, PodEnd, RankExit};
use phalanx_common::time::Timestamp;
use phalanx_worker_core::shim::{ShimOrder, ShimPlan, ShimReport};

use self::probed::Probed;
use super::machine::{Process, Processes};
use super::sabotage::Sabotage;
use super::script::Scripts;

/// One shim process.
#[derive(Debug)]
pub(crate) struct Shim {
    pub(crate) job: JobId,
    node: NodeId,
    pod: Option<ShimPod>,
    suspended: bool,
    /// Init containers that are not run again.
    init_done: BTreeSet<String>,
    /// When the lease lapses.
    lease: Option<Timestamp>,
    /// Exit was heard: gone once the caller sees it.
    pub(crate) gone: bool,
}

/// The generation a shim has.
#[derive(Debug)]
struct ShimPod {
    plan: Box<ShimPlan>,
    state: State,
    /// Deadlines that stand still while suspended.
    timers: BTreeMap<Timer, Timestamp>,
    stop: bool,
    lapsed: bool,
    /// Ranks that have not ended.
    left: u32,
    /// Which of its init containers runs.
    init: usize,
    /// Its programs run.
    started: bool,
    /// Ranks that make no progress any more.
    hung: BTreeSet<Rank>,
    /// Ranks that have not done their postStart hook, and are not probed.
    beginning: BTreeSet<Rank>,
    /// Ranks that do their preStop hook.
    hooks: BTreeSet<Rank>,
    /// Ranks that were started again, and how often.
    attempts: BTreeMap<Rank, u32>,
    /// Ranks that are to start again, as which attempt, and which were ordered together.
    again: BTreeMap<Rank, (u32, Vec<Rank>)>,
    /// Ranks that ended and count as left: what follows is not told yet, or not done.
    failed: BTreeSet<Rank>,
    /// When their programs began, and what asks them since.
    probed: BTreeMap<Rank, Probed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preparing,
    Refused,
    Prepared,
    Released,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// An init container ends by itself.
    Init,
    /// It is killed, or has heeded its stop signal.
    InitGone,
    Prepared,
    Started,
    Exit(Rank),
    Hang(Rank),
    /// A postStart hook is over.
    Begun(Rank),
    /// A preStop hook is over.
    Hook(Rank),
    /// What SIGTERM brings about, once the process runs.
    Term(Rank),
    Kill,
    /// SIGKILL was sent: the process is gone a little later.
    Reap(Rank),
    /// A probe is due.
    Probe(Rank),
    /// SIGKILL for a rank whose probe is bad, or that makes way for another start of it.
    End(Rank),
    /// The wait before another start of a rank is over.
    Again(Rank),
}

/// How a rank ends.
pub(crate) struct Ending {
    pub(crate) status: ExitStatus,
    /// It says that an address was in use.
    pub(crate) conflict: bool,
    pub(crate) oom: Option<OutOfMemory>,
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Ending {
        Ending { status, conflict: false, oom: None }
    }
}

/// What a shim sees of the world around it.
pub(crate) struct Around<'a> {
    pub(crate) now: Timestamp,
    pub(crate) scripts: &'a Scripts,
    pub(crate) processes: &'a mut Processes,
    /// Ports that somebody else on the machine has.
    pub(crate) foreign_ports: &'a [u16],
    /// How many times as long as usual things take here.
    pub(crate) slow: u32,
    pub(crate) sabotage: Option<Sabotage>,
    /// What happened that no report tells.
    pub(crate) met: Vec<&'static str>,
    pub(crate) reports: Vec<ShimReport>,
    /// Pods that became prepared or released: witnessed truth for the invariants.
    pub(crate) prepared: Vec<(JobId, Generation)>,
    pub(crate) released: Vec<(JobId, Generation)>,
    /// Ranks that their probes found ready, or that ended with 0.
    pub(crate) ready: Vec<(JobId, Generation, Rank)>,
    /// What the worker must not ask of a shim.
    pub(crate) broken: Vec<String>,
}

/// From SIGKILL to the end of the process.
const KILL_TAKES: Duration = Duration::from_millis(5);

impl Shim {
    pub(crate) fn new(job: JobId, node: NodeId) -> Shim {
        Shim { job, node, pod: None, suspended: false, init_done: BTreeSet::new(), lease: None, gone: false }
    }

    pub(crate) fn generation(&self) -> Option<Generation> {
        self.pod.as_ref().map(|pod| pod.plan.generation)
    }

    /// A lease that never lapses, as a worker that renews without orders would make it.
    pub(crate) fn renew_forever(&mut self) {
        self.lease = self.lease.map(|_| Timestamp(u64::MAX));
    }

    /// When it has something to do.
    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        let pod = self.pod.as_ref()?;
        let timers = pod.timers.iter().filter(|(timer, _)| !self.suspended || !timer.stands_still());
        timers.map(|(_, at)| *at).chain(self.lease).min()
    }

    pub(crate) fn handle(&mut self, order: ShimOrder, around: &mut Around<'_>) {
        match order {
            ShimOrder::Prepare(plan) => self.on_prepare(plan, around),
            ShimOrder::Go { generation } => self.on_go(generation, around),
            ShimOrder::Stop { generation, grace, pre_stop } => {
                if self.generation() == Some(generation) {
                    self.stop(grace, pre_stop, around);
                }
            }
            ShimOrder::Suspend => self.on_suspend(around.now),
            ShimOrder::Resume => self.on_resume(around.now),
            ShimOrder::Lease { remaining } => {
                let live =
                    self.pod.as_ref().is_some_and(|pod| pod.state != State::Over && pod.plan.lease.is_some());
                self.lease = live.then(|| around.now + remaining);
            }
            // Between machines: the world's affair.
            ShimOrder::Probe { .. } => {}
            ShimOrder::Restart { generation, ranks, delay, grace } => {
                if self.generation() == Some(generation) {
                    self.on_restart(ranks, delay, grace, around);
                }
            }
            ShimOrder::Exit { .. } => self.gone = true,
        }
    }

    fn on_prepare(&mut self, plan: Box<ShimPlan>, around: &mut Around<'_>) {
        if let Some(pod) = self.pod.as_ref().filter(|pod| pod.state != State::Over) {
            let what =
                format!("Prepare of generation {} while {} lives", plan.generation, pod.plan.generation);
            around.broken.push(what);
        }
        let script = around.scripts.pod(&self.job, plan.generation, &self.node);
        self.lease = plan.lease.map(|lease| around.now + lease);
        let timers = BTreeMap::from([(Timer::Prepared, around.now + around.takes(script.prepare))]);
        let left = u32::try_from(plan.ranks.len()).unwrap_or(u32::MAX);
        self.suspended = false;
        self.pod = Some(ShimPod {
            plan,
            state: State::Preparing,
            timers,
            stop: false,
            lapsed: false,
            left,
            init: 0,
            started: false,
            hung: BTreeSet::new(),
            beginning: BTreeSet::new(),
            hooks: BTreeSet::new(),
            attempts: BTreeMap::new(),
            again: BTreeMap::new(),
            failed: BTreeSet::new(),
            probed: BTreeMap::new(),
        });
    }

    fn on_go(&mut self, generation: Generation, around: &mut Around<'_>) {
        let Some(pod) = self
            .pod
            .as_mut()
            .filter(|pod| pod.plan.generation == generation && pod.state == State::Prepared && !pod.killed())
        else {
            return;
        };
        let base = if self.suspended { Timestamp::default() } else { around.now };
        pod.state = State::Released;
        around.released.push((self.job.clone(), generation));
        around.processes.release(&self.job, generation, around.sabotage == Some(Sabotage::StartTwice));
        if let Some(start) = around.scripts.pod(&self.job, generation, &self.node).start {
            pod.timers.insert(Timer::Started, base + around.takes(start));
        }
    }

    /// Acts on everything that is due.
    pub(crate) fn wake(&mut self, around: &mut Around<'_>) {
        if self.lease.is_some_and(|at| at <= around.now) {
            self.lease = None;
            if let Some(pod) = self.pod.as_mut().filter(|pod| pod.state != State::Over) {
                pod.lapsed = true;
                // A frozen pod that nobody may ever resume is killed.
                let grace = if self.suspended { Duration::ZERO } else { Duration::from_secs(1) };
                self.stop(grace, false, around);
            }
        }
        loop {
            let suspended = self.suspended;
            let Some(pod) = self.pod.as_mut() else { return };
            let due = pod
                .timers
                .iter()
                .filter(|(timer, at)| **at <= around.now && !(suspended && timer.stands_still()))
                .min_by_key(|(_, at)| **at)
                .map(|(timer, _)| *timer);
            let Some(timer) = due else { return };
            pod.timers.remove(&timer);
            match timer {
                Timer::Prepared => self.begin_init(around),
                Timer::Init => self.on_init_done(around),
                Timer::InitGone => self.on_init_gone(around),
                Timer::Started => self.on_started(around),
                Timer::Exit(rank) => {
                    let script = self.script(rank, around);
                    let (status, conflict, oom) = (script.status, script.port_conflict, script.oom);
                    self.rank_ends(rank, Ending { status, conflict, oom }, around);
                }
                Timer::Hang(rank) => self.hang(rank),
                Timer::Begun(rank) => self.after_post_start(rank, around),
                Timer::Hook(rank) => self.after_hook(rank, around),
                Timer::Term(rank) => {
                    let probed = pod.probed.get(&rank).is_some_and(|probed| probed.failure.is_some());
                    let well = probed && self.script(rank, around).health.ends_well;
                    let status = if well { ExitStatus::SUCCESS } else { ExitStatus::Signal(15) };
                    self.rank_ends(rank, status.into(), around);
                }
                Timer::Probe(rank) => self.on_probe_due(rank, around),
                Timer::End(rank) => {
                    pod.timers.entry(Timer::Reap(rank)).or_insert(around.now + around.takes(KILL_TAKES));
                }
                Timer::Again(rank) => self.start_again(rank, around),
                Timer::Kill => self.on_grace_over(around),
                Timer::Reap(rank) => self.rank_ends(rank, ExitStatus::Signal(9).into(), around),
            }
        }
    }

    fn on_started(&mut self, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut() else { return };
        let generation = pod.plan.generation;
        let ranks: Vec<Rank> = pod.plan.ranks.iter().map(|rank| rank.rank).collect();
        pod.started = true;
        let pids = around.processes.pids(&self.job, generation);
        around.reports.push(ShimReport::Started { generation, pids });
        let alive = around.processes.live_ranks(&self.job, generation);
        for rank in ranks.iter().copied().filter(|rank| alive.contains(rank)) {
            self.begin_rank(rank, around);
        }
        for rank in ranks {
            self.begin_checks(rank, around);
        }
    }

    /// Stop signal, grace, SIGKILL; a shorter grace shortens an earlier one.
    fn stop(&mut self, grace: Duration, pre_stop: bool, around: &mut Around<'_>) {
        // Whoever could have resumed it may be gone.
        self.on_resume(around.now);
        let Some(pod) = self.pod.as_mut() else { return };
        let deadline = around.now + grace;
        match pod.state {
            State::Over => {
                let generation = pod.plan.generation;
                return around.reports.push(ShimReport::Ended { generation, end: PodEnd::default() });
            }
            State::Preparing if around.processes.has_init(&self.job) => return self.stop_init(grace, around),
            State::Preparing | State::Refused => return self.over(around),
            State::Prepared => return self.kill(around),
            State::Released => {}
        }
        self.give_up_again();
        let Some(pod) = self.pod.as_mut() else { return };
        if pod.left == 0 {
            return self.over(around);
        }
        let known = pod.timers.get(&Timer::Kill).copied();
        pod.timers.insert(Timer::Kill, known.map_or(deadline, |known| known.min(deadline)));
        if !std::mem::replace(&mut pod.stop, true) {
            pod.probed.values_mut().for_each(|probed| probed.prober.handle_stopping(around.now));
            for rank in around.processes.live_ranks(&self.job, pod.plan.generation) {
                self.ask_to_end(rank, pre_stop, around);
            }
            self.give_up_post_start();
        }
        if grace.is_zero() {
            self.kill(around);
        }
    }

    fn kill(&mut self, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut() else { return };
        pod.hooks.clear();
        pod.timers.retain(|timer, _| !matches!(timer, Timer::Hook(_)));
        for rank in around.processes.live_ranks(&self.job, pod.plan.generation) {
            pod.timers.entry(Timer::Reap(rank)).or_insert(around.now + around.takes(KILL_TAKES));
        }
    }

    pub(crate) fn rank_ends(
        &mut self,
        rank: Rank,
        Ending { status, conflict, oom }: Ending,
        around: &mut Around<'_>,
    ) {
        let Some(pod) = self.pod.as_mut() else { return };
        let generation = pod.plan.generation;
        let own = [Timer::Exit(rank), Timer::Hang(rank), Timer::Hook(rank), Timer::Term(rank)];
        for timer in own.into_iter().chain([Timer::Begun(rank), Timer::Probe(rank), Timer::End(rank)]) {
            pod.timers.remove(&timer);
        }
        pod.beginning.remove(&rank);
        pod.hooks.remove(&rank);
        if !around.processes.end_rank(&self.job, generation, rank) {
            return;
        }
        if pod.hung.remove(&rank) {
            let probed = pod.probed.get(&rank).is_some_and(|probed| probed.failure.is_some());
            around.met.push(match probed {
                true => "a liveness probe ended a rank that hung",
                false => "an order ended a rank that hung",
            });
        }
        if status.success() {
            around.ready.push((self.job.clone(), generation, rank));
        }
        let exit = RankExit {
            attempt: pod.attempts.get(&rank).copied().unwrap_or(0),
            after_stop: pod.stop || pod.again.contains_key(&rank),
            port_conflict: conflict,
            probe: pod.probed.remove(&rank).and_then(|probed| probed.failure),
            oom,
            ..RankExit::new(rank, status, around.now)
        };
        if pod.state == State::Released {
            around.reports.push(ShimReport::Exited { generation, exit });
        }
        pod.timers.remove(&Timer::Reap(rank));
        if self.is_awaited(rank, status) {
            return self.start_again(rank, around);
        }
        let Some(pod) = self.pod.as_mut() else { return };
        pod.left = pod.left.saturating_sub(1);
        if pod.left == 0 {
            self.over(around);
        }
    }

    /// Kills what is left and says that nothing is.
    fn over(&mut self, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut() else { return };
        let generation = pod.plan.generation;
        pod.state = State::Over;
        pod.timers.clear();
        self.lease = None;
        let swept = if around.sabotage == Some(Sabotage::LeaveAlive) {
            0
        } else {
            around.processes.sweep(&self.job, Some(generation))
        };
        let end = PodEnd { swept, lease_lapsed: pod.lapsed, ..PodEnd::default() };
        around.reports.push(ShimReport::Ended { generation, end });
    }

    fn on_suspend(&mut self, now: Timestamp) {
        if !std::mem::replace(&mut self.suspended, true) {
            self.shift(|at| Timestamp(at.0.saturating_sub(now.0)));
        }
    }

    fn on_resume(&mut self, now: Timestamp) {
        if std::mem::take(&mut self.suspended) {
            self.shift(|at| Timestamp(at.0 + now.0));
        }
    }

    fn shift(&mut self, change: impl Fn(Timestamp) -> Timestamp) {
        let Some(pod) = self.pod.as_mut() else { return };
        for (timer, at) in &mut pod.timers {
            if timer.stands_still() {
                *at = change(*at);
            }
        }
    }
}

impl Around<'_> {
    /// What takes so long on a machine as it should be, on this one.
    fn takes(&self, time: Duration) -> Duration {
        time * self.slow
    }
}

impl ShimPod {
    fn killed(&self) -> bool {
        self.timers.keys().any(|timer| matches!(timer, Timer::Reap(_)))
    }
}

impl Timer {
    fn stands_still(self) -> bool {
        !matches!(self, Timer::Init | Timer::InitGone | Timer::Prepared | Timer::Reap(_))
    }
}

/// Kept beside the shim so that its death cannot be forgotten: ranks die with it, grandchildren do not.
pub(crate) fn die(shim: &Shim, processes: &mut Processes) {
    processes.retain(|process| process.job != shim.job || process.is_grandchild());
}

impl Process {
    fn is_grandchild(&self) -> bool {
        self.rank.is_none() && !self.init
    }
}
