//! The keys of a job file that say what a job needs: as they were written, every value optional.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use super::{
    CpuBinding, DeviceKind, DeviceView, Exclusive, MAX_CPUS_PER_RANK, MAX_DEVICES_PER_RANK, MAX_GROUPS,
    MAX_MODEL, MAX_NICS_PER_RANK, MemoryBinding, Parallelism, Pattern,
};
use crate::defaults::{MAX_NODES, MAX_RANKS};
use crate::spec::file::Text;
use crate::spec::job::Choice;
use crate::spec::place::{Given, Origin};
use crate::spec::schema::without_null;
use crate::topology::Tier;

/// The keys of `resources`.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct ResourceKeys {
    /// Devices of each rank. Default: none are counted.
    pub devices: Option<DeviceKeys>,
    /// Cores of each rank, which no other rank gets.
    #[schemars(range(min = 1, max = MAX_CPUS_PER_RANK))]
    pub cpus: Option<Given<u32>>,
    /// Main memory of each rank.
    pub memory: Option<Given<Bytes>>,
    /// The most memory that each rank may have, its children included: beyond that the kernel ends it. Default: none.
    pub memory_limit: Option<Given<Bytes>>,
    /// Ports of the data plane near to the devices of each rank.
    #[schemars(range(min = 1, max = MAX_NICS_PER_RANK))]
    pub nics: Option<Given<u32>>,
}

/// The keys of `resources.devices`.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct DeviceKeys {
    /// What they are. Default: gpu.
    pub kind: Option<Given<DeviceKind>>,
    /// How many a rank has. Default: 1.
    #[schemars(range(min = 1, max = MAX_DEVICES_PER_RANK))]
    pub count: Option<Given<u32>>,
    /// What the model's name has in it, in any case: `H100`.
    #[schemars(length(min = 1, max = MAX_MODEL))]
    pub model: Option<Given<String>>,
    /// Memory of each at the least.
    pub memory: Option<Given<Bytes>>,
    /// The profile of MIG slices to take in place of whole GPUs: `3g.40gb`.
    #[schemars(length(min = 1, max = MAX_MODEL))]
    pub mig: Option<Given<String>>,
}

/// The keys of `parallelism`; `tp: 8` is short for `groups: {tp: {size: 8}}`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParallelismKeys {
    /// Kinds of groups, fastest first.
    pub order: Option<Given<Vec<Given<String>>>>,
    pub groups: BTreeMap<String, GroupKeys>,
}

impl JsonSchema for ParallelismKeys {
    fn schema_name() -> Cow<'static, str> {
        "Parallelism".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let size = json_schema!({"type": "integer", "minimum": 1, "maximum": MAX_RANKS});
        let group = GroupKeys::json_schema(generator);
        let mut properties = Map::new();
        for kind in Parallelism::KINDS {
            properties.insert(kind.into(), described(&size, &format!("Size of the {kind} groups.")));
        }
        let order = json_schema!({
            "type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_GROUPS,
        });
        let groups = json_schema!({"type": "object", "additionalProperties": {"anyOf": [size, group]}});
        properties.insert(
            "order".into(),
            described(&order, "Kinds of groups, the one whose ranks are next to each other first."),
        );
        properties.insert(
            "groups".into(),
            described(&groups, "Groups by kind: a size, or a size with what its ranks send."),
        );
        json_schema!({"type": "object", "properties": properties, "additionalProperties": false})
    }
}

fn described(schema: &Schema, description: &str) -> Value {
    let mut schema = schema.clone();
    schema.insert("description".into(), description.into());
    schema.to_value()
}

/// The keys of a group.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct GroupKeys {
    /// Ranks of each such group.
    #[schemars(range(min = 1, max = MAX_RANKS))]
    pub size: Option<Given<u32>>,
    /// Who of it sends to whom. Default: ring; for ep allToAll, for pp chain.
    pub pattern: Option<Given<Pattern>>,
    /// Bytes a rank sends along each edge of the pattern in a step.
    pub volume: Option<Given<Bytes>>,
    /// Where the kind was written.
    #[schemars(skip)]
    pub origin: Origin,
}

/// The keys of `placement`.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct PlacementKeys {
    /// The farthest tier that the whole job (`all`) or a kind of group spans; else the job waits.
    #[schemars(default)]
    pub require: TierKeys,
    /// The same where there is a choice.
    #[schemars(default)]
    pub prefer: TierKeys,
    /// Nodes held back for the job. Default: 0.
    #[schemars(range(max = MAX_NODES))]
    pub spares: Option<Given<u32>>,
    /// No two nodes of the job, spares among them, share a domain of this tier.
    #[schemars(default, schema_with = "spread_schema")]
    pub spread: Option<Given<Tier>>,
    /// Labels that a node has to have.
    #[schemars(default)]
    pub node_selector: BTreeMap<String, Given<Text>>,
    /// The nodes to choose from. Default: all.
    #[schemars(length(min = 1, max = MAX_NODES))]
    pub nodes: Option<Given<Vec<Given<String>>>>,
    /// Nodes that get nothing of the job.
    #[schemars(length(min = 1, max = MAX_NODES))]
    pub avoid: Option<Given<Vec<Given<String>>>>,
    /// What the job shares with no other: its nodes, its NUMA nodes, nothing. Default: none.
    pub exclusive: Option<Given<Exclusive>>,
    /// Nodes may have unequal numbers of ranks. Default: false.
    pub uneven: Option<Given<bool>>,
    /// Unlike nodes and devices are allowed. Default: false.
    pub mixed: Option<Given<bool>>,
    /// Which devices a rank sees: those of all ranks of its pod, or its own. Default: pod.
    pub device_view: Option<Given<DeviceView>>,
    /// Whether a rank's memory comes from its NUMA nodes. Default: preferred.
    pub memory_binding: Option<Given<MemoryBinding>>,
    /// Whether a rank's threads stay on its cores. Default: cores.
    pub cpu_binding: Option<Given<CpuBinding>>,
    /// Whether ranks get a topology file for NCCL (`NCCL_TOPO_FILE`) of their node. Default: false.
    pub nccl_topology: Option<Given<bool>>,
}

/// Tiers by what they limit: `all`, or a kind of group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TierKeys(pub BTreeMap<String, Limit>);

/// A tier, and where what it limits was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    pub origin: Origin,
    pub tier: Given<Tier>,
}

impl JsonSchema for TierKeys {
    fn schema_name() -> Cow<'static, str> {
        "Tiers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {"all": {"enum": words(Tier::Node)}},
            "additionalProperties": {"enum": words(Tier::Island)},
        })
    }
}

fn spread_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": words(Tier::Nvlink)})
}

/// The tiers from `closest` on.
fn words(closest: Tier) -> Vec<&'static str> {
    Tier::CHOICES.iter().filter(|(_, tier)| *tier >= closest).map(|(word, _)| *word).collect()
}

/// A number of bytes above zero: a number, or a number with `Ki`, `Mi`, `Gi`, `Ti` (powers of 1024) or `k`, `M`, `G`,
/// `T` (powers of 1000).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "pattern": "^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)$"},
        ]})
    }
}

/// The keys of `elastic`: the numbers of ranks that the job can train with.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct ElasticKeys {
    /// The least.
    #[schemars(range(min = 1, max = MAX_RANKS))]
    pub min: Option<Given<u32>>,
    /// The most. Default: the ranks of the job.
    #[schemars(range(min = 1, max = MAX_RANKS))]
    pub max: Option<Given<u32>>,
    /// From one to the next. Default: a whole replica, the ranks of the groups other than dp.
    #[schemars(range(min = 1, max = MAX_RANKS))]
    pub step: Option<Given<u32>>,
    /// Where `elastic` was written.
    #[schemars(skip)]
    pub origin: Origin,
}
