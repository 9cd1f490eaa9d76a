//! The coordinator alone, fed by hand: what it orders, records and says, in which order.

mod desk;

use std::time::Duration;

use desk::{Desk, exit, spec};
use phalanx_common::event::{Cause, EventKind, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::explanation::{Explained, Refused};
use phalanx_common::id::{Generation, JobId, NodeId, Rank};
use phalanx_common::order::OrderKind;
use phalanx_common::report::{PodEnd, PodPhase, PodStatus, PrepareFailure, PrepareFailureKind, Report};
use phalanx_common::spec::{Elastic, Exclusive, JobSpec, Shape, VirtualEnv};
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::{Command, Config, Coordinator, Durable, Input, Record, Why};

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
fn the_earliest_failure_is_the_first_cause_however_late_it_is_heard() {
    let mut desk = Desk::running(&["a", "b"], "j", spec(2, 1));
    let at = desk.now.0;
    desk.exited("b", "j", 1, exit(1, ExitStatus::Signal(6), at));
    assert_eq!(desk.phase("j"), GangPhase::Stopping);
    desk.exited("a", "j", 1, exit(0, ExitStatus::Code(3), at - 500));
    let revised = desk.events.iter().any(|event| matches!(event.kind, EventKind::CauseRevised { .. }));
    assert!(revised, "older evidence renames the cause");
    desk.ended("a", "j", 1);
    desk.ended("b", "j", 1);
    let Some(Outcome::Failed { first_cause: Cause::RankFailed { rank, .. }, exit_code }) = desk.outcome("j")
    else {
        panic!("{:?}", desk.outcome("j"));
    };
    assert_eq!((rank, exit_code), (Rank(0), 3));
}

#[test]
fn a_failure_after_the_users_stop_is_not_the_cause_and_one_before_it_is() {
    for (offset, want) in [(-1i64, 9u8), (1, 130)] {
        let mut with_restarts = spec(1, 1);
        with_restarts.max_restarts = 5;
        let mut desk = Desk::running(&["a"], "j", with_restarts);
        desk.stop("j", false);
        let at = desk.now.0.saturating_add_signed(offset);
        desk.exited("a", "j", 1, exit(0, ExitStatus::Code(9), at));
        desk.ended("a", "j", 1);
        assert_eq!(desk.outcome("j").map(|outcome| outcome.exit_code()), Some(want), "offset {offset}");
    }
}

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
fn a_second_stop_leaves_no_grace_and_a_stop_never_restarts() {
    let mut with_restart = spec(1, 1);
    with_restart.max_restarts = 5;
    let mut desk = Desk::running(&["a"], "j", with_restart);
    desk.stop("j", false);
    desk.stop("j", true);
    let graces: Vec<Duration> = desk
        .take_orders("Stop")
        .iter()
        .map(|(_, kind)| if let OrderKind::Stop { grace, .. } = kind { *grace } else { panic!("{kind:?}") })
        .collect();
    assert_eq!(graces, [Duration::from_secs(30), Duration::ZERO]);
    desk.exited("a", "j", 1, exit(0, ExitStatus::SUCCESS, desk.now.0 + 5));
    desk.ended("a", "j", 1);
    assert!(matches!(desk.outcome("j"), Some(Outcome::Stopped { exit_code: 130, .. })));
}

#[test]
fn a_stop_before_there_are_nodes_ends_the_job_at_once() {
    let mut desk = Desk::new(Config::default(), &[]);
    desk.submit("j", spec(1, 1));
    assert_eq!(desk.phase("j"), GangPhase::Queued);
    desk.stop("j", false);
    assert!(matches!(desk.outcome("j"), Some(Outcome::Stopped { exit_code: 130, .. })));
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
fn the_start_deadline_names_the_ranks_that_are_missing() {
    let mut desk = Desk::new(Config::default(), &["a", "b"]);
    desk.submit("j", spec(2, 2));
    desk.prepared("a", "j", 1);
    let (deadline, why) = desk.coordinator.poll_timeout().unwrap();
    assert_eq!(why, Why::Start { job: desk::job("j") });
    desk.timeout(deadline);
    desk.ended("a", "j", 1);
    desk.ended("b", "j", 1);
    let Some(Outcome::Failed { first_cause: Cause::StartTimeout { missing, phase, .. }, exit_code: 125 }) =
        desk.outcome("j")
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
fn a_forced_stop_waits_for_no_node_that_is_out_of_reach() {
    let mut desk = Desk::running(&["a", "b"], "j", spec(2, 1));
    desk.input(Input::NodeDisconnected { node: NodeId::new("b") });
    desk.stop("j", false);
    desk.ended("a", "j", 1);
    assert_eq!(desk.phase("j"), GangPhase::Stopping, "b may come back in time");
    desk.stop("j", true);
    assert!(matches!(desk.outcome("j"), Some(Outcome::Stopped { exit_code: 130, .. })));
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
fn what_ranks_do_after_their_node_was_lost_is_not_the_cause() {
    let mut desk = Desk::running(&["a", "b"], "j", spec(2, 1));
    desk.input(Input::NodeDisconnected { node: NodeId::new("b") });
    let lost_at = desk.now.0;
    let (deadline, _) = desk.coordinator.poll_timeout().unwrap();
    desk.timeout(deadline);
    desk.exited("a", "j", 1, exit(0, ExitStatus::Signal(6), lost_at + 5));
    desk.ended("a", "j", 1);
    let outcome = desk.outcome("j").unwrap();
    assert!(matches!(&outcome, Outcome::Failed { first_cause: Cause::NodeLost { .. }, .. }), "{outcome:?}");
}

#[test]
fn a_backoff_stands_still_while_the_job_is_suspended() {
    let mut with_restarts = spec(1, 1);
    with_restarts.max_restarts = 5;
    let mut desk = Desk::running(&["a"], "j", with_restarts);
    desk.exited("a", "j", 1, exit(0, ExitStatus::Code(1), desk.now.0));
    desk.ended("a", "j", 1);
    desk.prepared("a", "j", 2);
    desk.exited("a", "j", 2, exit(0, ExitStatus::Code(1), desk.now.0));
    desk.input(Input::Suspend { job: desk::job("j") });
    desk.ended("a", "j", 2);
    assert_eq!(desk.coordinator.poll_timeout(), None);
    desk.now = desk.now + Duration::from_secs(3600);
    desk.input(Input::Resume { job: desk::job("j") });
    let (at, why) = desk.coordinator.poll_timeout().unwrap();
    assert_eq!((at, why), (desk.now + Duration::from_secs(1), Why::Backoff { job: desk::job("j") }));
}

#[test]
fn queued_jobs_get_nodes_in_the_order_of_their_submission() {
    let mut desk = Desk::new(Config::default(), &[]);
    desk.submit("z", spec(1, 1));
    desk.submit("a", spec(1, 1));
    desk.hello("n", Vec::new());
    let placed: Vec<String> = desk
        .events
        .iter()
        .filter(|event| matches!(event.kind, EventKind::GangPlaced { .. }))
        .filter_map(|event| event.job.as_ref().map(ToString::to_string))
        .collect();
    assert_eq!(placed, ["z", "a"]);
}

#[test]
fn nothing_starts_before_the_head_of_the_queue() {
    let mut desk = Desk::new(Config::default(), &["a"]);
    desk.submit("large", spec(2, 1));
    desk.submit("small", spec(1, 1));
    assert_eq!((desk.phase("large"), desk.phase("small")), (GangPhase::Queued, GangPhase::Queued));
    let told = desk.events.iter().any(
        |event| matches!(&event.kind, EventKind::JobQueued { why } if why.contains("waits behind job large")),
    );
    assert!(told, "{:?}", desk.events);
    desk.hello("b", Vec::new());
    assert_eq!((desk.phase("large"), desk.phase("small")), (GangPhase::Preparing, GangPhase::Preparing));
}

#[test]
fn a_job_between_two_attempts_keeps_its_place_in_the_queue() {
    let mut restarting = spec(1, 1);
    restarting.max_restarts = 5;
    let mut desk = Desk::running(&["a"], "first", restarting);
    for generation in [1, 2] {
        if generation == 2 {
            desk.prepared("a", "first", 2);
            desk.started("a", "first", 2);
        }
        desk.exited("a", "first", generation, exit(0, ExitStatus::Code(1), desk.now.0));
        desk.ended("a", "first", generation);
    }
    // The first restart comes at once, the second after a backoff.
    assert_eq!(desk.phase("first"), GangPhase::Queued);
    desk.submit("second", spec(1, 1));
    assert_eq!(desk.phase("second"), GangPhase::Queued);
    let (due, _) = desk.coordinator.poll_timeout().unwrap();
    desk.timeout(due);
    assert_eq!((desk.phase("first"), desk.phase("second")), (GangPhase::Preparing, GangPhase::Preparing));
}

/// The next that is waited for is a client.
fn client_deadline(desk: &Desk) -> bool {
    matches!(desk.coordinator.poll_timeout(), Some((_, Why::Client { .. })))
}

#[test]
fn a_job_is_stopped_when_the_last_client_that_waited_for_it_is_gone_for_a_minute_and_not_before() {
    let lost = || Input::ClientLost { job: desk::job("j") };
    let waits = || Input::ClientWaits { job: desk::job("j") };
    let mut desk = Desk::running(&["a"], "j", spec(1, 1));
    desk.input(lost());
    assert!(!client_deadline(&desk), "nobody was said to wait for it");
    desk.input(waits());
    desk.input(waits());
    desk.input(lost());
    assert!(!client_deadline(&desk), "one waits still");
    // A client that came back on a new link before the old one was known to be lost.
    desk.input(waits());
    desk.input(lost());
    assert!(!client_deadline(&desk));
    desk.input(lost());
    assert!(client_deadline(&desk));
    desk.input(waits());
    assert!(!client_deadline(&desk));
    // The next reign has heard of no client, and knows that the job depends on one.
    let coordinator = Coordinator::new(Config::default(), Default::default(), &desk.records);
    let mut next = Desk::over(coordinator, &desk);
    next.hello_with("a", "j", 1);
    assert!(client_deadline(&next));
    let (at, _) = next.coordinator.poll_timeout().unwrap();
    next.timeout(at);
    assert!(next.coordinator.durable().jobs[&desk::job("j")].stop.is_some());
}

/// The node cannot take its pod of generation `generation`, for this reason.
fn refuses(desk: &mut Desk, node: &str, generation: u32, why: &str) {
    let reason = PrepareFailure { kind: PrepareFailureKind::Node, message: why.into() };
    let (job, number) = (desk::job("j"), Generation(generation));
    desk.report(node, Report::NotPrepared { job, generation: number, reason });
    desk.ended(node, "j", generation);
}

fn cluster(nodes: &[&str]) -> Desk {
    Desk::new(Config { cluster: true, ..Config::default() }, nodes)
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
    let Some(Outcome::Failed { first_cause, exit_code: 125 }) = desk.outcome("j") else {
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

/// Why a job waits, as `status` tells it.
fn waits_for(desk: &Desk, name: &str) -> String {
    let id = desk::job(name);
    let view = desk.coordinator.job(&id).expect("a job that was submitted");
    desk.coordinator.job_status(&view).waits_for.unwrap_or_default()
}

/// What `explain` tells of a job that waits.
fn explained(desk: &Desk, name: &str) -> Refused {
    let found = desk.coordinator.planning_of(&desk::job(name));
    let (planning, job, waits) = found.expect("a job that was submitted");
    match planning.explain(&job, waits.as_ref()) {
        Explained::Refused(refused) => refused,
        other => panic!("{other:?}"),
    }
}

const NEVER: &str = "it does not fit even when every other job has ended";

#[test]
fn a_job_that_no_end_of_another_lets_in_says_so_and_so_does_the_job_behind_it() {
    let mut desk = cluster(&["a", "b"]);
    desk.submit("first", alone(2));
    desk.submit("fits-later", alone(2));
    assert_eq!(desk.phase("first"), GangPhase::Preparing);
    assert!(!waits_for(&desk, "fits-later").contains(NEVER), "{}", waits_for(&desk, "fits-later"));
    desk.stop("fits-later", true);
    desk.submit("large", alone(3));
    desk.submit("behind", spec(1, 1));
    let large = waits_for(&desk, "large");
    assert!(large.contains(&format!("{NEVER}, and jobs submitted after it wait for it")), "{large}");
    let behind = waits_for(&desk, "behind");
    assert!(behind.starts_with("waits behind job large") && behind.contains(NEVER), "{behind}");
    desk.hello("c", Vec::new());
    assert!(!waits_for(&desk, "large").contains(NEVER), "{}", waits_for(&desk, "large"));
    assert!(!waits_for(&desk, "behind").contains(NEVER), "{}", waits_for(&desk, "behind"));
    // A node that cannot be reached may be back.
    desk.input(Input::NodeDisconnected { node: NodeId::new("c") });
    desk.hello("d", Vec::new());
    let away = waits_for(&desk, "large");
    assert!(away.contains("node c is unreachable") && !away.contains(NEVER), "{away}");
}

/// So many nodes with a rank each, and nobody else on them.
fn alone(nodes: u32) -> JobSpec {
    let mut alone = spec(nodes, 1);
    alone.placement.exclusive = Exclusive::Node;
    alone
}

#[test]
fn status_and_explain_give_one_reason() {
    let mut desk = cluster(&["a", "b", "c"]);
    desk.submit("first", alone(2));
    desk.submit("second", alone(2));
    desk.submit("third", spec(4, 1));
    let (status, why) = (waits_for(&desk, "second"), explained(&desk, "second").why);
    assert_eq!(why, "needs 2 nodes with 1 free slot each, 1 can take it");
    assert!(status.starts_with(&why), "{status}");
    let third = explained(&desk, "third");
    assert_eq!(third.why, waits_for(&desk, "third"));
    assert_eq!(
        third.notes,
        ["by itself it does not fit either: needs 4 nodes with 1 free slot each, 1 can take it", NEVER]
    );
}

#[test]
fn whoever_submits_a_job_that_never_fits_or_names_strangers_is_warned() {
    let mut desk = cluster(&["node-1", "node-2"]);
    let warnings = |desk: &Desk, name: &str, hears| {
        let (planning, job, waits) = desk.coordinator.planning_of(&desk::job(name)).unwrap();
        planning.warnings(&job, waits.as_ref(), hears)
    };
    let mut avoiding = spec(1, 1);
    avoiding.placement.avoid = vec!["nodee-2".into()];
    desk.submit("avoiding", avoiding);
    assert_eq!(warnings(&desk, "avoiding", true), ["no node is called nodee-2 (is node-2 meant?)"]);
    let mut naming = spec(1, 1);
    naming.placement.nodes = vec!["rack".into()];
    desk.submit("naming", naming);
    let [unknown, never] = &warnings(&desk, "naming", false)[..] else { panic!() };
    assert_eq!(unknown, "no node is called rack");
    assert!(never.starts_with(NEVER), "{never}");
    assert!(warnings(&desk, "naming", true).is_empty(), "its events say it");
    desk.submit("large", spec(3, 1));
    assert_eq!(warnings(&desk, "large", true).len(), 1, "its events say that it is behind another");
}

#[test]
fn the_status_of_an_elastic_job_says_how_many_ranks_it_has() {
    let mut desk = Desk::new(Config::default(), &["a"]);
    let mut elastic = spec(1, 2);
    elastic.shape = Shape::Ranks(2);
    elastic.elastic = Some(Elastic { min: 1, max: 4, step: 1 });
    desk.submit("j", elastic);
    let job = JobId::from_existing("j");
    let view = desk.coordinator.job(&job).unwrap();
    assert_eq!(desk.coordinator.job_status(&view).ranks, 4);
}

#[test]
fn jobs_behind_one_that_is_suspended_do_not_wait_for_it() {
    let mut desk = cluster(&["a", "b"]);
    desk.submit("large", alone(3));
    desk.submit("behind", spec(1, 1));
    assert_eq!(desk.phase("behind"), GangPhase::Queued);
    desk.input(Input::Suspend { job: desk::job("large") });
    assert_eq!(desk.phase("behind"), GangPhase::Preparing);
    assert_eq!(waits_for(&desk, "large"), "");
}

#[test]
fn ranks_that_a_lapsed_lease_ended_are_told_apart_from_a_dead_node() {
    let lapsed = |after: Duration| {
        let mut desk = cluster(&["a", "b"]);
        let (lease, unreachable) = (Duration::from_secs(20), Duration::from_secs(120));
        desk.submit("j", JobSpec { lease, unreachable, ..spec(2, 1) });
        ["a", "b"].into_iter().for_each(|node| desk.prepared(node, "j", 1));
        ["a", "b"].into_iter().for_each(|node| desk.started(node, "j", 1));
        desk.input(Input::NodeDisconnected { node: NodeId::new("b") });
        let (job, generation, target) = (desk::job("j"), Generation(1), NodeId::new("b"));
        let probed = |heard| Report::Probed { job: job.clone(), generation, target: target.clone(), heard };
        desk.report("a", probed(true));
        desk.timeout(desk.now + after);
        desk.report("a", probed(false));
        let dead = desk.events.iter().find_map(|event| match event.kind {
            EventKind::PodDead { lapsed, .. } => Some(lapsed),
            _ => None,
        });
        dead.expect("no peer hears it")
    };
    assert!(lapsed(Duration::from_secs(19)));
    assert!(!lapsed(Duration::from_secs(4)));
}
