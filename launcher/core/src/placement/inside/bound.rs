//! From what was chosen to what a plan says, and back to what is taken.

use std::fmt;

use phalanx_common::plan::{BoundDevice, PodBinding, RankBinding};
use phalanx_common::spec::{DeviceView, MemoryBinding};
use phalanx_common::topology::machine::{AcceleratorKind, CpuSet};

use super::choose::Inside;
use super::free::FreeInside;
use super::identity::{DeviceIdentity, NodeIdentity};
use super::model::NodeModel;
use super::needs::DeviceNeed;

/// What of a choice is put into force.
#[derive(Clone, Copy, Debug)]
pub struct Force {
    pub view: DeviceView,
    pub memory: MemoryBinding,
    /// Ranks run on their cores alone.
    pub cores: bool,
    /// The gang is on several nodes, so that ports matter.
    pub ports: bool,
}

impl Inside {
    /// The binding of a pod that gets this.
    pub fn bind(
        &self,
        model: &NodeModel,
        identity: &NodeIdentity,
        free: &FreeInside,
        force: Force,
    ) -> PodBinding {
        let rows = self.ranks.iter().flat_map(|rank| &rank.devices);
        let devices = rows.filter_map(|row| identity.devices.get(usize::from(*row)));
        let devices: Vec<BoundDevice> = devices.map(BoundDevice::from).collect();
        let ranks = self.ranks.iter().map(|rank| RankBinding {
            devices: u32::try_from(rank.devices.len()).unwrap_or(u32::MAX),
            cpus: if force.cores { rank.cpus.clone() } else { CpuSet::new() },
            nodes: if force.memory == MemoryBinding::None { CpuSet::new() } else { rank.numa.clone() },
        });
        PodBinding {
            view: match force.view {
                // CUDA shows a process one slice, whatever it is given.
                DeviceView::Pod if devices.iter().any(|device| device.mig) => DeviceView::Rank,
                view => view,
            },
            devices,
            hca: if force.ports && self.devices != 0 { model.hca(free.ports) } else { Vec::new() },
            memory: force.memory,
            ranks: ranks.collect(),
            nccl_topology: None,
        }
    }
}

impl From<&DeviceIdentity> for BoundDevice {
    fn from(device: &DeviceIdentity) -> BoundDevice {
        BoundDevice {
            kind: device.kind,
            index: device.index.unwrap_or(u32::from(device.pci_index)),
            uuid: device.uuid.clone(),
            mig: device.slice.is_some(),
        }
    }
}

impl FreeInside {
    /// Takes what a plan gave to a pod, and `memory` bytes for each of its ranks.
    pub fn take_bound(
        &mut self,
        model: &NodeModel,
        identity: &NodeIdentity,
        binding: &PodBinding,
        memory: u64,
    ) {
        for (device, row) in identity.devices.iter().zip(0u32..64) {
            let own = BoundDevice::from(device);
            let is_same = |bound: &BoundDevice| {
                bound.kind == own.kind
                    && match (&bound.uuid, &own.uuid) {
                        (Some(bound), Some(own)) => bound == own,
                        _ => bound.index == own.index,
                    }
            };
            if binding.devices.iter().any(is_same) {
                self.devices &= !(1 << row);
            }
        }
        let cpus = binding.ranks.iter().fold(CpuSet::new(), |all, rank| all.union(&rank.cpus));
        if !cpus.is_empty() {
            let meets = |core: u32| model.cpus_of(core).iter().any(|cpu| cpus.contains(*cpu));
            (0..model.cores()).filter(|core| meets(*core)).for_each(|core| self.cores.take_one(core));
        }
        for rank in &binding.ranks {
            self.memory_left = self.memory_left.saturating_sub(memory);
            let mut left = memory;
            for (group, free) in model.groups().iter().zip(&mut self.memory) {
                if group.numa.is_none_or(|numa| rank.nodes.is_empty() || rank.nodes.contains(numa)) {
                    let here = left.min(*free);
                    *free -= here;
                    left -= here;
                }
            }
        }
    }

    /// What is left to a job that wants NUMA nodes of its own: those of which nothing is taken.
    pub fn untouched(&self, model: &NodeModel, whole: &FreeInside) -> FreeInside {
        let mut open = self.clone();
        for (group, at) in model.groups().iter().zip(0u32..64) {
            let of_group =
                model.devices().iter().zip(0u32..64).filter(|(device, _)| device.groups >> at & 1 == 1);
            let devices = of_group.fold(0u64, |mask, (_, row)| mask | 1 << row);
            let mut cores = group.rows().filter(|core| whole.cores.contains(*core));
            if (whole.devices & devices) & !self.devices != 0 || cores.any(|core| !self.cores.contains(core))
            {
                open.devices &= !devices;
                group.rows().for_each(|core| open.cores.take_one(core));
            }
        }
        open
    }

    /// Takes a pod's NUMA nodes whole: nobody else gets what is left of them.
    pub fn close(&mut self, model: &NodeModel, whole: &FreeInside) {
        *self = self.untouched(model, whole);
    }

    /// Keeps so many bytes for the system.
    pub fn reserve(&mut self, bytes: u64) {
        self.memory_left =
            self.memory_left.min(self.memory.iter().fold(0, |sum: u64, own| sum.saturating_add(*own)));
        self.memory_left = self.memory_left.saturating_sub(bytes);
    }
}

/// What devices of one kind have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceKind {
    pub vendor: AcceleratorKind,
    pub model: Option<String>,
    /// Bytes.
    pub memory: Option<u64>,
    /// The memory of a slice, in GB.
    pub slice_gb: Option<u16>,
}

impl NodeModel {
    /// The kinds of its devices that will do.
    pub fn kinds(&self, need: &DeviceNeed) -> impl Iterator<Item = DeviceKind> {
        self.classes().iter().filter(|class| class.serves(need)).map(|class| DeviceKind {
            vendor: class.kind,
            model: class.model.clone(),
            memory: class.memory,
            slice_gb: class.slice_gb,
        })
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.model {
            Some(model) => f.write_str(model)?,
            None => write!(f, "{:?} of unknown model", self.vendor)?,
        }
        match (self.slice_gb, self.memory) {
            (Some(slice), _) => write!(f, ", slices of {slice} GB"),
            (None, Some(memory)) => write!(f, ", {} GiB", memory >> 30),
            (None, None) => Ok(()),
        }
    }
}
