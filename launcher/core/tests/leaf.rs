//! Nodes under one leaf that go at once.
#![allow(clippy::unwrap_used, reason = "helpers of tests end where something is wrong")]
#![expect(clippy::expect_used, reason = "in a test that is how it fails")]

#[allow(dead_code, reason = "other tests use the rest")]
mod desk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use desk::{Desk, spec};
use phalanx_common::event::{Cause, EventKind};
use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Source, derive};
use phalanx_formats::csv;
use phalanx_launcher_core::stock::{Told, Topology};
use phalanx_launcher_core::{Config, Input};

const NODES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Three nodes under each of two leaves, and a job on all of them that may start again.
fn running() -> Desk {
    let table = "node,leaf,spine\na,s1,x\nb,s1,x\nc,s1,x\nd,s2,x\ne,s2,x\nf,s2,x\n";
    let outline = csv::read(table.as_bytes()).unwrap();
    let evidence = outline.evidence(Source::Csv, "the table", Timestamp(1));
    let network = derive(&[], &evidence, Timestamp(2)).unwrap();
    let ids: BTreeMap<String, NodeId> = NODES.map(|node| (node.to_owned(), NodeId::new(node))).into();
    let nodes = NODES.map(|node| (NodeId::new(node), Told::default())).into();
    let mut desk = Desk::new(Config::default(), &NODES);
    desk.input(Input::Topology(Arc::new(Topology { network, ids, nodes })));
    let mut job = spec(6, 1);
    job.max_restarts = 1;
    desk.submit("j", job);
    NODES.iter().for_each(|node| desk.prepared(node, "j", 1));
    NODES.iter().for_each(|node| desk.started(node, "j", 1));
    desk
}

/// What the restart was for, once these nodes had gone, each so long after the one before.
fn cause(lost: &[&str], apart: Duration) -> Cause {
    let mut desk = running();
    for node in lost {
        desk.input(Input::NodeDisconnected { node: NodeId::new(*node) });
        desk.now = desk.now + apart;
    }
    while let Some((deadline, _)) = desk.coordinator.poll_timeout() {
        desk.timeout(deadline.max(desk.now));
    }
    for node in NODES.iter().filter(|node| !lost.contains(*node)) {
        desk.ended(node, "j", 1);
    }
    let mut restarts = desk.events.iter().filter_map(|event| match &event.kind {
        EventKind::GangRestarting { cause, .. } => Some(cause.clone()),
        _ => None,
    });
    restarts.next_back().expect("the gang starts again")
}

#[test]
fn a_burst_under_one_leaf_blames_the_leaf() {
    let leaf = cause(&["b", "a"], Duration::from_secs(1));
    let nodes = ["a", "b"].map(NodeId::new).to_vec();
    assert_eq!(leaf, Cause::LeafLost { leaf: "s1".to_owned(), nodes });
    assert_eq!(leaf.to_string(), "leaf s1 is lost, and with it nodes a, b");
}

#[test]
fn nodes_that_go_alone_or_elsewhere_or_long_after_each_other_are_blamed_themselves() {
    let second = Duration::from_secs(1);
    for (lost, apart) in [
        (&["a"][..], second),
        (&["a", "d"], second),
        (&["a", "b"], Duration::from_secs(61)),
        (&NODES, second),
    ] {
        let cause = cause(lost, apart);
        assert!(matches!(cause, Cause::NodeLost { .. }), "{lost:?}: {cause}");
    }
}
