//! What an operator states against the cables: it counts, it is shown, and the tree stays one.

use phalanx_common::topology::{
    Claim, End, Evidence, Member, Network, Source, SwitchId, Tier, TierInterval, derive, findings,
};

use crate::{NOW, attached, between, linked, say};

/// Two leaves with three nodes each, under a spine each, under one core.
fn two_blocks() -> Vec<Evidence> {
    let mut evidence = Vec::new();
    for (leaf, spine) in [("a", "s1"), ("b", "s2")] {
        for node in 1..=3 {
            evidence.push(attached(&format!("{leaf}{node}"), "eth0", leaf, Source::Lldp));
        }
        evidence.extend([linked(leaf, spine, 1), linked(spine, "core", 1)]);
    }
    evidence
}

fn leaf(node: &str, leaf: &str) -> Evidence {
    let (end, switch) = (End::of_node(node), SwitchId::named(leaf));
    say(Claim::Attached { end, switch, switch_port: None, speed_mbps: None }, Source::Operator)
}

fn block(node: &str, group: &str) -> Evidence {
    let (member, group) = (Member::Node(node.to_string()), group.to_string());
    say(Claim::Member { member, tier: Tier::Block, group }, Source::Operator)
}

fn with(stated: impl IntoIterator<Item = Evidence>) -> Network {
    derive(&[], &two_blocks().into_iter().chain(stated).collect::<Vec<_>>(), NOW).unwrap()
}

fn planes(network: &Network) -> Vec<&str> {
    network.planes.iter().map(|plane| plane.name.as_str()).collect()
}

fn disagree(network: &Network) -> Vec<String> {
    let told = findings(network).iter().map(ToString::to_string).collect::<Vec<_>>();
    told.into_iter().filter(|told| told.contains("disagree")).collect()
}

/// Of every node, each group is below the next of its place.
fn assert_one_tree(network: &Network) {
    for place in network.nodes.iter().flat_map(|node| &node.places) {
        for pair in place.groups.windows(2) {
            assert_eq!(network.groups[pair[0] as usize].parent, Some(pair[1]), "{:?}", network.groups);
        }
    }
}

#[test]
fn a_stated_leaf_that_nobody_else_knows_is_in_the_network_of_its_nodes() {
    let network = with(["a1", "a2"].map(|node| leaf(node, "new")));
    assert_eq!(planes(&network), ["ethernet"]);
    assert_eq!(between(&network, "a1", "a2"), TierInterval::exactly(Tier::Leaf));
    assert_eq!(between(&network, "a1", "a3"), TierInterval { best: Tier::Block, worst: Tier::Site });
    assert_eq!(
        disagree(&network)[0],
        "a1: sources disagree about its leaf in ethernet: the operator (test) says new, \
         LLDP (its port eth0) says a; the first counts, for its source ranks higher"
    );
    assert_one_tree(&network);
}

#[test]
fn a_stated_plane_that_is_called_as_one_that_is_found_is_that_one() {
    let plane = |plane: &str| {
        let (switch, plane) = (SwitchId::named("new"), plane.to_string());
        say(Claim::Plane { switch, plane }, Source::Operator)
    };
    let network = with([leaf("a1", "new"), plane("ethernet")]);
    assert_eq!((planes(&network), network.conflicts.len()), (vec!["ethernet"], 1));
    let network = with([leaf("a1", "new"), plane("other")]);
    assert_eq!((planes(&network), network.conflicts.len()), (vec!["ethernet", "other"], 0));
}

#[test]
fn nodes_of_a_leaf_that_are_stated_to_be_in_another_block_are_told_and_no_longer_under_it() {
    let network = with(["a1", "a2"].map(|node| block(node, "s2")));
    assert_eq!(
        disagree(&network)[0],
        "a1: sources disagree about its block: the operator (test) says s2, \
         LLDP (its port eth0) says s1; the first counts, for its source ranks higher"
    );
    assert_eq!(between(&network, "a1", "a2"), TierInterval::exactly(Tier::Leaf));
    assert_eq!(between(&network, "a1", "b1"), TierInterval::exactly(Tier::Block));
    assert_eq!(between(&network, "a1", "a3"), TierInterval::exactly(Tier::Core));
    assert_one_tree(&network);
}

#[test]
fn a_leaf_of_which_all_nodes_are_stated_to_be_in_one_block_is_in_it() {
    let network = with(["a1", "a2", "a3"].map(|node| block(node, "s2")));
    assert_eq!(disagree(&network).len(), 3);
    assert_eq!(between(&network, "a1", "a3"), TierInterval::exactly(Tier::Leaf));
    assert_eq!(network.groups.iter().filter(|group| group.tier == Tier::Leaf).count(), 2);
    assert_one_tree(&network);
}

#[test]
fn a_block_that_is_given_another_name_is_no_conflict() {
    let network = with(["a1", "a2", "a3"].map(|node| block(node, "row-1")));
    assert_eq!(disagree(&network), [""; 0]);
    assert_eq!(
        between(&network, "a1", "b1"),
        TierInterval::exactly(Tier::Core),
        "it is below the core as before"
    );
    assert_one_tree(&network);
}

#[test]
fn a_network_with_cables_keeps_its_stated_name_and_another_that_is_found_is_not_it() {
    let mut evidence = two_blocks();
    evidence.push(attached("z1", "eth0", "z", Source::Lldp));
    evidence.push(linked("z", "zs", 1));
    let plane = Claim::Plane { switch: SwitchId::named("z"), plane: "ethernet".to_string() };
    evidence.push(say(plane, Source::Operator));
    let network = derive(&[], &evidence, NOW).unwrap();
    let mut names = planes(&network);
    names.sort_unstable();
    assert_eq!(names, ["ethernet", "ethernet-2"]);
    let of = |switch: &str| network.switches.iter().find(|it| it.name == switch).unwrap().plane;
    assert_ne!(of("z"), of("a"), "no cable leads from one to the other");
}

#[test]
fn what_is_stated_as_the_cables_have_it_is_no_conflict() {
    let core = |node: &str| {
        let member = Member::Node(node.to_string());
        say(Claim::Member { member, tier: Tier::Core, group: "core".to_string() }, Source::Operator)
    };
    let nodes = ["a1", "a2", "a3"];
    let network = with(nodes.map(|node| block(node, "row-1")).into_iter().chain(nodes.map(core)));
    assert_eq!(disagree(&network), [""; 0]);
}

#[test]
fn a_stated_leaf_is_in_the_network_that_jobs_take_though_its_nodes_have_a_slower_infiniband_too() {
    let mut evidence = Vec::new();
    let mut told = Vec::new();
    for (number, node) in (1u64..).zip(["a1", "a2"]) {
        evidence.push(crate::dumped(number, node, "ib0", 100));
        let at = |port: &str, switch: &str, mbps: u32| {
            let (end, switch) = (End::of_port(node, port), SwitchId::named(switch));
            let switch = SwitchId { chassis: Some("local e".to_string()), ..switch };
            say(Claim::Attached { end, switch, switch_port: None, speed_mbps: Some(mbps) }, Source::Lldp)
        };
        evidence.push(at("eth0", "e", 400_000));
        told.push(crate::told(node, &[("ib0", 56_000, None), ("eth0", 400_000, None)]));
    }
    evidence.push(leaf("a1", "new"));
    let network = derive(&told, &evidence, NOW).unwrap();
    let of = |switch: &str| network.switches.iter().find(|it| it.name == switch).unwrap().plane;
    assert_eq!(of("new"), network.main, "{:?}", network.planes);
    assert_eq!(of("new"), of("e"));
}

/// Three nodes under a leaf of which nothing is known above.
fn lone_leaf(stated: impl IntoIterator<Item = Evidence>) -> Network {
    let attached = ["a1", "a2", "a3"].map(|node| attached(node, "eth0", "a", Source::Lldp));
    derive(&[], &attached.into_iter().chain(stated).collect::<Vec<_>>(), NOW).unwrap()
}

#[test]
fn nodes_of_two_stated_blocks_are_not_under_one_leaf_though_nothing_is_known_above_it() {
    let two = [block("a1", "b1"), block("a2", "b2")];
    let network = lone_leaf(two.clone());
    assert_ne!(between(&network, "a1", "a2").best, Tier::Leaf, "{:?}", network.groups);
    assert_one_tree(&network);
    let network = lone_leaf(two.into_iter().chain([block("a3", "b1")]));
    assert_ne!(between(&network, "a1", "a2").best, Tier::Leaf, "{:?}", network.groups);
    assert_eq!(between(&network, "a1", "a3"), TierInterval::exactly(Tier::Leaf));
    let with_cable = network.groups.iter().find(|group| !group.switches.is_empty()).unwrap();
    assert_eq!(network.groups[with_cable.parent.unwrap() as usize].name, "b1", "most of its nodes are there");
    assert_one_tree(&network);
}

#[test]
fn a_leaf_of_which_one_block_alone_is_known_is_in_it() {
    let network = lone_leaf([block("a1", "b1")]);
    assert_eq!(between(&network, "a1", "a2"), TierInterval::exactly(Tier::Leaf));
    assert_one_tree(&network);
}

#[test]
fn two_statements_of_one_operator_that_contradict_each_other_are_both_told() {
    let of_leaf = |group: &str| {
        let (member, group) = (Member::Switch(SwitchId::named("a")), group.to_string());
        say(Claim::Member { member, tier: Tier::Block, group }, Source::Operator)
    };
    assert_eq!(
        disagree(&lone_leaf([of_leaf("b1"), block("a1", "b2")])),
        ["a1: sources disagree about its block: the operator (test) says b2, the operator (test) says b1; \
          the first counts, for it is said of the node itself"]
    );
    assert_eq!(
        disagree(&lone_leaf([block("a1", "b1"), block("a1", "b2")])),
        ["a1: sources disagree about its block: the operator (test) says b1, the operator (test) says b2; \
          the first counts, for nothing tells them apart"]
    );
    let two = derive(&[], &[leaf("n1", "l1"), leaf("n1", "l2"), leaf("n2", "l2")], NOW).unwrap();
    assert_eq!(
        disagree(&two),
        ["n1: sources disagree about its leaf in declared: the operator (test) says l1, \
          the operator (test) says l2; the first counts, for nothing tells them apart"]
    );
}
