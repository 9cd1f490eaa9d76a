//! What a job needs as keys of a job file again.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    CpuBinding, DeviceKind, DeviceView, Exclusive, MemoryBinding, Pattern, PlacementSpec, TierLimits, read,
};
use crate::spec::job::JobSpec;
use crate::topology::Tier;

/// The keys that a job needs; those of which it says nothing are left out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::spec) struct Needs<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallelism: Option<Parallelism<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    placement: Option<Placement<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elastic: Option<Elastic>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Resources<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<Devices<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nics: Option<u32>,
}

#[derive(Clone, Debug, Serialize)]
struct Devices<'a> {
    kind: DeviceKind,
    count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mig: Option<&'a str>,
}

#[derive(Clone, Debug, Serialize)]
struct Parallelism<'a> {
    order: Vec<&'a str>,
    groups: BTreeMap<&'a str, Group>,
}

#[derive(Clone, Debug, Serialize)]
struct Group {
    size: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<Pattern>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Placement<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    require: BTreeMap<&'a str, Tier>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    prefer: BTreeMap<&'a str, Tier>,
    spares: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<Tier>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    node_selector: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    nodes: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    avoid: &'a [String],
    exclusive: Exclusive,
    uneven: bool,
    mixed: bool,
    device_view: DeviceView,
    memory_binding: MemoryBinding,
    cpu_binding: CpuBinding,
    nccl_topology: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Elastic {
    min: u32,
    max: u32,
    step: u32,
}

impl<'a> From<&'a JobSpec> for Needs<'a> {
    fn from(spec: &'a JobSpec) -> Needs<'a> {
        let resources = &spec.resources;
        let devices = resources.devices.as_ref().map(|devices| Devices {
            kind: devices.kind,
            count: devices.count,
            model: devices.model.as_deref(),
            memory: devices.memory_bytes,
            mig: devices.mig.as_deref(),
        });
        let groups = &spec.parallelism.groups;
        Needs {
            resources: (*resources != super::Resources::default()).then_some(Resources {
                devices,
                cpus: resources.cpus,
                memory: resources.memory_bytes,
                memory_limit: resources.memory_limit,
                nics: resources.nics,
            }),
            parallelism: (!groups.is_empty()).then(|| Parallelism {
                order: groups.iter().map(|group| group.kind.as_str()).collect(),
                groups: groups
                    .iter()
                    .map(|group| {
                        let (size, pattern, volume) = (group.size, group.pattern, group.volume_bytes);
                        (group.kind.as_str(), Group { size, pattern, volume })
                    })
                    .collect(),
            }),
            placement: (spec.placement != PlacementSpec::default()).then(|| (&spec.placement).into()),
            elastic: spec.elastic.map(|elastic| Elastic {
                min: elastic.min,
                max: elastic.max,
                step: elastic.step,
            }),
        }
    }
}

impl<'a> From<&'a PlacementSpec> for Placement<'a> {
    fn from(spec: &'a PlacementSpec) -> Placement<'a> {
        Placement {
            require: tiers(&spec.require),
            prefer: tiers(&spec.prefer),
            spares: spec.spares,
            spread: spec.spread,
            node_selector: &spec.node_selector,
            nodes: &spec.nodes,
            avoid: &spec.avoid,
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

fn tiers(limits: &TierLimits) -> BTreeMap<&str, Tier> {
    let groups = limits.groups.iter().map(|(kind, tier)| (kind.as_str(), *tier));
    groups.chain(limits.all.map(|tier| (read::ALL, tier))).collect()
}
