//! A cluster of equal nodes and what is free on them.

use crate::placement::fabric::{DomainRow, Fabric, NodeRow};
use crate::placement::free::{Class, Free, MOST, Room};

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

/// The nodes of a fabric, each with the same number of GPUs, and which of them are free.
#[derive(Clone, Debug)]
pub struct Cluster<'a> {
    fabric: &'a Fabric,
    free: Free,
    per_node: u32,
}

impl<'a> Cluster<'a> {
    /// Everything is free. A node has from 1 to [`MOST`] GPUs; other numbers count as the nearest of these.
    pub fn new(fabric: &'a Fabric, per_node: u32) -> Cluster<'a> {
        let per_node = per_node.clamp(1, MOST);
        let mut free = Free::new(fabric);
        for node in (0..).take(fabric.nodes().len()) {
            free.set(fabric, node, Some(room(u64::MAX >> (MOST - per_node))));
        }
        Cluster { fabric, free, per_node }
    }

    pub fn fabric(&self) -> &'a Fabric {
        self.fabric
    }

    pub fn free(&self) -> &Free {
        &self.free
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
        self.free.at_least(Class::Devices, domain, gpus.clamp(1, MOST))
    }

    /// GPUs that are free on a node.
    pub fn free_on(&self, node: NodeRow) -> u32 {
        self.free.amount(Class::Devices, node)
    }

    /// GPUs that are free in a domain.
    pub fn free_in(&self, domain: DomainRow) -> u64 {
        (1..=self.per_node).map(|gpus| u64::from(self.with(domain, gpus))).sum()
    }

    /// Takes the lowest free GPUs of a node; `None`, and nothing changed, if it has not so many.
    pub(super) fn take(&mut self, node: NodeRow, gpus: u32) -> Option<u64> {
        let mut left = self.free.on(node)?.devices;
        let before = left;
        for _ in 0..gpus {
            if left == 0 {
                return None;
            }
            left &= left - 1;
        }
        self.free.set(self.fabric, node, Some(room(left)));
        Some(before & !left)
    }

    pub(super) fn give_back(&mut self, node: NodeRow, gpus: u64) {
        let before = self.free.on(node).unwrap_or_default().devices;
        self.free.set(self.fabric, node, Some(room(before | gpus)));
    }
}

/// Slots are not counted here.
fn room(devices: u64) -> Room {
    Room { devices, slots: 0 }
}
