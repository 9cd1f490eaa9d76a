//! What happened to nodes around a failure, and what is kept of a failure once the gang runs again.

use std::sync::Arc;
use std::time::Duration;

use phalanx_common::event::EventKind;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::NodeId;
use phalanx_common::status::FailureStatus;
use phalanx_common::topology::LinkLayer;
use phalanx_common::topology::machine::{Machine, Nic};
use phalanx_launcher_core::stock::{Told, Topology};
use phalanx_launcher_core::{Config, Coordinator, Input};

use crate::desk::{Desk, exit, spec};

const NODES: [&str; 3] = ["a", "b", "c"];

/// Every node has one port, whose link works but on these.
fn links(desk: &mut Desk, down: &[&str]) {
    let told = |node: &str| {
        let up = Some(!down.contains(&node));
        let nics = vec![Nic { up, ..Nic::new("eth0", LinkLayer::Ethernet) }];
        let machine = Some(Arc::new(Machine { nics, ..Machine::default() }));
        (NodeId::new(node), Told { machine, ..Told::default() })
    };
    let nodes = NODES.iter().map(|node| told(node)).collect();
    desk.input(Input::Topology(Arc::new(Topology { nodes, ..Topology::default() })));
}

/// A job of two ranks on a and b that may start again once.
fn running() -> Desk {
    let mut job = spec(2, 1);
    job.max_restarts = 1;
    let mut desk = Desk::running(&NODES, "j", job);
    links(&mut desk, &[]);
    desk
}

/// Rank 0 fails, and nothing is left of the gang.
fn fail(desk: &mut Desk, generation: u32) {
    let at = desk.now.0;
    desk.exited("a", "j", generation, exit(0, ExitStatus::Code(7), at));
    desk.ended("a", "j", generation);
    desk.ended("b", "j", generation);
}

fn failed(desk: &Desk) -> Option<FailureStatus> {
    desk.coordinator.job_statuses(true).remove(0).failed
}

/// What was told of nodes, as an event and in the status.
fn around(desk: &Desk) -> Vec<String> {
    let told = desk.events.iter().find_map(|event| match &event.kind {
        EventKind::NodesAround { notes, .. } => Some(notes.clone()),
        _ => None,
    });
    let failed = failed(desk).expect("the gang failed");
    assert_eq!(told.unwrap_or_default(), failed.around, "the event says what the status says");
    failed.around.iter().map(|note| note.beside(failed.evidence[0].at)).collect()
}

#[test]
fn what_a_node_of_the_gang_met_within_a_minute_is_told_with_the_failure() {
    let mut desk = running();
    desk.now = desk.now + Duration::from_secs(100);
    links(&mut desk, &["b", "c"]);
    desk.now = desk.now + Duration::from_secs(5);
    fail(&mut desk, 1);
    assert_eq!(around(&desk), ["node b, 5.0 s before: eth0 has no link any more"], "c has no rank of it");

    // Another coordinator knows it from the records.
    let replayed = Coordinator::new(Config::default(), desk.coordinator.epoch(), &desk.records);
    assert_eq!(failed(&Desk::over(replayed, &desk)), failed(&desk));
}

#[test]
fn what_was_long_before_is_not_told_and_neither_is_what_the_cause_says_itself() {
    let mut desk = running();
    links(&mut desk, &["b"]);
    desk.now = desk.now + Duration::from_secs(61);
    fail(&mut desk, 1);
    assert_eq!(around(&desk), [""; 0]);

    let mut desk = running();
    desk.input(Input::NodeDisconnected { node: NodeId::new("b") });
    let (deadline, _) = desk.coordinator.poll_timeout().unwrap();
    desk.timeout(deadline);
    desk.ended("a", "j", 1);
    assert_eq!(around(&desk), [""; 0], "node b is lost, and that is the cause");
}

#[test]
fn why_a_gang_was_started_again_is_known_while_it_runs() {
    let mut desk = running();
    fail(&mut desk, 1);
    NODES[..2].iter().for_each(|node| desk.prepared(node, "j", 2));
    NODES[..2].iter().for_each(|node| desk.started(node, "j", 2));
    let first = failed(&desk).expect("the first generation failed");
    assert_eq!((first.generation, first.evidence.len()), (1, 1));
    assert_eq!(first.evidence[0].cause.exit_code(), 7);

    fail(&mut desk, 2);
    assert_eq!(failed(&desk).map(|failed| failed.generation), Some(2), "the last failure counts");
}
