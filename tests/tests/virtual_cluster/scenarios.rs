//! The paths that matter, each by its name.

use std::time::Duration;

use phalanx_common::event::{Cause, EventKind, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::report::PrepareFailureKind;
use phalanx_common::spec::{Fencing, JobSpec};
use phalanx_launcher_core::Config;
use phalanx_launcher_core::gang::GangPhase;
use phalanx_tests::vcluster::seeded::{job_spec, phase, run_until};
use phalanx_tests::vcluster::{Fault, PodScript, RankScript, Scripts, World};

use crate::cluster::*;

#[test]
fn a_gang_of_three_nodes_runs_and_succeeds() {
    let mut world = world(Scripts::default());
    world.submit(&job(), job_spec(3, 2));
    until_phase(&mut world, GangPhase::Running);
    assert_eq!(world.coordinator().unwrap().poll_timeout(), None, "no deadline while it runs");
    assert_eq!(until_ended(&mut world), Outcome::Succeeded);
    assert_eq!(count(&world, |kind| matches!(kind, EventKind::RankExited { .. })), 6);
}

#[test]
fn when_one_rank_fails_the_others_are_stopped_and_the_gang_restarts_with_a_new_port() {
    let mut scripts = Scripts::default();
    scripts.set_rank(&job(), 1, 1, RankScript::fails_after(secs(2), ExitStatus::Code(7)));
    let mut world = world(scripts);
    world.submit(&job(), JobSpec { max_restarts: 1, ..job_spec(2, 2) });
    assert_eq!(until_ended(&mut world), Outcome::Succeeded);
    assert_eq!(generation(&world), 2);
    let placements = placements(&world);
    assert_eq!(placements[0].0, placements[1].0, "in place");
    assert_ne!(placements[0].1, placements[1].1, "a new port");
    let stopped = count(
        &world,
        |kind| matches!(kind, EventKind::RankExited { exit, .. } if exit.after_stop && exit.status == ExitStatus::Signal(15)),
    );
    assert_eq!(stopped, 3);
}

#[test]
fn when_the_budget_is_spent_the_job_fails_with_the_last_first_cause() {
    let mut scripts = running_on();
    for generation in 1..=3 {
        let status = ExitStatus::Code(u8::try_from(generation).unwrap());
        scripts.set_rank(&job(), generation, 2, RankScript::fails_after(secs(1), status));
        scripts.set_rank(&job(), generation, 0, RankScript::fails_after(secs(3), ExitStatus::Code(99)));
    }
    let mut world = world(scripts);
    world.submit(&job(), JobSpec { max_restarts: 2, ..job_spec(3, 1) });
    let Outcome::Failed { first_cause: Cause::RankFailed { rank, status, .. }, exit_code, .. } =
        until_ended(&mut world)
    else {
        panic!("{:?}", outcome(&world));
    };
    assert_eq!((rank.0, status, exit_code), (2, ExitStatus::Code(3), 3));
    let delays: Vec<u64> = world
        .events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::GangRestarting { delay_ms, .. } => Some(delay_ms),
            _ => None,
        })
        .collect();
    assert_eq!(delays, [0, 1000]);
}

#[test]
fn the_start_deadline_names_the_ranks_that_hang() {
    let mut scripts = running_on();
    scripts.set_pod(&job(), 1, &node("b"), PodScript { start: None, ..PodScript::default() });
    let mut world = world(scripts);
    world.submit(&job(), job_spec(3, 2));
    let Outcome::Failed { first_cause: Cause::StartTimeout { missing, phase, .. }, exit_code, .. } =
        until_ended(&mut world)
    else {
        panic!("{:?}", outcome(&world));
    };
    let missing: Vec<u32> = missing.iter().map(|rank| rank.0).collect();
    assert_eq!((missing, phase.as_str(), exit_code), (vec![2, 3], "released, not started", 125));
}

#[test]
fn the_first_stop_is_graceful_and_the_second_at_once() {
    let mut scripts = Scripts::default();
    scripts.set_job(&job(), RankScript { heeds_term: None, ..RankScript::runs_on() });
    let mut world = world(scripts);
    world.submit(&job(), JobSpec { termination_grace: secs(3600), max_restarts: 3, ..job_spec(2, 1) });
    until_phase(&mut world, GangPhase::Running);
    world.stop(&job(), false);
    let asked = world.now;
    assert!(
        run_until(&mut world, secs(100), |world| phase(world, &job()) == Some(GangPhase::Ended)).is_err()
    );
    world.stop(&job(), true);
    let outcome = until_ended(&mut world);
    assert!(matches!(outcome, Outcome::Stopped { exit_code: 130, .. }), "{outcome:?}");
    assert!(world.now.since(asked) < secs(200));
}

#[test]
fn ranks_that_end_with_0_after_a_stop_are_still_a_stopped_job() {
    let mut scripts = Scripts::default();
    scripts.set_job(&job(), RankScript { heeds_term: None, ..RankScript::succeeds_after(secs(8)) });
    let mut world = world(scripts);
    world.submit(&job(), JobSpec { termination_grace: secs(60), ..job_spec(1, 2) });
    until_phase(&mut world, GangPhase::Running);
    world.stop(&job(), false);
    assert!(matches!(until_ended(&mut world), Outcome::Stopped { exit_code: 130, .. }));
}

#[test]
fn a_flap_of_the_connection_does_not_touch_a_running_job() {
    let mut world = world(running_on());
    world.submit(&job(), job_spec(3, 1));
    until_phase(&mut world, GangPhase::Running);
    for round in 0..5 {
        for name in ["a", "b", "c"] {
            world.schedule(secs(round * 10), Fault::LoseConnection { node: node(name), cut: secs(2) });
        }
    }
    let began = world.now;
    until(&mut world, LONG, "five flaps", |world| world.now > began + secs(120));
    assert_eq!((phase(&world, &job()), generation(&world)), (Some(GangPhase::Running), 1));
    assert!(count(&world, |kind| matches!(kind, EventKind::NodeReachable { .. })) >= 3);
}

#[test]
fn ranks_that_end_while_nobody_listens_are_heard_of_after_all() {
    let mut world = world(Scripts::default());
    world.submit(&job(), job_spec(1, 2));
    until_phase(&mut world, GangPhase::Running);
    world.schedule(secs(1), Fault::LoseConnection { node: node("a"), cut: secs(15) });
    assert_eq!(until_ended(&mut world), Outcome::Succeeded);
    assert_eq!(generation(&world), 1);
}

#[test]
fn a_lost_node_is_replaced_after_the_unreachable_time_and_not_before() {
    let mut world = world(running_on());
    world.submit(&job(), JobSpec { max_restarts: 1, ..job_spec(2, 1) });
    until_phase(&mut world, GangPhase::Running);
    world.schedule(secs(1), Fault::KillNode { node: node("a"), down: LONG });
    let began = world.now;
    until(&mut world, LONG, "unreachable", |world| {
        count(world, |kind| matches!(kind, EventKind::NodeUnreachable { .. })) == 1
    });
    let noticed = world.now;
    until(&mut world, LONG, "second generation", |world| {
        generation(world) == 2 && phase(world, &job()) == Some(GangPhase::Running)
    });
    assert!(world.now >= noticed + secs(20), "noticed at {noticed}, moved at {}", world.now);
    assert!(world.now.since(began) < secs(40));
    assert_eq!(placements(&world)[1].0, [node("c"), node("b")]);
}

#[test]
fn a_node_that_comes_back_with_an_old_generation_stops_it() {
    let mut world = world(running_on());
    world.submit(&job(), JobSpec { max_restarts: 1, ..job_spec(2, 1) });
    until_phase(&mut world, GangPhase::Running);
    world.schedule(secs(1), Fault::LoseConnection { node: node("a"), cut: secs(60) });
    until(&mut world, LONG, "moved", |world| {
        generation(world) == 2 && phase(world, &job()) == Some(GangPhase::Running)
    });
    assert_eq!(
        world.processes().filter(|(on, _)| **on == node("a")).count(),
        1,
        "the old one lives, out of reach"
    );
    until(&mut world, LONG, "the old one is gone", |world| {
        !world.processes().any(|(on, _)| *on == node("a"))
    });
    assert_eq!(generation(&world), 2);
}

#[test]
fn a_machine_that_restarts_loses_its_ranks_and_the_gang_restarts_at_once() {
    let mut world = world(running_on());
    world.submit(&job(), JobSpec { max_restarts: 1, ..job_spec(3, 1) });
    until_phase(&mut world, GangPhase::Running);
    world.schedule(secs(1), Fault::KillNode { node: node("b"), down: secs(5) });
    until(&mut world, LONG, "again", |world| {
        generation(world) == 2 && phase(world, &job()) == Some(GangPhase::Running)
    });
    let restarted = count(
        &world,
        |kind| matches!(kind, EventKind::GangRestarting { cause: Cause::NodeRestarted { node: lost }, .. } if *lost == node("b")),
    );
    assert_eq!(restarted, 1);
}

#[test]
fn a_coordinator_restart_leaves_the_job_running() {
    let mut world = world(running_on());
    world.submit(&job(), job_spec(3, 2));
    until_phase(&mut world, GangPhase::Running);
    let before: Vec<u32> = world.processes().map(|(_, process)| process.pid).collect();
    world.schedule(secs(1), Fault::CrashCoordinator { down: secs(60) });
    let began = world.now;
    until(&mut world, LONG, "a new reign", |world| world.now > began + secs(200));
    let after: Vec<u32> = world.processes().map(|(_, process)| process.pid).collect();
    assert_eq!((phase(&world, &job()), generation(&world), after), (Some(GangPhase::Running), 1, before));
    assert_eq!(world.coordinator().unwrap().epoch().0, 2);
}

#[test]
fn a_coordinator_that_dies_between_the_record_and_go_sends_go_in_its_next_reign() {
    for commands in 0..8 {
        let mut world = world(Scripts::default());
        world.schedule(Duration::ZERO, Fault::CrashCoordinatorAfter { commands, down: secs(3) });
        world.submit_after(Duration::from_millis(1), job(), job_spec(3, 1));
        let ended = run_until(&mut world, LONG, |world| phase(world, &job()) == Some(GangPhase::Ended));
        // With none of its records stored, the submission itself died with the coordinator.
        if commands == 0 {
            continue;
        }
        assert_eq!(ended, Ok(()), "after {commands} commands: {}", world.trace_lines().join("\n"));
        assert_eq!(
            (outcome(&world), generation(&world)),
            (Outcome::Succeeded, 1),
            "after {commands} commands"
        );
    }
}

#[test]
fn a_stop_survives_the_coordinator() {
    let mut scripts = Scripts::default();
    scripts.set_job(&job(), RankScript { heeds_term: None, ..RankScript::runs_on() });
    let mut world = world(scripts);
    world.submit(&job(), JobSpec { termination_grace: secs(30), max_restarts: 5, ..job_spec(2, 1) });
    until_phase(&mut world, GangPhase::Running);
    world.stop(&job(), false);
    world.schedule(Duration::ZERO, Fault::CrashCoordinator { down: secs(10) });
    assert!(matches!(until_ended(&mut world), Outcome::Stopped { exit_code: 130, .. }));
}

#[test]
fn a_command_that_is_not_there_ends_the_job_with_127_and_no_restart() {
    for (kind, code) in
        [(PrepareFailureKind::CommandNotFound, 127), (PrepareFailureKind::CommandNotExecutable, 126)]
    {
        let mut scripts = Scripts::default();
        for name in ["a", "b", "c"] {
            scripts.set_pod(&job(), 1, &node(name), PodScript { fails: Some(kind), ..PodScript::default() });
        }
        let mut world = world(scripts);
        world.submit(&job(), JobSpec { max_restarts: 5, ..job_spec(2, 1) });
        let outcome = until_ended(&mut world);
        assert_eq!((outcome.exit_code(), generation(&world)), (code, 1), "{outcome:?}");
    }
}

#[test]
fn a_taken_port_costs_nothing_and_the_next_one_is_tried() {
    let mut world = world(Scripts::default());
    for port in 20_000..20_004 {
        world.schedule(Duration::ZERO, Fault::TakePort { node: node("a"), port });
    }
    world.submit_after(secs(1), job(), job_spec(1, 1));
    assert_eq!(until_ended(&mut world), Outcome::Succeeded);
    let ports: Vec<u16> = placements(&world).iter().map(|placement| placement.1).collect();
    assert_eq!(ports, [20_000, 20_001, 20_002, 20_003, 20_004]);
    assert_eq!(job_of(&world).used.restarts, 0);
}

#[test]
fn a_rank_that_meets_a_port_in_use_restarts_at_no_cost_three_times() {
    let mut scripts = Scripts::default();
    let conflict = RankScript {
        port_conflict: true,
        ..RankScript::fails_after(Duration::from_millis(10), ExitStatus::Code(1))
    };
    for generation in 1..=4 {
        scripts.set_rank(&job(), generation, 0, conflict.clone());
    }
    let mut world = world(scripts);
    world.submit(&job(), job_spec(1, 1));
    assert_eq!(until_ended(&mut world).exit_code(), 1);
    assert_eq!(generation(&world), 4);
}

#[test]
fn a_suspended_job_never_times_out() {
    let mut scripts = Scripts::default();
    scripts.set_pod(&job(), 1, &node("a"), PodScript { prepare: secs(50), ..PodScript::default() });
    let mut world = world(scripts);
    world.submit(&job(), job_spec(1, 1));
    world.schedule(secs(1), Fault::Suspend { job: job() });
    world.schedule(secs(7200), Fault::Resume { job: job() });
    until(&mut world, secs(7300), "resumed", |world| phase(world, &job()) == Some(GangPhase::Running));
    assert_eq!(until_ended(&mut world), Outcome::Succeeded);
}

#[test]
fn a_resume_that_was_lost_with_its_connection_comes_again() {
    let mut world = world(Scripts::default());
    world.submit(&job(), job_spec(1, 1));
    until_phase(&mut world, GangPhase::Running);
    world.schedule(secs(1), Fault::Suspend { job: job() });
    world.schedule(secs(2), Fault::LoseConnection { node: node("a"), cut: secs(10) });
    world.schedule(secs(3), Fault::Resume { job: job() });
    assert_eq!(until_ended(&mut world), Outcome::Succeeded);
}

#[test]
fn a_clock_jump_fails_nothing() {
    let mut scripts = running_on();
    scripts.set_pod(&job(), 1, &node("a"), PodScript { prepare: secs(30), ..PodScript::default() });
    let mut world = world(scripts);
    world.submit(&job(), job_spec(1, 1));
    world.schedule(secs(5), Fault::JumpClock { seconds: 86_400 });
    world.schedule(secs(10), Fault::JumpClock { seconds: -90_000 });
    until_phase(&mut world, GangPhase::Running);
    assert_eq!(generation(&world), 1);
}

#[test]
fn a_dead_shim_takes_its_ranks_with_it_and_the_gang_restarts() {
    let mut scripts = running_on();
    scripts.set_job(&job(), RankScript { grandchildren: 2, ..RankScript::runs_on() });
    let mut world = world(scripts);
    world.submit(&job(), JobSpec { max_restarts: 1, ..job_spec(2, 1) });
    until_phase(&mut world, GangPhase::Running);
    world.schedule(secs(1), Fault::KillShim { node: node("a") });
    until(&mut world, LONG, "again", |world| {
        generation(world) == 2 && phase(world, &job()) == Some(GangPhase::Running)
    });
    let shim_lost =
        |kind: &EventKind| matches!(kind, EventKind::GangRestarting { cause: Cause::ShimLost { .. }, .. });
    assert_eq!(count(&world, shim_lost), 1);
}

#[test]
fn a_connected_job_outlives_many_leases_and_an_unheard_one_does_not() {
    let config = Config { cluster: true, ..Config::default() };
    let mut world = world_with(config, running_on(), None);
    world.submit(&job(), JobSpec { lease: secs(30), unreachable: secs(3600), ..job_spec(2, 1) });
    until_phase(&mut world, GangPhase::Running);
    let began = world.now;
    until(&mut world, LONG, "ten leases", |world| world.now > began + secs(300));
    assert_eq!(phase(&world, &job()), Some(GangPhase::Running));
    world.schedule(secs(1), Fault::LoseConnection { node: node("a"), cut: secs(120) });
    let outcome = until_ended(&mut world);
    assert!(
        matches!(&outcome, Outcome::Failed { first_cause: Cause::LeaseLapsed { node: lapsed }, exit_code: 125, .. } if *lapsed == node("a")),
        "{outcome:?}"
    );
}

#[test]
fn a_job_waits_for_nodes_and_says_why() {
    let mut world = world(Scripts::default());
    world.schedule(Duration::ZERO, Fault::KillNode { node: node("c"), down: secs(30) });
    world.submit_after(secs(10), job(), job_spec(3, 1));
    until(&mut world, LONG, "queued", |world| {
        count(
            world,
            |kind| matches!(kind, EventKind::JobQueued { why } if why.contains("node c is unreachable")),
        ) == 1
    });
    assert_eq!(until_ended(&mut world), Outcome::Succeeded);
}

fn in_a_cluster() -> World {
    world_with(Config { cluster: true, ..Config::default() }, running_on(), None)
}

#[test]
fn a_node_whose_control_link_alone_is_cut_is_heard_by_its_peers_and_left_alone() {
    let mut world = in_a_cluster();
    world.submit(&job(), JobSpec { max_restarts: 1, unreachable: secs(120), ..job_spec(3, 1) });
    until_phase(&mut world, GangPhase::Running);
    let cut = world.now;
    world.schedule(secs(1), Fault::LoseConnection { node: node("c"), cut: secs(30) });
    until(&mut world, LONG, "back", |world| {
        count(world, |kind| matches!(kind, EventKind::NodeReachable { .. })) == 1
    });
    until(&mut world, LONG, "a minute more", |world| world.now > cut + secs(100));
    assert_eq!(count(&world, |kind| matches!(kind, EventKind::PodHeard { .. })), 1);
    assert_eq!((generation(&world), phase(&world, &job())), (1, Some(GangPhase::Running)));
}

#[test]
fn a_node_that_nobody_hears_is_dead_within_ten_seconds_and_the_gang_restarts_without_it() {
    let mut world = in_a_cluster();
    world.submit(&job(), JobSpec { max_restarts: 1, unreachable: secs(120), ..job_spec(2, 1) });
    until_phase(&mut world, GangPhase::Running);
    let cut = world.now + secs(1);
    world.schedule(secs(1), Fault::Isolate { node: node("b"), cut: secs(300) });
    until(&mut world, LONG, "dead", |world| {
        count(world, |kind| matches!(kind, EventKind::PodDead { .. })) == 1
    });
    assert!(world.now <= cut + secs(10), "{:?} after the cut", world.now.since(cut));
    until(&mut world, LONG, "again", |world| {
        generation(world) == 2 && phase(world, &job()) == Some(GangPhase::Running)
    });
    let nodes = &job_of(&world).generation.as_ref().unwrap().pods;
    assert!(nodes.iter().all(|pod| pod.node != node("b")), "{nodes:?}");
}

#[test]
fn a_strictly_fenced_job_waits_for_the_lease_of_a_dead_node() {
    let mut world = in_a_cluster();
    let strict = JobSpec {
        max_restarts: 1,
        fencing: Fencing::Strict,
        lease: secs(20),
        // Not waited for: the lease ends the ranks long before.
        unreachable: secs(600),
        ..job_spec(2, 1)
    };
    world.submit(&job(), strict);
    until_phase(&mut world, GangPhase::Running);
    let cut = world.now + secs(1);
    world.schedule(secs(1), Fault::Isolate { node: node("b"), cut: secs(300) });
    until(&mut world, LONG, "again", |world| generation(world) == 2);
    assert!(world.now >= cut + secs(20), "{:?} after the cut", world.now.since(cut));
    assert!(world.now <= cut + secs(40), "{:?} after the cut", world.now.since(cut));
    let waits = |kind: &EventKind| matches!(kind, EventKind::PodDead { waits: Some(_), lapsed: false, .. });
    assert_eq!(count(&world, waits), 1);
    assert_eq!(world.violations, []);
}

#[test]
fn leases_of_known_pods_are_renewed_by_the_next_coordinator() {
    let mut world = in_a_cluster();
    world.submit(&job(), JobSpec { lease: secs(20), ..job_spec(2, 1) });
    until_phase(&mut world, GangPhase::Running);
    world.schedule(secs(1), Fault::CrashCoordinator { down: secs(5) });
    let began = world.now;
    until(&mut world, LONG, "many leases", |world| world.now > began + secs(200));
    assert_eq!((generation(&world), phase(&world, &job())), (1, Some(GangPhase::Running)));
}

/// The pod of the job's first generation on this node takes a while to be prepared.
fn slow_to_prepare(on: &str) -> Scripts {
    let mut scripts = running_on();
    scripts.set_pod(&job(), 1, &node(on), PodScript { prepare: secs(30), ..PodScript::default() });
    scripts
}

#[test]
fn a_node_that_goes_before_the_ranks_are_released_is_replaced_at_once_and_at_no_cost() {
    for fault in [
        Fault::CrashWorker { node: node("a") },
        Fault::Isolate { node: node("a"), cut: secs(60) },
        Fault::KillNode { node: node("a"), down: LONG },
    ] {
        let config = Config { cluster: true, ..Config::default() };
        let mut world = world_with(config, slow_to_prepare("a"), None);
        world.submit(&job(), JobSpec { unreachable: secs(120), fencing: Fencing::Strict, ..job_spec(2, 1) });
        world.schedule(secs(1), fault);
        let began = world.now;
        until(&mut world, LONG, "elsewhere", |world| {
            generation(world) == 2 && phase(world, &job()) == Some(GangPhase::Running)
        });
        assert!(world.now.since(began) < secs(10), "{:?}", world.now.since(began));
        assert_eq!(placements(&world)[1].0, [node("c"), node("b")]);
        assert_eq!(job_of(&world).used.restarts, 0);
        let later = world.now + secs(100);
        until(&mut world, LONG, "and stays", |world| world.now > later);
        assert_eq!((generation(&world), phase(&world, &job())), (2, Some(GangPhase::Running)));
    }
}

#[test]
fn a_gang_without_room_for_a_node_that_went_before_its_release_waits_for_it_by_name() {
    let config = Config { cluster: true, ..Config::default() };
    let mut world = world_with(config, slow_to_prepare("b"), None);
    world.submit(&job(), job_spec(3, 1));
    world.schedule(secs(1), Fault::KillNode { node: node("b"), down: secs(300) });
    let began = world.now;
    until(&mut world, LONG, "waits", |world| {
        phase(world, &job()) == Some(GangPhase::Queued)
            && count(
                world,
                |kind| matches!(kind, EventKind::JobQueued { why } if why.contains("node b is unreachable")),
            ) == 1
    });
    assert!(world.now.since(began) < secs(10), "{:?}", world.now.since(began));
    until_phase(&mut world, GangPhase::Running);
    assert_eq!((generation(&world), job_of(&world).used.restarts), (2, 0));
}

#[test]
fn a_coordinator_that_comes_back_does_not_wait_long_for_a_node_that_holds_nothing_released() {
    let config = Config { cluster: true, ..Config::default() };
    let mut world = world_with(config, slow_to_prepare("a"), None);
    world.submit(&job(), JobSpec { unreachable: secs(120), ..job_spec(2, 1) });
    world.schedule(secs(1), Fault::CrashCoordinator { down: secs(3) });
    world.schedule(secs(2), Fault::KillNode { node: node("a"), down: LONG });
    let began = world.now;
    until(&mut world, LONG, "elsewhere", |world| {
        world.coordinator().is_some()
            && generation(world) == 2
            && phase(world, &job()) == Some(GangPhase::Running)
    });
    assert!(world.now.since(began) < secs(20), "{:?}", world.now.since(began));
    assert_eq!(placements(&world).last().unwrap().0, [node("c"), node("b")]);
}

#[test]
fn nodes_that_cannot_take_a_job_are_left_out_and_the_rest_runs_it() {
    let mut scripts = running_on();
    for generation in 1..=2 {
        for name in ["a", "b"] {
            let fails = Some(PrepareFailureKind::Node);
            let script = PodScript { fails, ..PodScript::default() };
            scripts.set_pod(&job(), generation, &node(name), script);
        }
    }
    let mut world = world(scripts);
    world.submit(&job(), job_spec(1, 1));
    until_phase(&mut world, GangPhase::Running);
    let placed: Vec<_> = placements(&world).into_iter().flat_map(|(nodes, _)| nodes).collect();
    assert_eq!(placed, [node("a"), node("b"), node("c")]);
    assert_eq!(job_of(&world).used.restarts, 0);
}

#[test]
fn a_job_that_too_few_nodes_can_take_fails_and_does_not_wait() {
    let mut scripts = running_on();
    scripts.set_pod(
        &job(),
        1,
        &node("b"),
        PodScript { fails: Some(PrepareFailureKind::Node), ..PodScript::default() },
    );
    let mut world = world(scripts);
    world.submit(&job(), job_spec(3, 1));
    let outcome = until_ended(&mut world);
    assert!(
        matches!(&outcome, Outcome::Failed { first_cause: Cause::NotPrepared { node: named, .. }, exit_code: 125, .. } if *named == node("b")),
        "{outcome:?}"
    );
}
