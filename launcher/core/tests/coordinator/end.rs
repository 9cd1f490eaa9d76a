//! How a job ends, and what is said to be the cause.

use std::time::Duration;

use phalanx_common::event::{Cause, EventKind, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Generation, NodeId, Rank};
use phalanx_common::order::OrderKind;
use phalanx_common::report::{RankExit, Report};
use phalanx_common::spec::JobSpec;
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::{Config, Coordinator, Input, Why};

use crate::cluster;
use crate::desk::{self, Desk, exit, spec};

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
    let Some(Outcome::Failed { first_cause: Cause::RankFailed { rank, .. }, exit_code, .. }) =
        desk.outcome("j")
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

/// An end with what its rank said last.
fn saying(exit: RankExit, said: &str) -> RankExit {
    RankExit { stderr_tail: said.as_bytes().to_vec(), ..exit }
}

#[test]
fn a_rank_that_fell_because_of_a_peer_is_not_the_first_cause_once_the_peer_is_heard() {
    let mut desk = Desk::running(&["a", "b"], "j", spec(2, 1));
    let peer = "RuntimeError: [gloo/transport/tcp/pair.cc:561] Connection closed by peer [10.0.0.2]:9000.\n";
    let fallen = saying(exit(0, ExitStatus::Code(1), desk.now.0), peer);
    desk.exited("a", "j", 1, fallen);
    desk.ended("a", "j", 1);
    // It took its time to be gone, and the order to stop came before.
    let trace = "Traceback (most recent call last):\n  File \"t.py\", line 1\nValueError: bad shard\n";
    let raised =
        RankExit { after_stop: true, ..saying(exit(1, ExitStatus::Code(1), desk.now.0 + 2000), trace) };
    desk.exited("b", "j", 1, raised);
    desk.ended("b", "j", 1);
    let Some(Outcome::Failed { first_cause: Cause::RankFailed { rank, .. }, .. }) = desk.outcome("j") else {
        panic!("{:?}", desk.outcome("j"));
    };
    assert_eq!(rank, Rank(1));
    assert!(desk.events.iter().any(|event| matches!(event.kind, EventKind::CauseRevised { .. })));
    let statuses = desk.coordinator.job_statuses(true);
    let told: Vec<(Option<Rank>, bool)> = statuses[0]
        .failed
        .iter()
        .flat_map(|failed| &failed.evidence)
        .map(|it| (it.cause.rank(), it.consequence))
        .collect();
    assert_eq!(told, [(Some(Rank(1)), false), (Some(Rank(0)), true)]);
}

#[test]
fn where_every_rank_blames_a_peer_the_earliest_is_named() {
    let mut desk = Desk::running(&["a", "b"], "j", spec(2, 1));
    let peer = "Connection reset by peer";
    let at = desk.now.0;
    desk.exited("b", "j", 1, saying(exit(1, ExitStatus::Code(1), at + 50), peer));
    desk.exited("a", "j", 1, saying(exit(0, ExitStatus::Code(1), at), peer));
    desk.ended("a", "j", 1);
    desk.ended("b", "j", 1);
    let Some(Outcome::Failed { first_cause, .. }) = desk.outcome("j") else {
        panic!("{:?}", desk.outcome("j"))
    };
    assert_eq!(first_cause.rank(), Some(Rank(0)));
}
