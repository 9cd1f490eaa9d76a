//! What a job needs, as it is stored.

use std::collections::BTreeMap;

use phalanx_common::spec::{
    CpuBinding, DeviceKind, DeviceNeeds, DeviceView, Elastic, Exclusive, GroupSpec, JobSpec, MemoryBinding,
    Parallelism, Pattern, PlacementSpec, Resources, TierLimits,
};
use phalanx_common::topology::Tier;
use serde::{Deserialize, Serialize};

/// Resources, groups and wishes of a job, as stored; see [`JobSpec`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedsRecord {
    pub devices: Option<DevicesRecord>,
    pub cpus: Option<u32>,
    pub memory_bytes: Option<u64>,
    pub nics: Option<u32>,
    pub memory_limit: Option<u64>,
    /// Fastest first.
    pub groups: Vec<GroupRecord>,
    pub placement: WishesRecord,
    pub elastic: Option<ElasticRecord>,
}

/// See [`DeviceNeeds`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicesRecord {
    pub kind: DeviceKind,
    pub count: u32,
    pub model: Option<String>,
    pub memory_bytes: Option<u64>,
    pub mig: Option<String>,
}

/// See [`GroupSpec`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    pub kind: String,
    pub size: u32,
    pub pattern: Option<Pattern>,
    pub volume_bytes: Option<u64>,
}

/// See [`PlacementSpec`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishesRecord {
    pub require_all: Option<Tier>,
    pub require: BTreeMap<String, Tier>,
    pub prefer_all: Option<Tier>,
    pub prefer: BTreeMap<String, Tier>,
    pub spares: u32,
    pub spread: Option<Tier>,
    pub node_selector: BTreeMap<String, String>,
    pub nodes: Vec<String>,
    pub avoid: Vec<String>,
    pub exclusive: Exclusive,
    pub uneven: bool,
    pub mixed: bool,
    pub device_view: DeviceView,
    pub memory_binding: MemoryBinding,
    pub cpu_binding: CpuBinding,
    pub nccl_topology: bool,
}

/// See [`Elastic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElasticRecord {
    pub min: u32,
    pub max: u32,
    pub step: u32,
}

impl From<&JobSpec> for NeedsRecord {
    fn from(spec: &JobSpec) -> NeedsRecord {
        let Resources { devices, cpus, memory_bytes, memory_limit, nics } = &spec.resources;
        let group = |group: &GroupSpec| {
            let GroupSpec { kind, size, pattern, volume_bytes } = group.clone();
            GroupRecord { kind, size, pattern, volume_bytes }
        };
        NeedsRecord {
            devices: devices.clone().map(|devices| {
                let DeviceNeeds { kind, count, model, memory_bytes, mig } = devices;
                DevicesRecord { kind, count, model, memory_bytes, mig }
            }),
            cpus: *cpus,
            memory_bytes: *memory_bytes,
            memory_limit: *memory_limit,
            nics: *nics,
            groups: spec.parallelism.groups.iter().map(group).collect(),
            placement: spec.placement.clone().into(),
            elastic: spec.elastic.map(|Elastic { min, max, step }| ElasticRecord { min, max, step }),
        }
    }
}

impl NeedsRecord {
    pub(super) fn resources(&self) -> Resources {
        Resources {
            devices: self.devices.clone().map(|devices| {
                let DevicesRecord { kind, count, model, memory_bytes, mig } = devices;
                DeviceNeeds { kind, count, model, memory_bytes, mig }
            }),
            cpus: self.cpus,
            memory_bytes: self.memory_bytes,
            memory_limit: self.memory_limit,
            nics: self.nics,
        }
    }

    pub(super) fn parallelism(&self) -> Parallelism {
        let group = |group: &GroupRecord| {
            let GroupRecord { kind, size, pattern, volume_bytes } = group.clone();
            GroupSpec { kind, size, pattern, volume_bytes }
        };
        Parallelism { groups: self.groups.iter().map(group).collect() }
    }

    pub(super) fn elastic(&self) -> Option<Elastic> {
        self.elastic.map(|ElasticRecord { min, max, step }| Elastic { min, max, step })
    }
}

impl From<PlacementSpec> for WishesRecord {
    fn from(spec: PlacementSpec) -> WishesRecord {
        WishesRecord {
            require_all: spec.require.all,
            require: spec.require.groups,
            prefer_all: spec.prefer.all,
            prefer: spec.prefer.groups,
            spares: spec.spares,
            spread: spec.spread,
            node_selector: spec.node_selector,
            nodes: spec.nodes,
            avoid: spec.avoid,
            exclusive: spec.exclusive,
            uneven: spec.uneven,
            mixed: spec.mixed,
            device_view: spec.device_view,
            memory_binding: spec.memory_binding,
            cpu_binding: spec.cpu_binding,
            nccl_topology: spec.nccl_topology,
        }
    }
}

impl From<WishesRecord> for PlacementSpec {
    fn from(record: WishesRecord) -> PlacementSpec {
        PlacementSpec {
            require: TierLimits { all: record.require_all, groups: record.require },
            prefer: TierLimits { all: record.prefer_all, groups: record.prefer },
            spares: record.spares,
            spread: record.spread,
            node_selector: record.node_selector,
            nodes: record.nodes,
            avoid: record.avoid,
            exclusive: record.exclusive,
            uneven: record.uneven,
            mixed: record.mixed,
            device_view: record.device_view,
            memory_binding: record.memory_binding,
            cpu_binding: record.cpu_binding,
            nccl_topology: record.nccl_topology,
        }
    }
}
