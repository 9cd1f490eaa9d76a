//! Nodes that operators or failures keep pods away from.

use std::time::Duration;

use phalanx_common::event::{Cause, EventKind, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::NodeId;
use phalanx_common::order::OrderKind;
use phalanx_common::report::{PodEnd, PodPhase, PodStatus, Report};
use phalanx_common::spec::{JobSpec, RestartPolicy};
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::restart::Charge;
use phalanx_launcher_core::{Config, Coordinator, Durable, Input, Record, Why, Wish};

use crate::desk::{self, Desk, exit, spec};
use crate::{cluster, waits_for};

fn wish(desk: &mut Desk, node: &str, wish: Wish) {
    desk.input(Input::Node { node: NodeId::new(node), by: "ann".into(), wish });
}

fn cordon(desk: &mut Desk, node: &str) {
    wish(desk, node, Wish::Cordon { reason: "DIMM".into() });
}

fn drain(desk: &mut Desk, node: &str, grace: Option<u64>) {
    wish(desk, node, Wish::Drain { reason: String::new(), grace: grace.map(Duration::from_secs) });
}

fn start(desk: &mut Desk, name: &str, spec: JobSpec) {
    desk.submit(name, spec);
    run(desk, name, 1);
}

/// All pods of this generation come to run.
fn run(desk: &mut Desk, name: &str, generation: u32) {
    let nodes = desk.placed().0;
    nodes.iter().for_each(|node| desk.prepared(node.as_str(), name, generation));
    nodes.iter().for_each(|node| desk.started(node.as_str(), name, generation));
    assert_eq!(desk.phase(name), GangPhase::Running);
}

/// The wait before its next generation passes.
fn begin_again(desk: &mut Desk, name: &str) {
    while desk.phase(name) == GangPhase::Queued {
        let (at, _) = desk.coordinator.poll_timeout().expect("something to wait for");
        desk.timeout(at.max(desk.now));
    }
}

fn restarting(max_restarts: u32) -> JobSpec {
    JobSpec { max_restarts, ..spec(1, 1) }
}

fn closed(desk: &Desk, node: &str) -> Option<String> {
    desk.coordinator.standing(&NodeId::new(node)).closed()
}

fn later(desk: &mut Desk, seconds: u64) {
    desk.now = desk.now + Duration::from_secs(seconds);
}

/// The shim of the job's pod dies, and the generation with it.
fn lose_shim(desk: &mut Desk, node: &str, name: &str, generation: u32) {
    let end = PodEnd { shim_lost: true, ..PodEnd::default() };
    let (job, generation) = (desk::job(name), phalanx_common::id::Generation(generation));
    desk.report(node, Report::PodEnded { job, generation, end });
}

/// The worker tells of these pods, and no more of those that it had beside them.
fn has_only(desk: &mut Desk, node: &str, pods: &[(&str, u32)]) {
    let started = |(name, generation): &(&str, u32)| PodStatus {
        phase: PodPhase::Started,
        pids: vec![7],
        ..desk::status(name, *generation)
    };
    desk.hello(node, pods.iter().map(started).collect());
}

fn flap(desk: &mut Desk, node: &str) {
    desk.input(Input::NodeDisconnected { node: NodeId::new(node) });
    later(desk, 5);
    desk.hello(node, Vec::new());
}

#[test]
fn a_cordon_is_told_shown_and_replayed_and_an_uncordon_leaves_nothing() {
    let mut desk = cluster(&["a", "b"]);
    cordon(&mut desk, "a");
    desk.submit("j", spec(2, 1));
    let why = waits_for(&desk, "j");
    assert!(why.contains("node a is cordoned by ann: DIMM"), "{why}");
    let status = desk.coordinator.node_statuses().remove(0);
    assert_eq!(status.closed.as_deref(), Some("cordoned by ann: DIMM"));
    assert_eq!(Durable::replay(&desk.records), *desk.coordinator.durable());
    wish(&mut desk, "a", Wish::Uncordon);
    assert_eq!(desk.phase("j"), GangPhase::Preparing);
    assert!(desk.coordinator.durable().standings.is_empty());
    wish(&mut desk, "nobody", Wish::Uncordon);
    assert!(matches!(desk.events.last().unwrap().kind, EventKind::Ignored { .. }));
}

#[test]
fn the_next_reign_lists_a_cordoned_node_before_it_speaks() {
    let mut desk = cluster(&["a"]);
    cordon(&mut desk, "a");
    let config = Config { cluster: true, ..Config::default() };
    let mut desk = Desk::over(Coordinator::new(config, desk.coordinator.epoch(), &desk.records), &desk);
    desk.submit("j", spec(1, 1));
    let status = desk.coordinator.node_statuses().remove(0);
    assert_eq!((status.reachable, status.closed.is_some()), (false, true));
    desk.hello("a", Vec::new());
    assert_eq!(desk.phase("j"), GangPhase::Queued);
}

#[test]
fn a_drain_moves_a_job_at_no_cost_with_the_grace_that_was_given() {
    let mut desk = cluster(&["a", "b"]);
    start(&mut desk, "j", spec(1, 1));
    desk.take_commands();
    drain(&mut desk, "a", Some(7));
    let stops = desk.take_orders("Stop");
    let grace = Duration::from_secs(7);
    assert!(
        matches!(&stops[..], [(_, OrderKind::Stop { grace: wanted, .. })] if *wanted == grace),
        "{stops:?}"
    );
    desk.ended("a", "j", 1);
    assert_eq!(desk.placed().0, [NodeId::new("b")]);
    assert_eq!(desk.take_orders("Forget")[0].0, NodeId::new("a"), "not even its shim stays");
    let charge = desk.records.iter().find_map(|record| match record {
        Record::GenerationEnded(ended) => Some(ended.charge),
        _ => None,
    });
    assert_eq!(charge, Some(Charge::Drained));
    assert_eq!(desk.coordinator.job(&desk::job("j")).unwrap().job.used.restarts, 0);
    assert_eq!(Durable::replay(&desk.records), *desk.coordinator.durable());
}

#[test]
fn a_drained_job_that_fits_nowhere_waits_and_its_shim_goes_all_the_same() {
    let mut desk = cluster(&["a"]);
    start(&mut desk, "j", spec(1, 1));
    drain(&mut desk, "a", None);
    desk.take_commands();
    desk.ended("a", "j", 1);
    assert_eq!(desk.phase("j"), GangPhase::Queued);
    assert!(waits_for(&desk, "j").contains("cordoned by ann"), "{}", waits_for(&desk, "j"));
    assert_eq!(desk.take_orders("Forget").len(), 1);
    assert_eq!(desk.coordinator.node_statuses()[0].jobs, []);
}

#[test]
fn a_job_that_is_never_to_begin_again_runs_on_where_a_node_is_drained() {
    let mut never = spec(1, 1);
    never.recovery.policy = RestartPolicy::Never;
    let mut desk = cluster(&["a", "b"]);
    start(&mut desk, "ran", never.clone());
    desk.submit("held", never);
    drain(&mut desk, "a", None);
    assert_eq!(desk.phase("ran"), GangPhase::Running);
    assert_eq!(desk.phase("held"), GangPhase::Stopping, "none of its ranks ran");
}

#[test]
fn the_next_reign_goes_on_with_a_drain_that_was_cut_short() {
    let mut desk = cluster(&["a", "b"]);
    start(&mut desk, "j", spec(1, 1));
    drain(&mut desk, "a", None);
    // It died right after its first decision.
    let at = desk.records.iter().position(|record| matches!(record, Record::NodeStands(_))).unwrap();
    desk.records.truncate(at + 1);
    let config = Config { cluster: true, ..Config::default() };
    let mut desk = Desk::over(Coordinator::new(config, desk.coordinator.epoch(), &desk.records), &desk);
    let started = phalanx_common::report::PodPhase::Started;
    desk.hello(
        "a",
        vec![phalanx_common::report::PodStatus { phase: started, pids: vec![1], ..desk::status("j", 1) }],
    );
    assert_eq!(desk.phase("j"), GangPhase::Stopping);
    assert_eq!(desk.take_orders("Stop").len(), 1);
}

#[test]
fn a_job_that_its_user_stops_on_the_move_is_stopped() {
    let mut desk = cluster(&["a", "b"]);
    start(&mut desk, "j", spec(1, 1));
    drain(&mut desk, "a", None);
    desk.stop("j", false);
    desk.ended("a", "j", 1);
    let outcome = desk.outcome("j").unwrap();
    assert!(matches!(outcome, Outcome::Stopped { first_cause: Cause::Requested { .. }, .. }), "{outcome:?}");
}

#[test]
fn a_node_that_is_unreachable_twice_within_five_minutes_is_quarantined() {
    let mut desk = cluster(&["a", "b", "c"]);
    flap(&mut desk, "a");
    assert_eq!(closed(&desk, "a"), None);
    later(&mut desk, 310);
    flap(&mut desk, "a");
    assert_eq!(closed(&desk, "a"), None, "the first was long ago");
    later(&mut desk, 200);
    flap(&mut desk, "a");
    let why = closed(&desk, "a").unwrap();
    assert_eq!(why, "quarantined: unreachable 2 times within 5 min");
    let told = desk.events.iter().find_map(|event| match &event.kind {
        EventKind::NodeQuarantined { led_to, .. } => Some(led_to.len()),
        _ => None,
    });
    assert_eq!(told, Some(2));
    desk.submit("j", spec(3, 1));
    assert!(
        waits_for(&desk, "j").contains("node a is quarantined: unreachable"),
        "{}",
        waits_for(&desk, "j")
    );
    wish(&mut desk, "a", Wish::Uncordon);
    assert_eq!(desk.phase("j"), GangPhase::Preparing);
}

#[test]
fn a_worker_that_says_that_it_goes_and_a_link_that_all_lose_are_no_flaps() {
    let mut desk = cluster(&["a", "b"]);
    for _ in 0..3 {
        desk.input(Input::NodeLeft { node: NodeId::new("a") });
        desk.hello("a", Vec::new());
        later(&mut desk, 20);
    }
    for _ in 0..2 {
        desk.input(Input::NodeDisconnected { node: NodeId::new("a") });
        desk.input(Input::NodeDisconnected { node: NodeId::new("b") });
        desk.hello("a", Vec::new());
        desk.hello("b", Vec::new());
        later(&mut desk, 70);
    }
    assert_eq!((closed(&desk, "a"), closed(&desk, "b")), (None, None));
}

#[test]
fn a_node_that_fails_two_jobs_within_an_hour_is_quarantined_and_one_incident_counts_once() {
    let mut desk = cluster(&["a"]);
    start(&mut desk, "j", restarting(9));
    start(&mut desk, "k", restarting(9));
    has_only(&mut desk, "a", &[]);
    assert_eq!(closed(&desk, "a"), None, "one incident");
    desk.hello("b", Vec::new());
    run(&mut desk, "k", 2);
    later(&mut desk, 120);
    has_only(&mut desk, "a", &[]);
    let why = closed(&desk, "a").unwrap();
    assert_eq!(why, "quarantined: blamed for failures of j and k within 1 h");
    assert_eq!(Durable::replay(&desk.records), *desk.coordinator.durable());
}

#[test]
fn a_shim_that_dies_blames_no_node_as_its_user_may_have_ended_it() {
    let mut desk = cluster(&["a", "b"]);
    for name in ["j", "k"] {
        start(&mut desk, name, restarting(9));
        later(&mut desk, 120);
        lose_shim(&mut desk, "a", name, 1);
    }
    assert_eq!(closed(&desk, "a"), None);
}

#[test]
fn a_node_that_fails_one_job_three_times_within_an_hour_is_quarantined() {
    for (apart, quarantined) in [(120, true), (2000, false)] {
        let mut desk = cluster(&["a"]);
        start(&mut desk, "j", restarting(9));
        for generation in 1..=3 {
            later(&mut desk, apart);
            has_only(&mut desk, "a", &[]);
            if generation < 3 {
                begin_again(&mut desk, "j");
                run(&mut desk, "j", generation + 1);
            }
        }
        assert_eq!(closed(&desk, "a").is_some(), quarantined, "{apart} s apart");
    }
}

#[test]
fn exit_codes_blame_no_node_until_the_job_did_well_elsewhere() {
    let mut desk = cluster(&["a", "b"]);
    let fails = |desk: &mut Desk, node: &str, name: &str, generation: u32| {
        later(desk, 120);
        desk.exited(node, name, generation, exit(0, ExitStatus::Code(1), desk.now.0));
        desk.ended(node, name, generation);
        begin_again(desk, name);
    };
    for name in ["j", "k"] {
        start(&mut desk, name, restarting(9));
        fails(&mut desk, "a", name, 1);
        run(&mut desk, name, 2);
        fails(&mut desk, "a", name, 2);
        assert_eq!(desk.placed().0, [NodeId::new("b")], "it leaves the node that failed it twice");
        run(&mut desk, name, 3);
        assert_eq!(closed(&desk, "a"), None);
        let blames = |desk: &Desk| desk.coordinator.standing(&NodeId::new("a")).blames.len();
        let before = blames(&desk);
        desk.exited("b", name, 3, exit(0, ExitStatus::SUCCESS, desk.now.0));
        desk.ended("b", name, 3);
        assert_eq!(blames(&desk), before + 1);
    }
    assert!(closed(&desk, "a").unwrap().starts_with("quarantined: blamed for failures of j and k"));
}

#[test]
fn a_program_that_fails_everywhere_blames_no_node() {
    let mut desk = cluster(&["a", "b"]);
    start(&mut desk, "j", restarting(9));
    for (generation, node) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
        later(&mut desk, 120);
        desk.exited(node, "j", generation, exit(0, ExitStatus::Code(1), desk.now.0));
        desk.ended(node, "j", generation);
        begin_again(&mut desk, "j");
        run(&mut desk, "j", generation + 1);
    }
    assert!(desk.coordinator.durable().standings.is_empty());
}

#[test]
fn many_losses_at_once_pause_replacement_until_a_minute_is_quiet_or_somebody_says_so() {
    for word in [false, true] {
        let mut desk = cluster(&["a", "b", "c", "d", "e"]);
        start(&mut desk, "j", restarting(1));
        for node in ["a", "b", "c"] {
            desk.input(Input::NodeDisconnected { node: NodeId::new(node) });
        }
        assert!(desk.coordinator.replacement_paused());
        let given_up = std::iter::from_fn(|| {
            let (at, why) = desk.coordinator.poll_timeout()?;
            matches!(why, Why::Probe { .. } | Why::RenewLeases).then(|| desk.timeout(at))
        });
        assert!(given_up.take(100).count() > 0);
        if desk.phase("j") == GangPhase::Running {
            desk.hello("a", Vec::new());
            desk.input(Input::NodeDisconnected { node: NodeId::new("a") });
        }
        let why = waits_for(&desk, "j");
        assert!(why.contains("more than 2 of 5 nodes were lost within 1 min"), "{why}");
        desk.submit("k", spec(1, 1));
        assert_eq!(desk.phase("k"), GangPhase::Queued, "behind it");
        if word {
            desk.input(Input::ResumeReplacement { by: "ann".into() });
        } else {
            while desk.coordinator.replacement_paused() {
                let (at, _) = desk.coordinator.poll_timeout().unwrap();
                desk.timeout(at);
            }
        }
        assert_eq!((desk.phase("j"), desk.phase("k")), (GangPhase::Preparing, GangPhase::Preparing));
        assert_eq!(closed(&desk, "a"), None);
        let by = desk.events.iter().find_map(|event| match &event.kind {
            EventKind::ReplacementResumed { by } => Some(by.clone()),
            _ => None,
        });
        assert_eq!(by, Some(word.then(|| "ann".to_owned())));
    }
}

#[test]
fn two_lost_nodes_of_a_small_cluster_are_replaced() {
    let mut desk = cluster(&["a", "b", "c", "d"]);
    for node in ["a", "b"] {
        desk.input(Input::NodeDisconnected { node: NodeId::new(node) });
    }
    assert!(!desk.coordinator.replacement_paused());
}

#[test]
fn a_node_is_forgotten_when_it_is_gone_and_holds_nothing() {
    let mut desk = cluster(&["a", "b"]);
    start(&mut desk, "j", spec(1, 1));
    let keeps = |desk: &Desk| desk.coordinator.keeps(&NodeId::new("a")).unwrap_or_default();
    assert!(keeps(&desk).contains("is connected"));
    desk.input(Input::NodeDisconnected { node: NodeId::new("a") });
    assert!(keeps(&desk).contains("held by j"), "{}", keeps(&desk));
    wish(&mut desk, "a", Wish::Forget);
    assert_eq!(desk.coordinator.nodes().len(), 2, "refused");
    desk.stop("j", true);
    cordon(&mut desk, "a");
    wish(&mut desk, "a", Wish::Forget);
    assert_eq!(desk.coordinator.nodes().keys().map(NodeId::as_str).collect::<Vec<_>>(), ["b"]);
    assert!(desk.coordinator.durable().standings.is_empty());
    desk.submit("k", spec(2, 1));
    assert!(!waits_for(&desk, "k").contains("node a"), "{}", waits_for(&desk, "k"));
}
