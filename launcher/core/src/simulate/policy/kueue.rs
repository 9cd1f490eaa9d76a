//! Kueue's topology-aware scheduling.

use super::{Ask, Cluster, Policy, levels, open};
use crate::placement::fabric::{DomainRow, NodeRow};

/// "Phase 1: determine pod counts for each topology domain", rolled up; "phase 2: select the lowest level that fits", there the domain
/// with the least free capacity that holds all pods (`BestFit`), else a level above; then level by level down, the domains with the
/// most first, and as the last the one with the least that holds what is left (Kubernetes SIGs, Kueue, KEP-2724 "Topology Aware Scheduling",
/// with `podset-preferred-topology` at the leaf switch).
///
/// A pod is the share of one node, and a host holds as many as its free GPUs. "Rank-ordered ungating": pods take their places in the order of
/// the domains.
#[derive(Clone, Copy, Debug)]
pub struct Kueue;

impl Policy for Kueue {
    fn choose(&mut self, cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>> {
        let fabric = cluster.fabric();
        let pods = |domain: &DomainRow| -> u32 {
            (1..=cluster.per_node() / ask.gpus).map(|pods| cluster.with(*domain, pods * ask.gpus)).sum()
        };
        let holds = |domain: &DomainRow| pods(domain) >= ask.nodes;
        let top = levels(fabric).find_map(|rows| rows.filter(holds).min_by_key(pods))?;
        let mut chosen = vec![top];
        while let Some(lower) = chosen.first().map(|domain| fabric.domain(*domain)).filter(|it| it.level > 0)
        {
            debug_assert!(chosen.iter().all(|domain| fabric.domain(*domain).level == lower.level));
            let below = chosen.iter().flat_map(|domain| fabric.domain(*domain).children.clone());
            chosen = fewest(below.map(|domain| (pods(&domain), domain)).collect(), ask.nodes)?;
        }
        let hosts = chosen.iter().flat_map(|domain| open(cluster, *domain, ask.gpus));
        let mut nodes =
            fewest(hosts.map(|node| (cluster.free_on(node) / ask.gpus, node)).collect(), ask.nodes)?;
        nodes.sort_unstable();
        Some(nodes)
    }
}

/// The largest first, and as the last the smallest that holds the rest.
fn fewest(mut domains: Vec<(u32, u32)>, pods: u32) -> Option<Vec<u32>> {
    domains.sort_unstable_by_key(|(count, row)| (std::cmp::Reverse(*count), *row));
    let mut left = pods;
    let mut chosen = Vec::new();
    for at in 0..domains.len() {
        let (count, row) = domains[at];
        if count >= left {
            let last = domains[at..].iter().filter(|(count, _)| *count >= left).min()?;
            chosen.push(last.1);
            return Some(chosen);
        }
        left -= count;
        chosen.push(row);
    }
    None
}
