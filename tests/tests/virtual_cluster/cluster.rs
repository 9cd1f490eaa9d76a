//! A cluster of three nodes and one job, to be told what goes wrong.

use std::time::Duration;

use phalanx_common::event::{EventKind, Outcome};
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::spec::{Probe, ProbeHandler, Probes};
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::{Config, Job, JobState};
use phalanx_tests::vcluster::seeded::{phase, run_until, three_nodes};
use phalanx_tests::vcluster::{RankScript, Sabotage, Scripts, Setup, World};

pub(crate) const LONG: Duration = Duration::from_secs(600);

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn job() -> JobId {
    JobId::from_existing("digits-1")
}

pub(crate) fn node(id: &str) -> NodeId {
    NodeId::new(id)
}

pub(crate) fn world_with(config: Config, scripts: Scripts, sabotage: Option<Sabotage>) -> World {
    let setup = Setup { seed: 1, config, nodes: three_nodes(), scripts, sabotage, calm: false, trace: true };
    let mut world = World::new(setup);
    // Every node has said Hello before the first job comes.
    while world.coordinator().is_none_or(|coordinator| coordinator.nodes().len() < 3) {
        assert!(world.step());
    }
    world
}

pub(crate) fn world(scripts: Scripts) -> World {
    world_with(Config::default(), scripts, None)
}

/// A probe that is asked each second, and believed at once.
pub(crate) fn probe() -> Probe {
    Probe {
        handler: ProbeHandler::Exec { command: vec!["true".into()] },
        initial_delay: Duration::ZERO,
        timeout: secs(1),
        period: secs(1),
        success_threshold: 1,
        failure_threshold: 1,
        grace: None,
    }
}

pub(crate) fn readiness() -> Probes {
    Probes { readiness: Some(probe()), ..Probes::default() }
}

/// Ranks of the job that run until they are stopped.
pub(crate) fn running_on() -> Scripts {
    let mut scripts = Scripts::default();
    scripts.set_job(&job(), RankScript::runs_on());
    scripts
}

pub(crate) fn until(world: &mut World, within: Duration, what: &str, predicate: impl Fn(&World) -> bool) {
    if let Err(why) = run_until(world, within, predicate) {
        panic!("{what}: {why}; {:?}\n{}", world.violations, world.trace_lines().join("\n"));
    }
}

pub(crate) fn until_phase(world: &mut World, wanted: GangPhase) {
    until(world, LONG, &format!("{wanted:?}"), |world| phase(world, &job()) == Some(wanted));
}

pub(crate) fn job_of(world: &World) -> &Job {
    let coordinator = world.coordinator().expect("a coordinator reigns");
    coordinator.durable().jobs.get(&job()).expect("the job was submitted")
}

pub(crate) fn outcome(world: &World) -> Outcome {
    match &job_of(world).state {
        JobState::Ended(outcome) => outcome.clone(),
        other => panic!("{other:?}"),
    }
}

/// Runs to the end of the job, and a little on so that what it left behind is seen.
pub(crate) fn until_ended(world: &mut World) -> Outcome {
    until_phase(world, GangPhase::Ended);
    let end = world.now;
    let _ = run_until(world, secs(60), |world| world.now > end + secs(30));
    assert_eq!(world.violations, [], "{}", world.trace_lines().join("\n"));
    assert_eq!(world.processes().count(), 0, "something lives on");
    outcome(world)
}

pub(crate) fn generation(world: &World) -> u32 {
    job_of(world).generation.as_ref().expect("a generation was placed").number.0
}

pub(crate) fn count(world: &World, fits: impl Fn(&EventKind) -> bool) -> usize {
    world.events.iter().filter(|event| fits(&event.kind)).count()
}

/// Nodes and port of each generation.
pub(crate) fn placements(world: &World) -> Vec<(Vec<NodeId>, u16)> {
    let placed = world.events.iter().filter_map(|event| match &event.kind {
        EventKind::GangPlaced { nodes, master_port, .. } => Some((nodes.clone(), *master_port)),
        _ => None,
    });
    placed.collect()
}
