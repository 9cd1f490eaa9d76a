use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::placement::fabric::{Member, NodeRow, Place};
use crate::placement::free::{Class, Free, Room};
use phalanx_common::id::NodeId;
use phalanx_common::topology::{Capacity, Tier};

/// Blocks of leaves with so many nodes, of which the first so many are free: `(free, all)`.
fn cluster(blocks: &[&[(u32, u32)]]) -> (Fabric, Free) {
    let mut members = Vec::new();
    let mut free_names = BTreeSet::new();
    for (block, leaves) in blocks.iter().enumerate() {
        for (leaf, (free, all)) in leaves.iter().enumerate() {
            for node in 0..*all {
                let id = format!("b{block}l{leaf}n{node}");
                if node < *free {
                    free_names.insert(id.clone());
                }
                let place = |name: String| Some(Place { name, cables: None });
                members.push(Member {
                    id: NodeId::new(&id),
                    name: id,
                    places: vec![place(format!("l{leaf}")), place(format!("b{block}"))],
                    blemishes: Vec::new(),
                });
            }
        }
    }
    let fabric = Fabric::build(&[Tier::Leaf, Tier::Block], members).fabric;
    let mut free = Free::new(&fabric);
    for row in 0..fabric.nodes().len() as NodeRow {
        let devices = if free_names.contains(&fabric.node(row).name) { 0xff } else { 0 };
        free.set(&fabric, row, Some(Room { devices, slots: 8 }));
    }
    (fabric, free)
}

fn need(nodes: u32) -> Need {
    Need { nodes, within: 2, unit: None, apart: None, beside: 0 }
}

/// The nodes that each leaf gives, by `block/leaf`.
fn chosen(blocks: &[&[(u32, u32)]], need: &Need) -> Result<Vec<String>, u32> {
    let (fabric, free) = cluster(blocks);
    let supply = Supply::indexed(&fabric, &free, Class::Devices, 8, BTreeSet::new());
    let name = |share: &Share| {
        let leaf = fabric.domain(share.domain);
        format!("{}/{}:{}", fabric.domain(leaf.parent).name, leaf.name, share.nodes)
    };
    choose(&supply, need).map(|chosen| chosen.shares.iter().map(name).collect())
}

#[test]
fn a_gang_goes_to_the_fullest_leaf_that_holds_it() {
    let blocks: &[&[(u32, u32)]] = &[&[(8, 8), (3, 8)], &[(4, 8), (8, 8)]];
    assert_eq!(chosen(blocks, &need(3)).unwrap(), ["b0/l1:3"]);
    assert_eq!(chosen(blocks, &need(4)).unwrap(), ["b1/l0:4"]);
    assert_eq!(chosen(blocks, &need(5)).unwrap(), ["b0/l0:5"], "of equal leaves the first");
}

#[test]
fn a_gang_that_no_leaf_holds_goes_to_the_block_where_it_hangs_on_the_fewest_leaves() {
    let blocks: &[&[(u32, u32)]] = &[&[(4, 8), (3, 8), (3, 8)], &[(6, 8), (4, 8)]];
    assert_eq!(chosen(blocks, &need(10)).unwrap(), ["b1/l0:6", "b1/l1:4"]);
    assert_eq!(chosen(blocks, &need(7)).unwrap(), ["b0/l0:4", "b0/l1:3"], "and the least is left");
}

#[test]
fn a_large_free_leaf_is_kept_where_smaller_ones_do_as_well() {
    let blocks: &[&[(u32, u32)]] = &[&[(8, 8), (8, 8), (5, 8), (4, 8)]];
    assert_eq!(chosen(blocks, &need(9)).unwrap(), ["b0/l2:5", "b0/l3:4"]);
    assert_eq!(chosen(blocks, &need(12)).unwrap(), ["b0/l0:8", "b0/l3:4"]);
}

#[test]
fn what_no_block_holds_takes_whole_blocks_first() {
    let blocks: &[&[(u32, u32)]] = &[&[(4, 4), (4, 4)], &[(4, 4), (4, 4), (4, 4)], &[(2, 4)]];
    assert_eq!(chosen(blocks, &need(14)).unwrap(), ["b1/l0:4", "b1/l1:4", "b1/l2:4", "b2/l0:2"]);
    let close = Need { within: 1, ..need(14) };
    assert_eq!(chosen(blocks, &close), Err(12), "the largest block has twelve");
    assert_eq!(chosen(blocks, &need(23)), Err(22));
}

#[test]
fn of_equals_the_domains_with_the_widest_uplinks_are_taken() {
    let leaves = |block: &str, live: &[u32], nodes: u32| {
        let cables = |live: &u32| Some(Capacity { live: *live, expected: 18 });
        let mut members = Vec::new();
        for (leaf, live) in live.iter().enumerate() {
            for node in 0..nodes {
                let id = format!("{block}l{leaf}n{node}");
                let at = Place { name: format!("l{leaf}"), cables: cables(live) };
                let above = Place { name: block.to_owned(), cables: None };
                members.push(Member {
                    id: NodeId::new(&id),
                    name: id,
                    places: vec![Some(at), Some(above)],
                    blemishes: Vec::new(),
                });
            }
        }
        members
    };
    let names = |members: Vec<Member>, nodes: u32| {
        let fabric = Fabric::build(&[Tier::Leaf, Tier::Block], members).fabric;
        let mut free = Free::new(&fabric);
        for row in 0..fabric.nodes().len() as NodeRow {
            free.set(&fabric, row, Some(Room { devices: 0xff, slots: 8 }));
        }
        let supply = Supply::indexed(&fabric, &free, Class::Devices, 8, BTreeSet::new());
        let name = |share: &Share| {
            let leaf = fabric.domain(share.domain);
            format!("{}/{}:{}", fabric.domain(leaf.parent).name, leaf.name, share.nodes)
        };
        choose(&supply, &need(nodes)).unwrap().shares.iter().map(name).collect::<Vec<_>>()
    };
    // The first block is the fuller one once eight are taken.
    let blocks = [leaves("b0", &[1, 1], 4), leaves("b1", &[18, 18, 18], 4)].concat();
    assert!(names(blocks, 8).iter().all(|name| name.starts_with("b1")));
    assert_eq!(names(leaves("b0", &[9, 18, 1, 18], 4), 8), ["b0/l1:4", "b0/l3:4"]);
}

#[test]
fn units_are_whole_in_their_leaf() {
    // Ten nodes are free, but of units of four only 1 + 1 + 0.
    let blocks: &[&[(u32, u32)]] = &[&[(4, 8), (5, 8), (3, 8)]];
    let units = |nodes| Need { unit: Some(Unit { nodes: 4, level: 0 }), ..need(nodes) };
    assert_eq!(chosen(blocks, &units(8)).unwrap(), ["b0/l0:4", "b0/l1:4"]);
    assert_eq!(chosen(blocks, &units(12)), Err(8));
    let blocks: &[&[(u32, u32)]] = &[&[(3, 8), (3, 8)], &[(2, 8), (1, 8)]];
    let in_block = Need { unit: Some(Unit { nodes: 4, level: 1 }), ..need(4) };
    assert_eq!(
        chosen(blocks, &in_block).unwrap(),
        ["b0/l0:3", "b0/l1:1"],
        "a block's four need no leaf of four"
    );
}

#[test]
fn nodes_that_are_to_be_apart_are_on_leaves_of_their_own_as_close_as_can_be() {
    let blocks: &[&[(u32, u32)]] = &[&[(4, 8), (0, 8)], &[(6, 8), (1, 8), (2, 8)]];
    let apart = |nodes| Need { apart: Some(0), ..need(nodes) };
    assert_eq!(chosen(blocks, &apart(3)).unwrap(), ["b1/l0:1", "b1/l1:1", "b1/l2:1"]);
    assert_eq!(chosen(blocks, &apart(4)).unwrap(), ["b0/l0:1", "b1/l0:1", "b1/l1:1", "b1/l2:1"]);
    assert_eq!(chosen(blocks, &apart(5)), Err(4));
    let in_a_block = |nodes| Need { within: 1, ..apart(nodes) };
    assert_eq!(chosen(blocks, &in_a_block(3)).unwrap(), ["b1/l0:1", "b1/l1:1", "b1/l2:1"]);
    assert_eq!(chosen(blocks, &in_a_block(4)), Err(3));
    let blocks_apart = Need { apart: Some(1), ..need(2) };
    assert_eq!(chosen(blocks, &blocks_apart).unwrap(), ["b0/l0:1", "b1/l1:1"]);
}

#[test]
fn nodes_that_are_to_be_apart_are_whole_units_of_a_block() {
    let blocks: &[&[(u32, u32)]] = &[&[(4, 8), (1, 8), (2, 8)], &[(6, 8), (1, 8), (2, 8)]];
    let pairs = |nodes| Need { apart: Some(0), unit: Some(Unit { nodes: 2, level: 1 }), ..need(nodes) };
    assert_eq!(chosen(blocks, &pairs(4)).unwrap(), ["b0/l0:1", "b0/l1:1", "b1/l0:1", "b1/l1:1"]);
    assert_eq!(chosen(blocks, &pairs(6)), Err(4), "a third of a pair is in neither block");
    assert_eq!(chosen(blocks, &Need { within: 1, ..pairs(4) }), Err(2));
    let on_a_leaf = Need { unit: Some(Unit { nodes: 2, level: 0 }), ..pairs(2) };
    assert_eq!(chosen(blocks, &on_a_leaf), Err(1), "two of a leaf are not apart");
}

#[test]
fn a_node_of_which_nothing_is_known_is_near_to_nobody() {
    let member = |name: &str, places: Vec<Option<Place>>| Member {
        id: NodeId::new(name),
        name: name.into(),
        places,
        blemishes: Vec::new(),
    };
    let place = |name: &str| Some(Place { name: name.into(), cables: None });
    let members = [
        member("x2", vec![]),
        member("x1", vec![]),
        member("n1", vec![place("s1"), place("b1")]),
        member("n2", vec![None, place("b1")]),
        member("n3", vec![place("s1"), place("b1")]),
    ];
    let fabric = Fabric::build(&[Tier::Leaf, Tier::Block], members).fabric;
    let names: Vec<&str> = fabric.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["n1", "n3", "n2", "x1", "x2"]);
    assert_eq!([fabric.meet(0, 1), fabric.meet(0, 2), fabric.meet(3, 4)], [0, 1, 2]);
    assert_eq!([fabric.distance(0, 1), fabric.distance(0, 2), fabric.distance(3, 4)], [0, 128, 384]);
}

/// Every way of giving so many nodes to the leaves, by the fewest leaves within the lowest domain that holds them.
fn fewest_leaves(blocks: &[Vec<u32>], nodes: u32) -> Option<usize> {
    let fewest = |leaves: &[u32]| {
        let mut leaves = leaves.to_vec();
        leaves.sort_unstable_by_key(|free| Reverse(*free));
        let mut sum = 0;
        leaves.iter().position(|free| {
            sum += free;
            sum >= nodes
        })
    };
    if blocks.iter().flatten().any(|free| *free >= nodes) {
        return Some(1);
    }
    let in_block = blocks.iter().filter_map(|block| fewest(block)).min();
    in_block.map(|last| last + 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_chosen_is_there_and_is_in_the_lowest_domain_that_holds_it(
        blocks in prop::collection::vec(prop::collection::vec(0u32..=6, 1..5), 1..4),
        nodes in 1u32..24,
    ) {
        let with_all: Vec<Vec<(u32, u32)>> =
            blocks.iter().map(|leaves| leaves.iter().map(|free| (*free, 6)).collect()).collect();
        let slices: Vec<&[(u32, u32)]> = with_all.iter().map(Vec::as_slice).collect();
        let (fabric, free) = cluster(&slices);
        let supply = Supply::indexed(&fabric, &free, Class::Devices, 8, BTreeSet::new());
        let all: u32 = blocks.iter().flatten().sum();
        match choose(&supply, &need(nodes)) {
            Err(most) => {
                prop_assert_eq!(most, all);
                prop_assert!(all < nodes);
            }
            Ok(chosen) => {
                prop_assert_eq!(chosen.shares.iter().map(|share| share.nodes).sum::<u32>(), nodes);
                for share in &chosen.shares {
                    prop_assert!(share.nodes <= supply.nodes_in(share.domain));
                }
                if let Some(fewest) = fewest_leaves(&blocks, nodes) {
                    prop_assert!(fabric.domain(chosen.top).level < 2);
                    prop_assert_eq!(chosen.shares.len(), fewest);
                }
            }
        }
    }

    /// Blocks of leaves, of which some have a node; units of a block, no two nodes on a leaf.
    #[test]
    fn nodes_apart_in_units_are_found_wherever_blocks_hold_them(
        blocks in prop::collection::vec(prop::collection::vec(any::<bool>(), 1..7), 1..5),
        unit in 2u32..4,
        units in 1u32..5,
    ) {
        let with_all: Vec<Vec<(u32, u32)>> =
            blocks.iter().map(|leaves| leaves.iter().map(|free| (u32::from(*free) * 2, 2)).collect()).collect();
        let slices: Vec<&[(u32, u32)]> = with_all.iter().map(Vec::as_slice).collect();
        let open = |leaves: &Vec<bool>| leaves.iter().filter(|free| **free).count() as u32;
        let holds: Vec<u32> = blocks.iter().map(|leaves| open(leaves) / unit * unit).collect();
        let nodes = unit * units;
        let need = Need { apart: Some(0), unit: Some(Unit { nodes: unit, level: 1 }), ..need(nodes) };
        match chosen(&slices, &need) {
            Err(_) => prop_assert!(holds.iter().sum::<u32>() < nodes),
            Ok(chosen) => {
                prop_assert_eq!(chosen.len(), nodes as usize);
                let of = |block: usize| chosen.iter().filter(|it| it.starts_with(&format!("b{block}/"))).count();
                let of_blocks: Vec<u32> = (0..blocks.len()).map(|block| of(block) as u32).collect();
                prop_assert!(of_blocks.iter().all(|nodes| nodes.is_multiple_of(unit)), "{of_blocks:?}");
                if holds.iter().any(|held| *held >= nodes) {
                    prop_assert_eq!(of_blocks.iter().filter(|nodes| **nodes > 0).count(), 1);
                }
            }
        }
    }

    #[test]
    fn counts_that_follow_deltas_are_those_of_a_fresh_count(
        steps in prop::collection::vec((0u32..18, any::<u64>(), 0u32..100, any::<bool>()), 0..60),
    ) {
        let leaf = [(6, 6), (3, 6), (0, 6)];
        let (fabric, mut free) = cluster(&[&leaf]);
        for (node, devices, slots, usable) in steps {
            free.set(&fabric, node, usable.then_some(Room { devices, slots }));
            let mut fresh = Free::new(&fabric);
            for row in 0..18 {
                fresh.set(&fabric, row, free.on(row));
            }
            prop_assert_eq!(&free, &fresh);
            for class in [Class::Devices, Class::Slots] {
                let supply = Supply::indexed(&fabric, &free, class, 3, BTreeSet::from([2, 7]));
                let counted = Supply::counted(&fabric, &free, |row| supply.takes(row));
                for domain in 0..fabric.domains().len() as u32 {
                    prop_assert_eq!(supply.nodes_in(domain), counted.nodes_in(domain));
                }
            }
        }
    }
}
