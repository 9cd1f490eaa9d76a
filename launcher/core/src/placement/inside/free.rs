//! What is free in a node.

use phalanx_common::topology::machine::CpuSet;

use super::choose::Inside;
use super::cores::Cores;
use super::identity::{JobPorts, NodeIdentity};
use super::model::NodeModel;

/// What of a node may still be given, by the rows of its model. Ranks share ports, so these are not given away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeInside {
    /// A mask.
    pub devices: u64,
    pub cores: Cores,
    /// Bytes of each group of cores.
    pub memory: Vec<u64>,
    /// Bytes that the node's control group leaves, over all groups.
    pub memory_left: u64,
    /// Ports that work and that jobs may use, as a mask.
    pub ports: u64,
}

impl FreeInside {
    /// All of a node on which nothing runs, without devices that are not well.
    pub fn whole(model: &NodeModel, identity: &NodeIdentity, ports: &JobPorts<'_>) -> FreeInside {
        let ailing = identity.devices.iter().enumerate().filter(|(_, device)| device.ailing);
        let ailing = ailing.fold(0u64, |mask, (row, _)| mask | 1 << row);
        FreeInside {
            devices: model.all_devices() & !ailing,
            cores: Cores::all(model.cores()),
            memory: identity.memory.clone(),
            memory_left: identity.memory_limit.unwrap_or(u64::MAX),
            ports: identity.job_ports(model, ports),
        }
    }

    /// Takes what was chosen out of what is free.
    pub fn take(&mut self, inside: &Inside) {
        self.devices &= !inside.devices;
        for rank in &inside.ranks {
            self.cores.remove(&rank.cores);
            for (group, bytes) in &rank.memory {
                if let Some(free) = self.memory.get_mut(usize::from(*group)) {
                    *free = free.saturating_sub(*bytes);
                }
                self.memory_left = self.memory_left.saturating_sub(*bytes);
            }
        }
    }

    /// Gives back what was taken: afterwards it is as before.
    pub fn give(&mut self, inside: &Inside) {
        self.devices |= inside.devices;
        for rank in &inside.ranks {
            self.cores.add(&rank.cores);
            for (group, bytes) in &rank.memory {
                if let Some(free) = self.memory.get_mut(usize::from(*group)) {
                    *free = free.saturating_add(*bytes);
                }
                self.memory_left = self.memory_left.saturating_add(*bytes);
            }
        }
    }

    /// Bytes that ranks can get.
    pub fn memory(&self) -> u64 {
        self.memory.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes)).min(self.memory_left)
    }

    /// The hardware threads of the free cores.
    pub fn cpus(&self, model: &NodeModel) -> CpuSet {
        cpus(&self.cores, model)
    }
}

pub(super) fn cpus(cores: &Cores, model: &NodeModel) -> CpuSet {
    let mut all = CpuSet::new();
    for cpu in cores.iter().flat_map(|core| model.cpus_of(core)) {
        // Below the limit, as it comes out of a set.
        let _ = all.insert(*cpu);
    }
    all
}
