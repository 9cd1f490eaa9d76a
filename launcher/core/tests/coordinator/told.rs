//! What people are told of a job: its status, an explanation, warnings.

use phalanx_common::explanation::{Explained, Refused};
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::spec::{Elastic, Shape};
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::{Config, Coordinator, Input};

use crate::desk::{self, Desk, spec};
use crate::{alone, cluster, waits_for};

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
fn why_a_job_waits_is_told_of_nodes_that_went_and_came_back() {
    let mut desk = cluster(&["a", "b", "c"]);
    desk.submit("first", alone(2));
    desk.submit("second", alone(2));
    desk.input(Input::NodeDisconnected { node: NodeId::new("c") });
    let (status, found) = (waits_for(&desk, "second"), explained(&desk, "second"));
    assert_eq!(found.why, "needs 2 nodes with 1 free slot each, 0 can take it");
    assert!(status.starts_with(&found.why) && status.contains("node c is unreachable"), "{status}");
    assert!(found.nodes.iter().any(|node| node.node == "c" && node.why == "is unreachable"), "{found:?}");
    desk.hello("c", Vec::new());
    assert_eq!(explained(&desk, "second").why, "needs 2 nodes with 1 free slot each, 1 can take it");
}

#[test]
fn explain_says_that_a_job_runs_whose_nodes_the_next_reign_does_not_know_yet() {
    let mut desk = cluster(&["a", "b"]);
    desk.submit("j", spec(2, 1));
    ["a", "b"].into_iter().for_each(|node| desk.prepared(node, "j", 1));
    ["a", "b"].into_iter().for_each(|node| desk.started(node, "j", 1));
    let config = Config { cluster: true, ..Config::default() };
    let next = Coordinator::new(config, desk.coordinator.epoch(), &desk.records);
    let mut next = Desk::over(next, &desk);
    let explain = |desk: &Desk| {
        let (planning, job, waits) = desk.coordinator.planning_of(&desk::job("j")).unwrap();
        planning.explain(&job, waits.as_ref())
    };
    let Explained::Runs { why } = explain(&next) else { panic!("{:?}", explain(&next)) };
    assert!(
        why.starts_with("it runs on a, b; nothing is known of a, b since the coordinator began"),
        "{why}"
    );
    next.hello_with("a", "j", 1);
    let Explained::Placed(placed) = explain(&next) else { panic!("{:?}", explain(&next)) };
    assert_eq!(placed.notes, ["nothing was heard of b since the coordinator began"]);
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
