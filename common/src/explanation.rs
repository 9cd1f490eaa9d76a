//! Why a gang is where it is, or nowhere: what `plan` and `explain` say, as a coordinator sends it (JSON).

use serde::{Deserialize, Serialize};

use crate::topology::Tier;

/// What became of a job's placement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "placement")]
pub enum Explained {
    /// It has these nodes, or would get them.
    Placed(Box<Placed>),
    /// It does not fit.
    Refused(Refused),
    /// It is over.
    Ended { why: String },
    /// It has nodes, and not all of them are known.
    Runs { why: String },
}

/// Where a gang is, and what that costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placed {
    pub ranks: u32,
    /// Ranks that the job asked for: an elastic one may get fewer.
    pub asked: u32,
    /// The closest tier that holds all of it.
    pub tier: Tier,
    /// Domains of the tier `of` that it is on: of the lowest that is known of most of its nodes. 0 where none is known of any.
    pub domains: u32,
    pub of: Tier,
    /// In NODE_RANK order.
    pub pods: Vec<Pod>,
    /// Nodes that are held back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spares: Vec<String>,
    /// Fastest first.
    pub groups: Vec<Group>,
    /// What meets at each tier in a step, the closest first, beside what would with nodes in the order of their names.
    pub traffic: Vec<Traffic>,
    pub cost: Cost,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A node's share of a gang.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    pub node: String,
    /// What it is called.
    pub name: String,
    /// Its domains, the lowest first; without those that are unknown.
    pub domains: Vec<Domain>,
    pub first_rank: u32,
    pub ranks: Vec<Rank>,
    /// RDMA ports that NCCL may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hca: Vec<String>,
    /// Why others were taken before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blemishes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    pub tier: Tier,
    pub name: String,
}

/// What a rank gets of its node; where nothing stands it shares what the worker may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rank {
    pub rank: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cpus: String,
    /// NUMA nodes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub memory: String,
    /// Network ports, nearest first, where the job asks for some; told before it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub kind: String,
    pub size: u32,
    /// The farthest tier that a group of it spans.
    pub worst: Tier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub tier: Tier,
    /// Bytes where the job says its volumes, else in parts of a usual job's.
    pub volume: u64,
    pub naive: u64,
}

/// Uplinks times what crosses them: volume times 64 for every leaf or NVLink domain that it leaves or comes into, 128 for every
/// block, 256 for a core, 512 for a site; more where cables of the uplink are broken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    pub cost: u64,
    /// The largest single term.
    pub bottleneck: u64,
    /// No order of the ranks over domains like these costs less.
    pub bound: u64,
    /// How far the cost is above the bound at most, as a share of the cost.
    pub gap: f64,
    /// Proven to be the least.
    pub exact: bool,
    /// With nodes in the order of their names.
    pub naive: u64,
}

/// Why a gang does not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// In one line, without what single nodes lack.
    pub why: String,
    /// Nodes that refuse alike, the most first.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// Node by node.
    pub nodes: Vec<RefusedNode>,
    /// What would make it fit, the smallest change first.
    pub changes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedNode {
    pub node: String,
    pub why: String,
}

/// Nodes that refuse for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Numbers in which the nodes differ as a range.
    pub why: String,
    pub nodes: Vec<String>,
}
