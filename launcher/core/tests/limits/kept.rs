//! Gangs that lost nodes.

use crate::cluster::{gpus, kept, stock};

#[test]
fn a_lost_node_is_replaced_by_one_of_the_same_kind() {
    let (old, new) = (Some(gpus("A100", 8, 1, true)), Some(gpus("H100", 8, 1, true)));
    let nodes = [
        ("b1/l1/a", new.clone()),
        ("b1/l1/b", new.clone()),
        ("b1/l1/c", old),
        ("b2/l2/d", new.clone()),
        ("b2/l2/e", new),
    ];
    let keys = "nodes: 2, ranksPerNode: 8, resources: {devices: {count: 1}}";
    let kept_with =
        |more: &str| kept(&stock(&nodes), &format!("{keys}{more}"), &["a", "b"], &["b"], &[]).unwrap();
    assert_eq!(kept_with(""), ["a", "d"], "c is nearer, and unlike");
    assert_eq!(kept_with(", placement: {mixed: true}"), ["a", "c"]);
}

#[test]
fn a_lost_node_is_replaced_by_one_in_which_groups_are_as_close() {
    let (whole, halves) = (Some(gpus("H100", 8, 1, true)), Some(gpus("H100", 8, 2, true)));
    let nodes =
        [("b1/l1/a", whole.clone()), ("b1/l1/b", whole.clone()), ("b1/l1/c", halves), ("b2/l2/d", whole)];
    let keys = |require: &str| {
        let devices = "resources: {devices: {count: 1}}";
        format!(
            "nodes: 2, ranksPerNode: 8, {devices}, parallelism: {{tp: 8, dp: 2}}, placement: {{require: {{{require}}}}}"
        )
    };
    let kept_with = |require: &str| kept(&stock(&nodes), &keys(require), &["a", "b"], &["b"], &[]);
    assert_eq!(kept_with("tp: island").unwrap(), ["a", "d"]);
    assert_eq!(kept_with("tp: node").unwrap(), ["a", "c"]);
}

#[test]
fn a_spare_that_breaks_what_is_required_is_passed_over_for_a_node_that_does_not() {
    let paths = ["b1/l1/a", "b1/l1/b", "b1/l2/c", "b1/l2/d", "b2/l3/e", "b2/l3/f"];
    let nodes: Vec<_> = paths.iter().map(|path| (*path, None)).collect();
    let stock = stock(&nodes);
    let three = "nodes: 3, ranksPerNode: 8, placement: ";
    let held = kept(&stock, &format!("{three}{{require: {{all: block}}}}"), &["a", "b", "c"], &["b"], &["e"]);
    assert_eq!(held.unwrap(), ["a", "d", "c"]);
    let free = kept(&stock, &format!("{three}{{require: {{all: site}}}}"), &["a", "b", "c"], &["b"], &["e"]);
    assert_eq!(free.unwrap(), ["a", "e", "c"], "what was held back comes first");
    // Pairs of nodes are groups: what replaces one is on the leaf of the other.
    let pairs = "nodes: 4, ranksPerNode: 8, parallelism: {tp: 16, dp: 2}, placement: {require: {tp: leaf}}";
    let on = |last: &[&str], lost: &[&str], spares: &[&str]| kept(&stock, pairs, last, lost, spares);
    assert_eq!(on(&["a", "b", "e", "f"], &["e", "f"], &["c"]).unwrap(), ["a", "b", "c", "d"]);
    assert_eq!(on(&["a", "b", "e", "f"], &["f"], &["c"]), None, "only another pair would do");
    let apart = format!("{three}{{spread: leaf}}");
    assert_eq!(kept(&stock, &apart, &["a", "c", "e"], &["c"], &["b"]).unwrap(), ["a", "d", "e"]);
}

#[test]
fn both_of_a_pair_are_replaced_by_a_pair_though_the_nearest_leaf_has_one() {
    let paths = ["b1/l1/a", "b1/l1/b", "b1/l1/x", "b2/l2/c", "b2/l2/d", "b3/l3/e", "b3/l3/f"];
    let nodes: Vec<_> = paths.iter().map(|path| (*path, None)).collect();
    let pairs = "nodes: 4, ranksPerNode: 8, parallelism: {tp: 16, dp: 2}, placement: {require: {tp: leaf}}";
    let gang = kept(&stock(&nodes), pairs, &["a", "b", "c", "d"], &["c", "d"], &[]);
    assert_eq!(gang.unwrap(), ["a", "b", "e", "f"]);
}

#[test]
fn a_gang_that_no_longer_holds_what_is_required_is_not_kept() {
    let nodes = stock(&[("b1/l1/a", None), ("b2/l2/b", None)]);
    let keys = "nodes: 2, ranksPerNode: 8, placement: {require: {all: block}}";
    assert_eq!(kept(&nodes, keys, &["a", "b"], &[], &[]), None, "by what is known by now");
    assert_eq!(kept(&nodes, "nodes: 2, ranksPerNode: 8", &["b", "a"], &[], &[]).unwrap(), ["b", "a"]);
}
