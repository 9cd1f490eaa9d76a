//! Ended jobs that are forgotten, and what a node may still have of them.

use phalanx_common::event::EventKind;
use phalanx_common::id::JobId;
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::{Config, Record};
use phalanx_tests::vcluster::seeded::{job_spec, phase, settle};
use phalanx_tests::vcluster::{Fault, Scripts, World};

use crate::cluster::*;

fn known(world: &World, job: &JobId) -> bool {
    world.coordinator().is_some_and(|coordinator| coordinator.job(job).is_some())
}

fn forgotten(world: &World) -> Vec<&JobId> {
    let events = world.events.iter().filter(|event| event.kind == EventKind::JobForgotten);
    events.filter_map(|event| event.job.as_ref()).collect()
}

/// Ends `count` jobs, one after the other.
fn end_jobs(world: &mut World, count: usize) -> Vec<JobId> {
    let jobs: Vec<JobId> = (0..count).map(|number| JobId::from_existing(format!("short-{number}"))).collect();
    for job in &jobs {
        world.submit(job, job_spec(1, 1));
        until(world, LONG, "ended", |world| phase(world, job) == Some(GangPhase::Ended));
    }
    jobs
}

/// The jobs that are known, in the order of their submission.
fn in_order(world: &World) -> Vec<&str> {
    let durable = world.coordinator().expect("a coordinator reigns").durable();
    let mut jobs: Vec<(u64, &JobId)> = durable.jobs.iter().map(|(id, job)| (job.order, id)).collect();
    jobs.sort();
    jobs.into_iter().map(|(_, id)| id.as_str()).collect()
}

#[test]
fn a_job_is_forgotten_when_it_ended_long_ago_and_not_before() {
    let config = Config { ended_kept: secs(3600), ..Config::default() };
    let mut world = world_with(config, Scripts::default(), None);
    let jobs = end_jobs(&mut world, 2);
    let ended = world.now;
    // A restart on the way: what is due follows from the records.
    world.schedule(secs(1000), Fault::CrashCoordinator { down: secs(10) });
    until(&mut world, secs(4000), "the first is forgotten", |world| forgotten(world).len() == 1);
    assert!(world.now < ended + secs(3600) && known(&world, &jobs[1]));
    until(&mut world, secs(4000), "the second is forgotten", |world| forgotten(world).len() == 2);
    assert!(world.now >= ended + secs(3600));
    assert_eq!(forgotten(&world), [&jobs[0], &jobs[1]]);
    assert_eq!(world.coordinator().unwrap().poll_timeout(), None);
}

#[test]
fn of_more_jobs_than_are_kept_those_that_ended_first_are_forgotten_and_new_ones_still_queue_in_order() {
    let config = Config { ended_kept_most: 3, ..Config::default() };
    let mut world = world_with(config, Scripts::default(), None);
    let jobs = end_jobs(&mut world, 5);
    until(&mut world, LONG, "two are forgotten", |world| forgotten(world).len() == 2);
    assert_eq!(forgotten(&world), [&jobs[0], &jobs[1]]);
    world.submit(&job(), job_spec(3, 1));
    world.submit(&JobId::from_existing("after-1"), job_spec(3, 1));
    let queued = ["short-2", "short-3", "short-4", "digits-1", "after-1"];
    assert_eq!(in_order(&world), queued);
    // The records of what was forgotten need not be there at the next start.
    world.schedule(secs(1), Fault::CrashCoordinator { down: secs(1) });
    until(&mut world, LONG, "no coordinator", |world| world.coordinator().is_none());
    let kept = |record: &&Record| record.job().is_none_or(|job| !jobs[..2].contains(job));
    world.store = world.store.iter().filter(kept).cloned().collect();
    until(&mut world, LONG, "the next reign", |world| world.coordinator().is_some());
    world.submit(&JobId::from_existing("after-0"), job_spec(3, 1));
    assert_eq!(in_order(&world), [&queued[..], &["after-0"]].concat());
}

#[test]
fn a_node_that_comes_back_with_a_pod_of_a_forgotten_job_ends_it_and_forgets_it_too() {
    let config = Config { cluster: true, ended_kept: secs(10), ..Config::default() };
    let mut world = world_with(config, running_on(), None);
    world.submit(&job(), job_spec(2, 1));
    until_phase(&mut world, GangPhase::Running);
    world.schedule(secs(1), Fault::Isolate { node: node("b"), cut: secs(100) });
    world.schedule(secs(10), Fault::Stop { job: job(), force: true });
    until(&mut world, LONG, "forgotten", |world| !forgotten(world).is_empty());
    assert_eq!(world.processes().count(), 1, "its pod on b lives, out of reach");
    until(&mut world, LONG, "back", |world| {
        count(world, |kind| matches!(kind, EventKind::NodeReachable { .. })) == 1
    });
    until(&mut world, secs(10), "ended", |world| world.processes().count() == 0);
    // No worker remembers the job, and no shim is left of it.
    settle(&mut world);
    assert_eq!(world.violations, [], "{}", world.trace_lines().join("\n"));
}
