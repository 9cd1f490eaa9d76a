//! Gangs that are placed for the first time.

use crate::cluster::{explained, gpus, names, placed, refused, stock};
use phalanx_common::explanation::Explained;

#[test]
fn nodes_that_are_to_be_apart_are_within_what_is_required_all_the_same() {
    let four = "nodes: 4, ranksPerNode: 8, placement: {spread: leaf, require: {all: block}}";
    let two_each = stock(&[
        ("b1/l1/a", None),
        ("b1/l2/b", None),
        ("b1/l2/c", None),
        ("b2/l3/d", None),
        ("b2/l4/e", None),
    ]);
    let far = refused(&two_each, four);
    assert!(
        far.why.contains(
            "it needs 4 nodes within one block, and the largest block, b1, has 2 that can take a share"
        ),
        "{}",
        far.why
    );
    let names_of = |paths: &[&str]| {
        let nodes: Vec<_> = paths.iter().map(|path| (*path, None)).collect();
        names(&placed(&stock(&nodes), four)).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    // Leaves next to each other in the order of the tree are of two blocks; the later block alone has four.
    let paths = ["b1/l1/a", "b1/l2/b", "b1/l3/c", "b2/l4/d", "b2/l5/e", "b2/l6/f", "b2/l7/g"];
    assert_eq!(names_of(&paths), ["d", "e", "f", "g"]);
}

#[test]
fn groups_that_have_to_be_near_to_one_numa_node_are_where_that_is_known() {
    let keys = |tp: u32, tier: &str| {
        let devices = "resources: {devices: {count: 1}}";
        format!(
            "nodes: 1, ranksPerNode: {tp}, {devices}, parallelism: {{tp: {tp}}}, placement: {{require: {{tp: {tier}}}}}"
        )
    };
    let known = stock(&[("b/l/n", Some(gpus("H100", 8, 1, true)))]);
    assert_eq!(placed(&known, &keys(4, "numa")).ranks, 4);
    refused(&known, &keys(8, "numa"));
    assert_eq!(placed(&known, &keys(8, "island")).ranks, 8);
    let unknown = stock(&[("b/l/n", Some(gpus("H100", 8, 8, false)))]);
    refused(&unknown, &keys(4, "numa"));
    refused(&unknown, &keys(2, "island"));
    // Nobody told what is in it.
    let untold = stock(&[("b/l/n", None)]);
    let ranks = |tier: &str| {
        format!("nodes: 1, ranksPerNode: 4, parallelism: {{tp: 4}}, placement: {{require: {{tp: {tier}}}}}")
    };
    refused(&untold, &ranks("numa"));
    assert_eq!(placed(&untold, &ranks("node")).ranks, 4);
}

#[test]
fn one_node_of_many_that_has_what_a_group_requires_is_found() {
    let (lone, linked) = (gpus("H100", 8, 8, true), gpus("H100", 8, 1, true));
    let paths: Vec<String> = (0..70).map(|node| format!("b/l/n{node:02}")).collect();
    let mut nodes: Vec<_> = paths.iter().map(|path| (path.as_str(), Some(lone.clone()))).collect();
    nodes.push(("b/l/other", Some(linked)));
    let keys = "ranksPerNode: 8, resources: {devices: {count: 1}}, parallelism: {tp: 8}, placement: {require: {tp: island}}";
    let stock = stock(&nodes);
    assert_eq!(names(&placed(&stock, &format!("nodes: 1, {keys}"))), ["other"]);
    let why = refused(&stock, &format!("nodes: 2, {keys}")).why;
    assert!(why.contains("not every group of tp can be within one NVLink island"), "{why}");
}

#[test]
fn a_gang_of_one_node_leaves_nodes_of_unknown_place_to_the_last() {
    let nodes =
        stock(&[("b1/l1/a", None), ("b1/l1/b", None), ("-/-/x", None), ("b2/l2/c", None), ("b2/l2/d", None)]);
    assert_eq!(names(&placed(&nodes, "nodes: 1, ranksPerNode: 8")), ["a"]);
    let avoiding = "nodes: 1, ranksPerNode: 8, placement: {avoid: [a, b, c, d]}";
    assert_eq!(names(&placed(&nodes, avoiding)), ["x"]);
}

#[test]
fn unequal_pods_are_on_the_leaf_that_holds_them() {
    let with = |count| Some(gpus("H100", count, 1, true));
    let nodes =
        stock(&[("b1/l1/a", with(8)), ("b1/l1/b", with(2)), ("b2/l2/c", with(6)), ("b2/l2/d", with(6))]);
    for require in ["", ", require: {all: leaf}"] {
        let keys = format!("ranks: 11, placement: {{uneven: true{require}}}");
        let placed = placed(&nodes, &keys);
        assert_eq!((names(&placed), placed.tier.name()), (vec!["c", "d"], "leaf"), "{keys}");
    }
    let wide = placed(&nodes, "ranks: 17, placement: {uneven: true}");
    assert_eq!(names(&wide), ["a", "c", "d"], "as few nodes as hold them");
    let far = explained(&nodes, "ranks: 17, placement: {uneven: true, require: {all: leaf}}");
    assert!(matches!(far, Explained::Refused(_)), "{far:?}");
}

#[test]
fn unequal_pods_have_spares_that_take_the_largest_of_them() {
    let with = |count| Some(gpus("H100", count, 1, true));
    let nodes =
        [("b/l/a", with(8)), ("b/l/b", with(8)), ("b/l/c", with(2)), ("b/l/d", with(8)), ("b/l/e", with(2))];
    let keys = "ranks: 11, placement: {uneven: true, spares: 1}";
    let found = placed(&stock(&nodes), keys);
    assert_eq!((names(&found), found.spares.len()), (vec!["a", "b"], 1), "{found:?}");
    assert_eq!(found.spares[0], "d", "it could take 6 ranks");
}

#[test]
fn a_node_that_could_stand_in_for_none_is_not_held_back() {
    let three = [("b/l1/a", None), ("b/l1/b", None), ("b/l1/c", None), ("b/l2/d", None)];
    let keys = |nodes: u32| {
        format!("nodes: {nodes}, ranksPerNode: 8, placement: {{require: {{all: leaf}}, spares: 1}}")
    };
    let why = refused(&stock(&three), &keys(3)).why;
    assert!(
        why.contains("its ranks fit, and its 1 spare does not: no other node could take the share"),
        "{why}"
    );
    assert_eq!(placed(&stock(&three), &keys(2)).spares[0], "c");
}

#[test]
fn a_single_pod_fills_a_partly_used_node_whatever_else_it_asks_for() {
    let with = |count| Some(gpus("H100", count, 1, true));
    let nodes = stock(&[("b/l1/whole", with(8)), ("b/l2/few", with(2)), ("b/l2/other", with(8))]);
    for also in ["", ", placement: {avoid: [nobody]}", ", placement: {exclusive: numa}"] {
        let keys = format!("nodes: 1, ranksPerNode: 1, resources: {{devices: {{count: 1}}}}{also}");
        assert_eq!(names(&placed(&nodes, &keys)), ["few"], "{also}");
    }
}
