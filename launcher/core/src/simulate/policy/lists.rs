//! Policies that go through a list of nodes.

use super::{Ask, Cluster, Policy};
use crate::placement::fabric::{Fabric, NodeRow, ROOT};
use crate::simulate::random::Draws;

/// Any nodes with room, each as likely as the other, in the order in which they were drawn.
#[derive(Clone, Debug)]
pub struct Random(Draws);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(Draws::new(seed))
    }
}

impl Policy for Random {
    fn choose(&mut self, cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>> {
        if cluster.with(ROOT, ask.gpus) < ask.nodes {
            return None;
        }
        let mut nodes: Vec<NodeRow> = super::open(cluster, ROOT, ask.gpus).collect();
        for at in 0..ask.nodes as usize {
            let left = (nodes.len() - at) as u64;
            let drawn = at + usize::try_from(self.0.below(left)).unwrap_or(0);
            nodes.swap(at, drawn);
        }
        nodes.truncate(ask.nodes as usize);
        Some(nodes)
    }
}

/// The first that have room, by the names of nodes: what a scheduler does that knows no topology, and a host list that is
/// sorted.
#[derive(Clone, Debug)]
pub struct ByName(Vec<NodeRow>);

impl ByName {
    pub fn new(fabric: &Fabric) -> ByName {
        let mut nodes: Vec<NodeRow> = (0..).take(fabric.nodes().len()).collect();
        nodes.sort_by_key(|node| &fabric.node(*node).name);
        ByName(nodes)
    }
}

impl Policy for ByName {
    fn choose(&mut self, cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>> {
        first(&self.0, cluster, ask)
    }
}

/// The first that have room, by the names of their switches from the top, then their own.
///
/// DLRover's `DpTopologySorter` orders the nodes of a job so, by the pair (psw, asw), and gives consecutive ranks to them (docs/design
/// of the DLRover project, "Node group and topology-aware rank assignment"); which nodes a job gets it leaves to others. Here they
/// are the first in the same order.
#[derive(Clone, Debug)]
pub struct BySwitch(Vec<NodeRow>);

impl BySwitch {
    pub fn new(fabric: &Fabric) -> BySwitch {
        let mut nodes: Vec<NodeRow> = (0..).take(fabric.nodes().len()).collect();
        let names = |node: &NodeRow| -> Vec<&str> {
            fabric.path(*node).iter().rev().map(|domain| fabric.domain(*domain).name.as_str()).collect()
        };
        nodes.sort_by_cached_key(|node| (names(node), &fabric.node(*node).name));
        BySwitch(nodes)
    }
}

impl Policy for BySwitch {
    fn choose(&mut self, cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>> {
        first(&self.0, cluster, ask)
    }
}

fn first(list: &[NodeRow], cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>> {
    if cluster.with(ROOT, ask.gpus) < ask.nodes {
        return None;
    }
    let has = |node: &NodeRow| cluster.free_on(*node) >= ask.gpus;
    Some(list.iter().copied().filter(has).take(ask.nodes as usize).collect())
}
