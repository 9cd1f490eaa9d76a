//! What a pod gets of its node: domain types to wire types of version 1 and back.

use super::v1;
use super::v1_convert::same_variants;
use crate::plan::{BoundDevice, PodBinding, RankBinding};
use crate::spec::{DeviceView, MemoryBinding};
use crate::topology::machine::AcceleratorKind;

same_variants!(AcceleratorKind, v1::DeviceKind, Nvidia, Amd, Ascend);
same_variants!(DeviceView, v1::DeviceView, Pod, Rank);
same_variants!(MemoryBinding, v1::MemoryPolicy, None, Preferred, Strict);

impl From<PodBinding> for v1::Binding {
    fn from(binding: PodBinding) -> v1::Binding {
        let PodBinding { devices, view, hca, memory, ranks, nccl_topology } = binding;
        let device = |it: BoundDevice| v1::Device {
            kind: it.kind.into(),
            index: it.index,
            uuid: it.uuid,
            mig: it.mig,
        };
        let rank = |RankBinding { devices, cpus, nodes }| v1::RankBinding { devices, cpus, nodes };
        v1::Binding {
            devices: devices.into_iter().map(device).collect(),
            view: view.into(),
            hca,
            memory: memory.into(),
            ranks: ranks.into_iter().map(rank).collect(),
            nccl_topology,
        }
    }
}

impl From<v1::Binding> for PodBinding {
    fn from(binding: v1::Binding) -> PodBinding {
        let v1::Binding { devices, view, hca, memory, ranks, nccl_topology } = binding;
        let device = |it: v1::Device| BoundDevice {
            kind: it.kind.into(),
            index: it.index,
            uuid: it.uuid,
            mig: it.mig,
        };
        let rank = |v1::RankBinding { devices, cpus, nodes }| RankBinding { devices, cpus, nodes };
        PodBinding {
            devices: devices.into_iter().map(device).collect(),
            view: view.into(),
            hca,
            memory: memory.into(),
            ranks: ranks.into_iter().map(rank).collect(),
            nccl_topology,
        }
    }
}
