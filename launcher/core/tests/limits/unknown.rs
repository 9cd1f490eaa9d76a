//! Tiers of which nothing is known, and nodes of which nobody told anything.

use crate::cluster::{leaves, placed, refused, stock};

#[test]
fn nothing_is_within_one_block_where_no_blocks_are_known() {
    let stock = leaves(&[("a", "s1"), ("b", "s1"), ("c", "s2"), ("d", "s2")]);
    let two = placed(&stock, "nodes: 2, ranksPerNode: 8, placement: {require: {all: block}}");
    assert_eq!(two.tier.name(), "leaf", "what is on one leaf is in one block");
    let far = refused(&stock, "nodes: 3, ranksPerNode: 8, placement: {require: {all: block}}");
    assert!(
        far.why.contains(
            "no block is known here that holds several leaves: state it with --topology, or require leaf or site for all"
        ),
        "{}",
        far.why
    );
    assert_eq!(far.changes[0], "it fits with --require-tier site (`require: {all: site}`)");
    let wide = placed(&stock, "nodes: 3, ranksPerNode: 8");
    assert_eq!(wide.tier.name(), "site", "which is all that is sure");
    let groups = "nodes: 4, ranksPerNode: 8, parallelism: {tp: 32}, placement: {require: {tp: block}}";
    let far = refused(&stock, groups);
    assert!(far.why.contains("no block is known here"), "{}", far.why);
}

#[test]
fn nodes_are_spread_only_over_what_is_known() {
    let on_leaves = leaves(&[("a", "s1"), ("b", "s1"), ("c", "s2"), ("d", "s3")]);
    let blocks = refused(&on_leaves, "nodes: 2, ranksPerNode: 8, placement: {spread: block}");
    assert!(blocks.why.contains("no block is known here"), "{}", blocks.why);
    assert_eq!(placed(&on_leaves, "nodes: 3, ranksPerNode: 8, placement: {spread: leaf}").domains, 3);
    // What is on different leaves is in different NVLink domains.
    assert_eq!(placed(&on_leaves, "nodes: 3, ranksPerNode: 8, placement: {spread: nvlink}").domains, 3);
    let closer = refused(&on_leaves, "nodes: 4, ranksPerNode: 8, placement: {spread: nvlink}");
    assert!(closer.why.contains("no NVLink domain is known here"), "{}", closer.why);
    let nowhere = stock(&[("-/-/a", None), ("-/-/b", None)]);
    let apart = refused(&nowhere, "nodes: 2, ranksPerNode: 8, placement: {spread: leaf}");
    assert!(apart.why.contains("no leaf is known here"), "{}", apart.why);
}
