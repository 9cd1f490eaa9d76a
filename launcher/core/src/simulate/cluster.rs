//! A cluster of equal nodes and what is free on them.

use std::collections::BTreeSet;

use crate::placement::fabric::{DomainRow, Fabric, NodeRow};
use crate::placement::free::{Class, MOST};
use crate::stock::Stock;

/// What a gang takes: so many GPUs on each of so many nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    pub nodes: u32,
    /// On each node, from 1.
    pub gpus: u32,
}

impl Ask {
    /// Of a job of so many GPUs: one node if they fit there, else whole nodes.
    pub fn of(gpus: u32, per_node: u32) -> Ask {
        let (gpus, per_node) = (gpus.max(1), per_node.max(1));
        match gpus <= per_node {
            true => Ask { nodes: 1, gpus },
            false => Ask { nodes: gpus.div_ceil(per_node), gpus: per_node },
        }
    }

    pub fn all_gpus(&self) -> u64 {
        u64::from(self.nodes) * u64::from(self.gpus)
    }
}

/// The nodes of a fabric, each with the same number of GPUs, and how many of these are free. A GPU is a slot of its node.
#[derive(Clone, Debug)]
pub struct Cluster<'a> {
    fabric: &'a Fabric,
    stock: Stock,
    per_node: u32,
}

impl<'a> Cluster<'a> {
    /// Everything is free. A node has from 1 to [`MOST`] GPUs; other numbers count as the nearest of these.
    pub fn new(fabric: &'a Fabric, per_node: u32) -> Cluster<'a> {
        let per_node = per_node.clamp(1, MOST);
        Cluster { fabric, stock: Stock::bare(fabric.clone(), per_node), per_node }
    }

    pub fn fabric(&self) -> &'a Fabric {
        self.fabric
    }

    /// The cluster as placement sees it.
    pub fn stock(&self) -> &Stock {
        &self.stock
    }

    /// GPUs that every node has.
    pub fn per_node(&self) -> u32 {
        self.per_node
    }

    /// GPUs of the whole cluster.
    pub fn gpus(&self) -> u64 {
        self.fabric.nodes().len() as u64 * u64::from(self.per_node)
    }

    /// How many nodes of a domain have at least so many GPUs free.
    pub fn with(&self, domain: DomainRow, gpus: u32) -> u32 {
        self.stock.free().at_least(Class::Slots, domain, gpus.clamp(1, MOST))
    }

    /// GPUs that are free on a node.
    pub fn free_on(&self, node: NodeRow) -> u32 {
        self.stock.free().amount(Class::Slots, node)
    }

    /// GPUs that are free in a domain.
    pub fn free_in(&self, domain: DomainRow) -> u64 {
        (1..=self.per_node).map(|gpus| u64::from(self.with(domain, gpus))).sum()
    }

    /// Whether a gang can have these nodes: as many as it asks for, none twice, each with room.
    pub(super) fn has(&self, ask: &Ask, nodes: &[NodeRow]) -> bool {
        let different: BTreeSet<NodeRow> = nodes.iter().copied().collect();
        let is_free =
            |node: &NodeRow| (*node as usize) < self.fabric.nodes().len() && self.free_on(*node) >= ask.gpus;
        different.len() == nodes.len() && nodes.len() == ask.nodes as usize && nodes.iter().all(is_free)
    }

    /// Takes GPUs of a node; `false`, and nothing changed, if it has not so many.
    #[must_use]
    pub(super) fn take(&mut self, node: NodeRow, gpus: u32) -> bool {
        let left = self.free_on(node).checked_sub(gpus);
        left.map(|left| self.stock.set_slots(node, left)).is_some()
    }

    pub(super) fn give_back(&mut self, node: NodeRow, gpus: u32) {
        self.stock.set_slots(node, self.free_on(node).saturating_add(gpus).min(self.per_node));
    }
}
