//! Which nodes could take a share of a gang, and how many there are in each domain.

use std::collections::BTreeSet;

use super::fabric::{DomainRow, Fabric, NodeRow, ROOT};
use super::free::{Class, Free, MOST};

/// The nodes that can take one share each.
#[derive(Debug)]
pub struct Supply<'a> {
    fabric: &'a Fabric,
    free: &'a Free,
    by: By,
}

#[derive(Debug)]
enum By {
    /// All that have so much, but for these: `minus` of each domain that holds any.
    Index { class: Class, amount: u32, without: BTreeSet<NodeRow>, minus: Vec<(DomainRow, u32)> },
    /// Looked at one by one.
    Count { takes: Vec<bool>, nodes: Vec<u32> },
}

impl<'a> Supply<'a> {
    /// Every node with so much of a class (from 1 to [`MOST`]), except for some.
    pub fn indexed(
        fabric: &'a Fabric,
        free: &'a Free,
        class: Class,
        amount: u32,
        without: BTreeSet<NodeRow>,
    ) -> Supply<'a> {
        let has = |node: &&NodeRow| free.amount(class, **node) >= amount;
        let mut domains: Vec<DomainRow> = without
            .iter()
            .filter(has)
            .flat_map(|node| fabric.path(*node).iter().copied().chain([ROOT]))
            .collect();
        domains.sort_unstable();
        let mut minus: Vec<(DomainRow, u32)> = Vec::new();
        for domain in domains {
            match minus.last_mut() {
                Some((last, count)) if *last == domain => *count += 1,
                _ => minus.push((domain, 1)),
            }
        }
        Supply { fabric, free, by: By::Index { class, amount: amount.clamp(1, MOST), without, minus } }
    }

    /// Every node of which `takes` says so.
    pub fn counted(fabric: &'a Fabric, free: &'a Free, takes: impl FnMut(NodeRow) -> bool) -> Supply<'a> {
        let takes: Vec<bool> = (0..).take(fabric.nodes().len()).map(takes).collect();
        let mut nodes = vec![0; fabric.domains().len()];
        for (domain, count) in fabric.domains().iter().zip(&mut nodes) {
            let range = domain.nodes.start as usize..domain.nodes.end as usize;
            *count = takes[range].iter().map(|takes| u32::from(*takes)).sum();
        }
        Supply { fabric, free, by: By::Count { takes, nodes } }
    }

    pub fn fabric(&self) -> &'a Fabric {
        self.fabric
    }

    /// How many nodes of a domain can take a share.
    pub fn nodes_in(&self, domain: DomainRow) -> u32 {
        match &self.by {
            By::Index { class, amount, minus, .. } => {
                let all = self.free.at_least(*class, domain, *amount);
                match minus.binary_search_by_key(&domain, |(domain, _)| *domain) {
                    Ok(at) => all.saturating_sub(minus[at].1),
                    Err(_) => all,
                }
            }
            By::Count { nodes, .. } => nodes[domain as usize],
        }
    }

    /// Whether a node can take a share.
    pub fn takes(&self, node: NodeRow) -> bool {
        match &self.by {
            By::Index { class, amount, without, .. } => {
                self.free.amount(*class, node) >= *amount && !without.contains(&node)
            }
            By::Count { takes, .. } => takes[node as usize],
        }
    }

    /// The nodes of a domain that can take a share, in the order of the tree.
    pub fn of(&self, domain: DomainRow) -> impl Iterator<Item = NodeRow> + '_ {
        self.fabric.domain(domain).nodes.clone().filter(|node| self.takes(*node))
    }
}
