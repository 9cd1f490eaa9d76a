//! What is written of one of the leaves of a network: the others stay with it, or that they do not is said.

use phalanx_common::topology::{
    Claim, End, Evidence, Finding, Network, NodePorts, Source, SwitchId, Tier, TierInterval, derive, findings,
};

use crate::{NOW, attached, between, linked, say, told};

/// Four hosts, each with a bond to both leaves of one of two pairs, as LLDP has them. Nothing is known above.
fn pairs(bond: Option<&str>) -> (Vec<NodePorts>, Vec<Evidence>) {
    let (mut nodes, mut evidence) = (Vec::new(), Vec::new());
    for (pair, node) in [(1, "n1"), (1, "n2"), (2, "n3"), (2, "n4")] {
        nodes.push(told(node, &[("eth0", 100_000, bond), ("eth1", 100_000, bond), ("eth9", 1_000, None)]));
        for (port, side) in [("eth0", "a"), ("eth1", "b")] {
            evidence.push(attached(node, port, &format!("leaf-{pair}{side}"), Source::Lldp));
        }
        evidence.push(attached(node, "eth9", &format!("office-{pair}"), Source::Lldp));
    }
    (nodes, evidence)
}

fn plane(switch: &str, plane: &str) -> Evidence {
    let (switch, plane) = (SwitchId::named(switch), plane.to_string());
    say(Claim::Plane { switch, plane }, Source::Operator)
}

fn under(lower: &str, upper: &str, source: Source) -> Evidence {
    let (lower, upper) = (SwitchId::named(lower), SwitchId::named(upper));
    say(Claim::Under { lower, upper }, source)
}

fn with(bond: Option<&str>, stated: &[Evidence]) -> Network {
    let (nodes, evidence) = pairs(bond);
    derive(&nodes, &[&evidence, stated].concat(), NOW).unwrap()
}

fn found(network: &Network) -> Vec<String> {
    let told = |found: &Finding| format!("{:?} {found}", found.severity);
    findings(network).iter().map(told).collect()
}

#[test]
fn a_plane_that_is_stated_of_one_leaf_of_a_pair_is_told_with_both() {
    let network = with(Some("bond0"), &[plane("leaf-1a", "compute")]);
    assert_eq!(
        found(&network),
        [
            "Warning leaf-1a: 2 nodes hang on leaves of one network, by bonds, and what is written of some of them \
             puts these into several planes: leaf-1a in compute, leaf-1b in ethernet-100G; the operator (test) wrote of leaf-1a"
        ]
    );
    let advice = findings(&network)[0].advice();
    assert!(advice.starts_with("state of all of these leaves what is stated of the first"), "{advice}");
    // It is known for ports that are not bonded too, where it may be meant.
    let said = found(&with(None, &[plane("leaf-1a", "compute")]));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("Notice leaf-1a: 2 nodes hang on leaves of one network, and what"),
        "{said:?}"
    );
}

#[test]
fn the_leaf_that_something_is_written_of_is_named_with_who_wrote_it_and_where() {
    let mut wrote = plane("leaf-1b", "compute");
    (wrote.origin, wrote.line) = ("site.yaml".to_string(), Some(7));
    assert_eq!(
        found(&with(Some("bond0"), &[wrote])),
        [
            "Warning leaf-1b: 2 nodes hang on leaves of one network, by bonds, and what is written of some of them \
             puts these into several planes: leaf-1b in compute, leaf-1a in ethernet-100G; \
             the operator (site.yaml, line 7) wrote of leaf-1b"
        ]
    );
}

#[test]
fn what_one_leaf_of_a_pair_is_stated_to_be_under_splits_it_and_is_told_and_of_both_it_is_not() {
    let one = [under("leaf-1a", "spine", Source::Operator), under("leaf-2a", "spine", Source::Operator)];
    let network = with(Some("bond0"), &one);
    assert_eq!(
        found(&network),
        [
            "Warning leaf-1a: 4 nodes hang on leaves of one network, by bonds, and what is written of some of them \
             puts these into several planes: leaf-1a in ethernet, leaf-1b in ethernet-100G, leaf-2a in ethernet, \
             leaf-2b in ethernet-100G; the operator (test) wrote of leaf-1a"
        ]
    );
    let both =
        ["leaf-1a", "leaf-1b", "leaf-2a", "leaf-2b"].map(|leaf| under(leaf, "spine", Source::Operator));
    let network = with(Some("bond0"), &both);
    assert_eq!(found(&network), [""; 0]);
    assert_eq!(between(&network, "n1", "n3"), TierInterval::exactly(Tier::Block));
}

#[test]
fn an_import_that_knows_a_part_of_the_leaves_splits_bonds_alone() {
    let tree = [under("leaf-1a", "spine", Source::Slurm), under("leaf-2a", "spine", Source::Slurm)];
    assert_eq!(found(&with(Some("bond0"), &tree)).len(), 1);
    assert_eq!(found(&with(None, &tree)), [""; 0]);
}

#[test]
fn a_tree_of_an_import_that_has_several_tops_splits_a_network_and_is_told() {
    let of = |pairs: &[(&str, &str)]| -> Vec<Evidence> {
        pairs.iter().map(|(leaf, spine)| under(leaf, spine, Source::Slurm)).collect()
    };
    let apart = of(&[("leaf-1a", "s1"), ("leaf-2a", "s2")]);
    let says = "Notice leaf-1a: 4 nodes hang on leaves of one network, and what is written of some of them puts these into \
        several planes: leaf-1a in ethernet, leaf-2a in ethernet-2; Slurm (test) wrote of leaf-1a";
    assert_eq!(found(&with(None, &apart)), [says]);
    // With a top it is one, and so are networks of the same nodes beside each other.
    let with_top = [apart, of(&[("s1", "core"), ("s2", "core")])].concat();
    assert_eq!(found(&with(None, &with_top)), [""; 0]);
    let beside = of(&[("leaf-1a", "a"), ("leaf-2a", "a"), ("leaf-1b", "b"), ("leaf-2b", "b")]);
    assert_eq!(found(&with(None, &beside)), [""; 0]);
}

#[test]
fn leaves_that_are_all_named_are_meant_to_be_apart_and_a_nodes_leaf_splits_nothing() {
    for stated in [
        &[plane("leaf-1a", "left"), plane("leaf-1b", "right")][..],
        &[plane("leaf-1a", "one"), plane("leaf-1b", "one")],
        &[plane("office-1", "office")],
    ] {
        assert_eq!(found(&with(Some("bond0"), stated)), [""; 0], "{stated:?}");
    }
    let leaf = |node: &str| {
        let (end, switch) = (End::of_node(node), SwitchId::named("leaf-1a"));
        say(Claim::Attached { end, switch, switch_port: None, speed_mbps: None }, Source::Operator)
    };
    let network = with(Some("bond0"), &[leaf("n1"), leaf("n2")]);
    assert_eq!((found(&network), network.planes.len()), (vec![], 2));
    assert_eq!(between(&network, "n1", "n2"), TierInterval::exactly(Tier::Leaf));
}

#[test]
fn cables_hold_together_what_a_plane_is_stated_of_in_part() {
    let (nodes, mut evidence) = pairs(Some("bond0"));
    evidence.extend(["leaf-1a", "leaf-1b", "leaf-2a", "leaf-2b"].map(|leaf| linked(leaf, "spine", 2)));
    evidence.push(plane("leaf-1a", "compute"));
    let network = derive(&nodes, &evidence, NOW).unwrap();
    assert_eq!(found(&network), [""; 0]);
    assert_eq!(network.planes[network.main.unwrap() as usize].name, "compute");
}
