//! Slurm's topology/tree.

use super::{Ask, Cluster, Policy, levels, lowest, open};
use crate::placement::fabric::NodeRow;

/// "Slurm's algorithm is to identify the lowest level switch in the hierarchy that can satisfy a job's request and then allocate
/// resources on its underlying leaf switches using a best-fit algorithm" (Slurm documentation, "Topology Guide", Hierarchical Networks).
///
/// Best fit: the leaf switch with the fewest nodes that hold what is left, else the one with the most. Nodes are ordered by leaf switch,
/// as `SwitchAsNodeRank` has it.
#[derive(Clone, Copy, Debug)]
pub struct Slurm;

impl Policy for Slurm {
    fn choose(&mut self, cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>> {
        let fabric = cluster.fabric();
        let count = |domain: &u32| cluster.with(*domain, ask.gpus);
        let holds = |domain: &u32| count(domain) >= ask.nodes;
        let top = levels(fabric).find_map(|rows| rows.filter(holds).min_by_key(count))?;
        let mut leaves: Vec<(u32, u32)> =
            lowest(fabric, top).into_iter().map(|leaf| (count(&leaf), leaf)).collect();
        let mut left = ask.nodes;
        let mut nodes = Vec::new();
        while left > 0 {
            let fits = leaves.iter().filter(|(count, _)| *count >= left).min();
            let most = || leaves.iter().max_by_key(|(count, leaf)| (*count, u32::MAX - leaf));
            let (count, leaf) = *fits.or_else(most)?;
            if count == 0 {
                return None;
            }
            leaves.retain(|(_, other)| *other != leaf);
            nodes.extend(open(cluster, leaf, ask.gpus).take(left as usize));
            left -= count.min(left);
        }
        nodes.sort_unstable();
        Some(nodes)
    }
}
