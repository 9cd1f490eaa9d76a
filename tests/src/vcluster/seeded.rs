//! Runs that follow from their seed: jobs, faults, and the time after which nothing goes wrong any more.

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::id::{JobId, NodeId};
use phalanx_common::spec::{JobSpec, Shape};
use phalanx_common::time::Timestamp;
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::records::OutcomeRecord;
use phalanx_launcher_core::{Config, Record, Wish};

use super::coverage;
use super::faults::Fault;
use super::invariants::{Invariant, Violation, check_settled};
use super::jobs::seeded_job;
use super::profile::Profile;
use super::rng::Rng;
use super::sabotage::Sabotage;
use super::script::Scripts;
use super::world::{BEGINNING, Happening, Setup, World};

/// Faults happen before this.
pub(crate) const QUIET_AFTER: Duration = Duration::from_secs(180);
/// Every job has settled this long after the last fault (invariant I10): all restarts a seeded job has,
/// each with its longest start, run, stop and backoff.
const SETTLED_WITHIN: Duration = Duration::from_secs(3600);
/// A job that goes on for ever, or hangs, has its user stop it after this.
const ENDLESS_STOPPED: Duration = Duration::from_secs(900);
/// More than any run needs: one that gets here chases its own tail.
const MOST_STEPS: u64 = 400_000;

/// How a run went.
#[derive(Debug)]
pub struct Run {
    pub seed: u64,
    pub profile: Profile,
    pub sabotage: Option<Sabotage>,
    /// Events that happened.
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
    let mut spec = JobSpec {
        unreachable: Duration::from_secs(20),
        start_timeout: Duration::from_secs(60),
        termination_grace: Duration::from_secs(5),
        ..JobSpec::of("job", Shape::Nodes { nodes, ranks_per_node: ranks }, &["train"])
    };
    spec.output.log_dir = Some("/logs".into());
    spec
}

/// The three nodes of every run.
pub fn three_nodes() -> Vec<NodeId> {
    ["a", "b", "c"].map(NodeId::new).to_vec()
}

/// The world of one seed, before anything has happened.
pub fn world(seed: u64, profile: Profile, sabotage: Option<Sabotage>, trace: bool) -> World {
    let mut rng = Rng::fork(seed, "plan");
    let cluster = rng.chance(60);
    let config = Config {
        cluster,
        port_salt: rng.draw(),
        ended_kept: rng.millis(1000, 300_000),
        ended_kept_most: *rng.pick(&[1, 2, 10]).unwrap_or(&1),
    };
    let scripts = Scripts::seeded(seed);
    let nodes = profile.nodes();
    let mut world = World::new(Setup { seed, config, nodes, scripts, sabotage, calm: false, trace });
    let jobs: Vec<JobId> =
        (0..rng.between(1, 4)).map(|number| JobId::from_existing(format!("job{number}"))).collect();
    for job in &jobs {
        let spec = seeded_job(seed, job, &mut rng);
        world.schedule(ENDLESS_STOPPED, Fault::Stop { job: job.clone(), force: false });
        world.submit_after(rng.millis(0, 60_000), job.clone(), spec);
    }
    profile.plan(&mut world, &mut rng, &jobs);
    world
}

/// Runs one seed to its end, or to the first step that broke an invariant.
pub fn run(seed: u64, profile: Profile, sabotage: Option<Sabotage>, trace: bool) -> Run {
    let mut world = world(seed, profile, sabotage, trace);
    settle(&mut world);
    finish(seed, profile, &world)
}

/// The way of a world to where every job has settled.
#[derive(Clone, Copy, Debug)]
pub struct Settling {
    /// From here on nothing goes wrong any more.
    quiet_at: Timestamp,
    bound: Timestamp,
}

impl Settling {
    pub fn begin(world: &mut World) -> Settling {
        let quiet_at = world.now + QUIET_AFTER + Duration::from_secs(41);
        world.at(quiet_at + Duration::from_micros(1), Happening::Nothing);
        Settling { quiet_at, bound: quiet_at + SETTLED_WITHIN }
    }

    /// One thing more. False, and the last checks are made, once all is settled, an invariant is broken, or it
    /// took too long.
    pub fn step(&self, world: &mut World) -> bool {
        let goes_on = world.violations.is_empty()
            && world.now <= self.bound
            && world.steps() < MOST_STEPS
            && !self.is_settled(world)
            && world.step();
        if !goes_on && world.violations.is_empty() {
            for what in check_settled(world) {
                world.violated(Invariant::I10, what);
            }
            world.check_replay();
        }
        goes_on
    }

    fn is_settled(&self, world: &mut World) -> bool {
        if world.now <= self.quiet_at {
            return false;
        }
        // Nothing stays broken: no crash is pending, no job stays frozen.
        world.crash_after = None;
        world.resume_all();
        world.uncordon_all();
        check_settled(world).is_empty() && world.all_submitted()
    }
}

/// Runs until every job has settled, and checks I10 if they do not.
pub fn settle(world: &mut World) {
    let settling = Settling::begin(world);
    while settling.step(world) {}
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

fn finish(seed: u64, profile: Profile, world: &World) -> Run {
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
        profile,
        sabotage: world.setup.sabotage,
        steps: world.steps(),
        virtual_time: world.now.since(BEGINNING),
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
