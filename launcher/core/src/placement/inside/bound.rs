//! From what was chosen to what a plan says, and back to what is taken.

use std::collections::BTreeMap;
use std::fmt;

use phalanx_common::plan::{BoundDevice, PodBinding, RankBinding};
use phalanx_common::spec::{DeviceView, MemoryBinding};
use phalanx_common::topology::machine::{AcceleratorKind, CpuSet};

use super::choose::Inside;
use super::cores::Group;
use super::free::FreeInside;
use super::identity::{DeviceIdentity, NodeIdentity};
use super::model::NodeModel;
use super::needs::DeviceNeed;
use super::slice::SliceKind;

/// What a pod holds of its node beside devices, whether or not it is bound to it. What is held is told apart from what is
/// bound, as ranks that run on any core still have been given theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The hardware threads of its cores.
    pub cpus: CpuSet,
    /// Bytes by NUMA node, in their order; `None` on a machine that says nothing of NUMA nodes.
    pub memory: Vec<(Option<u32>, u64)>,
}

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
    /// What a pod that gets this holds beside its devices.
    pub fn held(&self, model: &NodeModel) -> Held {
        let mut memory: BTreeMap<Option<u32>, u64> = BTreeMap::new();
        for (group, bytes) in self.ranks.iter().flat_map(|rank| &rank.memory) {
            let numa = model.groups().get(usize::from(*group)).and_then(|group| group.numa);
            let sum = memory.entry(numa).or_default();
            *sum = sum.saturating_add(*bytes);
        }
        let cpus = self.ranks.iter().fold(CpuSet::new(), |all, rank| all.union(&rank.cpus));
        Held { cpus, memory: memory.into_iter().collect() }
    }

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
    /// Takes what a plan gave to a pod: the devices that it is bound to, and what it holds beside them.
    pub fn take_held(
        &mut self,
        model: &NodeModel,
        identity: &NodeIdentity,
        binding: &PodBinding,
        held: &Held,
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
        if !held.cpus.is_empty() {
            let meets = |core: u32| model.cpus_of(core).iter().any(|cpu| held.cpus.contains(*cpu));
            (0..model.cores()).filter(|core| meets(*core)).for_each(|core| self.cores.take_one(core));
        }
        for (numa, bytes) in &held.memory {
            self.memory_left = self.memory_left.saturating_sub(*bytes);
            let groups = || 0..model.groups().len().min(self.memory.len());
            let is_own = |group: &usize| model.groups()[*group].numa == *numa;
            // A machine that tells of other NUMA nodes than it did still has the pod's memory in use.
            let order: Vec<usize> =
                groups().filter(is_own).chain(groups().filter(|group| !is_own(group))).collect();
            let mut left = *bytes;
            for group in order {
                let here = left.min(self.memory[group]);
                self.memory[group] -= here;
                left -= here;
            }
        }
    }

    /// The NUMA nodes of which something is taken, as a mask of groups.
    pub fn touched(&self, model: &NodeModel, whole: &FreeInside) -> u64 {
        let is_touched = |(at, group): &(u32, &Group)| {
            let taken = whole.devices & !self.devices & devices_of(model, *at);
            let mut cores = group.rows().filter(|core| whole.cores.contains(*core));
            let memory = |of: &FreeInside| of.memory.get(*at as usize).copied().unwrap_or(0);
            taken != 0 || memory(self) < memory(whole) || cores.any(|core| !self.cores.contains(core))
        };
        (0u32..64).zip(model.groups()).filter(is_touched).fold(0, |mask, (at, _)| mask | 1 << at)
    }

    /// What is left to a job that wants NUMA nodes of its own: those of which nothing is taken.
    pub fn untouched(&self, model: &NodeModel, whole: &FreeInside) -> FreeInside {
        let mut open = self.clone();
        open.close(model, self.touched(model, whole));
        open
    }

    /// Takes NUMA nodes, a mask of groups, whole: nobody else gets what is left of them.
    pub fn close(&mut self, model: &NodeModel, groups: u64) {
        for (at, group) in (0u32..64).zip(model.groups()).filter(|(at, _)| groups >> at & 1 == 1) {
            self.devices &= !devices_of(model, at);
            group.rows().for_each(|core| self.cores.take_one(core));
            if let Some(memory) = self.memory.get_mut(at as usize) {
                *memory = 0;
            }
        }
    }

    /// Keeps so many bytes for the system.
    pub fn reserve(&mut self, bytes: u64) {
        self.memory_left =
            self.memory_left.min(self.memory.iter().fold(0, |sum: u64, own| sum.saturating_add(*own)));
        self.memory_left = self.memory_left.saturating_sub(bytes);
    }
}

/// The devices that are near to a group of cores.
fn devices_of(model: &NodeModel, group: u32) -> u64 {
    let near = model.devices().iter().zip(0u32..64).filter(|(device, _)| device.groups >> group & 1 == 1);
    near.fold(0, |mask, (_, row)| mask | 1 << row)
}

/// What devices of one kind have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceKind {
    pub vendor: AcceleratorKind,
    pub model: Option<String>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Of slices.
    pub slice: Option<SliceKind>,
}

impl NodeModel {
    /// The kinds of its devices that will do.
    pub fn kinds(&self, need: &DeviceNeed) -> impl Iterator<Item = DeviceKind> {
        self.classes().iter().filter(|class| class.serves(need)).map(|class| DeviceKind {
            vendor: class.kind,
            model: class.model.clone(),
            memory: class.memory,
            slice: class.slice,
        })
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.model {
            Some(model) => f.write_str(model)?,
            None => write!(f, "{:?} of unknown model", self.vendor)?,
        }
        match (self.slice, self.memory) {
            (Some(slice), _) => write!(f, ", slices of {slice}"),
            (None, Some(memory)) => write!(f, ", {} GiB", memory >> 30),
            (None, None) => Ok(()),
        }
    }
}
