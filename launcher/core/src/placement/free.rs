//! What is free, counted for every domain: changed by deltas, so that a question costs what it looks at and not the cluster.

use super::fabric::{DomainRow, Fabric, NodeRow, ROOT};

/// What is free on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// One bit for each device of its model.
    pub devices: u64,
    /// Ranks that it still takes.
    pub slots: u32,
}

/// What nodes are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Devices,
    Slots,
}

/// Up to this much of a class nodes are counted; a node with more counts as one with this much.
pub const MOST: u32 = 64;

/// What is free on every node of a [`Fabric`], and how many nodes of each domain have how much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Free {
    /// `None`: nothing may be placed there, whatever is free.
    nodes: Vec<Option<Room>>,
    devices: Counts,
    slots: Counts,
}

/// For each amount from 1 and each domain: how many of its nodes have at least so much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    domains: usize,
    /// Amounts are the outer index: a question looks at many domains and one amount.
    at_least: Vec<u32>,
}

impl Counts {
    fn new(domains: usize) -> Counts {
        Counts { domains, at_least: vec![0; domains * MOST as usize] }
    }

    fn get(&self, domain: DomainRow, amount: u32) -> u32 {
        self.at_least[(amount as usize - 1) * self.domains + domain as usize]
    }

    fn change(&mut self, domain: DomainRow, before: u32, after: u32) {
        let (before, after) = (before.min(MOST) as usize, after.min(MOST) as usize);
        for amount in before..after {
            self.at_least[amount * self.domains + domain as usize] += 1;
        }
        for amount in after..before {
            self.at_least[amount * self.domains + domain as usize] -= 1;
        }
    }
}

impl Free {
    /// Nothing is free yet.
    pub fn new(fabric: &Fabric) -> Free {
        let domains = fabric.domains().len();
        Free {
            nodes: vec![None; fabric.nodes().len()],
            devices: Counts::new(domains),
            slots: Counts::new(domains),
        }
    }

    /// What is free on a node; `None`: nothing may be placed there.
    pub fn on(&self, node: NodeRow) -> Option<Room> {
        self.nodes[node as usize]
    }

    /// Says what is free on a node from here on, and whether anything may be placed there.
    pub fn set(&mut self, fabric: &Fabric, node: NodeRow, room: Option<Room>) {
        let before = std::mem::replace(&mut self.nodes[node as usize], room).unwrap_or_default();
        let after = room.unwrap_or_default();
        let devices = (before.devices.count_ones(), after.devices.count_ones());
        let slots = (before.slots, after.slots);
        for domain in fabric.path(node).iter().copied().chain([ROOT]) {
            self.devices.change(domain, devices.0, devices.1);
            self.slots.change(domain, slots.0, slots.1);
        }
    }

    /// How many nodes of a domain have at least so much of a class, an amount from 1 to [`MOST`].
    pub fn at_least(&self, class: Class, domain: DomainRow, amount: u32) -> u32 {
        match class {
            Class::Devices => self.devices.get(domain, amount),
            Class::Slots => self.slots.get(domain, amount),
        }
    }

    /// How much of a class a node has.
    pub fn amount(&self, class: Class, node: NodeRow) -> u32 {
        let room = self.nodes[node as usize].unwrap_or_default();
        match class {
            Class::Devices => room.devices.count_ones(),
            Class::Slots => room.slots,
        }
    }
}
