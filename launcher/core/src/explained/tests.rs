use std::net::IpAddr;

use phalanx_common::id::{Epoch, Incarnation};
use phalanx_common::identity::Owner;
use phalanx_common::report::{NodeReport, Report};

use super::*;
use crate::input::{Config, Input};
use crate::testing::job;

const NOW: Timestamp = Timestamp(1_000_000);

fn heard(coordinator: &mut Coordinator, node: &str) {
    let report = NodeReport {
        node: NodeId::new(node),
        incarnation: Incarnation(1),
        host_name: node.into(),
        cores: 8,
        slots: 1,
        user: None,
        clock: NOW,
        version: "1".into(),
        ports: (20_000, 20_009),
        address: IpAddr::from([127, 0, 0, 1]),
        interface: Some("lo".into()),
        networks: Vec::new(),
        pods: Vec::new(),
    };
    let report = Report::Hello(Box::new(report));
    coordinator.handle(NOW, Input::Report { node: NodeId::new(node), report });
}

fn submit(coordinator: &mut Coordinator, name: &str, nodes: u32) -> Planning {
    let spec = job(&format!("name: {name}, nodes: {nodes}, ranksPerNode: 1"));
    let id = JobId::from_existing(name);
    let owner = Owner { name: "ann".into(), unix_user: None };
    let submit = Input::Submit { job: id.clone(), spec: Box::new(spec), owner, attached: false };
    coordinator.handle(NOW, submit);
    coordinator.planning_of(&id).unwrap().0
}

#[test]
fn jobs_behind_a_queue_are_looked_at_without_a_copy_of_the_nodes() {
    let mut coordinator = Coordinator::new(Config { cluster: true, ..Config::default() }, Epoch(1), &[]);
    ["a", "b"].into_iter().for_each(|node| heard(&mut coordinator, node));
    let first = submit(&mut coordinator, "first", 1);
    submit(&mut coordinator, "large", 2);
    let behind: Vec<Planning> =
        (0..3).map(|at| submit(&mut coordinator, &format!("behind-{at}"), 1)).collect();
    for planning in &behind {
        assert!(Arc::ptr_eq(&planning.stock, &coordinator.stock));
        // As it is without jobs is asked for each of them.
        assert!(std::ptr::eq(planning.stock.emptied_of_jobs(), behind[0].stock.emptied_of_jobs()));
    }
    // A question that was asked before sees what was there then.
    let free = |planning: &Planning| planning.stock.node(0).slots.0 + planning.stock.node(1).slots.0;
    let before = free(&first);
    heard(&mut coordinator, "c");
    assert_eq!((free(&first), first.stock.fabric().nodes().len()), (before, 2));
    let next = submit(&mut coordinator, "next", 1);
    assert_eq!(next.stock.fabric().nodes().len(), 3);
    assert_eq!(next.stock.emptied_of_jobs().free().at_least(crate::placement::free::Class::Slots, 0, 1), 3);
}

#[test]
fn of_a_full_node_is_told_what_it_would_lack_with_nothing_on_it() {
    let mut coordinator = Coordinator::new(Config { cluster: true, ..Config::default() }, Epoch(1), &[]);
    ["a", "b"].into_iter().for_each(|node| heard(&mut coordinator, node));
    submit(&mut coordinator, "first", 2);
    let why = |planning: &Planning, keys: &str| {
        let spec = job(&format!("name: other, nodes: 2, ranksPerNode: 1{keys}"));
        let nobody = BTreeMap::new();
        let request = planning.request(&spec, None, &nobody);
        let found = plan(&planning.stock, &request);
        let Explained::Refused(refused) = found else { panic!("{found:?}") };
        refused.reasons.into_iter().map(|reason| reason.why).collect::<Vec<_>>()
    };
    let planning = submit(&mut coordinator, "second", 1);
    assert_eq!(why(&planning, ""), ["has 0 of 1 slots free"]);
    let untold = why(&planning, ", resources: {devices: {count: 1}}");
    assert!(untold.len() == 1 && !untold[0].contains("slots"), "{untold:?}");
}
