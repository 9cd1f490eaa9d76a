//! What follows a failure: policies, budgets and rules, driven by hand.
#![expect(clippy::expect_used, reason = "in a test that is how it fails")]

mod desk;

use std::time::Duration;

use desk::{Desk, exit, spec};
use phalanx_common::event::{NoRestart, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::spec::{ExitCodes, FailureAction, FailureRule, JobSpec, RestartPolicy};
use phalanx_launcher_core::gang::GangPhase;

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
