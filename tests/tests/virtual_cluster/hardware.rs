//! What clusters report of their machines: ranks that hang or are killed, slow nodes, leaves and links that go; and
//! what comes before ranks and at their ends.

use phalanx_common::event::{Cause, EventKind, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::report::PrepareFailureKind;
use phalanx_common::spec::{Hook, InitContainer, JobSpec, Lifecycle, Probe, Probes};
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::{Config, Wish};
use phalanx_tests::vcluster::seeded::{job_spec, phase};
use phalanx_tests::vcluster::{Fault, InitScript, PodScript, RankScript, Scripts, World};

use crate::cluster::*;

/// One rank on each of `nodes` nodes, Running.
fn running(nodes: u32, scripts: Scripts, change: impl FnOnce(&mut JobSpec)) -> World {
    let mut world = world_with(Config { cluster: true, ..Config::default() }, scripts, None);
    let mut spec = JobSpec { max_restarts: 1, ..job_spec(nodes, 1) };
    change(&mut spec);
    world.submit(&job(), spec);
    until_phase(&mut world, GangPhase::Running);
    world
}

fn happens(world: &mut World, fault: Fault) {
    world.schedule(secs(1), fault);
}

/// Causes of all restarts.
fn restarts(world: &World) -> Vec<Cause> {
    let restarts = world.events.iter().filter_map(|event| match &event.kind {
        EventKind::GangRestarting { cause, .. } => Some(cause.clone()),
        _ => None,
    });
    restarts.collect()
}

fn init(once: bool) -> Lifecycle {
    let fetch = |name: &str| InitContainer {
        name: name.into(),
        command: vec!["fetch".into()],
        env: [].into(),
        sidecar: false,
        startup: None,
    };
    Lifecycle { init: vec![fetch("first"), fetch("second")], init_once: once, ..Lifecycle::default() }
}

#[test]
fn a_rank_that_hangs_is_ended_by_its_liveness_probe_and_the_gang_starts_again() {
    let liveness = Probe { failure_threshold: 3, ..probe() };
    let mut world = running(2, running_on(), |spec| spec.probes.liveness = Some(liveness));
    happens(&mut world, Fault::HangRank { node: node("b") });
    let hung = world.now;
    until(&mut world, LONG, "again", |world| generation(world) == 2);
    assert!(world.now.since(hung) < secs(5), "three periods of a second");
    let [Cause::ProbeFailed { node: on, .. }] = &restarts(&world)[..] else {
        panic!("{:?}", restarts(&world))
    };
    assert_eq!(*on, node("b"));
}

#[test]
fn a_rank_that_hangs_unasked_runs_until_its_user_stops_it() {
    let mut scripts = Scripts::default();
    scripts.set_job(&job(), RankScript::succeeds_after(secs(30)));
    let mut world = running(2, scripts, |spec| spec.probes = Probes::default());
    happens(&mut world, Fault::HangRank { node: node("b") });
    world.schedule(secs(500), Fault::Stop { job: job(), force: false });
    let begun = world.now;
    until(&mut world, LONG, "long", |world| world.now > begun + secs(400));
    assert_eq!(phase(&world, &job()), Some(GangPhase::Running), "nobody knows");
    assert!(matches!(until_ended(&mut world), Outcome::Stopped { exit_code: 130, .. }));
}

#[test]
fn a_rank_that_the_kernel_kills_is_the_cause_with_its_signal() {
    let mut world = running(2, running_on(), |_| {});
    happens(&mut world, Fault::EndRank { node: node("b"), status: ExitStatus::Signal(9) });
    until(&mut world, LONG, "again", |world| generation(world) == 2);
    let [Cause::RankFailed { node: on, status: ExitStatus::Signal(9), .. }] = &restarts(&world)[..] else {
        panic!("{:?}", restarts(&world))
    };
    assert_eq!(*on, node("b"));
}

#[test]
fn init_containers_run_one_after_another_and_those_that_ended_well_once_if_so_asked() {
    for once in [true, false] {
        let mut scripts = running_on();
        let slow = InitScript { takes: Some(secs(10)), ..InitScript::default() };
        for generation in [1, 2] {
            let script = PodScript { init: vec![slow; 2], ..PodScript::default() };
            scripts.set_pod(&job(), generation, &node("a"), script);
        }
        scripts.set_rank(&job(), 1, 0, RankScript::fails_after(secs(5), ExitStatus::Code(1)));
        let mut world = world(scripts);
        let submitted = world.now;
        world.submit(&job(), JobSpec { max_restarts: 1, lifecycle: init(once), ..job_spec(1, 1) });
        until_phase(&mut world, GangPhase::Running);
        let took = world.now.since(submitted);
        assert!(secs(20) <= took && took < secs(21), "{took:?}");
        until(&mut world, LONG, "again", |world| generation(world) == 2);
        let failed = world.now;
        until_phase(&mut world, GangPhase::Running);
        let took = world.now.since(failed);
        assert_eq!(took >= secs(20), !once, "{took:?}");
    }
}

#[test]
fn an_init_container_that_fails_is_the_cause_and_costs_a_restart() {
    let mut scripts = running_on();
    let bad = InitScript { good: false, ..InitScript::default() };
    let script = PodScript { init: vec![InitScript::default(), bad], ..PodScript::default() };
    scripts.set_pod(&job(), 1, &node("b"), script);
    let mut world = world(scripts);
    world.submit(&job(), JobSpec { max_restarts: 1, lifecycle: init(false), ..job_spec(2, 1) });
    until_phase(&mut world, GangPhase::Running);
    let [Cause::NotPrepared { node: on, reason }] = &restarts(&world)[..] else {
        panic!("{:?}", restarts(&world))
    };
    assert_eq!((on, reason.kind), (&node("b"), PrepareFailureKind::Init));
    assert_eq!((generation(&world), job_of(&world).used.restarts), (2, 1));
}

#[test]
fn an_init_container_that_hangs_meets_the_start_deadline_and_nothing_of_it_is_left() {
    let mut scripts = running_on();
    let hangs = InitScript { takes: None, good: true, heeds_term: None };
    scripts.set_pod(&job(), 1, &node("b"), PodScript { init: vec![hangs], ..PodScript::default() });
    let mut world = world(scripts);
    let spec = JobSpec { start_timeout: secs(30), lifecycle: init(false), ..job_spec(2, 1) };
    world.submit(&job(), spec);
    let begun = world.now;
    let Outcome::Failed { first_cause: Cause::StartTimeout { phase, .. }, .. } = until_ended(&mut world)
    else {
        panic!("{:?}", outcome(&world))
    };
    assert_eq!(phase, "not prepared");
    // The grace of five seconds, and SIGKILL.
    let ended =
        world.events.iter().rev().find(|event| matches!(event.kind, EventKind::JobEnded { .. })).unwrap();
    let took = ended.at.since(begun);
    assert!(secs(35) <= took && took < secs(36), "{took:?}");
}

#[test]
fn a_drain_waits_for_the_pre_stop_hook_within_the_grace_and_two_seconds_more() {
    // What the hook takes, what the rank takes after its signal, and when all is over.
    for (hook, heeds, over) in
        [(Some(3), Some(1), 4), (Some(4), None, 6), (None, Some(1), 6), (None, None, 7)]
    {
        let script =
            RankScript { pre_stop: hook.map(secs), heeds_term: heeds.map(secs), ..RankScript::runs_on() };
        let mut scripts = Scripts::default();
        scripts.set_job(&job(), script);
        let save = Hook::Exec { command: vec!["save".into()] };
        let mut world = running(1, scripts, |spec| spec.lifecycle.pre_stop = Some(save));
        world.wish(&node("a"), Wish::Drain { reason: String::new(), grace: Some(secs(5)) });
        let drained = world.now;
        until(&mut world, LONG, "elsewhere", |world| generation(world) == 2);
        let took = world.now.since(drained);
        assert!(secs(over) <= took && took < secs(over + 1), "{hook:?} {heeds:?}: {took:?}");
        assert_eq!(job_of(&world).used.restarts, 0, "announced: no failure of anybody's");
    }
}

#[test]
fn a_gang_waits_for_the_nodes_of_a_leaf_that_went_dark_and_runs_once_they_are_back() {
    for power in [false, true] {
        let mut world = running(3, running_on(), |_| {});
        happens(&mut world, Fault::LoseLeaf { nodes: vec![node("a"), node("b")], power, time: secs(60) });
        let lost = world.now;
        until(&mut world, LONG, "again", |world| {
            generation(world) > 1 && phase(world, &job()) == Some(GangPhase::Running)
        });
        let took = world.now.since(lost);
        assert!(secs(60) < took && took < secs(70), "power {power}: {took:?}");
        assert_eq!(job_of(&world).used.restarts, 1, "power {power}: one incident, one restart");
    }
}

#[test]
fn a_link_that_flaps_briefly_costs_nothing_and_one_that_keeps_going_away_gets_no_more_jobs() {
    for (down, quarantined) in [(secs(2), false), (secs(15), true)] {
        let mut world = running(2, running_on(), |spec| spec.max_restarts = 5);
        happens(&mut world, Fault::FlapLink { node: node("b"), times: 3, down, up: secs(20) });
        let begun = world.now;
        until(&mut world, LONG, "a while", |world| world.now > begun + secs(200));
        let told = count(&world, |kind| matches!(kind, EventKind::NodeQuarantined { .. }));
        assert_eq!(told, usize::from(quarantined), "{down:?}");
        if !quarantined {
            assert_eq!(generation(&world), 1, "connections outlived it");
        }
    }
}

#[test]
fn a_slow_node_holds_up_its_gang_and_is_not_taken_for_a_lost_one() {
    let mut scripts = running_on();
    let script = PodScript { prepare: secs(1), ..PodScript::default() };
    scripts.set_pod(&job(), 1, &node("b"), script);
    let mut world = world(scripts);
    world.schedule(secs(1), Fault::SlowNode { node: node("b"), times: 20, time: secs(100) });
    let submitted = world.now + secs(2);
    world.submit_after(secs(2), job(), job_spec(2, 1));
    until_phase(&mut world, GangPhase::Running);
    let took = world.now.since(submitted);
    assert!(secs(20) < took && took < secs(30), "{took:?}");
    assert_eq!(count(&world, |kind| matches!(kind, EventKind::NodeUnreachable { .. })), 0);
}
