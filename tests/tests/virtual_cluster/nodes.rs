//! Nodes that are to be left alone.

use phalanx_common::event::{EventKind, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::spec::JobSpec;
use phalanx_launcher_core::Wish;
use phalanx_launcher_core::gang::GangPhase;
use phalanx_tests::vcluster::seeded::job_spec;
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
