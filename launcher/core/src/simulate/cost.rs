//! What the traffic of a gang costs where it stands: the one function that all policies are measured by.

use crate::placement::fabric::{Fabric, NodeRow};

/// How the nodes of a gang talk, one volume unit per edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// Data parallel: a ring over the nodes in rank order.
    Ring,
    /// Data by pipeline parallel, both of the same volume: rings of consecutive nodes, and chains across the rings.
    Grid,
}

/// Members of a ring and stages of a grid over so many nodes, as nearly square as divides.
pub fn grid(nodes: u32) -> (u32, u32) {
    let stages = (1..=nodes).take_while(|stages| u64::from(*stages).pow(2) <= u64::from(nodes));
    let stages = stages.filter(|stages| nodes.is_multiple_of(*stages)).max().unwrap_or(1);
    (nodes / stages, stages)
}

/// Pairs of nodes that exchange a unit.
pub(super) fn edges(pattern: Pattern, nodes: u32) -> Vec<(u32, u32)> {
    let (members, stages) = match pattern {
        Pattern::Ring => (nodes, 1),
        Pattern::Grid => grid(nodes),
    };
    let mut edges = Vec::new();
    for stage in 0..stages {
        for member in 0..members {
            let slot = stage * members + member;
            if members > 1 {
                edges.push((slot, stage * members + (member + 1) % members));
            }
            if stage + 1 < stages {
                edges.push((slot, slot + members));
            }
        }
    }
    edges
}

/// The sum over domains of what leaves each times what its uplink costs, of nodes in rank order. As distances are
/// sums of uplinks, it is the sum of the distances of pairs.
pub fn cost(fabric: &Fabric, nodes: &[NodeRow], pattern: Pattern) -> u64 {
    let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let apart = |(a, b): (u32, u32)| fabric.distance(nodes[a as usize], nodes[b as usize]);
    edges(pattern, count).into_iter().map(apart).sum()
}
