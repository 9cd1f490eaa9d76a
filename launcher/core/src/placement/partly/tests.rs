use phalanx_common::id::NodeId;
use phalanx_common::topology::Tier;

use super::*;
use crate::placement::fabric::{Blemish, Member, Place};
use crate::placement::free::Room;

/// Leaves of these nodes, by how many of eight GPUs are free.
fn cluster(leaves: &[&[u32]]) -> (Fabric, Free) {
    let place = |leaf: usize| vec![Some(Place { name: format!("leaf-{leaf}"), cables: None })];
    let names = leaves
        .iter()
        .enumerate()
        .flat_map(|(leaf, nodes)| (0..nodes.len()).map(move |node| (format!("n{leaf}-{node}"), leaf)));
    let members = names.map(|(name, leaf)| Member {
        id: NodeId::new(&name),
        name,
        places: place(leaf),
        blemishes: Vec::new(),
    });
    let fabric = Fabric::build(&[Tier::Leaf], members).fabric;
    let mut free = Free::new(&fabric);
    for (gpus, node) in leaves.iter().copied().flatten().zip(0..) {
        free.set(&fabric, node, Some(Room { devices: (1 << gpus) - 1, slots: 0 }));
    }
    (fabric, free)
}

fn chosen(leaves: &[&[u32]], amount: u32, without: &[NodeRow]) -> Option<NodeRow> {
    let (fabric, free) = cluster(leaves);
    partly_used(&fabric, &free, Class::Devices, (amount, 8), |node| !without.contains(&node))
}

#[test]
fn untouched_nodes_and_full_ones_are_left_alone() {
    assert_eq!(chosen(&[&[8, 8], &[8, 3]], 2, &[]), Some(3));
    assert_eq!(chosen(&[&[8, 8], &[8, 1]], 2, &[]), None);
    assert_eq!(chosen(&[&[8, 8], &[8, 3]], 8, &[]), None);
}

#[test]
fn the_tightest_of_a_leaf_is_taken_and_of_equals_the_first() {
    assert_eq!(chosen(&[&[5, 3, 4, 3]], 3, &[]), Some(1));
    assert_eq!(chosen(&[&[5, 3, 4, 3]], 3, &[1]), Some(3));
}

#[test]
fn leaves_without_untouched_nodes_come_first_and_the_others_run_empty() {
    let leaves: &[&[u32]] = &[&[1, 8, 8, 8], &[2, 3, 2, 3]];
    assert_eq!(chosen(leaves, 1, &[]), Some(4));
    assert_eq!(chosen(&[&[2, 2, 2, 2], &[1, 1, 1, 1]], 1, &[]), Some(0));
}

#[test]
fn one_with_a_blemish_is_taken_where_no_other_is_left() {
    let member = |name: &str, blemishes| Member {
        id: NodeId::new(name),
        name: name.into(),
        places: vec![Some(Place { name: "leaf".into(), cables: None })],
        blemishes,
    };
    let down = vec![Blemish::PortDown { port: "eth0".into() }];
    let fabric = Fabric::build(&[Tier::Leaf], [member("a", down), member("b", Vec::new())]).fabric;
    let mut free = Free::new(&fabric);
    for (node, devices) in [(0, 0b11), (1, 0b1111)] {
        free.set(&fabric, node, Some(Room { devices, slots: 0 }));
    }
    let chosen =
        |takes: &[NodeRow]| partly_used(&fabric, &free, Class::Devices, (2, 8), |node| takes.contains(&node));
    assert_eq!((chosen(&[0, 1]), chosen(&[0])), (Some(1), Some(0)), "though it is not the tightest");
}

#[test]
fn a_few_partly_used_nodes_are_all_looked_at() {
    let leaves: &[&[u32]] = &[&[2, 8], &[8, 3], &[1, 8], &[1, 8]];
    assert_eq!(chosen(leaves, 1, &[]), Some(4));
    assert_eq!(chosen(leaves, 1, &[4]), Some(6));
    assert_eq!(chosen(leaves, 1, &[0, 3, 4, 6]), None);
}
