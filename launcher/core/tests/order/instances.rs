//! Random small problems.

use phalanx_launcher_core::placement::order::{Domain, Group, GroupKind, Layout, Pattern, SlotGraph, Tree};
use proptest::prelude::*;

pub(crate) const LEAF: u8 = 5;
pub(crate) const BLOCK: u8 = 6;
const TOP: u8 = 8;

#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) groups: Vec<Group>,
    pub(crate) share: u32,
    pub(crate) domains: Vec<Domain>,
}

impl Instance {
    pub(crate) fn ranks(&self) -> u32 {
        self.groups.iter().map(|group| group.size).product()
    }

    pub(crate) fn graph(&self) -> SlotGraph {
        let layout = Layout::new(self.groups.clone(), self.ranks()).expect("a layout");
        SlotGraph::even(&layout, self.share).expect("slots")
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::new(self.domains.clone()).expect("a tree")
    }

    pub(crate) fn room(&self) -> u32 {
        self.domains.iter().map(|domain| domain.capacity).sum()
    }
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![
        4 => Just(Pattern::Ring),
        3 => Just(Pattern::Chain),
        2 => Just(Pattern::AllToAll),
        1 => Just(Pattern::Tree),
    ]
}

/// One to three groups above the first, which fills the slots.
fn groups(most: u32) -> impl Strategy<Value = (Vec<Group>, u32)> {
    let dim = (2..=12u32, pattern(), 1..=8u64);
    let inner = prop_oneof![Just((1u32, 1u32)), Just((2, 2)), Just((4, 2)), Just((1, 2))];
    (inner, prop::collection::vec(dim, 1..=3)).prop_filter_map("size", move |((size, share), dims)| {
        let kinds = [GroupKind::Ep, GroupKind::Dp, GroupKind::Pp];
        let group = |kind, (size, pattern, volume)| Group { kind, size, pattern, volume, within: None };
        let mut groups = vec![group(GroupKind::Tp, (size, Pattern::Ring, 3))];
        groups.extend(kinds.into_iter().zip(dims).map(|(kind, dim)| group(kind, dim)));
        let ranks: u32 = groups.iter().map(|group| group.size).product();
        (ranks.is_multiple_of(share) && (2..=most).contains(&(ranks / share))).then_some((groups, share))
    })
}

/// Leaves with room for 1 to 8 slots under one root or under blocks, some with a degraded uplink.
fn domains() -> impl Strategy<Value = Vec<Domain>> {
    let leaf = (1..=8u32, prop_oneof![5 => Just(64u64), 1 => Just(96), 1 => Just(128)]);
    let block = (prop::collection::vec(leaf, 1..=4), prop_oneof![4 => Just(128u64), 1 => Just(160)]);
    let flat = any::<bool>();
    (flat, prop::collection::vec(block, 1..=4)).prop_map(|(flat, blocks)| {
        let mut domains = vec![Domain { parent: None, uplink: 0, level: TOP, capacity: 0 }];
        for (leaves, uplink) in blocks {
            let parent = if flat { 0 } else { domains.len() as u32 };
            if !flat {
                domains.push(Domain { parent: Some(0), uplink, level: BLOCK, capacity: 0 });
            }
            for (capacity, uplink) in leaves {
                domains.push(Domain { parent: Some(parent), uplink, level: LEAF, capacity });
            }
        }
        domains
    })
}

/// Problems of at most `most` slots that have room for all, but not three times as much.
pub(crate) fn instance(most: u32) -> impl Strategy<Value = Instance> {
    (groups(most), domains()).prop_filter_map("room", |((groups, share), domains)| {
        let instance = Instance { groups, share, domains };
        let slots = instance.ranks() / share;
        (slots..slots * 3).contains(&instance.room()).then_some(instance)
    })
}

/// Grids on two to four leaves, some of them under blocks, that are filled unevenly and nearly full.
pub(crate) fn nearly_full(most: u32) -> impl Strategy<Value = Instance> {
    let leaf = (1..=9u32, 0..=2u32, prop_oneof![5 => Just(64u64), 1 => Just(96)], any::<bool>());
    let leaves = (prop::collection::vec(leaf, 2..=4), any::<bool>());
    (groups(most), leaves).prop_map(|((groups, share), (leaves, flat))| {
        let mut instance = Instance { groups, share, domains: Vec::new() };
        let domains = &mut instance.domains;
        domains.push(Domain { parent: None, uplink: 0, level: TOP, capacity: 0 });
        let mut parent = 0;
        let parts: u32 = leaves.iter().map(|leaf| leaf.0).sum();
        for (part, more, uplink, is_first) in leaves {
            if !flat && (is_first || parent == 0) {
                parent = domains.len() as u32;
                domains.push(Domain { parent: Some(0), uplink: 128, level: BLOCK, capacity: 0 });
            }
            let capacity = (instance.groups.iter().map(|group| group.size).product::<u32>() / share * part)
                .div_ceil(parts);
            domains.push(Domain { parent: Some(parent), uplink, level: LEAF, capacity: capacity + more / 2 });
        }
        instance
    })
}

/// Groups that nodes of six ranks cut through, so that nodes form no grid.
pub(crate) fn no_grid(most: u32) -> impl Strategy<Value = Instance> {
    let dim = || (2..=12u32, pattern(), 1..=8u64);
    (dim(), dim(), domains()).prop_filter_map("a grid, or no room", move |(one, other, domains)| {
        let group = |kind, (size, pattern, volume)| Group { kind, size, pattern, volume, within: None };
        let tp = group(GroupKind::Tp, (4, Pattern::Ring, 3));
        let groups = vec![tp, group(GroupKind::Dp, one), group(GroupKind::Pp, other)];
        let instance = Instance { groups, share: 6, domains };
        let slots = instance.ranks() / 6;
        let fits = instance.ranks().is_multiple_of(6)
            && (13..=most).contains(&slots)
            && (slots..slots * 3).contains(&instance.room());
        (fits && instance.graph().dims().is_empty()).then_some(instance)
    })
}

/// Those of [`instance`] with hard limits, feasible or not.
pub(crate) fn limited(most: u32) -> impl Strategy<Value = Instance> {
    let level = prop_oneof![3 => Just(None), 2 => Just(Some(LEAF)), 2 => Just(Some(BLOCK))];
    (instance(most), prop::collection::vec(level, 4)).prop_map(|(mut instance, levels)| {
        for (group, level) in instance.groups.iter_mut().zip(levels) {
            group.within = level;
        }
        instance
    })
}
