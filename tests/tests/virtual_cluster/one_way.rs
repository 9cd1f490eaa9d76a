//! Links that lose what goes one way: to a node that is deaf, or from one that is mute.

use std::time::Duration;

use phalanx_common::event::{EventKind, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::spec::JobSpec;
use phalanx_launcher_core::Config;
use phalanx_launcher_core::gang::GangPhase;
use phalanx_tests::vcluster::seeded::{job_spec, phase};
use phalanx_tests::vcluster::{Fault, RankScript, Scripts, Way, World};

use crate::cluster::*;

/// One rank on each of `nodes` nodes, Running. The coordinator's patience is longer than any loss here.
fn running(nodes: u32, scripts: Scripts, change: impl FnOnce(&mut JobSpec)) -> World {
    let mut world = world_with(Config { cluster: true, ..Config::default() }, scripts, None);
    let mut spec = JobSpec { max_restarts: 1, unreachable: secs(120), ..job_spec(nodes, 1) };
    change(&mut spec);
    world.submit(&job(), spec);
    until_phase(&mut world, GangPhase::Running);
    world
}

/// From here on, for so long, nothing gets through this way between the node and the coordinator.
fn lose(world: &mut World, name: &str, way: Way, cut: Duration) {
    world.schedule(Duration::ZERO, Fault::LoseOneWay { node: node(name), way, cut });
}

fn unreachable(world: &World) -> usize {
    count(world, |kind| matches!(kind, EventKind::NodeUnreachable { .. }))
}

fn back(world: &World) -> bool {
    count(world, |kind| matches!(kind, EventKind::NodeReachable { .. })) == 1
}

fn lives_on(world: &World, name: &str) -> bool {
    world.processes().any(|(on, _)| *on == node(name))
}

/// What this peer said of the pod on node c.
fn verdict(world: &World, peer: &str, heard: bool) -> bool {
    let said = |line: &&String| {
        line.contains(&format!("coordinator <- Report {{ node: NodeId(\"{peer}\"), report: Probed"))
            && line.contains("target: NodeId(\"c\")")
            && line.contains(&format!("heard: {heard}"))
    };
    world.trace_lines().iter().any(|line| said(&line))
}

#[test]
fn a_deaf_worker_gives_up_first_and_a_mute_one_is_given_up_and_the_job_goes_on() {
    for (way, first, last) in [(Way::In, 8, 13), (Way::Out, 5, 12)] {
        let mut world = running(3, running_on(), |_| {});
        lose(&mut world, "c", way, secs(40));
        let cut = world.now;
        until(&mut world, LONG, "unreachable", |world| unreachable(world) == 1);
        let noticed = world.now.since(cut);
        assert!(secs(first) <= noticed && noticed <= secs(last), "{way:?}: noticed after {noticed:?}");
        until(&mut world, LONG, "back", back);
        assert!(world.now >= cut + secs(40), "{way:?}: no handshake while one direction is lost");
        assert_eq!(count(&world, |kind| matches!(kind, EventKind::PodHeard { .. })), 1, "{way:?}");
        until(&mut world, LONG, "some time more", |world| world.now > cut + secs(200));
        assert_eq!((phase(&world, &job()), generation(&world)), (Some(GangPhase::Running), 1), "{way:?}");
        assert_eq!(unreachable(&world), 1, "{way:?}");
    }
}

#[test]
fn a_loss_shorter_than_the_idle_timeout_is_no_lost_node_and_delays_an_order() {
    let mut world = running(3, running_on(), |_| {});
    lose(&mut world, "c", Way::In, secs(2));
    world.schedule(Duration::from_millis(100), Fault::Stop { job: job(), force: false });
    let cut = world.now;
    until(&mut world, LONG, "a and b stopped", |world| !lives_on(world, "a") && !lives_on(world, "b"));
    assert!(world.now < cut + secs(2) && lives_on(&world, "c"), "c has not heard of it");
    assert!(matches!(until_ended(&mut world), Outcome::Stopped { exit_code: 130, .. }));
    assert!(unreachable(&world) == 0 && !back(&world), "the connection outlived it");
}

#[test]
fn what_a_deaf_worker_says_counts_and_the_generation_that_it_missed_comes_again_at_no_cost() {
    let mut scripts = running_on();
    scripts.set_rank(&job(), 1, 2, RankScript::fails_after(secs(20), ExitStatus::Code(7)));
    let mut world = running(3, scripts, |spec| spec.start_timeout = secs(300));
    let began = world.now;
    until(&mut world, LONG, "shortly before it fails", |world| world.now > began + secs(17));
    lose(&mut world, "c", Way::In, secs(40));
    let cut = world.now;
    until(&mut world, LONG, "the failure is heard", |world| generation(world) == 2);
    assert!(world.now <= cut + secs(5) && unreachable(&world) == 0, "long before anybody noticed the loss");
    assert_eq!(placements(&world)[1].0, placements(&world)[0].0, "in place: c is within reach, it seems");
    until(&mut world, LONG, "noticed", |world| unreachable(world) == 1);
    until_phase(&mut world, GangPhase::Queued);
    until(&mut world, LONG, "back", back);
    assert_eq!(phase(&world, &job()), Some(GangPhase::Preparing));
    until_phase(&mut world, GangPhase::Running);
    assert_eq!((generation(&world), job_of(&world).used.restarts), (3, 1));
}

#[test]
fn a_mute_worker_obeys_and_its_word_is_awaited() {
    let mut world = running(3, running_on(), |_| {});
    lose(&mut world, "c", Way::Out, secs(40));
    let cut = world.now;
    world.schedule(secs(1), Fault::Stop { job: job(), force: false });
    until(&mut world, LONG, "nothing runs", |world| world.processes().count() == 0);
    assert!(world.now <= cut + secs(5), "the order came through");
    until(&mut world, LONG, "unreachable", |world| unreachable(world) == 1);
    assert_eq!(phase(&world, &job()), Some(GangPhase::Stopping), "nobody said that the pod on c ended");
    assert!(matches!(until_ended(&mut world), Outcome::Stopped { exit_code: 130, .. }));
    assert!(world.now >= cut + secs(40), "its Hello said so");
}

#[test]
fn a_peer_that_hears_no_answers_is_outvoted_by_one_that_does() {
    let mut world = running(3, running_on(), |_| {});
    let cut = world.now;
    world.schedule(Duration::ZERO, Fault::CutDataOneWay { node: node("a"), way: Way::In, cut: secs(60) });
    world.schedule(secs(1), Fault::LoseConnection { node: node("c"), cut: secs(30) });
    until(&mut world, LONG, "back", back);
    assert!(verdict(&world, "a", false) && !verdict(&world, "a", true), "a asks, and hears no answer");
    assert!(verdict(&world, "b", true) && !verdict(&world, "b", false), "b does");
    let heard = |kind: &EventKind| matches!(kind, EventKind::PodHeard { peer, .. } if *peer == node("b"));
    assert_eq!(count(&world, heard), 1);
    until(&mut world, LONG, "a minute more", |world| world.now > cut + secs(100));
    assert_eq!(count(&world, |kind| matches!(kind, EventKind::PodDead { .. })), 0);
    assert_eq!((generation(&world), phase(&world, &job())), (1, Some(GangPhase::Running)));
}

#[test]
fn a_node_that_is_deaf_or_mute_on_the_data_plane_is_dead_once_its_link_is_lost_too() {
    for way in [Way::In, Way::Out] {
        let mut world = running(2, running_on(), |_| {});
        world.schedule(Duration::ZERO, Fault::CutDataOneWay { node: node("b"), way, cut: secs(100) });
        world.schedule(secs(1), Fault::LoseConnection { node: node("b"), cut: secs(60) });
        until(&mut world, LONG, "again", |world| {
            generation(world) == 2 && phase(world, &job()) == Some(GangPhase::Running)
        });
        assert_eq!(count(&world, |kind| matches!(kind, EventKind::PodDead { .. })), 1, "{way:?}");
        assert_eq!(placements(&world)[1].0, [node("a"), node("c")], "{way:?}");
        assert!(lives_on(&world, "b"), "the old pod lives, out of reach");
        until(&mut world, LONG, "the old pod is stopped", |world| !lives_on(world, "b"));
        assert!(back(&world), "{way:?}: by its order, not by its lease");
        assert_eq!(generation(&world), 2, "{way:?}");
    }
}
