//! Jobs that wait for nodes.

use std::time::Duration;

use phalanx_common::event::EventKind;
use phalanx_common::exit::ExitStatus;
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::{Config, Input, Why};

use crate::desk::{self, Desk, exit, spec};
use crate::{alone, cluster, waits_for};

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

#[test]
fn a_gang_that_starts_again_gets_back_what_it_had_whoever_waits_for_time_before_it() {
    let mut restarting = spec(1, 1);
    restarting.max_restarts = 5;
    let mut desk = Desk::running(&["a", "b"], "first", restarting.clone());
    let fail = |desk: &mut Desk, node: &str, name: &str, generation| {
        desk.exited(node, name, generation, exit(0, ExitStatus::Code(1), desk.now.0));
        desk.ended(node, name, generation);
    };
    desk.submit("second", restarting);
    let on = desk.placed().0;
    let node = on[0].to_string();
    desk.prepared(&node, "second", 1);
    desk.started(&node, "second", 1);
    fail(&mut desk, "a", "first", 1);
    desk.prepared("a", "first", 2);
    desk.started("a", "first", 2);
    fail(&mut desk, "a", "first", 2);
    assert_eq!(desk.phase("first"), GangPhase::Queued, "its second restart waits");
    assert_eq!(waits_for(&desk, "first"), "it starts again in 1.0 s");
    fail(&mut desk, &node, "second", 1);
    assert_eq!(desk.phase("second"), GangPhase::Preparing, "its first does not");
    desk.submit("third", spec(1, 1));
    assert_eq!(desk.phase("third"), GangPhase::Queued, "who is new waits for its turn");
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
