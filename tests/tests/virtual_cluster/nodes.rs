//! Nodes that are to be left alone.

use phalanx_common::event::{Cause, EventKind, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::spec::JobSpec;
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::{Config, Wish};
use phalanx_tests::vcluster::seeded::{job_spec, phase};
use phalanx_tests::vcluster::{Fault, RankScript, World};

use crate::cluster::*;

fn cordon(reason: &str) -> Wish {
    Wish::Cordon { reason: reason.to_owned() }
}

/// Why the job waits, as an event told it last.
fn waits(world: &World) -> String {
    let told = world.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::JobQueued { why } => Some(why.clone()),
        _ => None,
    });
    told.unwrap_or_default()
}

#[test]
fn a_cordoned_node_gets_no_pod_and_its_running_one_stays() {
    let mut scripts = running_on();
    scripts.set_rank(&job(), 1, 0, RankScript::fails_after(secs(60), ExitStatus::Code(1)));
    let mut world = world(scripts);
    world.submit(&job(), JobSpec { max_restarts: 1, ..job_spec(2, 1) });
    until_phase(&mut world, GangPhase::Running);
    world.wish(&node("a"), cordon("DIMM"));
    let cordoned = world.now;
    until(&mut world, LONG, "half a minute", |world| world.now > cordoned + secs(30));
    assert_eq!(generation(&world), 1, "what runs there goes on");
    until(&mut world, LONG, "generation 2", |world| generation(world) == 2);
    let last = placements(&world).pop().unwrap().0;
    assert_eq!(last, [node("c"), node("b")], "the next generation goes elsewhere");
}

#[test]
fn a_job_waits_for_a_cordoned_node_says_why_and_gets_it_in_another_reign() {
    let mut world = world(running_on());
    world.wish(&node("b"), cordon("new cable"));
    world.submit(&job(), job_spec(3, 1));
    assert!(waits(&world).contains("node b is cordoned by root: new cable"), "{}", waits(&world));
    assert!(!waits(&world).contains("even when every other job has ended"), "{}", waits(&world));
    world.schedule(secs(1), Fault::CrashCoordinator { down: secs(1) });
    let crashed = world.now;
    until(&mut world, LONG, "the next reign", |world| world.now > crashed + secs(30));
    assert_eq!(placements(&world).len(), 0, "an operator's word outlives the coordinator");
    world.wish(&node("b"), Wish::Uncordon);
    until_phase(&mut world, GangPhase::Running);
    world.stop(&job(), false);
    assert!(matches!(until_ended(&mut world), Outcome::Stopped { .. }));
}

#[test]
fn a_drained_node_is_empty_while_its_job_runs_elsewhere_at_no_cost() {
    let mut scripts = running_on();
    // It ignores SIGTERM: only the grace of who drains ends it.
    scripts.set_rank(&job(), 1, 0, RankScript { heeds_term: None, ..RankScript::runs_on() });
    let mut world = world(scripts);
    world.submit(&job(), JobSpec { termination_grace: secs(300), ..job_spec(2, 1) });
    until_phase(&mut world, GangPhase::Running);
    let drained = world.now;
    world.wish(&node("a"), Wish::Drain { reason: "firmware".into(), grace: Some(secs(2)) });
    until(&mut world, secs(10), "generation 2 runs", |world| {
        generation(world) == 2 && job_of(world).active().is_some_and(|active| active.running_since.is_some())
    });
    assert!(world.now.since(drained) >= secs(2), "it had its grace");
    assert!(world.processes().all(|(on, _)| *on != node("a")), "nothing is left there");
    assert_eq!(job_of(&world).used.restarts, 0);
    let free = |kind: &EventKind| matches!(kind, EventKind::GangRestarting { free: true, cause: Cause::Drained { node }, .. } if node.as_str() == "a");
    assert_eq!(count(&world, free), 1);
    world.stop(&job(), false);
    until_ended(&mut world);
}

#[test]
fn a_drained_job_that_fits_nowhere_else_waits_and_comes_back_when_the_node_does() {
    let mut world = world(running_on());
    world.submit(&job(), job_spec(3, 1));
    until_phase(&mut world, GangPhase::Running);
    world.wish(&node("b"), Wish::Drain { reason: "firmware".into(), grace: None });
    until_phase(&mut world, GangPhase::Queued);
    assert!(waits(&world).contains("node b is cordoned by root: firmware"), "{}", waits(&world));
    assert_eq!(world.processes().count(), 0);
    // Its machine is off meanwhile.
    world.schedule(secs(1), Fault::KillNode { node: node("b"), down: secs(20) });
    let off = world.now;
    until(&mut world, LONG, "it is back", |world| world.now > off + secs(60));
    world.wish(&node("b"), Wish::Uncordon);
    until_phase(&mut world, GangPhase::Running);
    world.stop(&job(), false);
    until_ended(&mut world);
}

#[test]
fn a_drain_outlives_the_coordinator_that_began_it() {
    for commands in 0..4 {
        let mut world = world(running_on());
        world.submit(&job(), job_spec(2, 1));
        until_phase(&mut world, GangPhase::Running);
        world.schedule(secs(1), Fault::CrashCoordinatorAfter { commands, down: secs(2) });
        let wish = Wish::Drain { reason: String::new(), grace: None };
        world.schedule(secs(2), Fault::Wish { node: node("a"), wish });
        let asked = world.now;
        until(&mut world, LONG, "a minute", |world| world.now > asked + secs(60));
        // A wish that was not stored was not taken, and its operator sees that.
        let taken = world.coordinator().unwrap().durable().standings.contains_key(&node("a"));
        assert_eq!(taken, commands > 0);
        let there = world.processes().any(|(on, _)| *on == node("a"));
        assert_eq!(there, !taken, "after {commands} commands");
        world.stop(&job(), false);
        until_ended(&mut world);
    }
}

#[test]
fn a_node_that_flaps_is_quarantined_and_its_running_pod_stays() {
    let config = Config { cluster: true, ..Config::default() };
    let mut world = world_with(config, running_on(), None);
    world.submit(&job(), job_spec(3, 1));
    until_phase(&mut world, GangPhase::Running);
    for after in [1, 60] {
        world.schedule(secs(after), Fault::LoseConnection { node: node("b"), cut: secs(2) });
    }
    let quarantined = |world: &World| {
        count(world, |kind| matches!(kind, EventKind::NodeQuarantined { node, .. } if node.as_str() == "b"))
            == 1
    };
    until(&mut world, LONG, "a quarantine", quarantined);
    assert_eq!((generation(&world), phase(&world, &job())), (1, Some(GangPhase::Running)));
    world.schedule(secs(1), Fault::CrashCoordinator { down: secs(1) });
    let crashed = world.now;
    until(&mut world, LONG, "the next reign", |world| world.now > crashed + secs(30));
    world.stop(&job(), false);
    until_ended(&mut world);
    let other = phalanx_common::id::JobId::from_existing("other-1");
    world.submit(&other, job_spec(3, 1));
    assert!(waits(&world).contains("node b is quarantined: unreachable 2 times"), "{}", waits(&world));
}

#[test]
fn when_all_nodes_go_at_once_no_job_moves_and_nobody_is_quarantined() {
    let config = Config { cluster: true, ..Config::default() };
    let mut world = world_with(config, running_on(), None);
    world.submit(&job(), JobSpec { max_restarts: 3, ..job_spec(2, 1) });
    until_phase(&mut world, GangPhase::Running);
    for after in [1, 90] {
        for name in ["a", "b", "c"] {
            world.schedule(secs(after), Fault::LoseConnection { node: node(name), cut: secs(10) });
        }
    }
    let began = world.now;
    until(&mut world, LONG, "four minutes", |world| world.now > began + secs(240));
    let paused = count(&world, |kind| matches!(kind, EventKind::ReplacementPaused { .. }));
    let resumed = count(&world, |kind| matches!(kind, EventKind::ReplacementResumed { by: None }));
    assert_eq!((paused, resumed), (2, 2));
    assert_eq!(count(&world, |kind| matches!(kind, EventKind::NodeQuarantined { .. })), 0);
    assert_eq!(generation(&world), 1);
    world.stop(&job(), false);
    until_ended(&mut world);
}

#[test]
fn a_node_that_is_gone_is_forgotten_and_one_that_returns_is_new() {
    let mut world = world(running_on());
    world.schedule(secs(1), Fault::KillNode { node: node("c"), down: secs(100) });
    let known = |world: &World| world.coordinator().map_or(0, |coordinator| coordinator.nodes().len());
    let began = world.now;
    until(&mut world, LONG, "half a minute", |world| world.now > began + secs(30));
    world.wish(&node("c"), Wish::Forget);
    assert_eq!(known(&world), 2);
    world.wish(&node("a"), Wish::Forget);
    assert_eq!(known(&world), 2, "it is connected");
    until(&mut world, LONG, "it joins anew", |world| known(world) == 3);
    assert_eq!(world.violations, []);
}
