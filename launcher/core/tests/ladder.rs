//! What follows a failure: policies, budgets and rules, driven by hand.
#![expect(clippy::expect_used, reason = "in a test that is how it fails")]

#[allow(dead_code, reason = "other tests use the rest")]
mod desk;

use std::time::Duration;

use desk::{Desk, exit, spec};
use phalanx_common::event::{EventKind, NoRestart, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::Epoch;
use phalanx_common::report::{PodPhase, PodStatus, RankExit};
use phalanx_common::spec::{ExitCodes, FailureAction, FailureRule, JobSpec, RestartPolicy, SuccessRule};
use phalanx_common::time::Timestamp;
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::{Config, Coordinator, Input};

fn with(max_restarts: u32, change: impl FnOnce(&mut JobSpec)) -> JobSpec {
    let mut spec = spec(1, 1);
    spec.max_restarts = max_restarts;
    change(&mut spec);
    spec
}

fn rule(code: u8, action: FailureAction) -> FailureRule {
    let exit_codes = Some(ExitCodes::In([code].into()));
    FailureRule { exit_codes, signals: [].into(), reasons: [].into(), action }
}

/// The only rank of this generation ends so, after it ran for so long.
fn fails(desk: &mut Desk, node: &str, generation: u32, code: u8, ran: u64) {
    desk.timeout(desk.now + Duration::from_secs(ran));
    let at = desk.now.0;
    desk.exited(node, "j", generation, exit(0, ExitStatus::Code(code), at));
    desk.ended(node, "j", generation);
}

/// The next generation runs on this node.
fn runs(desk: &mut Desk, generation: u32) -> String {
    let (nodes, _) = desk.placed();
    let node = nodes[0].as_str().to_owned();
    desk.prepared(&node, "j", generation);
    desk.started(&node, "j", generation);
    assert_eq!(desk.phase("j"), GangPhase::Running);
    node
}

/// Lets the wait before the next generation pass.
fn wait(desk: &mut Desk, seconds: u64) {
    desk.timeout(desk.now + Duration::from_secs(seconds));
}

fn no_restart(desk: &Desk) -> Option<NoRestart> {
    match desk.outcome("j") {
        Some(Outcome::Failed { no_restart, .. }) => no_restart,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rank_that_ends_with_93_ends_its_job_though_there_is_budget() {
    let mut desk = Desk::running(&["a"], "j", with(5, |_| {}));
    fails(&mut desk, "a", 1, 93, 60);
    assert_eq!(no_restart(&desk), Some(NoRestart::ExitCode { code: 93 }));
    assert_eq!(desk.outcome("j").map(|outcome| outcome.exit_code()), Some(93));
}

#[test]
fn a_rule_that_ignores_a_code_costs_nothing_and_one_that_fails_the_job_ends_it() {
    let rules = vec![rule(7, FailureAction::Ignore), rule(8, FailureAction::FailJob)];
    let mut desk = Desk::running(&["a"], "j", with(1, |spec| spec.recovery.rules = rules));
    for generation in 1..=4 {
        fails(&mut desk, "a", generation, 7, 60);
        wait(&mut desk, 60);
        assert_eq!(runs(&mut desk, generation + 1), "a");
    }
    fails(&mut desk, "a", 5, 8, 60);
    assert_eq!(no_restart(&desk), Some(NoRestart::Rule { rule: 1 }));
}

#[test]
fn a_rule_that_replaces_the_node_leaves_it_and_so_do_two_failures_in_a_row_there() {
    let rules = vec![rule(7, FailureAction::ReplaceNode)];
    let mut desk = Desk::running(&["a", "b"], "j", with(9, |spec| spec.recovery.rules = rules));
    fails(&mut desk, "a", 1, 7, 60);
    assert_eq!(runs(&mut desk, 2), "b");
    fails(&mut desk, "b", 2, 1, 60);
    wait(&mut desk, 60);
    assert_eq!(runs(&mut desk, 3), "b", "blamed once: the gang stays where it was");
    fails(&mut desk, "b", 3, 1, 60);
    wait(&mut desk, 60);
    assert_eq!(runs(&mut desk, 4), "a", "blamed twice in a row");
}

#[test]
fn a_gang_with_nowhere_else_to_go_stays_on_the_node_that_was_to_be_replaced() {
    let rules = vec![rule(7, FailureAction::ReplaceNode)];
    let mut desk = Desk::running(&["a"], "j", with(9, |spec| spec.recovery.rules = rules));
    fails(&mut desk, "a", 1, 7, 60);
    assert_eq!(runs(&mut desk, 2), "a");
}

#[test]
fn a_crash_loop_ends_after_three_generations_that_came_to_nothing() {
    let mut desk = Desk::running(&["a"], "j", with(9, |_| {}));
    for generation in 1..=2 {
        fails(&mut desk, "a", generation, 1, 5);
        wait(&mut desk, 60);
        runs(&mut desk, generation + 1);
    }
    fails(&mut desk, "a", 3, 1, 5);
    assert_eq!(no_restart(&desk), Some(NoRestart::NoProgress { generations: 3 }));
}

#[test]
fn a_window_lets_a_job_go_on_that_fails_seldom() {
    let window = Some(Duration::from_secs(3600));
    let mut desk = Desk::running(&["a"], "j", with(1, |spec| spec.recovery.window = window));
    for generation in 1..=5 {
        fails(&mut desk, "a", generation, 1, 3600);
        wait(&mut desk, 60);
        runs(&mut desk, generation + 1);
    }
    fails(&mut desk, "a", 6, 1, 60);
    assert_eq!(no_restart(&desk), Some(NoRestart::Budget { max: 1, window }));
}

#[test]
fn a_job_that_is_to_run_always_starts_again_after_a_good_end_until_it_is_stopped() {
    let mut desk = Desk::running(&["a"], "j", with(0, |spec| spec.recovery.policy = RestartPolicy::Always));
    for generation in 1..=5 {
        fails(&mut desk, "a", generation, 0, 1);
        wait(&mut desk, 60);
        assert_eq!(runs(&mut desk, generation + 1), "a");
    }
    desk.stop("j", false);
    desk.exited("a", "j", 6, exit(0, ExitStatus::Code(0), desk.now.0));
    desk.ended("a", "j", 6);
    assert!(matches!(desk.outcome("j"), Some(Outcome::Stopped { .. })), "{:?}", desk.outcome("j"));
}

/// Suspends the job, or lets it go on.
fn suspend(desk: &mut Desk, suspend: bool) {
    let job = desk::job("j");
    desk.input(if suspend { Input::Suspend { job } } else { Input::Resume { job } });
}

#[test]
fn a_deadline_ends_a_job_through_its_restarts_and_stands_still_while_it_is_suspended() {
    let limit = Some(Duration::from_secs(100));
    let mut desk = Desk::running(&["a"], "j", with(9, |spec| spec.lifetime.active_deadline = limit));
    fails(&mut desk, "a", 1, 1, 60);
    assert_eq!(runs(&mut desk, 2), "a");
    suspend(&mut desk, true);
    desk.timeout(desk.now + Duration::from_secs(500));
    suspend(&mut desk, false);
    desk.timeout(desk.now + Duration::from_secs(39));
    assert_eq!(desk.phase("j"), GangPhase::Running);
    desk.timeout(desk.now + Duration::from_secs(1));
    assert_eq!(desk.phase("j"), GangPhase::Stopping);
    desk.ended("a", "j", 2);
    let outcome = desk.outcome("j").expect("it has ended");
    assert_eq!(outcome.exit_code(), 124, "{outcome:?}");
}

#[test]
fn a_deadline_in_the_wait_before_a_restart_ends_the_job_and_one_while_it_stops_keeps_the_cause() {
    let limit = Some(Duration::from_millis(60_500));
    let job = with(9, |spec| {
        spec.lifetime.active_deadline = limit;
        spec.recovery.backoff.initial = Duration::from_secs(30);
    });
    let mut desk = Desk::running(&["a"], "j", job.clone());
    fails(&mut desk, "a", 1, 1, 20);
    runs(&mut desk, 2);
    fails(&mut desk, "a", 2, 1, 20);
    assert_eq!(desk.phase("j"), GangPhase::Queued);
    desk.timeout(desk.now + Duration::from_secs(21));
    assert_eq!(desk.outcome("j").map(|outcome| outcome.exit_code()), Some(124));

    let mut desk = Desk::running(&["a"], "j", job);
    desk.timeout(desk.now + Duration::from_secs(60));
    desk.exited("a", "j", 1, exit(0, ExitStatus::Code(7), desk.now.0));
    desk.timeout(desk.now + Duration::from_secs(1));
    desk.ended("a", "j", 1);
    assert_eq!(no_restart(&desk), Some(NoRestart::Deadline));
    assert_eq!(desk.outcome("j").map(|outcome| outcome.exit_code()), Some(7));
}

#[test]
fn a_job_has_succeeded_once_the_ranks_that_count_have_ended_well() {
    let success = vec![SuccessRule { ranks: vec![(0, 0)], count: None }];
    let mut two = spec(2, 1);
    two.lifetime.success = success;
    let mut desk = Desk::running(&["a", "b"], "j", two.clone());
    desk.exited("b", "j", 1, exit(1, ExitStatus::Code(0), desk.now.0));
    assert_eq!(desk.phase("j"), GangPhase::Running, "rank 1 does not count");
    let mut desk = Desk::running(&["a", "b"], "j", two);
    desk.exited("a", "j", 1, exit(0, ExitStatus::Code(0), desk.now.0));
    assert_eq!(desk.phase("j"), GangPhase::Stopping);
    let after_stop = RankExit { after_stop: true, ..exit(1, ExitStatus::Signal(15), desk.now.0) };
    desk.exited("b", "j", 1, after_stop);
    desk.ended("a", "j", 1);
    desk.ended("b", "j", 1);
    assert_eq!(desk.outcome("j"), Some(Outcome::Succeeded));
}

#[test]
fn a_job_that_begins_suspended_gets_nodes_once_it_is_resumed() {
    let mut desk = Desk::new(Default::default(), &["a"]);
    desk.submit("j", with(0, |spec| spec.lifetime.suspend = true));
    assert_eq!(desk.phase("j"), GangPhase::Queued);
    suspend(&mut desk, false);
    assert_eq!(desk.phase("j"), GangPhase::Preparing);
}

#[test]
fn a_job_is_forgotten_when_it_says_so_and_those_that_say_nothing_are_not() {
    let mut desk = Desk::running(
        &["a"],
        "j",
        with(0, |spec| {
            spec.lifetime.ttl_after_finished = Some(Duration::from_secs(5));
        }),
    );
    fails(&mut desk, "a", 1, 0, 1);
    desk.timeout(desk.now + Duration::from_secs(4));
    assert!(desk.coordinator.job(&desk::job("j")).is_some());
    desk.timeout(desk.now + Duration::from_secs(1));
    assert!(desk.coordinator.job(&desk::job("j")).is_none());
}

#[test]
fn a_stop_of_a_job_that_is_to_run_always_counts_between_its_last_exit_and_the_end_of_its_pods() {
    let mut desk = Desk::running(&["a"], "j", with(0, |spec| spec.recovery.policy = RestartPolicy::Always));
    desk.exited("a", "j", 1, exit(0, ExitStatus::Code(0), desk.now.0));
    assert_eq!(desk.phase("j"), GangPhase::Finishing);
    desk.stop("j", false);
    desk.ended("a", "j", 1);
    assert!(matches!(desk.outcome("j"), Some(Outcome::Stopped { .. })), "{:?}", desk.outcome("j"));
}

#[test]
fn a_stop_after_enough_ranks_have_ended_well_leaves_the_job_a_success() {
    let mut two = spec(2, 1);
    two.lifetime.success = vec![SuccessRule { ranks: vec![(0, 0)], count: None }];
    let mut desk = Desk::running(&["a", "b"], "j", two);
    desk.exited("a", "j", 1, exit(0, ExitStatus::Code(0), desk.now.0));
    desk.stop("j", false);
    desk.ended("a", "j", 1);
    desk.ended("b", "j", 1);
    assert_eq!(desk.outcome("j"), Some(Outcome::Succeeded));
}

#[test]
fn a_job_that_is_stopped_while_it_is_suspended_before_its_release_runs_nothing() {
    let mut desk = Desk::new(Default::default(), &["a"]);
    desk.submit("j", with(0, |_| {}));
    suspend(&mut desk, true);
    desk.prepared("a", "j", 1);
    desk.take_commands();
    desk.stop("j", false);
    assert_eq!(desk.take_orders("Go"), []);
    desk.ended("a", "j", 1);
    assert!(matches!(desk.outcome("j"), Some(Outcome::Stopped { .. })));
}

#[test]
fn what_stops_is_not_frozen() {
    let mut desk = Desk::running(&["a"], "j", with(1, |_| {}));
    desk.exited("a", "j", 1, exit(0, ExitStatus::Code(1), desk.now.0));
    desk.take_commands();
    suspend(&mut desk, true);
    assert_eq!(desk.take_orders("Suspend"), []);
    desk.ended("a", "j", 1);
    assert_eq!(desk.phase("j"), GangPhase::Queued, "suspended: the next generation waits");
    let mut desk = Desk::running(&["a"], "j", with(1, |_| {}));
    desk.stop("j", false);
    suspend(&mut desk, true);
    assert!(!desk.coordinator.job(&desk::job("j")).expect("it is there").job.suspended);
}

#[test]
fn a_policy_of_never_and_code_93_hold_for_a_rank_that_met_a_port_in_use_too() {
    let met = |code: u8, change: fn(&mut JobSpec)| {
        let mut desk = Desk::running(&["a"], "j", with(0, change));
        let met = RankExit { port_conflict: true, ..exit(0, ExitStatus::Code(code), desk.now.0) };
        desk.exited("a", "j", 1, met);
        desk.ended("a", "j", 1);
        desk
    };
    assert_eq!(met(1, |_| {}).phase("j"), GangPhase::Preparing, "at no cost");
    let never = met(1, |spec| spec.recovery.policy = RestartPolicy::Never);
    assert_eq!(no_restart(&never), Some(NoRestart::Policy));
    assert_eq!(no_restart(&met(93, |_| {})), Some(NoRestart::ExitCode { code: 93 }));
}

#[test]
fn what_is_left_of_a_deadline_outlives_the_coordinator_and_a_clock_that_jumps() {
    let limit = Some(Duration::from_secs(100));
    let mut desk = Desk::running(&["a"], "j", with(0, |spec| spec.lifetime.active_deadline = limit));
    desk.timeout(desk.now + Duration::from_secs(10));
    suspend(&mut desk, true);
    let restarted = |desk: &Desk| {
        let coordinator = Coordinator::new(Config::default(), Epoch(2), &desk.records);
        let mut desk = Desk::over(coordinator, desk);
        let status = PodStatus { phase: PodPhase::Started, suspended: true, ..desk::status("j", 1) };
        desk.hello("a", vec![status]);
        desk
    };
    desk.now = desk.now + Duration::from_secs(500);
    let mut desk = restarted(&desk);
    suspend(&mut desk, false);
    desk.timeout(desk.now + Duration::from_secs(85));
    assert_eq!(desk.outcome("j"), None);
    let hour = 3_600_000_000;
    desk.now = Timestamp(desk.now.0 + hour);
    desk.input(Input::ClockJumped { by_micros: i64::try_from(hour).expect("an hour") });
    let mut desk = restarted(&desk);
    assert_eq!(desk.phase("j"), GangPhase::Running);
    desk.timeout(desk.now + Duration::from_secs(6));
    assert_eq!(desk.phase("j"), GangPhase::Stopping);
}

#[test]
fn a_deadline_between_the_last_exit_and_the_end_of_the_pods_ends_a_job_that_is_to_run_always() {
    let always = with(0, |spec| {
        spec.recovery.policy = RestartPolicy::Always;
        spec.lifetime.active_deadline = Some(Duration::from_secs(100));
    });
    let mut desk = Desk::running(&["a"], "j", always);
    desk.exited("a", "j", 1, exit(0, ExitStatus::Code(0), desk.now.0));
    desk.timeout(desk.now + Duration::from_secs(100));
    desk.ended("a", "j", 1);
    assert_eq!(desk.outcome("j").map(|outcome| outcome.exit_code()), Some(124));
}

#[test]
fn what_is_said_of_restarts_is_what_counts_within_the_window() {
    let window = Some(Duration::from_secs(3600));
    let mut desk = Desk::running(&["a"], "j", with(1, |spec| spec.recovery.window = window));
    for generation in 1..=3 {
        fails(&mut desk, "a", generation, 1, 3600);
        runs(&mut desk, generation + 1);
    }
    let told = desk.events.iter().filter_map(|event| match event.kind {
        EventKind::GangRestarting { restart, max_restarts, .. } => Some((restart, max_restarts)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(1, 1); 3]);
}

#[test]
fn a_success_that_came_first_counts_though_a_failure_was_heard_before_it() {
    let mut two = spec(2, 1);
    two.lifetime.success = vec![SuccessRule { ranks: vec![(0, 0)], count: None }];
    for (failed, expected) in [(500, true), (0, true), (-500, false)] {
        let mut desk = Desk::running(&["a", "b"], "j", two.clone());
        let at = desk.now.0;
        desk.exited("b", "j", 1, exit(1, ExitStatus::Code(1), at.saturating_add_signed(failed)));
        desk.exited("a", "j", 1, exit(0, ExitStatus::Code(0), at));
        desk.ended("a", "j", 1);
        desk.ended("b", "j", 1);
        assert_eq!(
            desk.outcome("j") == Some(Outcome::Succeeded),
            expected,
            "{failed}: {:?}",
            desk.outcome("j")
        );
    }
}

#[test]
fn enough_is_reached_with_the_last_end_that_was_needed_whichever_is_heard_last() {
    let mut three = spec(3, 1);
    three.lifetime.success = vec![SuccessRule { ranks: Vec::new(), count: Some(2) }];
    let mut desk = Desk::running(&["a", "b", "c"], "j", three);
    let at = desk.now.0;
    desk.exited("a", "j", 1, exit(0, ExitStatus::Code(0), at + 10));
    desk.exited("b", "j", 1, exit(1, ExitStatus::Code(0), at + 5));
    // It failed before the second of the two had ended.
    desk.exited("c", "j", 1, exit(2, ExitStatus::Code(1), at + 7));
    ["a", "b", "c"].into_iter().for_each(|node| desk.ended(node, "j", 1));
    assert!(matches!(desk.outcome("j"), Some(Outcome::Failed { .. })), "{:?}", desk.outcome("j"));
}

#[test]
fn a_gang_that_had_finished_before_its_deadline_has_succeeded_though_that_is_heard_after_it() {
    let mut two = spec(2, 1);
    two.lifetime.active_deadline = Some(Duration::from_secs(100));
    for (late, expected) in [(0, 0), (1, 124)] {
        let mut desk = Desk::running(&["a", "b"], "j", two.clone());
        desk.exited("a", "j", 1, exit(0, ExitStatus::Code(0), desk.now.0));
        desk.timeout(desk.now + Duration::from_secs(100));
        assert_eq!(desk.phase("j"), GangPhase::Stopping);
        desk.exited("b", "j", 1, exit(1, ExitStatus::Code(0), desk.now.0 + late));
        desk.ended("a", "j", 1);
        desk.ended("b", "j", 1);
        assert_eq!(desk.outcome("j").map(|outcome| outcome.exit_code()), Some(expected));
    }
}
