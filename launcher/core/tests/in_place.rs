//! Ranks that start again while the rest of their gang goes on, driven by hand.
#![expect(clippy::expect_used, reason = "in a test that is how it fails")]

#[allow(dead_code, reason = "other tests use the rest")]
mod desk;

use std::time::Duration;

use desk::{Desk, exit, job, spec, status};
use phalanx_common::event::{Cause, EventKind, NoRestart, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Epoch, Generation, NodeId, Rank};
use phalanx_common::order::OrderKind;
use phalanx_common::report::{OutOfMemory, PodPhase, PodStatus, RankExit, Report};
use phalanx_common::spec::{
    ExitCodes, FailureAction, FailureReason, FailureRule, InPlace, JobSpec, RestartScope,
};
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::{Config, Coordinator};

/// Two nodes with two ranks each.
fn with(max_restarts: u32, scope: RestartScope, change: impl FnOnce(&mut JobSpec)) -> JobSpec {
    let mut spec = spec(2, 2);
    spec.max_restarts = max_restarts;
    spec.recovery.scope = scope;
    change(&mut spec);
    spec
}

fn running(spec: JobSpec) -> Desk {
    let mut desk = Desk::running(&["a", "b"], "j", spec);
    desk.take_commands();
    desk
}

/// This start of the rank ended so.
fn ends(desk: &mut Desk, node: &str, rank: u32, attempt: u32, code: u8) {
    let at = desk.now.0;
    desk.exited(node, "j", 1, RankExit { attempt, ..exit(rank, ExitStatus::Code(code), at) });
}

fn restarted(desk: &mut Desk, node: &str, rank: u32, attempt: u32) {
    let (job, generation, rank) = (job("j"), Generation(1), Rank(rank));
    desk.report(node, Report::Restarted { job, generation, rank, attempt, pid: 77 });
}

type Ordered = (String, Vec<(u32, u32)>, Duration);

/// What was ordered to start again since the last look: where, and which rank as which attempt, after which wait.
fn orders(desk: &mut Desk) -> Vec<Ordered> {
    let sent = desk.take_orders("Restart").into_iter();
    sent.filter_map(|(node, order)| match order {
        OrderKind::Restart { ranks, delay, .. } => {
            let ranks = ranks.into_iter().map(|(rank, attempt)| (rank.0, attempt)).collect();
            Some((node.as_str().to_owned(), ranks, delay))
        }
        _ => None,
    })
    .collect()
}

#[test]
fn a_rank_starts_again_alone_with_growing_waits_and_then_its_pod_and_then_the_gang() {
    let mut desk = running(with(2, RestartScope::Rank, |spec| {
        spec.recovery.pod.max = Some(1);
        spec.recovery.no_progress = 0;
    }));
    let waits = [0, 1];
    for (attempt, wait) in (0..).zip(waits) {
        ends(&mut desk, "a", 1, attempt, 7);
        let wanted = ("a".to_owned(), vec![(1, attempt + 1)], Duration::from_secs(wait));
        assert_eq!(orders(&mut desk), [wanted]);
        assert_eq!(desk.phase("j"), GangPhase::Running);
        restarted(&mut desk, "a", 1, attempt + 1);
    }
    ends(&mut desk, "a", 1, 2, 7);
    assert_eq!(orders(&mut desk), [("a".to_owned(), vec![(0, 1), (1, 3)], Duration::ZERO)], "the pod");
    restarted(&mut desk, "a", 0, 1);
    restarted(&mut desk, "a", 1, 3);
    assert_eq!(desk.phase("j"), GangPhase::Running);
    ends(&mut desk, "a", 0, 1, 7);
    assert_eq!(orders(&mut desk), [], "both steps are used up");
    assert_eq!(desk.phase("j"), GangPhase::Stopping);
    ["a", "b"].iter().for_each(|node| desk.ended(node, "j", 1));
    let restart = desk.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::GangRestarting { restart, max_restarts, .. } => Some((*restart, *max_restarts)),
        _ => None,
    });
    assert_eq!(restart, Some((1, 2)), "the gang has its own");
    let status = desk.coordinator.job_status(&desk.coordinator.job(&job("j")).expect("it is there"));
    assert_eq!((status.rank_restarts, status.pod_restarts, status.restarts), (2, 1, 1));
}

#[test]
fn a_gang_is_not_running_before_a_rank_that_starts_again_has_started() {
    let mut desk = Desk::new(Config::default(), &["a", "b"]);
    desk.submit("j", with(3, RestartScope::Pod, |_| {}));
    ["a", "b"].iter().for_each(|node| desk.prepared(node, "j", 1));
    desk.started("a", "j", 1);
    desk.take_commands();
    ends(&mut desk, "a", 0, 0, 1);
    assert_eq!(orders(&mut desk), [("a".to_owned(), vec![(0, 1), (1, 1)], Duration::ZERO)]);
    desk.started("b", "j", 1);
    assert_eq!(desk.phase("j"), GangPhase::Starting);
    restarted(&mut desk, "a", 0, 1);
    assert_eq!(desk.phase("j"), GangPhase::Starting, "rank 1 is still awaited");
    restarted(&mut desk, "a", 1, 1);
    assert_eq!(desk.phase("j"), GangPhase::Running);
}

#[test]
fn what_is_told_of_an_earlier_start_changes_nothing() {
    let mut desk = running(with(3, RestartScope::Rank, |_| {}));
    ends(&mut desk, "a", 1, 0, 7);
    orders(&mut desk);
    ends(&mut desk, "a", 1, 0, 7);
    assert_eq!(orders(&mut desk), [], "the same end, told twice");
    restarted(&mut desk, "a", 1, 5);
    assert!(!desk.events.iter().any(|event| matches!(event.kind, EventKind::RankRestarted { .. })));
    restarted(&mut desk, "a", 1, 1);
    ends(&mut desk, "a", 1, 0, 7);
    assert_eq!(orders(&mut desk), []);
    for (node, rank, attempt) in [("a", 0, 0), ("a", 1, 1), ("b", 2, 0), ("b", 3, 0)] {
        ends(&mut desk, node, rank, attempt, 0);
    }
    assert_eq!(desk.phase("j"), GangPhase::Finishing, "the end of the last start of each counts");
}

#[test]
fn an_order_that_was_lost_with_the_connection_or_the_coordinator_is_given_again() {
    let mut desk = running(with(3, RestartScope::Pod, |_| {}));
    ends(&mut desk, "a", 1, 0, 7);
    assert_eq!(orders(&mut desk).len(), 1);
    let told = PodStatus {
        phase: PodPhase::Started,
        exits: vec![exit(1, ExitStatus::Code(7), 5)],
        pids: vec![7, 8],
        ..status("j", 1)
    };
    desk.hello("a", vec![told.clone()]);
    let again = [("a".to_owned(), vec![(0, 1), (1, 1)], Duration::ZERO)];
    assert_eq!(orders(&mut desk), again);
    let coordinator = Coordinator::new(Config::default(), Epoch(2), &desk.records);
    let mut desk = Desk::over(coordinator, &desk);
    desk.take_commands();
    desk.hello("a", vec![told.clone()]);
    assert_eq!(orders(&mut desk), again);
    let known = RankExit { attempt: 1, ..exit(1, ExitStatus::Code(7), 5) };
    let attempts = vec![(Rank(0), 1), (Rank(1), 1)];
    desk.hello("a", vec![PodStatus { exits: vec![known], attempts, ..told }]);
    let next = [("a".to_owned(), vec![(0, 2), (1, 2)], Duration::from_secs(1))];
    assert_eq!(orders(&mut desk), next, "the end of the next start is news");
}

#[test]
fn what_a_node_did_while_nobody_listened_is_no_order_that_was_lost() {
    for restarts in [false, true] {
        let mut desk = running(with(3, RestartScope::Rank, |_| {}));
        ends(&mut desk, "a", 0, 0, 7);
        ends(&mut desk, "a", 1, 0, 7);
        orders(&mut desk);
        if restarts {
            let coordinator = Coordinator::new(Config::default(), Epoch(2), &desk.records);
            desk = Desk::over(coordinator, &desk);
            let told = PodStatus { phase: PodPhase::Started, pids: vec![9, 10], ..status("j", 1) };
            desk.hello("b", vec![told]);
            desk.take_commands();
        }
        // Rank 1 was started again, and ended well; rank 0 waits for its turn.
        let done = |rank, attempt| RankExit { attempt, ..exit(rank, ExitStatus::Code(0), 5) };
        let told = PodStatus {
            phase: PodPhase::Started,
            exits: vec![exit(0, ExitStatus::Code(7), 5), done(1, 1)],
            attempts: vec![(Rank(1), 1)],
            pids: vec![7, 8],
            ..status("j", 1)
        };
        desk.hello("a", vec![told.clone()]);
        assert_eq!(orders(&mut desk), [("a".to_owned(), vec![(0, 1)], Duration::ZERO)]);
        let both = PodStatus {
            exits: vec![done(0, 1), done(1, 1)],
            attempts: vec![(Rank(0), 1), (Rank(1), 1)],
            ..told
        };
        desk.hello("a", vec![both]);
        assert_eq!(orders(&mut desk), []);
        ends(&mut desk, "b", 2, 0, 0);
        ends(&mut desk, "b", 3, 0, 0);
        assert_eq!(desk.phase("j"), GangPhase::Finishing, "every rank ended with 0");
        desk.ended("a", "j", 1);
        desk.ended("b", "j", 1);
        assert_eq!(desk.outcome("j"), Some(phalanx_common::event::Outcome::Succeeded));
    }
}

#[test]
fn a_hook_gates_running_after_the_coordinator_restarted_too() {
    let mut gated = spec(1, 1);
    gated.lifecycle.post_start = Some(phalanx_common::spec::Hook::Sleep(Duration::from_secs(12)));
    let mut desk = Desk::new(Config::default(), &["a"]);
    desk.submit("j", gated);
    desk.prepared("a", "j", 1);
    desk.started("a", "j", 1);
    let coordinator = Coordinator::new(Config::default(), Epoch(2), &desk.records);
    let mut desk = Desk::over(coordinator, &desk);
    desk.hello("a", vec![PodStatus { phase: PodPhase::Started, pids: vec![7], ..status("j", 1) }]);
    assert_eq!(desk.phase("j"), GangPhase::Starting, "no rank is ready before its hook is done");
}

#[test]
fn a_rule_says_which_failures_restart_a_rank_and_which_do_not() {
    let rule = |code: u8, action| FailureRule {
        exit_codes: Some(ExitCodes::In([code].into())),
        signals: [].into(),
        reasons: [].into(),
        action,
    };
    let spec = || {
        with(0, RestartScope::Gang, |spec| {
            spec.recovery.rules =
                vec![rule(7, FailureAction::RestartRank), rule(8, FailureAction::RestartPod)];
            spec.recovery.rank = InPlace { max: Some(1), ..InPlace::default() };
            spec.recovery.pod = InPlace { max: Some(1), ..InPlace::default() };
        })
    };
    let mut desk = running(spec());
    ends(&mut desk, "b", 2, 0, 7);
    assert_eq!(orders(&mut desk), [("b".to_owned(), vec![(2, 1)], Duration::ZERO)]);
    restarted(&mut desk, "b", 2, 1);
    ends(&mut desk, "b", 3, 0, 8);
    assert_eq!(orders(&mut desk), [("b".to_owned(), vec![(2, 2), (3, 1)], Duration::ZERO)]);
    let mut desk = running(spec());
    ends(&mut desk, "b", 2, 0, 1);
    assert_eq!((orders(&mut desk).len(), desk.phase("j")), (0, GangPhase::Stopping), "no rule of it");
    let mut desk = running(with(3, RestartScope::Rank, |_| {}));
    ends(&mut desk, "b", 2, 0, 93);
    ["a", "b"].iter().for_each(|node| desk.ended(node, "j", 1));
    let outcome = desk.outcome("j");
    let no_restart = Some(NoRestart::ExitCode { code: 93 });
    assert!(
        matches!(&outcome, Some(Outcome::Failed { no_restart: why, .. }) if *why == no_restart),
        "{outcome:?}"
    );
}

#[test]
fn nothing_starts_again_in_a_gang_that_stops() {
    let mut desk = running(with(3, RestartScope::Rank, |_| {}));
    desk.stop("j", false);
    ends(&mut desk, "a", 1, 0, 7);
    assert_eq!(orders(&mut desk), []);
    let told = PodStatus { phase: PodPhase::Stopping, pids: vec![7, 8], ..status("j", 1) };
    desk.hello("a", vec![told]);
    assert_eq!(orders(&mut desk), []);
}

#[test]
fn a_restart_that_left_its_window_counts_no_more() {
    let mut desk = running(with(0, RestartScope::Rank, |spec| {
        spec.recovery.rank =
            InPlace { max: Some(1), window: Some(Duration::from_secs(60)), ..InPlace::default() };
    }));
    ends(&mut desk, "a", 1, 0, 7);
    assert_eq!(orders(&mut desk).len(), 1);
    restarted(&mut desk, "a", 1, 1);
    desk.timeout(desk.now + Duration::from_secs(60));
    ends(&mut desk, "a", 1, 1, 7);
    assert_eq!(orders(&mut desk).len(), 1);
    restarted(&mut desk, "a", 1, 2);
    ends(&mut desk, "a", 1, 2, 7);
    assert_eq!((orders(&mut desk).len(), desk.phase("j")), (0, GangPhase::Stopping));
}

#[test]
fn ten_minutes_without_a_restart_begin_the_waits_anew() {
    let mut desk = running(with(9, RestartScope::Rank, |_| {}));
    let waits = |desk: &mut Desk, attempt: u32| {
        ends(desk, "a", 1, attempt, 7);
        let [(_, _, wait)] = orders(desk).try_into().expect("one order");
        restarted(desk, "a", 1, attempt + 1);
        wait.as_secs()
    };
    let mut told = Vec::new();
    for (attempt, after) in [(0, 0), (1, 0), (2, 0), (3, 599), (4, 600), (5, 0)] {
        desk.timeout(desk.now + Duration::from_secs(after));
        told.push(waits(&mut desk, attempt));
    }
    assert_eq!(told, [0, 1, 2, 4, 0, 1]);
}

#[test]
fn a_rank_without_memory_is_a_cause_of_its_own_with_its_reason_and_figures() {
    let figures = OutOfMemory { limit: Some(1 << 30), peak: Some(1 << 30) };
    let oom = FailureRule {
        exit_codes: None,
        signals: [].into(),
        reasons: [FailureReason::OomKilled].into(),
        action: FailureAction::FailJob,
    };
    let mut desk = running(with(3, RestartScope::Gang, |spec| spec.recovery.rules = vec![oom]));
    let killed = RankExit { oom: Some(figures), ..exit(1, ExitStatus::Signal(9), desk.now.0) };
    desk.exited("a", "j", 1, killed);
    ["a", "b"].iter().for_each(|node| desk.ended(node, "j", 1));
    let outcome = desk.outcome("j").expect("the rule ends it");
    let Outcome::Failed { first_cause, no_restart, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(
        first_cause,
        Cause::OutOfMemory { rank: Rank(1), node: NodeId::new("a"), status: ExitStatus::Signal(9), figures }
    );
    assert_eq!(no_restart, Some(NoRestart::Rule { rule: 0 }));
    let said = first_cause.to_string();
    assert_eq!(
        said,
        "rank 1 was out of memory (OOMKilled), and ended with signal 9 (SIGKILL): it had 1.0 GiB of at most 1.0 GiB"
    );
}
