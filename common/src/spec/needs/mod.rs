//! What a job needs of the cluster: what each rank takes of its node, in which groups ranks talk, and where the
//! gang may run.
//!
//! ```text
//! keys.rs      as it was written       <- decode.rs (file), flags.rs (command line)
//! resolve/     from there to the types of this page, checked against each other and the number of ranks
//! document.rs  from the types of this page to what a client sends, which is a job file again
//! ```

mod decode;
mod document;
mod flags;
mod keys;
mod problem;
mod read;
mod resolve;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use flags::NeedsFlags;
pub use keys::{
    Bytes, DeviceKeys, ElasticKeys, GroupKeys, Limit, ParallelismKeys, PlacementKeys, ResourceKeys, TierKeys,
};
pub use problem::NeedsProblem;

pub(super) use document::Needs as NeedsDocument;

use super::job::Choice;
use crate::topology::Tier;

/// Most groups of a job: ranks are numbered by their places in them, and each takes part in the cost of a placement.
pub const MAX_GROUPS: usize = 16;
/// Longest name of a group.
pub const MAX_KIND: usize = 16;
/// Most devices of one rank; a guard against a slipped zero.
pub const MAX_DEVICES_PER_RANK: u32 = 256;
/// Most cores of one rank; a guard against a slipped zero.
pub const MAX_CPUS_PER_RANK: u32 = 8192;
/// Most NIC ports of one rank; a guard against a slipped zero.
pub const MAX_NICS_PER_RANK: u32 = 64;
/// Most bytes that a rank sends along one edge of a group in a step: all edges of a job add up in 128 bits.
pub const MAX_VOLUME_BYTES: u64 = 1 << 50;
/// Least memory limit of a rank: a small program and its libraries.
pub const MIN_MEMORY_LIMIT: u64 = 4 << 20;
/// Longest name of a device's model and of a MIG profile.
pub const MAX_MODEL: usize = 64;

/// What each rank takes of its node. `None` leaves it open: nothing is counted, and ranks share what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    pub devices: Option<DeviceNeeds>,
    /// Cores that no other rank gets.
    pub cpus: Option<u32>,
    /// Main memory, bytes.
    pub memory_bytes: Option<u64>,
    /// The most of it that the rank and its children may have together, bytes: beyond that the kernel ends it.
    pub memory_limit: Option<u64>,
    /// Usable ports of the data plane near to the rank's devices.
    pub nics: Option<u32>,
}

/// The devices of one rank, all of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNeeds {
    pub kind: DeviceKind,
    /// From 1 to [`MAX_DEVICES_PER_RANK`]; with `mig`, slices.
    pub count: u32,
    /// What the model's name has in it, `H100`.
    pub model: Option<String>,
    /// Memory of each device at the least, bytes.
    pub memory_bytes: Option<u64>,
    /// The profile of MIG slices that stand in place of whole GPUs, `3g.40gb`.
    pub mig: Option<String>,
}

/// What a device is, whoever made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    #[default]
    Gpu,
    /// An Ascend NPU.
    Npu,
}

impl DeviceKind {
    /// `gpu` or `npu`.
    pub fn word(self) -> &'static str {
        match self {
            DeviceKind::Gpu => "gpu",
            DeviceKind::Npu => "npu",
        }
    }
}

impl Choice for DeviceKind {
    const CHOICES: &'static [(&'static str, DeviceKind)] =
        &[("gpu", DeviceKind::Gpu), ("npu", DeviceKind::Npu)];
}

/// In which groups the ranks talk. A rank's number is read as the number of its places in the groups, the first group
/// changing fastest, so that the sizes multiply to the ranks of the job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parallelism {
    /// Fastest first, each kind once, at most [`MAX_GROUPS`]. Empty if the job says nothing of groups: a ring of all.
    pub groups: Vec<GroupSpec>,
}

impl Parallelism {
    /// The kinds that a file need not declare, in the order they have if it names none: Megatron's, fastest first.
    pub const KINDS: [&'static str; 5] = ["tp", "cp", "ep", "dp", "pp"];

    /// The group of that kind.
    pub fn group(&self, kind: &str) -> Option<&GroupSpec> {
        self.groups.iter().find(|group| group.kind == kind)
    }
}

/// One kind of group: ranks that differ in this one place alone are a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSpec {
    /// One of [`Parallelism::KINDS`], or a name of the job's own.
    pub kind: String,
    /// Ranks of each such group, at least 1.
    pub size: u32,
    /// `None` leaves it to what is usual for the kind.
    pub pattern: Option<Pattern>,
    /// Bytes a rank sends along each edge of the pattern in a step, at most [`MAX_VOLUME_BYTES`].
    pub volume_bytes: Option<u64>,
}

/// Who of a group sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Pattern {
    /// Each to the next, the last to the first.
    Ring,
    /// Each to every other.
    AllToAll,
    /// Each to the next.
    Chain,
    /// A binary tree by number.
    Tree,
}

impl Choice for Pattern {
    const CHOICES: &'static [(&'static str, Pattern)] = &[
        ("ring", Pattern::Ring),
        ("allToAll", Pattern::AllToAll),
        ("chain", Pattern::Chain),
        ("tree", Pattern::Tree),
    ];
}

/// Where the gang may run, and what it gets there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementSpec {
    /// Without these the job waits.
    pub require: TierLimits,
    /// These count where there is a choice.
    pub prefer: TierLimits,
    /// Nodes held back for the job beside those that it runs on.
    pub spares: u32,
    /// No two nodes of the job, spares among them, share a domain of this tier: `nvlink` or farther.
    pub spread: Option<Tier>,
    /// Labels that a node has to have.
    pub node_selector: BTreeMap<String, String>,
    /// The nodes to choose from, as they were named, each once; empty: all.
    pub nodes: Vec<String>,
    /// Nodes that get nothing of the job.
    pub avoid: Vec<String>,
    pub exclusive: Exclusive,
    /// Nodes may have unequal numbers of ranks, where the shape leaves them open.
    pub uneven: bool,
    /// Nodes, and the devices of the job, may be unlike.
    pub mixed: bool,
    pub device_view: DeviceView,
    pub memory_binding: MemoryBinding,
    pub cpu_binding: CpuBinding,
    /// Ranks get a topology file for NCCL of their node, with the rails of its ports.
    pub nccl_topology: bool,
}

impl PlacementSpec {
    /// The text in it that is as long as its writer likes, bytes.
    pub(super) fn text_bytes(&self) -> usize {
        let labels = self.node_selector.iter().map(|(name, value)| name.len() + value.len());
        labels.chain(self.nodes.iter().chain(&self.avoid).map(String::len)).sum()
    }
}

/// How close together ranks are, for the whole job and for each kind of group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierLimits {
    /// The farthest tier that the job spans: `node` or farther.
    pub all: Option<Tier>,
    /// The farthest tier that a group of the kind spans: `island` or farther. Every kind is one of the job.
    pub groups: BTreeMap<String, Tier>,
}

impl TierLimits {
    pub fn is_empty(&self) -> bool {
        self.all.is_none() && self.groups.is_empty()
    }
}

/// Whom a job leaves room beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Exclusive {
    /// Other jobs get what it leaves of its nodes.
    #[default]
    None,
    /// Its NUMA nodes are its own.
    Numa,
    /// Its nodes are its own.
    Node,
}

impl Choice for Exclusive {
    const CHOICES: &'static [(&'static str, Exclusive)] =
        &[("none", Exclusive::None), ("numa", Exclusive::Numa), ("node", Exclusive::Node)];
}

/// Which devices a rank sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceView {
    /// Those of all ranks of its pod, in the order of LOCAL_RANK: rank k takes its own by its number, and NCCL finds the others.
    /// CUDA shows a process one slice at most, the first, so that several slices need the other view.
    #[default]
    Pod,
    /// Its own alone, from number 0 on. Its LOCAL_RANK is then 0, as with `torchrun --virtual-local-rank`:
    /// `torch.cuda.set_device(LOCAL_RANK)` has to stay right.
    Rank,
}

impl Choice for DeviceView {
    const CHOICES: &'static [(&'static str, DeviceView)] =
        &[("pod", DeviceView::Pod), ("rank", DeviceView::Rank)];
}

/// What a rank's memory has to do with its NUMA nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemoryBinding {
    /// It comes from them while they have some.
    #[default]
    Preferred,
    /// It comes from nowhere else.
    Strict,
    /// Nothing.
    None,
}

impl Choice for MemoryBinding {
    const CHOICES: &'static [(&'static str, MemoryBinding)] = &[
        ("preferred", MemoryBinding::Preferred),
        ("strict", MemoryBinding::Strict),
        ("none", MemoryBinding::None),
    ];
}

/// Where a rank's threads run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CpuBinding {
    /// On the rank's own cores.
    #[default]
    Cores,
    /// Wherever the launcher or the worker may run.
    None,
}

impl Choice for CpuBinding {
    const CHOICES: &'static [(&'static str, CpuBinding)] =
        &[("cores", CpuBinding::Cores), ("none", CpuBinding::None)];
}

impl Choice for Tier {
    const CHOICES: &'static [(&'static str, Tier)] = &[
        ("device", Tier::Device),
        ("island", Tier::Island),
        ("numa", Tier::Numa),
        ("node", Tier::Node),
        ("nvlink", Tier::Nvlink),
        ("leaf", Tier::Leaf),
        ("block", Tier::Block),
        ("core", Tier::Core),
        ("site", Tier::Site),
    ];
}

/// The numbers of ranks that a job can train with: from `min` to `max` by `step`, that of its shape among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elastic {
    /// At least 1; whole replicas of the job's other groups.
    pub min: u32,
    pub max: u32,
    /// At least 1; whole replicas too.
    pub step: u32,
}
