//! Where tables and statements put nodes, if they tell a part, or other things than each other.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod support;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Evidence, Network, Source, Tier, TierInterval, derive, findings};
use phalanx_formats::outline::Outline;
use phalanx_formats::{csv, ibnetdiscover, slurm, statement, topograph};
use support::capture;

const AT: Timestamp = Timestamp(0);

fn table(text: &str, origin: &str) -> Vec<Evidence> {
    csv::read(text.as_bytes()).unwrap().evidence(Source::Csv, origin, AT)
}

fn stated(text: &str) -> Vec<Evidence> {
    statement::read(text.as_bytes(), "site.yaml", AT).unwrap()
}

fn facts(evidence: &[Vec<Evidence>]) -> Network {
    derive(&[], &evidence.concat(), AT).unwrap()
}

fn between(network: &Network, a: &str, b: &str) -> TierInterval {
    network.distance(network.node(a).unwrap(), network.node(b).unwrap())
}

/// Plane and groups of a node, the closest first.
fn place(network: &Network, node: &str) -> Vec<String> {
    let places = &network.nodes[network.node(node).unwrap() as usize].places;
    let text = |place: &phalanx_common::topology::Place| {
        let groups = place.groups.iter().map(|row| &network.groups[*row as usize]);
        let groups: Vec<String> = groups.map(|group| format!("{} {}", group.tier, group.name)).collect();
        groups.join(", ")
    };
    places.iter().map(text).collect()
}

fn conf(network: &Network) -> String {
    slurm::write_conf(&Outline::of(network))
}

#[test]
fn what_nodes_are_said_to_be_in_nests_as_the_same_table_does() {
    let said = facts(&[stated(
        "nodes:\n  'n[1-2]': {leaf: l1, block: b1, core: c1}\n  'n[3-4]': {leaf: l2, block: b1, core: c1}\n\
         \x20 'n[5-6]': {leaf: l3, block: b2, core: c1}\n",
    )]);
    let written = facts(&[table(
        "node,leaf,block,core\nn1,l1,b1,c1\nn2,l1,b1,c1\nn3,l2,b1,c1\nn4,l2,b1,c1\nn5,l3,b2,c1\nn6,l3,b2,c1\n",
        "racks.csv",
    )]);
    let expected = "SwitchName=l1 Nodes=n[1-2]\nSwitchName=l2 Nodes=n[3-4]\nSwitchName=l3 Nodes=n[5-6]\n\
                    SwitchName=b1 Switches=l[1-2]\nSwitchName=b2 Switches=l3\nSwitchName=c1 Switches=b[1-2]\n";
    assert_eq!(conf(&said), expected);
    assert_eq!(conf(&written), expected);
    for (node, other) in [("n1", "n2"), ("n1", "n3"), ("n1", "n5")] {
        assert_eq!(between(&said, node, other), between(&written, node, other));
    }
    // One who stands elsewhere leaves the leaf's block unknown, and what is said of the others is theirs.
    let apart = facts(&[stated("nodes:\n  'n[1-2]': {leaf: l1, block: b1}\n  n3: {leaf: l1, block: b2}\n")]);
    assert!(apart.groups.iter().all(|group| group.parent.is_none()));
    assert_eq!(between(&apart, "n1", "n3"), TierInterval::exactly(Tier::Leaf));
}

#[test]
fn a_node_whose_leaf_and_block_are_stated_is_in_one_plane() {
    let network = facts(&[stated(
        "nodes:\n  gpu-01: {leaf: leaf-1, block: b1}\n  'gpu-[02-04]': {leaf: leaf-2}\n\
         switches:\n  leaf-1: {uplinks: 18, under: [spine-1, spine-2], block: b1}\n  leaf-2: {plane: compute}\n",
    )]);
    assert_eq!(network.planes.len(), 2);
    assert_eq!(place(&network, "gpu-01").len(), 1, "{:?}", place(&network, "gpu-01"));
    assert_eq!(place(&network, "gpu-02"), ["leaf leaf-2"]);
}
