//! What is sure of nodes' places counts, whatever is not known above them.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "helpers of tests end where something is wrong"
)]

mod recorded;

use std::collections::BTreeMap;

use phalanx_common::explanation::Explained;

use self::recorded::{job, request, stock};

/// The tier of the gang, or why it does not fit.
fn tier(table: &str, keys: &str) -> String {
    let stock = stock(table);
    match phalanx_launcher_core::plan(&stock, &request(&job(keys), &BTreeMap::new(), &[])) {
        Explained::Placed(placed) => placed.tier.name().to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_leaf_is_one_though_nobody_knows_its_block_or_one_of_its_nodes_alone_does() {
    let pair = "ranks: 2, ranksPerNode: 1, placement: {nodes: [a1, a2]}";
    let near = "ranks: 2, ranksPerNode: 1, placement: {nodes: [a1, a2], require: {all: leaf}}";
    // The block of another leaf is known, and of this one it is not.
    let other = "node,leaf,spine\na1,s1,\na2,s1,\nb1,s2,t\n";
    assert_eq!([pair, near].map(|keys| tier(other, keys)), ["leaf", "leaf"]);
    // One of its own nodes tells it: so it is the block of them all.
    let own = "node,leaf,spine\na1,s1,\na2,s1,t\nb1,s2,t\n";
    assert_eq!([pair, near].map(|keys| tier(own, keys)), ["leaf", "leaf"]);
    let both = "ranks: 2, ranksPerNode: 1, placement: {nodes: [a1, b1]}";
    assert_eq!(tier(own, both), "block");
    // Nothing tells that they share a block.
    assert_eq!(tier(other, both), "site");
}

#[test]
fn a_name_in_whole_is_that_node_alone_and_a_beginning_is_all_that_begin_so() {
    let table = "node,leaf\nn1,s\nn10,s\nn11,s\nn2,s\n";
    let named = |placement: &str| {
        let stock = stock(table);
        let keys = format!("ranks: 3, ranksPerNode: 1, placement: {{{placement}}}");
        match phalanx_launcher_core::plan(&stock, &request(&job(&keys), &BTreeMap::new(), &[])) {
            Explained::Placed(placed) => placed.pods.iter().map(|pod| pod.name.clone()).collect(),
            _ => Vec::new(),
        }
    };
    assert_eq!(named("avoid: [n1]"), ["n2", "n10", "n11"]);
    assert_eq!(named("nodes: [n1, n10, n2]"), ["n1", "n2", "n10"]);
    assert_eq!(named("avoid: [n2]"), ["n1", "n10", "n11"]);
}
