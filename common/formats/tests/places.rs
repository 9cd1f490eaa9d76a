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

const GAPS: &str = "\
node,leaf,spine,core,nvlink
gpu-01,leaf-1,spine-1,core-1,
gpu-02,leaf-3,spine-2,core-1,
gpu-03,leaf-3,spine-2,core-1,
gpu-04,,spine-1,core-1,
gpu-05,,,core-1,
gpu-06,leaf-2,,core-1,
gpu-07,,,,
";

#[test]
fn an_empty_field_of_a_table_is_an_unknown_place_and_no_leaf() {
    let network = facts(&[table(GAPS, "racks.csv")]);
    let leaves: Vec<&str> = network.switches.iter().filter(|it| it.level == 1).map(|it| &*it.name).collect();
    assert_eq!(leaves, ["leaf-1", "leaf-2", "leaf-3"]);
    for (node, groups) in [
        ("gpu-01", "leaf leaf-1, block spine-1, core core-1"),
        ("gpu-04", "block spine-1, core core-1"),
        ("gpu-05", "core core-1"),
        ("gpu-06", "leaf leaf-2, core core-1"),
    ] {
        assert_eq!(place(&network, node), [groups], "{node}");
    }
    assert_eq!(place(&network, "gpu-07"), [""; 0]);
    let within = |worst| TierInterval { best: Tier::Leaf, worst };
    assert_eq!(between(&network, "gpu-01", "gpu-04"), within(Tier::Block));
    assert_eq!(between(&network, "gpu-02", "gpu-04"), within(Tier::Core));
    assert_eq!(between(&network, "gpu-05", "gpu-04"), within(Tier::Core));
    let apart = TierInterval { best: Tier::Block, worst: Tier::Core };
    assert_eq!(between(&network, "gpu-01", "gpu-06"), apart);
    assert_eq!(findings(&network), []);
}

#[test]
fn slurm_is_told_which_nodes_have_no_leaf_and_gets_no_switch_twice() {
    let network = facts(&[table(GAPS, "racks.csv")]);
    let written = conf(&network);
    assert_eq!(
        written,
        "# left out, as their leaf below core-1 is not known: gpu-05\n\
         # left out, as their leaf below spine-1 is not known: gpu-04\n\
         # left out, as nothing is known of their place: gpu-07\n\
         SwitchName=leaf-1 Nodes=gpu-01\nSwitchName=leaf-2 Nodes=gpu-06\nSwitchName=leaf-3 Nodes=gpu-[02-03]\n\
         SwitchName=core-1 Switches=leaf-2,spine-[1-2]\nSwitchName=spine-1 Switches=leaf-1\n\
         SwitchName=spine-2 Switches=leaf-3\n"
    );
    slurm::read_conf(written.as_bytes()).unwrap();
    let yaml = slurm::write_yaml(&Outline::of(&network));
    assert_eq!(slurm::read_yaml(yaml.as_bytes()).unwrap().nodes.len(), 4, "{yaml}");
    let json = topograph::write_json(&Outline::of(&network));
    assert_eq!(topograph::read_json(json.as_bytes()).unwrap().nodes.len(), 4, "{json}");
}

#[test]
fn what_a_switch_is_called_does_not_depend_on_rows_about_others() {
    let whole = csv::read(b"node,leaf,spine\nn1,leaf-1,spine-1\n").unwrap();
    let more =
        csv::read(b"node,leaf,spine\nn1,leaf-1,spine-1\nn2,,spine-1\nn3,leaf-1,\nn4,x,a\nn5,x,b\nn6,7,7\n");
    let more = more.unwrap();
    let on = |outline: &Outline, node: &str| -> Vec<String> {
        outline.nodes.iter().filter(|(of, _)| of == node).map(|(_, on)| on.clone()).collect()
    };
    assert_eq!(on(&whole, "n1"), ["leaf-1"]);
    let all = ["n1", "n2", "n3", "n4", "n5", "n6"].map(|node| on(&more, node).join(" "));
    assert_eq!(all, ["leaf-1", "", "leaf-1", "a/x", "b/x", "leaf/7"]);
    assert!(more.under.contains(&("leaf-1".to_string(), "spine-1".to_string())));

    // Two tables, and a statement, speak of the same leaf.
    let network = facts(&[
        table("node,leaf,spine\nn1,leaf-1,spine-1\nn2,,spine-1\n", "a.csv"),
        table("node,leaf,spine\nn3,leaf-1,spine-1\nn4,leaf-2,spine-1\n", "b.csv"),
        stated("switches:\n  leaf-1: {block: hall-1}\n"),
    ]);
    assert_eq!(between(&network, "n1", "n3"), TierInterval::exactly(Tier::Leaf));
    assert_eq!(place(&network, "n1"), ["leaf leaf-1, block hall-1"]);
    assert_eq!(findings(&network), []);
}

#[test]
fn a_row_without_a_switch_is_a_node_of_unknown_place() {
    let network = facts(&[table("node,leaf,spine\nn1,leaf-1,spine-1\nn2,,\n", "racks.csv")]);
    let names: Vec<&str> = network.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["n1", "n2"]);
    assert!(place(&network, "n2").is_empty());
    assert_eq!(between(&network, "n1", "n2").best, Tier::Leaf);
    assert!(between(&network, "n1", "n2").worst > Tier::Leaf);
}

#[test]
fn a_tree_that_is_written_in_a_ring_is_found() {
    let conf = "SwitchName=s1 Switches=s2\nSwitchName=s2 Switches=s1,leaf\nSwitchName=top Switches=s1\n\
                SwitchName=leaf Nodes=n1\n";
    let ring = slurm::read_conf(conf.as_bytes()).unwrap().evidence(Source::Slurm, "topology.conf", AT);
    let said: Vec<String> = findings(&facts(&[ring])).iter().map(ToString::to_string).collect();
    assert_eq!(said, ["s1: switches are above what is above them: s1, s2"]);
}

#[test]
fn a_name_that_several_switches_have_is_none_of_them_where_the_one_above_is_not_said() {
    let outline = csv::read(b"node,leaf,spine,core\nn1,x,a,c\nn2,x,b,c\nn3,x,,c\n").unwrap();
    assert!(!outline.nodes.iter().any(|(node, _)| node == "n3"), "{outline:?}");
    assert!(outline.within.contains(&("n3".to_string(), Tier::Core, "c".to_string())));
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
    // One who stands elsewhere is not under the leaf of the others, which is in the block of most.
    let apart = facts(&[stated("nodes:\n  'n[1-2]': {leaf: l1, block: b1}\n  n3: {leaf: l1, block: b2}\n")]);
    assert_eq!([place(&apart, "n1"), place(&apart, "n3")], [["leaf l1, block b1"], ["leaf l1, block b2"]]);
    assert_eq!(between(&apart, "n1", "n2"), TierInterval::exactly(Tier::Leaf));
    assert_eq!(between(&apart, "n1", "n3").best, Tier::Core);
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

#[test]
fn a_leaf_with_one_node_is_a_leaf() {
    let text = "SwitchName=l1 Nodes=n1\nSwitchName=l2 Nodes=n2\nSwitchName=s1 Switches=l[1-2]\n";
    let outline = slurm::read_conf(text.as_bytes()).unwrap();
    let network = facts(&[outline.evidence(Source::Slurm, "topology.conf", AT)]);
    assert_eq!(place(&network, "n1"), ["leaf l1, block s1"]);
    assert_eq!(conf(&network), text);
    assert_eq!(between(&network, "n1", "n2"), TierInterval::exactly(Tier::Block));

    let Some(bytes) = capture("ibnetdiscover/ibsim-net.2sw2path") else { return };
    let network = facts(&[ibnetdiscover::read(&bytes).unwrap().evidence("dump", AT)]);
    let leaf = |node| place(&network, node)[0].split(',').next().unwrap_or_default().to_string();
    assert_eq!((leaf("Hca1"), leaf("Hca2")), ("leaf Switch1".to_string(), "leaf Switch2".to_string()));
}

#[test]
fn a_table_with_a_node_in_two_places_names_both_lines() {
    let said = |text: &str| csv::read(text.as_bytes()).map_err(|error| error.to_string());
    assert_eq!(
        said("node,leaf,spine\ngpu-01,leaf-1,s\ngpu-02,leaf-1,s\n\ngpu-01,leaf-2,s\n"),
        Err("line 5: gpu-01 is in leaf leaf-2, and on line 2 it is in leaf leaf-1; one row should go"
            .to_string())
    );
    assert_eq!(
        said("node,leaf,nvlink\nn1,l,d1\nn1,l,d2\n"),
        Err("line 3: n1 is in nvlink d2, and on line 2 it is in nvlink d1; one row should go".to_string())
    );
    // A row for each port, and one that knows less, contradict nothing.
    let twice = said("node,leaf,spine\nn1,,s\nn1,l,s\nn1,l,s\nn1,l,\n").unwrap();
    assert_eq!(twice, said("node,leaf,spine\nn1,l,s\n").unwrap());
}

#[test]
fn the_operator_stands_against_a_table_and_unites_no_leaves() {
    let racks = table("node,leaf,spine\nn1,leaf-1,s\nn2,leaf-2,s\nn3,leaf-3,s\n", "racks.csv");
    let network = facts(&[racks.clone(), stated("nodes:\n  n1: {leaf: leaf-2}\n")]);
    assert_eq!(place(&network, "n1"), ["leaf leaf-2, block s"]);
    assert_eq!(place(&network, "n2"), place(&network, "n1"));
    assert_eq!(network.conflicts.len(), 1, "{:?}", network.conflicts);
    assert!(findings(&network)[0].to_string().contains("says leaf-2"), "{}", findings(&network)[0]);

    // One of two tables counts, and its leaf is not the other's.
    let other = table("node,leaf,spine\nn1,leaf-2,s\nn3,leaf-3,s\n", "other.csv");
    let network = facts(&[racks, other]);
    assert_eq!(network.conflicts.len(), 1);
    let names: Vec<&str> = network.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["leaf-1", "leaf-2", "leaf-3", "s"]);
}
