//! Ranks that are ready late, never, or not any more, and ranks that are not alive.

use std::time::Duration;

use phalanx_common::event::{Cause, EventKind, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::health::Culprit;
use phalanx_common::health::Question;
use phalanx_common::id::Rank;
use phalanx_common::spec::{JobSpec, Probe, Probes};
use phalanx_launcher_core::gang::GangPhase;
use phalanx_tests::vcluster::seeded::{job_spec, phase};
use phalanx_tests::vcluster::{Fault, HealthScript, RankScript, World};

use crate::cluster::*;

fn rank(health: HealthScript) -> RankScript {
    RankScript { health, ..RankScript::runs_on() }
}

/// A job of four ranks on two nodes whose rank 2 is like this in its first generation.
fn begin(health: HealthScript, probes: Probes, max_restarts: u32) -> World {
    let mut scripts = running_on();
    scripts.set_rank(&job(), 1, 2, rank(health));
    let mut world = world(scripts);
    world.submit(&job(), JobSpec { probes, max_restarts, ..job_spec(2, 2) });
    world
}

fn not_ready(world: &World) -> usize {
    count(world, |kind| matches!(kind, EventKind::RankNotReady { .. }))
}

#[test]
fn a_gang_runs_once_its_last_rank_is_ready() {
    let mut world = begin(HealthScript { ready: Some(secs(20)), ..HealthScript::WELL }, readiness(), 0);
    let begun = world.now;
    until_phase(&mut world, GangPhase::Starting);
    until_phase(&mut world, GangPhase::Running);
    let took = world.now.since(begun);
    assert!(took >= secs(20) && took < secs(23), "{took:?}");
    let ready = world.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::RanksReady { ranks, .. } => Some(ranks.clone()),
        _ => None,
    });
    assert_eq!(ready, Some(vec![Rank(2)]));
    assert_eq!(world.coordinator().unwrap().poll_timeout(), None, "no deadline while it runs");
}

#[test]
fn a_gang_that_is_not_ready_in_time_fails_with_rank_node_probe_and_message() {
    let mut world = begin(HealthScript { ready: None, ..HealthScript::WELL }, readiness(), 0);
    let outcome = until_ended(&mut world);
    let Outcome::Failed {
        first_cause: Cause::StartTimeout { missing, phase, culprits }, exit_code: 125, ..
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!((missing, phase.as_str()), (vec![Rank(2)], "started, not ready"));
    let [Culprit { rank: Rank(2), node: on, waits: Some(waits) }] = culprits.as_slice() else {
        panic!("{culprits:?}");
    };
    assert_eq!((on, waits.probe, waits.message.as_str()), (&node("b"), Question::Readiness, "exit code 1"));
}

#[test]
fn readiness_that_is_lost_is_shown_and_restarts_nothing() {
    let unready = Some((secs(10), secs(15)));
    let mut world = begin(HealthScript { unready, ..HealthScript::WELL }, readiness(), 3);
    until_phase(&mut world, GangPhase::Running);
    until(&mut world, LONG, "it is not ready", |world| not_ready(world) == 1);
    let status = |world: &World| {
        let coordinator = world.coordinator().unwrap();
        coordinator.job_status(&coordinator.job(&job()).unwrap())
    };
    let told = status(&world);
    assert_eq!((told.phase.as_str(), told.pods[1].ready), ("running", Some(1)));
    let waits = told.pods[1].health[0].waits.as_ref().unwrap();
    assert_eq!((told.pods[1].health[0].rank, waits.message.as_str()), (Rank(2), "exit code 1"));
    let again = |kind: &EventKind| matches!(kind, EventKind::RanksReady { ranks, .. } if *ranks == [Rank(2)]);
    until(&mut world, LONG, "it is ready again", |world| {
        world.events.iter().rev().take(3).any(|event| again(&event.kind))
    });
    assert_eq!(status(&world).pods[1].health, []);
    assert_eq!((phase(&world, &job()), generation(&world)), (Some(GangPhase::Running), 1));
}

#[test]
fn a_rank_that_is_not_alive_is_the_cause_of_a_restart_however_it_ends() {
    for ends_well in [false, true] {
        let health = HealthScript { sick: Some(secs(7)), ends_well, ..HealthScript::WELL };
        let liveness = Probe { failure_threshold: 3, ..probe() };
        let probes = Probes { liveness: Some(liveness), ..Probes::default() };
        let mut world = begin(health, probes, 1);
        until(&mut world, LONG, "it restarts", |world| generation(world) == 2);
        let cause = world.events.iter().find_map(|event| match &event.kind {
            EventKind::GangRestarting { cause, free: false, .. } => Some(cause.clone()),
            _ => None,
        });
        let status = if ends_well { ExitStatus::SUCCESS } else { ExitStatus::Signal(15) };
        let (probe, message) = (Question::Liveness, "exit code 1".to_owned());
        let wanted = Cause::ProbeFailed { rank: Rank(2), node: node("b"), probe, message, status };
        assert_eq!(cause, Some(wanted));
        until_phase(&mut world, GangPhase::Running);
    }
}

#[test]
fn a_rank_that_does_not_start_in_time_and_ignores_its_end_is_killed_and_named() {
    let mut scripts = running_on();
    let health = HealthScript { ready: None, ..HealthScript::WELL };
    scripts.set_rank(&job(), 1, 2, RankScript { heeds_term: None, ..rank(health) });
    let mut world = world(scripts);
    let startup = Probe { failure_threshold: 5, grace: Some(secs(2)), ..probe() };
    let probes = Probes { startup: Some(startup), ..Probes::default() };
    world.submit(&job(), JobSpec { probes, ..job_spec(2, 2) });
    let outcome = until_ended(&mut world);
    let Outcome::Failed { first_cause, exit_code, .. } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(
        (first_cause.with_node().as_str(), *exit_code),
        ("rank 2 on b was ended, its startup probe failed: exit code 1", 137)
    );
}

#[test]
fn what_a_probe_found_before_is_the_first_cause_of_what_came_after() {
    let mut scripts = running_on();
    let health = HealthScript { sick: Some(secs(5)), ..HealthScript::WELL };
    // It takes its time to end, and a peer that waited for it in vain fails meanwhile.
    scripts.set_rank(&job(), 1, 2, RankScript { heeds_term: Some(secs(4)), ..rank(health) });
    scripts.set_rank(&job(), 1, 0, RankScript::fails_after(secs(7), ExitStatus::Code(1)));
    let mut world = world(scripts);
    let probes = Probes { liveness: Some(probe()), ..Probes::default() };
    world.submit(&job(), JobSpec { probes, ..job_spec(2, 2) });
    let outcome = until_ended(&mut world);
    let Outcome::Failed { first_cause: Cause::ProbeFailed { rank: Rank(2), .. }, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(count(&world, |kind| matches!(kind, EventKind::CauseRevised { .. })), 1);
}

#[test]
fn a_coordinator_that_comes_back_hears_again_who_is_ready() {
    let mut world = begin(HealthScript { ready: Some(secs(20)), ..HealthScript::WELL }, readiness(), 0);
    world.schedule(secs(5), Fault::CrashCoordinator { down: secs(2) });
    // Rank 2 gets ready while nobody listens.
    world.schedule(secs(18), Fault::CrashCoordinator { down: secs(10) });
    until_phase(&mut world, GangPhase::Running);
    assert_eq!(generation(&world), 1);
    assert_eq!(world.violations, []);
}

#[test]
fn ranks_that_are_done_hold_up_nobody_who_is_ready() {
    let mut scripts = running_on();
    let never = HealthScript { ready: None, ..HealthScript::WELL };
    let done = RankScript { health: never, ..RankScript::succeeds_after(secs(3)) };
    scripts.set_rank(&job(), 1, 3, done);
    let mut world = world(scripts);
    world.submit(&job(), JobSpec { probes: readiness(), ..job_spec(2, 2) });
    let begun = world.now;
    until_phase(&mut world, GangPhase::Running);
    assert!(world.now.since(begun) < Duration::from_secs(6));
}
