//! What a pod got of its node, as it is stored.

use std::collections::BTreeMap;

use phalanx_common::plan::{BoundDevice, PodBinding, RankBinding};
use phalanx_common::spec::{DeviceView, MemoryBinding};
use phalanx_common::topology::machine::{AcceleratorKind, CpuSet};
use serde::{Deserialize, Serialize};

use crate::placement::inside::Held;

/// [`PodBinding`], field by field. Sets are the kernel's lists: `0-3,8`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingRecord {
    pub devices: Vec<DeviceRecord>,
    pub view: DeviceView,
    pub hca: Vec<String>,
    pub memory: MemoryBinding,
    pub ranks: Vec<RankBindingRecord>,
    pub nccl_topology: Option<BTreeMap<String, u16>>,
}

/// [`Held`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRecord {
    pub cpus: CpuSet,
    pub memory: Vec<(Option<u32>, u64)>,
}

/// [`BoundDevice`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    pub kind: AcceleratorKind,
    pub index: u32,
    pub uuid: Option<String>,
    pub mig: bool,
}

/// [`RankBinding`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankBindingRecord {
    pub devices: u32,
    pub cpus: CpuSet,
    pub nodes: CpuSet,
}

impl From<&Held> for HeldRecord {
    fn from(held: &Held) -> HeldRecord {
        let Held { cpus, memory } = held.clone();
        HeldRecord { cpus, memory }
    }
}

impl From<&HeldRecord> for Held {
    fn from(record: &HeldRecord) -> Held {
        let HeldRecord { cpus, memory } = record.clone();
        Held { cpus, memory }
    }
}

impl From<&PodBinding> for BindingRecord {
    fn from(binding: &PodBinding) -> BindingRecord {
        let PodBinding { devices, view, hca, memory, ranks, nccl_topology } = binding.clone();
        let device = |BoundDevice { kind, index, uuid, mig }| DeviceRecord { kind, index, uuid, mig };
        let rank = |RankBinding { devices, cpus, nodes }| RankBindingRecord { devices, cpus, nodes };
        BindingRecord {
            devices: devices.into_iter().map(device).collect(),
            view,
            hca,
            memory,
            ranks: ranks.into_iter().map(rank).collect(),
            nccl_topology,
        }
    }
}

impl From<&BindingRecord> for PodBinding {
    fn from(record: &BindingRecord) -> PodBinding {
        let BindingRecord { devices, view, hca, memory, ranks, nccl_topology } = record.clone();
        let device = |DeviceRecord { kind, index, uuid, mig }| BoundDevice { kind, index, uuid, mig };
        let rank = |RankBindingRecord { devices, cpus, nodes }| RankBinding { devices, cpus, nodes };
        PodBinding {
            devices: devices.into_iter().map(device).collect(),
            view,
            hca,
            memory,
            ranks: ranks.into_iter().map(rank).collect(),
            nccl_topology,
        }
    }
}
