//! The counting cases that Kueue's topology-aware scheduling documents (KEP-2724: best fit, least domains, slices, required
//! and preferred levels), each small enough to be settled by hand: a rack is a leaf here, and a pod a node.

use std::collections::BTreeMap;

use crate::cluster::{placed, refused, stock};
use phalanx_common::explanation::Placed;

/// Nodes of racks: `r1: 4` are four nodes on the leaf r1 of the block that its name begins with.
fn racks(racks: &[(&str, u32)]) -> phalanx_launcher_core::stock::Stock {
    let paths: Vec<String> = racks
        .iter()
        .flat_map(|(rack, nodes)| {
            let block = rack.split('-').next().unwrap_or_default();
            (0..*nodes).map(move |node| format!("{block}/{rack}/{rack}-{node}"))
        })
        .collect();
    let nodes: Vec<_> = paths.iter().map(|path| (path.as_str(), None)).collect();
    stock(&nodes)
}

/// How many nodes it has of each rack.
fn counts(placed: &Placed) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for pod in &placed.pods {
        *counts.entry(pod.domains[0].name.clone()).or_insert(0) += 1;
    }
    counts
}

fn of(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs.iter().map(|(rack, count)| ((*rack).to_owned(), *count)).collect()
}

fn nodes(count: u32, also: &str) -> String {
    format!("nodes: {count}, ranksPerNode: 8{also}")
}

#[test]
fn best_fit_takes_the_rack_that_is_left_the_fullest() {
    let cluster = racks(&[("a-1", 6), ("a-2", 3), ("a-3", 4)]);
    assert_eq!(counts(&placed(&cluster, &nodes(3, ""))), of(&[("a-2", 3)]));
    assert_eq!(counts(&placed(&cluster, &nodes(4, ""))), of(&[("a-3", 4)]));
    assert_eq!(counts(&placed(&cluster, &nodes(5, ""))), of(&[("a-1", 5)]));
}

#[test]
fn best_fit_takes_the_block_that_is_left_the_fullest_before_the_rack() {
    let cluster = racks(&[("a-1", 4), ("a-2", 4), ("a-3", 4), ("b-1", 4), ("b-2", 2)]);
    assert_eq!(counts(&placed(&cluster, &nodes(6, ""))), of(&[("b-1", 4), ("b-2", 2)]));
}

#[test]
fn the_least_domains_are_used_and_the_last_is_the_smallest_that_does() {
    let cluster = racks(&[("a-1", 4), ("a-2", 2), ("a-3", 3), ("a-4", 3)]);
    assert_eq!(counts(&placed(&cluster, &nodes(6, ""))), of(&[("a-1", 4), ("a-2", 2)]));
    assert_eq!(counts(&placed(&cluster, &nodes(7, ""))), of(&[("a-1", 4), ("a-3", 3)]));
    assert_eq!(placed(&cluster, &nodes(12, "")).domains, 4);
}

#[test]
fn a_required_level_that_holds_too_few_refuses_and_a_preferred_one_gives_way() {
    let cluster = racks(&[("a-1", 3), ("a-2", 3), ("b-1", 2)]);
    let why = refused(&cluster, &nodes(4, ", placement: {require: {all: leaf}}")).why;
    assert!(why.contains("it needs 4 nodes within one leaf, and the largest leaf, a-1, has 3"), "{why}");
    let wide = placed(&cluster, &nodes(4, ", placement: {prefer: {all: leaf}}"));
    assert_eq!((wide.tier.name(), wide.domains), ("block", 2));
    let kept = placed(&cluster, &nodes(3, ", placement: {prefer: {all: leaf}}"));
    assert_eq!(kept.tier.name(), "leaf");
}

#[test]
fn slices_are_whole_within_their_level_though_more_nodes_would_be_there() {
    // Two nodes in a slice: a rack of three gives one slice, and the third node none.
    let cluster = racks(&[("a-1", 3), ("a-2", 3), ("a-3", 2)]);
    let slices = |count: u32| {
        let dp = count / 2;
        nodes(count, &format!(", parallelism: {{tp: 16, dp: {dp}}}, placement: {{require: {{tp: leaf}}}}"))
    };
    assert_eq!(counts(&placed(&cluster, &slices(6))), of(&[("a-1", 2), ("a-2", 2), ("a-3", 2)]));
    refused(&cluster, &slices(8));
    assert_eq!(placed(&cluster, &nodes(8, "")).domains, 3, "without slices all eight are there");
}
