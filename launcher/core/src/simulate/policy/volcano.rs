//! Volcano's network topology aware scheduling.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Ask, Cluster, Policy, levels, open};
use crate::placement::fabric::{DomainRow, Fabric, NodeRow};

/// HyperNodes of ascending tier; in the lowest tier that has one for the job, the fullest: the one with the highest (used +
/// requested) / allocatable (Volcano documentation, "Network Topology Aware Scheduling", with HyperNode binpacking). In it task by task the
/// node with the highest binpack score; of equals one in the fullest HyperNode below, and one that has tasks of the job already; then by name.
#[derive(Clone, Debug)]
pub struct Volcano {
    /// For each node, how many names come before.
    place: Vec<u32>,
}

impl Volcano {
    pub fn new(fabric: &Fabric) -> Volcano {
        let mut nodes: Vec<NodeRow> = (0..).take(fabric.nodes().len()).collect();
        nodes.sort_by_key(|node| &fabric.node(*node).name);
        let mut place = vec![0; nodes.len()];
        for (node, at) in nodes.into_iter().zip(0..) {
            place[node as usize] = at;
        }
        Volcano { place }
    }
}

impl Policy for Volcano {
    fn choose(&mut self, cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>> {
        let fabric = cluster.fabric();
        let holds = |domain: &DomainRow| cluster.with(*domain, ask.gpus) >= ask.nodes;
        // Of free and all, the smallest share first, in parts that compare exactly.
        let free_share = |domain: DomainRow, given: u64| {
            let all = fabric.domain(domain).nodes.len() as u64 * u64::from(cluster.per_node());
            let free = cluster.free_in(domain).saturating_sub(given);
            free.saturating_mul(1 << 32).checked_div(all).unwrap_or(0)
        };
        let top = levels(fabric)
            .find_map(|rows| rows.filter(holds).min_by_key(|row| (free_share(*row, 0), *row)))?;
        let mut tasks: BTreeMap<DomainRow, Vec<NodeRow>> = BTreeMap::new();
        for node in open(cluster, top, ask.gpus) {
            tasks.entry(fabric.domain_of(node, 0)).or_default().push(node);
        }
        let key = |node: &NodeRow| (cluster.free_on(*node), self.place[*node as usize]);
        for nodes in tasks.values_mut() {
            // The best is taken from the end.
            nodes.sort_unstable_by_key(|node| Reverse(key(node)));
        }
        let mut given: BTreeMap<DomainRow, u64> = BTreeMap::new();
        let mut chosen = Vec::new();
        while chosen.len() < ask.nodes as usize {
            let tasks_in = |domain: &DomainRow| given.get(domain).copied().unwrap_or(0);
            let best = tasks.iter().filter_map(|(domain, nodes)| Some((domain, *nodes.last()?)));
            let (domain, node) = best.min_by_key(|(domain, node)| {
                let (free, place) = key(node);
                let there = tasks_in(domain);
                (free, free_share(**domain, there * u64::from(ask.gpus)), Reverse(there), place)
            })?;
            let domain = *domain;
            tasks.get_mut(&domain)?.pop();
            *given.entry(domain).or_default() += 1;
            chosen.push(node);
        }
        Some(chosen)
    }
}
