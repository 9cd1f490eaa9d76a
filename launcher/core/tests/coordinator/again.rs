//! Other generations of a job, and other reigns over it.

use std::time::Duration;

use phalanx_common::event::EventKind;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Generation, JobId, NodeId};
use phalanx_common::order::OrderKind;
use phalanx_common::report::{PodPhase, PodStatus, PrepareFailure, PrepareFailureKind, Report};
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::{Config, Coordinator, Durable, Input, Record, Why};

use crate::cluster;
use crate::desk::{self, Desk, exit, spec};

#[test]
fn a_restart_is_a_new_generation_with_a_new_port_on_the_same_nodes() {
    let mut with_restart = spec(1, 1);
    with_restart.max_restarts = 1;
    let mut desk = Desk::running(&["a", "b"], "j", with_restart);
    let first = desk.placed();
    desk.exited("a", "j", 1, exit(0, ExitStatus::Code(1), desk.now.0));
    desk.ended("a", "j", 1);
    let second = desk.placed();
    assert_eq!(first.0, second.0, "in place");
    assert_ne!(first.1, second.1, "another port");
    assert_eq!(
        desk.coordinator.job(&desk::job("j")).unwrap().job.generation.as_ref().unwrap().number,
        Generation(2)
    );
}

#[test]
fn a_new_reign_over_the_same_records_knows_the_job_and_releases_what_was_prepared() {
    let mut desk = Desk::new(Config::default(), &["a"]);
    desk.submit("j", spec(1, 1));
    desk.prepared("a", "j", 1);
    assert_eq!(Durable::replay(&desk.records), *desk.coordinator.durable());
    let first_epoch = desk.coordinator.epoch();
    let mut desk = Desk::over(Coordinator::new(Config::default(), first_epoch, &desk.records), &desk);
    assert!(desk.coordinator.epoch() > first_epoch, "two reigns never share an epoch");
    desk.hello_with("a", "j", 1);
    assert_eq!(desk.take_orders("Go").len(), 1, "released by record, so Go is due");
}

#[test]
fn a_waiting_job_that_was_to_end_when_the_coordinator_did_is_ended_by_the_next_and_gets_no_nodes() {
    let mut desk = Desk::new(Config::default(), &[]);
    desk.submit("j", spec(1, 1));
    desk.stop("j", false);
    let ended = desk.records.pop();
    assert!(matches!(ended, Some(Record::JobEnded { .. })), "{ended:?}");
    let next = Coordinator::new(Config::default(), desk.coordinator.epoch(), &desk.records);
    let mut desk = Desk::over(next, &desk);
    desk.hello("a", Vec::new());
    assert!(desk.take_orders("Prepare").is_empty());
    assert_eq!(desk.phase("j"), GangPhase::Ended);
    assert_eq!(desk.outcome("j").map(|outcome| outcome.exit_code()), Some(130));
}

#[test]
fn a_pod_left_over_from_an_older_generation_is_stopped_and_then_forgotten() {
    let mut desk = Desk::new(Config::default(), &["a", "b"]);
    desk.hello("b", vec![PodStatus { phase: PodPhase::Started, ..desk::status("unknown", 7) }]);
    let stops = desk.take_orders("Stop");
    assert!(matches!(stops[..], [(_, OrderKind::Stop { grace: Duration::ZERO, .. })]), "{stops:?}");
    desk.ended("b", "unknown", 7);
    assert_eq!(desk.take_orders("Forget").len(), 1);
}

#[test]
fn a_backoff_and_a_start_deadline_go_on_in_the_next_reign() {
    let mut with_restarts = spec(1, 1);
    with_restarts.max_restarts = 5;
    let mut desk = Desk::running(&["a"], "j", with_restarts);
    desk.exited("a", "j", 1, exit(0, ExitStatus::Code(1), desk.now.0));
    desk.ended("a", "j", 1);
    desk.prepared("a", "j", 2);
    desk.exited("a", "j", 2, exit(0, ExitStatus::Code(1), desk.now.0));
    desk.ended("a", "j", 2);
    assert!(matches!(desk.coordinator.poll_timeout(), Some((_, Why::Backoff { .. }))));
    let next = Coordinator::new(Config::default(), desk.coordinator.epoch(), &desk.records);
    let mut desk = Desk::over(next, &desk);
    desk.hello("a", Vec::new());
    let (at, why) = desk.coordinator.poll_timeout().unwrap();
    assert_eq!(why, Why::Backoff { job: desk::job("j") });
    desk.timeout(at);
    assert_eq!(desk.phase("j"), GangPhase::Preparing);
    let next = Coordinator::new(Config::default(), desk.coordinator.epoch(), &desk.records);
    let mut desk = Desk::over(next, &desk);
    desk.hello("a", Vec::new());
    assert_eq!(desk.coordinator.poll_timeout().map(|(_, why)| why), Some(Why::Start { job: desk::job("j") }));
    assert_eq!(desk.take_orders("Prepare").len(), 1, "what was planned and not heard of is sent again");
}

#[test]
fn a_pod_that_was_given_up_and_is_back_is_waited_for_again() {
    let mut desk = Desk::running(&["a", "b"], "j", spec(2, 1));
    desk.input(Input::NodeDisconnected { node: NodeId::new("b") });
    desk.exited("a", "j", 1, exit(0, ExitStatus::Code(1), desk.now.0));
    let (deadline, why) = desk.coordinator.poll_timeout().unwrap();
    assert_eq!(why, Why::Unreachable { job: JobId::from_existing("j"), node: NodeId::new("b") });
    desk.timeout(deadline);
    desk.take_commands();
    desk.hello("b", vec![PodStatus { phase: PodPhase::Started, pids: vec![1], ..desk::status("j", 1) }]);
    assert_eq!(desk.take_orders("Stop").len(), 1);
    desk.ended("a", "j", 1);
    assert_eq!(desk.phase("j"), GangPhase::Stopping, "b is alive and within reach");
    desk.ended("b", "j", 1);
    assert_eq!(desk.phase("j"), GangPhase::Ended);
}

#[test]
fn a_refusal_that_the_next_reign_hears_again_is_recorded_once() {
    let config = Config { cluster: true, ..Config::default() };
    let mut desk = cluster(&["a", "b"]);
    desk.submit("j", spec(1, 1));
    let reason = PrepareFailure { kind: PrepareFailureKind::Node, message: "the disk is full".into() };
    let refusal = |reason| Report::NotPrepared { job: desk::job("j"), generation: Generation(1), reason };
    desk.report("a", refusal(reason.clone()));
    let mut next = Desk::over(Coordinator::new(config, desk.coordinator.epoch(), &desk.records), &desk);
    let refused =
        PodStatus { phase: PodPhase::Preparing, not_prepared: Some(reason), ..desk::status("j", 1) };
    next.hello("b", Vec::new());
    next.hello("a", vec![refused]);
    next.ended("a", "j", 1);
    assert_eq!(next.placed().0, [NodeId::new("b")]);
    let recorded = next.records.iter().filter(|record| matches!(record, Record::NodeRefused { .. })).count();
    assert_eq!(recorded, 1);
}

#[test]
fn nonsense_is_ignored_and_said_so() {
    let mut desk = Desk::new(Config::default(), &["a"]);
    let before = desk.coordinator.durable().clone();
    desk.stop("nobody", false);
    desk.input(Input::Resume { job: desk::job("nobody") });
    desk.prepared("a", "nobody", 1);
    desk.prepared("stranger", "nobody", 1);
    desk.submit("empty", spec(0, 1));
    desk.submit("huge", spec(u32::MAX, 2));
    let ignored = desk.events.iter().filter(|event| matches!(event.kind, EventKind::Ignored { .. })).count();
    assert_eq!(ignored, 6);
    assert_eq!(*desk.coordinator.durable(), before);
}

/// A job of one rank that may fail often and replace its node so often.
fn fails_for_long(nodes: &[&str], replacements: u32) -> Desk {
    let mut job = spec(1, 1);
    job.max_restarts = 20;
    job.recovery.no_progress = 0;
    job.recovery.replace_node = Some(replacements);
    job.recovery.backoff.max = Duration::ZERO;
    Desk::running(nodes, "j", job)
}

#[test]
fn nodes_that_were_left_are_left_until_the_job_did_well_and_only_a_move_is_a_replacement() {
    let mut desk = fails_for_long(&["a", "b", "c"], 2);
    let mut generation = 1;
    let mut fails = |desk: &mut Desk| {
        let node = desk.placed().0[0].to_string();
        desk.exited(&node, "j", generation, exit(0, ExitStatus::Code(1), desk.now.0));
        desk.ended(&node, "j", generation);
        generation += 1;
        let next = desk.placed().0[0].to_string();
        desk.prepared(&next, "j", generation);
        desk.started(&next, "j", generation);
        next
    };
    let replacements = |desk: &Desk| desk.coordinator.job(&desk::job("j")).unwrap().job.used.replacements;
    let on: Vec<String> = (0..6).map(|_| fails(&mut desk)).collect();
    assert_eq!(on, ["a", "b", "b", "c", "c", "c"], "twice on each, and never back to one that was left");
    assert_eq!(replacements(&desk), 2);
}

#[test]
fn a_replacement_that_finds_no_other_node_uses_none_up() {
    let mut desk = fails_for_long(&["a"], 1);
    for generation in 1..=4 {
        desk.exited("a", "j", generation, exit(0, ExitStatus::Code(1), desk.now.0));
        desk.ended("a", "j", generation);
        desk.prepared("a", "j", generation + 1);
        desk.started("a", "j", generation + 1);
    }
    assert_eq!(desk.coordinator.job(&desk::job("j")).unwrap().job.used.replacements, 0);
    desk.hello("b", Vec::new());
    desk.exited("a", "j", 5, exit(0, ExitStatus::Code(1), desk.now.0));
    desk.ended("a", "j", 5);
    assert_eq!(desk.placed().0, [NodeId::new("b")]);
}
