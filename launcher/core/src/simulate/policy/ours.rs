//! The placement of Phalanx.

use std::collections::{BTreeMap, BTreeSet};

use super::super::cost::grid;
use super::{Ask, Cluster, Pattern, Policy};
use crate::placement::across::{Need, choose};
use crate::placement::fabric::{Fabric, NodeRow, ROOT};
use crate::placement::free::Class;
use crate::placement::order::{
    self, Domain, Effort, Group, GroupKind, Layout, Problem, SlotGraph, Tree, solve,
};
use crate::placement::partly::partly_used;
use crate::placement::supply::Supply;

/// Orders that are remembered. Gangs that are spread alike are ordered alike.
const REMEMBERED: usize = 4_096;

/// Which domains give how many nodes by [`choose`], a share of a node by [`partly_used`], and the order that costs least for the pattern
/// by [`solve`].
#[derive(Clone, Debug, Default)]
pub struct Ours {
    orders: BTreeMap<(Pattern, Vec<Part>), Option<Vec<u32>>>,
}

/// Nodes of a gang in one lowest domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    nodes: u32,
    /// Below the domain that it shares with the part before, what its uplinks cost, the lowest first.
    uplinks: Vec<u64>,
    /// How many of them are its own, and not the part's before.
    own: usize,
}

impl Policy for Ours {
    fn choose(&mut self, cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>> {
        let (fabric, free, class) = (cluster.fabric(), cluster.free(), Class::Devices);
        if ask.nodes == 1
            && let Some(node) = partly_used(fabric, free, class, (ask.gpus, cluster.per_node()), |_| true)
        {
            return Some(vec![node]);
        }
        let supply = Supply::indexed(fabric, free, class, ask.gpus, BTreeSet::new());
        let need = Need { nodes: ask.nodes, within: fabric.depth(), unit: None, apart: None, beside: 0 };
        let chosen = choose(&supply, &need).ok()?;
        let shares = chosen.shares.iter();
        Some(shares.flat_map(|share| supply.of(share.domain).take(share.nodes as usize)).collect())
    }

    fn order(&mut self, cluster: &Cluster<'_>, nodes: &[NodeRow], pattern: Pattern) -> Vec<NodeRow> {
        // For a ring the order of the tree is optimal.
        if pattern == Pattern::Ring {
            return nodes.to_vec();
        }
        let parts = parts(cluster.fabric(), nodes);
        if self.orders.len() >= REMEMBERED {
            self.orders.clear();
        }
        let key = (pattern, parts);
        if !self.orders.contains_key(&key) {
            let solved = solved(&key.1, cluster.fabric().depth());
            self.orders.insert(key.clone(), solved);
        }
        match self.orders.get(&key) {
            Some(Some(order)) => order.iter().map(|at| nodes[*at as usize]).collect(),
            _ => nodes.to_vec(),
        }
    }
}

/// The parts of nodes in the order of the tree.
fn parts(fabric: &Fabric, nodes: &[NodeRow]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut before: Option<NodeRow> = None;
    for node in nodes {
        let own = before.map_or(fabric.depth(), |before| fabric.meet(before, *node));
        match parts.last_mut().filter(|_| own == 0) {
            Some(part) => part.nodes += 1,
            None => {
                let uplinks = fabric.path(*node).iter().map(|domain| fabric.domain(*domain).uplink).collect();
                parts.push(Part { nodes: 1, uplinks, own });
            }
        }
        before = Some(*node);
    }
    parts
}

/// For each slot which of the nodes in the order of the tree takes it.
fn solved(parts: &[Part], depth: usize) -> Option<Vec<u32>> {
    let count: u32 = parts.iter().map(|part| part.nodes).sum();
    let (members, stages) = grid(count);
    let group = |kind, size| Group { volume: 1, ..Group::of(kind, size) };
    let layout =
        Layout::new(vec![group(GroupKind::Dp, members), group(GroupKind::Pp, stages)], count).ok()?;
    let graph = SlotGraph::even(&layout, 1).ok()?;
    let level = |level: usize| order::Level::try_from(level).ok();
    let mut domains = vec![Domain { parent: None, uplink: 0, level: level(depth)?, capacity: 0 }];
    // Of each level, the domain that the last part is in.
    let mut path = vec![ROOT; depth + 1];
    for part in parts {
        for at in (0..part.own).rev() {
            let parent = if at + 1 < depth { path[at + 1] } else { ROOT };
            path[at] = u32::try_from(domains.len()).ok()?;
            let capacity = if at == 0 { part.nodes } else { 0 };
            domains.push(Domain {
                parent: Some(parent),
                uplink: part.uplinks[at],
                level: level(at)?,
                capacity,
            });
        }
    }
    let tree = Tree::new(domains).ok()?;
    let counts: Vec<u32> = parts.iter().map(|part| part.nodes).collect();
    let problem = Problem::new(&graph, &tree, Some(&counts)).ok()?;
    let solution = solve(&problem, &Effort::default())?;
    let mut next: Vec<u32> =
        counts.iter().scan(0, |sum, nodes| Some(std::mem::replace(sum, *sum + nodes))).collect();
    let take = |leaf: &u32| {
        let next = next.get_mut(*leaf as usize)?;
        *next += 1;
        Some(*next - 1)
    };
    solution.leaves.iter().map(take).collect()
}
