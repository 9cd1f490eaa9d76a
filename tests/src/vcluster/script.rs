//! What the processes of a run do.

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Generation, JobId, NodeId, Rank};
use phalanx_common::report::{OutOfMemory, PrepareFailureKind};
use phalanx_common::spec::{Probe, ProbeHandler, ProbeKind, Probes};

use super::rng::Rng;

/// One rank in one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankScript {
    /// From Go to its end; `None`: it never ends by itself.
    pub runs: Option<Duration>,
    pub status: ExitStatus,
    /// It says that an address was in use.
    pub port_conflict: bool,
    /// From SIGTERM to its end; `None`: only SIGKILL ends it.
    pub heeds_term: Option<Duration>,
    /// Children it leaves behind.
    pub grandchildren: u32,
    /// From here on it makes no progress, and does not end by itself.
    pub hangs: Option<Duration>,
    /// What its preStop hook takes; `None`: that never ends.
    pub pre_stop: Option<Duration>,
    pub post_start: HookScript,
    /// Its program is not there any more when it is to start again.
    pub cannot_start_again: bool,
    /// It ends for want of memory.
    pub oom: Option<OutOfMemory>,
    pub health: HealthScript,
}

/// A hook of a rank that runs a program or asks over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookScript {
    /// `None`: it never ends by itself.
    pub takes: Option<Duration>,
    pub good: bool,
}

impl HookScript {
    /// It takes a moment, and ends well.
    pub const WELL: HookScript = HookScript { takes: Some(Duration::from_millis(20)), good: true };
}

/// How a rank answers its probes, counted from the start of its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthScript {
    /// From here on startup and readiness find it good; `None`: they never do.
    pub ready: Option<Duration>,
    /// From the first to the second it is not ready again.
    pub unready: Option<(Duration, Duration)>,
    /// Of each first time, its probes find it bad for the second.
    pub flaps: Option<(Duration, Duration)>,
    /// From here on liveness finds it dead.
    pub sick: Option<Duration>,
    /// It takes its end so well that it ends with 0.
    pub ends_well: bool,
}

impl HealthScript {
    /// It is ready at once, and well.
    pub const WELL: HealthScript = HealthScript {
        ready: Some(Duration::ZERO),
        unready: None,
        flaps: None,
        sick: None,
        ends_well: false,
    };

    /// What a probe of this kind finds, so long after the start of the program.
    pub(crate) fn finds(&self, kind: ProbeKind, after: Duration) -> bool {
        let up = self.ready.is_some_and(|ready| after >= ready);
        let lost = self.unready.is_some_and(|(from, to)| (from..to).contains(&after));
        let down = self.flaps.is_some_and(|(every, bad)| {
            Duration::from_micros((after.as_micros() % every.as_micros().max(1)) as u64) < bad
        });
        match kind {
            ProbeKind::Startup => up,
            ProbeKind::Readiness => up && !lost && !down,
            ProbeKind::Liveness => !down && self.sick.is_none_or(|sick| after < sick),
        }
    }
}

impl RankScript {
    /// Ends with 0 after this time, and at once on SIGTERM.
    pub fn succeeds_after(runs: Duration) -> RankScript {
        RankScript {
            runs: Some(runs),
            status: ExitStatus::SUCCESS,
            port_conflict: false,
            heeds_term: Some(Duration::from_millis(5)),
            grandchildren: 0,
            hangs: None,
            pre_stop: HookScript::WELL.takes,
            post_start: HookScript::WELL,
            cannot_start_again: false,
            oom: None,
            health: HealthScript::WELL,
        }
    }

    /// Ends with this status after this time.
    pub fn fails_after(runs: Duration, status: ExitStatus) -> RankScript {
        RankScript { status, ..RankScript::succeeds_after(runs) }
    }

    /// Runs until it is stopped.
    pub fn runs_on() -> RankScript {
        RankScript { runs: None, ..RankScript::succeeds_after(Duration::ZERO) }
    }
}

/// One pod in one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodScript {
    pub prepare: Duration,
    pub fails: Option<PrepareFailureKind>,
    /// Its init containers, in their order; those that are not here take a moment and end well.
    pub init: Vec<InitScript>,
    /// From Go to Started; `None`: its ranks hang in exec.
    pub start: Option<Duration>,
}

impl Default for PodScript {
    fn default() -> PodScript {
        PodScript {
            prepare: Duration::from_millis(10),
            fails: None,
            init: Vec::new(),
            start: Some(Duration::from_millis(2)),
        }
    }
}

/// One init container of a pod in one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitScript {
    /// `None`: it never ends by itself.
    pub takes: Option<Duration>,
    /// It ends with 0.
    pub good: bool,
    /// From its stop signal to its end; `None`: only SIGKILL ends it.
    pub heeds_term: Option<Duration>,
}

impl Default for InitScript {
    fn default() -> InitScript {
        let moment = Some(Duration::from_millis(5));
        InitScript { takes: moment, good: true, heeds_term: moment }
    }
}

/// Most init containers of a seeded job.
pub(crate) const MOST_INIT: u64 = 2;

/// What everything does. What was set by hand wins over what the seed says.
#[derive(Clone, Debug, Default)]
pub struct Scripts {
    seed: Option<u64>,
    ranks: BTreeMap<(JobId, Generation, Rank), RankScript>,
    attempts: BTreeMap<(JobId, Generation, Rank, u32), RankScript>,
    jobs: BTreeMap<JobId, RankScript>,
    pods: BTreeMap<(JobId, Generation, NodeId), PodScript>,
}

impl Scripts {
    /// Everything follows from the seed.
    pub fn seeded(seed: u64) -> Scripts {
        Scripts { seed: Some(seed), ..Scripts::default() }
    }

    pub fn set_job(&mut self, job: &JobId, script: RankScript) {
        self.jobs.insert(job.clone(), script);
    }

    pub fn set_rank(&mut self, job: &JobId, generation: u32, rank: u32, script: RankScript) {
        self.ranks.insert((job.clone(), Generation(generation), Rank(rank)), script);
    }

    /// A later start of a rank in its generation.
    pub fn set_attempt(
        &mut self,
        job: &JobId,
        (generation, rank, attempt): (u32, u32, u32),
        script: RankScript,
    ) {
        self.attempts.insert((job.clone(), Generation(generation), Rank(rank), attempt), script);
    }

    pub fn set_pod(&mut self, job: &JobId, generation: u32, node: &NodeId, script: PodScript) {
        self.pods.insert((job.clone(), Generation(generation), node.clone()), script);
    }

    /// What the ranks of the job do of which nothing else was said.
    pub(crate) fn of_job(&self, job: &JobId) -> Option<RankScript> {
        self.jobs.get(job).cloned()
    }

    pub(crate) fn rank(&self, job: &JobId, generation: Generation, rank: Rank) -> RankScript {
        if let Some(script) = self.ranks.get(&(job.clone(), generation, rank)).or_else(|| self.jobs.get(job))
        {
            return script.clone();
        }
        match self.seed {
            Some(seed) => seeded_rank(seed, job, generation, rank),
            None => RankScript::succeeds_after(Duration::from_secs(10)),
        }
    }

    /// The rank's start of this number in the generation: what was set by hand for it counts for the first.
    pub(crate) fn attempt(
        &self,
        job: &JobId,
        generation: Generation,
        rank: Rank,
        attempt: u32,
    ) -> RankScript {
        let by_hand = self.attempts.get(&(job.clone(), generation, rank, attempt));
        match (attempt, by_hand, self.jobs.get(job), self.seed) {
            (_, Some(script), ..) => script.clone(),
            (0, ..) => self.rank(job, generation, rank),
            (_, None, Some(script), _) => script.clone(),
            (_, None, None, Some(seed)) => {
                seeded_rank(seed ^ (u64::from(attempt) << 48), job, generation, rank)
            }
            (_, None, None, None) => RankScript::succeeds_after(Duration::from_secs(10)),
        }
    }

    pub(crate) fn pod(&self, job: &JobId, generation: Generation, node: &NodeId) -> PodScript {
        if let Some(script) = self.pods.get(&(job.clone(), generation, node.clone())) {
            return script.clone();
        }
        match self.seed {
            Some(seed) => seeded_pod(seed, job, generation, node),
            None => PodScript::default(),
        }
    }
}

/// Jobs of a seed that never end by themselves.
pub(crate) fn runs_forever(seed: u64, job: &JobId) -> bool {
    Rng::fork(seed, &format!("{job}/forever")).chance(10)
}

fn seeded_rank(seed: u64, job: &JobId, generation: Generation, rank: Rank) -> RankScript {
    let together = Rng::fork(seed, &format!("{job}/{generation}")).millis(1, 90_000);
    let mut rng = Rng::fork(seed, &format!("{job}/{generation}/{rank}"));
    let mut script = RankScript::succeeds_after(together + rng.millis(0, 500));
    if runs_forever(seed, job) {
        script.runs = None;
    }
    match rng.between(0, 99) {
        0..=11 => {
            script.runs = Some(rng.millis(0, 60_000));
            script.status = *rng
                .pick(&[
                    ExitStatus::Code(1),
                    ExitStatus::Code(93),
                    ExitStatus::Signal(11),
                    ExitStatus::Signal(9),
                ])
                .unwrap_or(&ExitStatus::Code(1));
        }
        12..=15 => {
            script.runs = Some(rng.millis(0, 3000));
            script.status = ExitStatus::Code(1);
            script.port_conflict = true;
        }
        16..=22 => script.runs = Some(rng.millis(0, 2)),
        _ => {}
    }
    script.heeds_term = match rng.between(0, 9) {
        0..=1 => None,
        2..=4 => Some(rng.millis(0, 20_000)),
        _ => Some(rng.millis(0, 50)),
    };
    if rng.chance(20) {
        script.grandchildren = 1;
    }
    script.health = seeded_health(&mut rng);
    script.pre_stop = match rng.between(0, 9) {
        0 => None,
        1..=4 => Some(rng.millis(0, 12_000)),
        _ => Some(rng.millis(0, 200)),
    };
    if rng.chance(4) {
        script.hangs = Some(rng.millis(0, 60_000));
    }
    script.post_start = seeded_hook(&mut Rng::fork(seed, &format!("{job}/{generation}/{rank}/postStart")));
    script.cannot_start_again = Rng::fork(seed, &format!("{job}/{generation}/{rank}/again")).chance(5);
    script
}

/// A postStart hook: most take a moment, some long or for ever, some fail.
fn seeded_hook(rng: &mut Rng) -> HookScript {
    let takes = match rng.between(0, 99) {
        0..=2 => None,
        3..=20 => Some(rng.millis(0, 20_000)),
        _ => HookScript::WELL.takes,
    };
    HookScript { takes, good: !rng.chance(5) }
}

fn seeded_health(rng: &mut Rng) -> HealthScript {
    let ready = match rng.between(0, 99) {
        0..=5 => None,
        6..=25 => Some(rng.millis(0, 40_000)),
        _ => Some(rng.millis(0, 3000)),
    };
    let unready = rng.chance(20).then(|| {
        let from = rng.millis(0, 40_000);
        (from, from + rng.millis(0, 20_000))
    });
    let sick = rng.chance(8).then(|| rng.millis(0, 60_000));
    let ends_well = rng.chance(30);
    let flaps = rng.chance(10).then(|| {
        let every = rng.millis(1000, 20_000);
        (every, every.mul_f64(0.2))
    });
    HealthScript { ready, unready, flaps, sick, ends_well }
}

/// Probes of a job of this seed: none, or some of them.
pub(crate) fn seeded_probes(rng: &mut Rng) -> Probes {
    let mut probe = |readiness: bool, failures: (u64, u64)| {
        rng.chance(50).then(|| Probe {
            handler: ProbeHandler::Exec { command: vec!["true".to_owned()] },
            initial_delay: if rng.chance(30) { rng.millis(0, 3000) } else { Duration::ZERO },
            timeout: Duration::from_secs(1),
            period: rng.millis(500, 5000),
            success_threshold: if readiness && rng.chance(30) { 2 } else { 1 },
            failure_threshold: u32::try_from(rng.between(failures.0, failures.1)).unwrap_or(1),
            grace: (!readiness && rng.chance(50)).then(|| rng.millis(1, 5000)),
        })
    };
    // Most ranks start in time.
    Probes { startup: probe(false, (5, 40)), readiness: probe(true, (1, 6)), liveness: probe(false, (1, 6)) }
}

fn seeded_pod(seed: u64, job: &JobId, generation: Generation, node: &NodeId) -> PodScript {
    let mut rng = Rng::fork(seed, &format!("{job}/{generation}/{node}"));
    let prepare = if rng.chance(10) { rng.millis(0, 30_000) } else { rng.millis(0, 300) };
    let fails = match rng.between(0, 99) {
        0 => Some(PrepareFailureKind::CommandNotFound),
        1 => Some(PrepareFailureKind::CommandNotExecutable),
        2..=4 => Some(PrepareFailureKind::Node),
        _ => None,
    };
    let start = if rng.chance(2) { None } else { Some(rng.millis(0, 20)) };
    let init = (0..MOST_INIT).map(|_| seeded_init(&mut rng)).collect();
    PodScript { prepare, fails, init, start }
}

fn seeded_init(rng: &mut Rng) -> InitScript {
    let takes = match rng.between(0, 99) {
        0..=2 => None,
        3..=12 => Some(rng.millis(0, 30_000)),
        _ => Some(rng.millis(0, 1000)),
    };
    let heeds_term = (!rng.chance(20)).then(|| rng.millis(0, 3000));
    InitScript { takes, good: !rng.chance(6), heeds_term }
}
