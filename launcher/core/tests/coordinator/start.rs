//! How a gang starts, and what keeps it from it.

use std::time::Duration;

use phalanx_common::event::{Cause, EventKind, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::health::{ProbeWord, Question, RankHealth};
use phalanx_common::id::{Generation, NodeId, Rank};
use phalanx_common::order::OrderKind;
use phalanx_common::report::{PodEnd, PodPhase, PodStatus, PrepareFailure, PrepareFailureKind, Report};
use phalanx_common::spec::{JobSpec, VirtualEnv};
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::{Command, Config, Durable, Input, Record, Why};

use crate::cluster;
use crate::desk::{self, Desk, exit, spec};

#[test]
fn a_gang_is_released_only_when_recorded_and_runs_without_any_deadline() {
    let mut desk = Desk::new(Config::default(), &["a", "b"]);
    desk.submit("j", spec(2, 2));
    desk.prepared("a", "j", 1);
    assert!(desk.take_orders("Go").is_empty(), "one pod is not prepared yet");
    desk.prepared("b", "j", 1);
    let commands = desk.take_commands();
    let released =
        commands.iter().position(|c| matches!(c, Command::Persist(Record::Released { .. }))).unwrap();
    let go = commands
        .iter()
        .position(|c| matches!(c, Command::Send { order, .. } if matches!(order.kind, OrderKind::Go { .. })));
    assert!(released < go.unwrap());
    desk.started("a", "j", 1);
    desk.started("b", "j", 1);
    assert_eq!(desk.phase("j"), GangPhase::Running);
    assert_eq!(desk.coordinator.poll_timeout(), None, "nothing times out while a local job runs");
    for (node, rank) in [("a", 0), ("a", 1), ("b", 2), ("b", 3)] {
        desk.exited(node, "j", 1, exit(rank, ExitStatus::SUCCESS, desk.now.0));
    }
    assert_eq!(desk.phase("j"), GangPhase::Finishing);
    desk.ended("a", "j", 1);
    desk.ended("b", "j", 1);
    assert_eq!(desk.outcome("j"), Some(Outcome::Succeeded));
    assert_eq!(desk.take_orders("Forget").len(), 2);
}

#[test]
fn another_python_than_the_submitters_or_another_nodes_is_named_with_both_versions() {
    let named = |submitter: Option<&str>, found: [Option<&str>; 2]| {
        let mut desk = Desk::new(Config::default(), &["a", "b"]);
        let version = submitter.map(str::to_owned);
        let environment = Some(VirtualEnv { prefix: "/v".into(), version });
        desk.submit("j", JobSpec { virtual_env: environment, ..spec(2, 1) });
        desk.prepared_with("a", "j", 1, found[0]);
        desk.prepared_with("b", "j", 1, found[1]);
        let differ = desk.events.iter().find_map(|event| match &event.kind {
            EventKind::InterpretersDiffer { submitter, versions } => Some((submitter, versions)),
            _ => None,
        });
        differ.map(|(submitter, versions)| {
            let of_nodes = versions.iter().map(|(version, nodes)| {
                format!("{version} {}", nodes.iter().map(NodeId::as_str).collect::<String>())
            });
            submitter.clone().into_iter().chain(of_nodes).collect::<Vec<_>>().join("; ")
        })
    };
    let (old, new) = (Some("3.11.2"), Some("3.12.4"));
    assert_eq!(named(old, [old, old]), None);
    assert_eq!(named(None, [old, old]), None, "the environment is on the nodes alone");
    assert_eq!(named(old, [None, None]), None, "no node could tell");
    assert_eq!(named(old, [old, new]).as_deref(), Some("3.11.2; 3.11.2 a; 3.12.4 b"));
    assert_eq!(named(old, [new, None]).as_deref(), Some("3.11.2; 3.12.4 a"));
    assert_eq!(named(None, [old, new]).as_deref(), Some("3.11.2 a; 3.12.4 b"));
}

#[test]
fn a_missing_command_fails_with_127_and_uses_no_restart() {
    let mut with_restart = spec(1, 1);
    with_restart.max_restarts = 5;
    let mut desk = Desk::new(Config::default(), &["a"]);
    desk.submit("j", with_restart);
    let reason = PrepareFailure { kind: PrepareFailureKind::CommandNotFound, message: "no such file".into() };
    desk.report("a", Report::NotPrepared { job: desk::job("j"), generation: Generation(1), reason });
    desk.ended("a", "j", 1);
    assert_eq!(desk.outcome("j").unwrap().exit_code(), 127);
}

#[test]
fn the_start_deadline_says_which_init_container_was_waited_for() {
    let waits = |rank| RankHealth {
        rank: Rank(rank),
        ready: false,
        waits: Some(ProbeWord { probe: Question::Init, message: "fetch, 1 of 2".into() }),
        status: None,
    };
    let health = |ranks: &[u32]| Report::Health {
        job: desk::job("j"),
        generation: Generation(1),
        ranks: ranks.iter().map(|rank| waits(*rank)).collect(),
    };
    let mut desk = Desk::new(Config::default(), &["a", "b"]);
    desk.submit("j", spec(2, 2));
    desk.report("a", health(&[0, 1]));
    desk.report("b", health(&[2, 3]));
    let shown = |desk: &Desk| -> Vec<usize> {
        let pods = desk.coordinator.job_statuses(false).remove(0).pods;
        pods.iter().map(|pod| pod.health.len()).collect()
    };
    assert_eq!(shown(&desk), [2, 2]);
    desk.prepared("a", "j", 1);
    assert_eq!(shown(&desk), [0, 2], "what is prepared waits for none any more");
    let (deadline, _) = desk.coordinator.poll_timeout().unwrap();
    desk.timeout(deadline);
    desk.ended("a", "j", 1);
    desk.ended("b", "j", 1);
    let Some(Outcome::Failed { first_cause, .. }) = desk.outcome("j") else { panic!("it fails") };
    assert_eq!(
        first_cause.to_string(),
        "not ready before the start deadline: ranks 2, 3 (not prepared)\n  ranks 2, 3 on b, init container: fetch, 1 of 2"
    );
}

#[test]
fn the_start_deadline_names_the_ranks_that_are_missing() {
    let mut desk = Desk::new(Config::default(), &["a", "b"]);
    desk.submit("j", spec(2, 2));
    desk.prepared("a", "j", 1);
    let (deadline, why) = desk.coordinator.poll_timeout().unwrap();
    assert_eq!(why, Why::Start { job: desk::job("j") });
    desk.timeout(deadline);
    desk.ended("a", "j", 1);
    desk.ended("b", "j", 1);
    let Some(Outcome::Failed {
        first_cause: Cause::StartTimeout { missing, phase, .. }, exit_code: 125, ..
    }) = desk.outcome("j")
    else {
        panic!("{:?}", desk.outcome("j"));
    };
    assert_eq!((missing, phase.as_str()), (vec![Rank(2), Rank(3)], "not prepared"));
}

#[test]
fn a_suspended_job_has_no_deadline_and_its_clock_goes_on_after_resume() {
    let mut desk = Desk::new(Config::default(), &["a"]);
    desk.submit("j", spec(1, 1));
    let (deadline, _) = desk.coordinator.poll_timeout().unwrap();
    desk.input(Input::Suspend { job: desk::job("j") });
    assert_eq!(desk.coordinator.poll_timeout(), None);
    desk.now = deadline + Duration::from_secs(1000);
    desk.prepared("a", "j", 1);
    assert!(desk.take_orders("Go").is_empty(), "a frozen gang is not released");
    desk.input(Input::Resume { job: desk::job("j") });
    assert_eq!(desk.take_orders("Go").len(), 1);
}

#[test]
fn a_clock_jump_moves_every_deadline_with_it() {
    let mut desk = Desk::new(Config::default(), &["a"]);
    desk.submit("j", spec(1, 1));
    let (before, _) = desk.coordinator.poll_timeout().unwrap();
    desk.now = desk.now + Duration::from_secs(7200);
    desk.input(Input::ClockJumped { by_micros: 7_200_000_000 });
    let (after, _) = desk.coordinator.poll_timeout().unwrap();
    assert_eq!(after, before + Duration::from_secs(7200));
}

#[test]
fn a_gang_is_not_released_while_one_of_its_nodes_is_out_of_reach() {
    let mut desk = Desk::new(Config::default(), &["a", "b"]);
    desk.submit("j", spec(2, 1));
    desk.prepared("a", "j", 1);
    desk.input(Input::NodeDisconnected { node: NodeId::new("a") });
    desk.prepared("b", "j", 1);
    assert!(desk.take_orders("Go").is_empty());
    desk.hello_with("a", "j", 1);
    assert_eq!(desk.take_orders("Go").len(), 2);
}

#[test]
fn a_pod_that_ended_unseen_is_not_prepared() {
    let mut desk = Desk::new(Config::default(), &["a", "b"]);
    desk.submit("j", spec(2, 1));
    desk.prepared("b", "j", 1);
    desk.input(Input::NodeDisconnected { node: NodeId::new("a") });
    let end = Some(PodEnd { lease_lapsed: true, ..PodEnd::default() });
    desk.hello("a", vec![PodStatus { phase: PodPhase::Ended, end, ..desk::status("j", 1) }]);
    assert!(desk.take_orders("Go").is_empty());
    assert_eq!(desk.phase("j"), GangPhase::Stopping);
}

/// The node cannot take its pod of generation `generation`, for this reason.
fn refuses(desk: &mut Desk, node: &str, generation: u32, why: &str) {
    let reason = PrepareFailure { kind: PrepareFailureKind::Node, message: why.into() };
    let (job, number) = (desk::job("j"), Generation(generation));
    desk.report(node, Report::NotPrepared { job, generation: number, reason });
    desk.ended(node, "j", generation);
}

#[test]
fn a_job_goes_on_without_the_nodes_that_cannot_take_it_and_fails_with_every_reason_when_none_is_left() {
    let mut desk = cluster(&["a", "b", "c", "d"]);
    desk.submit("j", spec(1, 1));
    refuses(&mut desk, "a", 1, "there is no user ann");
    assert_eq!(desk.placed().0, [NodeId::new("b")]);
    refuses(&mut desk, "b", 2, "there is no user ann");
    refuses(&mut desk, "c", 3, "the disk is full");
    refuses(&mut desk, "d", 4, "there is no user ann");
    let Some(Outcome::Failed { first_cause, exit_code: 125, .. }) = desk.outcome("j") else {
        panic!("{:?}", desk.outcome("j"));
    };
    assert_eq!(first_cause.with_node(), "d: there is no user ann; the same on a, b; c: the disk is full");
    assert_eq!(desk.coordinator.job(&desk::job("j")).unwrap().job.used.restarts, 0);
    assert_eq!(Durable::replay(&desk.records), *desk.coordinator.durable());
}

#[test]
fn a_node_that_is_busy_is_waited_for_where_another_cannot_take_the_job() {
    let mut desk = cluster(&["a"]);
    desk.submit("j", spec(2, 1));
    desk.hello("b", Vec::new());
    desk.hello("c", Vec::new());
    refuses(&mut desk, "b", 1, "no room for logs");
    desk.ended("a", "j", 1);
    assert_eq!(desk.placed().0, [NodeId::new("a"), NodeId::new("c")]);
    desk.input(Input::NodeDisconnected { node: NodeId::new("c") });
    desk.ended("a", "j", 2);
    assert_eq!(desk.phase("j"), GangPhase::Queued);
    let waits = desk.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::JobQueued { why } => Some(why.clone()),
        _ => None,
    });
    assert_eq!(
        waits.as_deref(),
        Some(
            "needs 2 nodes with 1 free slot each, 1 can take it; node b cannot take it: no room for logs; node c is unreachable"
        )
    );
    desk.hello("c", Vec::new());
    assert_eq!(desk.placed().0, [NodeId::new("a"), NodeId::new("c")]);
}

#[test]
fn a_paid_restart_asks_the_nodes_again_that_could_not_take_the_job() {
    let mut desk = cluster(&["a"]);
    let mut once = spec(1, 1);
    once.max_restarts = 1;
    desk.submit("j", once);
    refuses(&mut desk, "a", 1, "the disk is full");
    assert_eq!((desk.phase("j"), desk.placed().0), (GangPhase::Preparing, vec![NodeId::new("a")]));
    refuses(&mut desk, "a", 2, "the disk is still full");
    let Some(Outcome::Failed { first_cause, .. }) = desk.outcome("j") else {
        panic!("{:?}", desk.outcome("j"))
    };
    assert_eq!(first_cause.with_node(), "a: the disk is still full");
}

#[test]
fn a_node_that_goes_while_its_pod_is_held_is_given_up_at_once_and_the_others_are_stopped_without_grace() {
    let mut desk = cluster(&["a", "b", "c"]);
    desk.submit("j", spec(2, 1));
    desk.prepared("b", "j", 1);
    desk.take_commands();
    desk.input(Input::NodeDisconnected { node: NodeId::new("a") });
    let stops = desk.take_orders("Stop");
    assert!(
        matches!(&stops[..], [(node, OrderKind::Stop { grace: Duration::ZERO, .. })] if node.as_str() == "b"),
        "{stops:?}"
    );
    desk.ended("b", "j", 1);
    // The rank that did not lose its node stays where it was.
    assert_eq!(desk.placed().0, [NodeId::new("c"), NodeId::new("b")]);
    assert_eq!(desk.coordinator.job(&desk::job("j")).unwrap().job.used.restarts, 0);
    // It comes back, and with it what it held: that ends, and nothing else changes.
    desk.take_commands();
    desk.hello_with("a", "j", 1);
    assert_eq!(desk.take_orders("Stop").len(), 1);
    assert_eq!(desk.phase("j"), GangPhase::Preparing);
}
