//! Runs that follow from their seed: jobs, faults, and the time after which nothing goes wrong any more.

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::id::{JobId, NodeId};
use phalanx_common::spec::{
    ExitCodes, FailureAction, FailureReason, FailureRule, Fencing, JobSpec, Keep, Lifetime, OutputMode,
    OutputSpec, Parallelism, PlacementSpec, Recovery, Resources, RestartPolicy, Shape, StopScope,
    SuccessRule,
};
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::records::OutcomeRecord;
use phalanx_launcher_core::{Config, Record, Wish};

use super::coverage;
use super::faults::Fault;
use super::invariants::{Invariant, Violation, check_settled};
use super::machine::PORTS;
use super::net::Way;
use super::rng::Rng;
use super::sabotage::Sabotage;
use super::script::{Scripts, seeded_probes};
use super::world::{Happening, Setup, World};

/// Faults happen before this.
const QUIET_AFTER: Duration = Duration::from_secs(180);
/// Every job has settled this long after the last fault (invariant I10): all restarts a seeded job has,
/// each with its longest start, run, stop and backoff.
const SETTLED_WITHIN: Duration = Duration::from_secs(3600);
/// A job that may go on for ever has its user stop it after this.
const ENDLESS_STOPPED: Duration = Duration::from_secs(900);
/// More than any run needs: one that gets here chases its own tail.
const MOST_STEPS: u64 = 400_000;

/// How a run went.
#[derive(Debug)]
pub struct Run {
    pub seed: u64,
    pub steps: u64,
    pub virtual_time: Duration,
    pub violations: Vec<Violation>,
    pub trace: Vec<String>,
    /// Outcomes by name, to see that runs are not all alike.
    pub outcomes: Vec<&'static str>,
    pub restarts: u32,
    /// See [`coverage::FAULTS`].
    pub injected: BTreeMap<&'static str, u64>,
    /// See [`coverage::CONSEQUENCES`].
    pub consequences: BTreeMap<&'static str, u64>,
}

/// A job of `nodes` times `ranks` ranks with short deadlines.
pub fn job_spec(nodes: u32, ranks: u32) -> JobSpec {
    JobSpec {
        name: "job".into(),
        shape: Shape::Nodes { nodes, ranks_per_node: ranks },
        command: vec!["train".into()],
        working_dir: None,
        resources: Resources::default(),
        parallelism: Parallelism::default(),
        placement: PlacementSpec::default(),
        elastic: None,
        env: [].into(),
        ship: None,
        virtual_env: None,
        secrets: [].into(),
        unreachable: Duration::from_secs(20),
        lease: Duration::from_secs(600),
        fencing: Fencing::Lenient,
        start_timeout: Duration::from_secs(60),
        termination_grace: Duration::from_secs(5),
        max_restarts: 0,
        recovery: Recovery::default(),
        lifetime: Default::default(),
        probes: Default::default(),
        lifecycle: Default::default(),
        stop_scope: StopScope::Group,
        keep: Keep::Never,
        output: OutputSpec {
            mode: OutputMode::Files,
            log_dir: Some("/logs".into()),
            max_file_bytes: 1 << 20,
            keep_files: 1,
        },
    }
}

/// The three nodes of every run.
pub fn three_nodes() -> Vec<NodeId> {
    ["a", "b", "c"].map(NodeId::new).to_vec()
}

/// Runs one seed to its end, or to the first step that broke an invariant.
pub fn run(seed: u64, sabotage: Option<Sabotage>, trace: bool) -> Run {
    let mut rng = Rng::fork(seed, "plan");
    let cluster = rng.chance(60);
    let config = Config {
        cluster,
        port_salt: rng.draw(),
        ended_kept: rng.millis(1000, 300_000),
        ended_kept_most: *rng.pick(&[1, 2, 10]).unwrap_or(&1),
    };
    let scripts = Scripts::seeded(seed);
    let setup = Setup { seed, config, nodes: three_nodes(), scripts, sabotage, trace };
    let mut world = World::new(setup);
    let jobs: Vec<JobId> =
        (0..rng.between(1, 4)).map(|number| JobId::from_existing(format!("job{number}"))).collect();
    for job in &jobs {
        let mut spec = job_spec(*rng.pick(&[1, 1, 2, 3]).unwrap_or(&1), *rng.pick(&[1, 2, 3]).unwrap_or(&1));
        spec.lease = Duration::from_secs(rng.between(20, 60));
        spec.unreachable = Duration::from_secs(rng.between(8, 30));
        spec.fencing = if rng.chance(40) { Fencing::Strict } else { Fencing::Lenient };
        spec.start_timeout = Duration::from_secs(rng.between(5, 60));
        spec.termination_grace = rng.millis(0, 10_000);
        spec.max_restarts = *rng.pick(&[0, 1, 3, 8]).unwrap_or(&0);
        spec.recovery = recovery(&mut rng, spec.max_restarts);
        spec.lifetime = lifetime(&mut rng, spec.world_size(), spec.recovery.policy);
        if endless(&spec.recovery) {
            world.schedule(ENDLESS_STOPPED, Fault::Stop { job: job.clone(), force: false });
        }
        if Rng::fork(seed, &format!("{job}/probed")).chance(40) {
            spec.probes = seeded_probes(&mut Rng::fork(seed, &format!("{job}/probes")));
        }
        world.submit_after(rng.millis(0, 60_000), job.clone(), spec);
    }
    plan_faults(&mut world, &mut rng, &jobs);
    settle(&mut world);
    finish(seed, &world)
}

fn plan_faults(world: &mut World, rng: &mut Rng, jobs: &[JobId]) {
    let nodes = three_nodes();
    for node in &nodes {
        for port in PORTS.0..=PORTS.1 {
            if rng.chance(10) {
                world.schedule(Duration::ZERO, Fault::TakePort { node: node.clone(), port });
            }
        }
    }
    let quiet = u64::try_from(QUIET_AFTER.as_millis()).unwrap_or(u64::MAX);
    // Some runs see hardly a fault, most a few, some a storm.
    let most = *rng.pick(&[2, 14, 14, 60]).unwrap_or(&14);
    for _ in 0..rng.between(0, most) {
        let at = rng.millis(0, quiet);
        let node = rng.pick(&nodes).cloned().unwrap_or_else(|| NodeId::new("a"));
        let job = rng.pick(jobs).cloned().unwrap_or_else(|| JobId::from_existing("job0"));
        let fault = match rng.between(0, 127) {
            0..=4 => Fault::Isolate { node, cut: rng.millis(0, 60_000) },
            5..=7 => Fault::CutData { node, cut: rng.millis(0, 60_000) },
            8..=24 => {
                let longest = if rng.chance(30) { 60_000 } else { 3000 };
                Fault::LoseConnection { node, cut: rng.millis(0, longest) }
            }
            25..=34 => Fault::KillNode { node, down: rng.millis(100, 40_000) },
            35..=41 => Fault::CrashWorker { node },
            42..=51 => Fault::FreezeWorker { node, time: rng.millis(10, 60_000) },
            52..=60 => Fault::KillShim { node },
            61..=66 => Fault::CrashCoordinator { down: rng.millis(100, 30_000) },
            67..=74 => {
                let commands = u32::try_from(rng.between(0, 6)).unwrap_or(0);
                Fault::CrashCoordinatorAfter { commands, down: rng.millis(100, 30_000) }
            }
            75..=78 => {
                let seconds = i64::try_from(rng.between(0, 14_400)).unwrap_or(0) - 7200;
                Fault::JumpClock { seconds }
            }
            79..=86 => Fault::StaleOrder { node },
            87..=90 => {
                let longest = rng.millis(100, 20_000);
                world.schedule(at + longest, Fault::Resume { job: job.clone() });
                Fault::Suspend { job }
            }
            91..=96 => Fault::Stop { job, force: false },
            97..=99 => Fault::Stop { job, force: true },
            100..=106 => {
                let longest = if rng.chance(50) { 60_000 } else { 6000 };
                Fault::LoseOneWay { node, way: either_way(rng), cut: rng.millis(100, longest) }
            }
            107..=111 => Fault::CutDataOneWay { node, way: either_way(rng), cut: rng.millis(0, 60_000) },
            120..=123 => {
                let uncordon = Fault::Wish { node: node.clone(), wish: Wish::Uncordon };
                world.schedule(at + rng.millis(100, 90_000), uncordon);
                let grace = rng.chance(50).then(|| rng.millis(0, 5000));
                let wish = match rng.chance(50) {
                    true => Wish::Cordon { reason: String::new() },
                    false => Wish::Drain { reason: String::new(), grace },
                };
                Fault::Wish { node, wish }
            }
            // Long enough for its peers to be asked in vain.
            _ => Fault::Isolate { node, cut: rng.millis(15_000, 60_000) },
        };
        world.schedule(at, fault);
    }
}

fn either_way(rng: &mut Rng) -> Way {
    if rng.chance(50) { Way::In } else { Way::Out }
}

/// Runs until every job has settled, and checks I10 if they do not.
pub fn settle(world: &mut World) {
    let quiet_at = world.now + QUIET_AFTER + Duration::from_secs(41);
    let bound = quiet_at + SETTLED_WITHIN;
    world.at(quiet_at + Duration::from_micros(1), Happening::Nothing);
    while world.violations.is_empty() && world.now <= bound && world.steps() < MOST_STEPS {
        if world.now > quiet_at {
            // Nothing stays broken: no crash is pending, no job stays frozen.
            world.crash_after = None;
            world.resume_all();
            world.uncordon_all();
            if check_settled(world).is_empty() && world.all_submitted() {
                break;
            }
        }
        if !world.step() {
            break;
        }
    }
    if world.violations.is_empty() {
        for what in check_settled(world) {
            world.violated(Invariant::I10, what);
        }
        world.check_replay();
    }
}

impl World {
    fn resume_all(&mut self) {
        let suspended = self.coordinator().map(|coordinator| {
            let jobs = coordinator.jobs().filter(|view| view.job.suspended);
            jobs.map(|view| view.id.clone()).collect::<Vec<_>>()
        });
        for job in suspended.unwrap_or_default() {
            self.resume(&job);
        }
    }

    /// Once nothing goes wrong any more an operator looks after the nodes.
    fn uncordon_all(&mut self) {
        let standing = self.coordinator().map(|coordinator| coordinator.durable().standings.clone());
        for node in standing.unwrap_or_default().into_keys() {
            self.wish(&node, Wish::Uncordon);
        }
    }

    /// No job is still to come.
    fn all_submitted(&self) -> bool {
        self.coordinator().is_some() && !self.witness.jobs.is_empty()
    }
}

fn finish(seed: u64, world: &World) -> Run {
    // From the records: jobs that were forgotten count too.
    let ended = world.store.iter().filter_map(|record| match record {
        Record::JobEnded { outcome, .. } => Some(match outcome {
            OutcomeRecord::Succeeded => "succeeded",
            OutcomeRecord::Failed { .. } => "failed",
            OutcomeRecord::Stopped { .. } => "stopped",
        }),
        _ => None,
    });
    let running = world.witness.jobs.values().filter(|facts| !facts.ended).map(|_| "running");
    let restarts = world.store.iter().filter(|record| matches!(record, Record::GenerationEnded(_))).count();
    Run {
        seed,
        steps: world.steps(),
        virtual_time: world.now.since(phalanx_common::time::Timestamp(1_800_000_000_000_000)),
        violations: world.violations.clone(),
        trace: world.trace_lines().to_vec(),
        outcomes: ended.chain(running).collect(),
        restarts: u32::try_from(restarts).unwrap_or(u32::MAX),
        injected: world.injected.clone(),
        consequences: coverage::consequences(world),
    }
}

/// Runs until `predicate` holds. The reason if it does not within the bound, or an invariant breaks.
pub fn run_until(
    world: &mut World,
    within: Duration,
    predicate: impl Fn(&World) -> bool,
) -> Result<(), &'static str> {
    let bound = world.now + within;
    world.after(within + Duration::from_micros(1), Happening::Nothing);
    while world.violations.is_empty() {
        if predicate(world) {
            return Ok(());
        }
        if world.now > bound {
            return Err("not within the bound");
        }
        if !world.step() {
            return if predicate(world) { Ok(()) } else { Err("nothing happens any more") };
        }
    }
    Err("an invariant is broken")
}

/// The phase of a job, if a coordinator knows it.
pub fn phase(world: &World, job: &JobId) -> Option<GangPhase> {
    Some(world.coordinator()?.job(job)?.phase)
}

/// Whether nothing bounds the number of its generations.
fn endless(recovery: &Recovery) -> bool {
    let ignores = recovery.rules.iter().any(|rule| rule.action == FailureAction::Ignore);
    recovery.policy == RestartPolicy::Always || recovery.window.is_some() || ignores
}

/// Deadlines and rules of success, of which some seeds have some.
fn lifetime(rng: &mut Rng, world: u32, policy: RestartPolicy) -> Lifetime {
    let mut lifetime = Lifetime::default();
    if rng.chance(20) {
        lifetime.active_deadline = Some(Duration::from_secs(rng.between(5, 200)));
    }
    if rng.chance(20) {
        lifetime.ttl_after_finished = Some(rng.millis(0, 120_000));
    }
    if rng.chance(20) && policy != RestartPolicy::Always {
        let rank = u32::try_from(rng.between(0, u64::from(world) - 1)).unwrap_or(0);
        let ranks = if rng.chance(50) { vec![(rank, rank)] } else { Vec::new() };
        lifetime.success.push(SuccessRule { ranks, count: Some(1) });
    }
    lifetime
}

/// Policies, windows and rules, of which each seed has some.
fn recovery(rng: &mut Rng, max_restarts: u32) -> Recovery {
    let mut recovery = Recovery::default();
    if max_restarts == 0 && rng.chance(30) {
        recovery.policy = RestartPolicy::Never;
        return recovery;
    }
    if rng.chance(10) {
        recovery.policy = RestartPolicy::Always;
    }
    if rng.chance(30) {
        recovery.window = Some(Duration::from_secs(rng.between(5, 120)));
    }
    recovery.no_progress = *rng.pick(&[0, 1, 3]).unwrap_or(&3);
    recovery.replace_node = *rng.pick(&[None, None, Some(0), Some(1)]).unwrap_or(&None);
    let actions = [
        FailureAction::RestartGang,
        FailureAction::ReplaceNode,
        FailureAction::FailJob,
        FailureAction::Ignore,
    ];
    for _ in 0..rng.between(0, 2) {
        let code = u8::try_from(rng.between(1, 3)).unwrap_or(1);
        let codes = [code].into();
        recovery.rules.push(FailureRule {
            exit_codes: Some(if rng.chance(80) { ExitCodes::In(codes) } else { ExitCodes::NotIn(codes) }),
            signals: if rng.chance(30) { [9, 11].into() } else { [].into() },
            reasons: if rng.chance(30) { [FailureReason::NodeLost].into() } else { [].into() },
            action: *rng.pick(&actions).unwrap_or(&FailureAction::RestartGang),
        });
    }
    recovery
}
