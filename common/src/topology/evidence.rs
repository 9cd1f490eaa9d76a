//! What somebody said about the cluster: the only input from which facts are derived.
//!
//! Evidence is never edited. It comes from a source, at a time, and may expire; facts are a function of
//! the evidence that is alive ([`super::derive`]), and two sources that disagree become a conflict in
//! which the higher rank wins.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::port::{Guid, Mac};
use super::tier::Tier;
use crate::time::Timestamp;

/// One statement of one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Evidence {
    pub claim: Claim,
    pub source: Source,
    /// Which file, agent or service of that source, for people: `fabric.out`, `worker n17`.
    pub origin: String,
    pub observed_at: Timestamp,
    /// From then on it counts no more. `None`: until it is taken back.
    pub expires: Option<Timestamp>,
    /// Percent. Decides only between sources of the same rank.
    pub confidence: u8,
    /// Where in a file that people write, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

impl Evidence {
    /// Evidence that does not expire, with the confidence that its source has by default.
    pub fn new(claim: Claim, source: Source, origin: &str, observed_at: Timestamp) -> Evidence {
        let confidence = source.confidence();
        let (origin, expires, line) = (origin.to_string(), None, None);
        Evidence { claim, source, origin, observed_at, expires, confidence, line }
    }

    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// Who says so, the most trusted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The operator's own file.
    Operator,
    /// What a GPU driver says of its NVLink fabric.
    NvlinkFabric,
    /// A subnet's GUIDs, from a dump or from a port itself.
    InfiniBand,
    Lldp,
    NetQ,
    Ufm,
    Topograph,
    Slurm,
    HyperNode,
    Csv,
    /// A layer-2 beacon heard.
    Beacon,
    /// A common prefix or gateway.
    Prefix,
    /// Measured distances.
    Probe,
}

impl Source {
    /// 0 is the most trusted. Sources of the same rank are told apart by confidence, then by age, as far as age tells
    /// evidence apart that is repeated before it lapses.
    pub fn rank(self) -> u8 {
        match self {
            Source::Operator => 0,
            Source::NvlinkFabric | Source::InfiniBand => 1,
            Source::Lldp => 2,
            Source::NetQ
            | Source::Ufm
            | Source::Topograph
            | Source::Slurm
            | Source::HyperNode
            | Source::Csv => 3,
            Source::Beacon => 4,
            Source::Prefix => 5,
            Source::Probe => 6,
        }
    }

    /// Percent, for evidence that says nothing else about itself.
    pub fn confidence(self) -> u8 {
        [100, 98, 95, 80, 60, 40, 20][usize::from(self.rank())]
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Operator => "the operator",
            Source::NvlinkFabric => "the NVLink fabric",
            Source::InfiniBand => "InfiniBand",
            Source::Lldp => "LLDP",
            Source::NetQ => "NetQ",
            Source::Ufm => "UFM",
            Source::Topograph => "topograph",
            Source::Slurm => "Slurm",
            Source::HyperNode => "HyperNode",
            Source::Csv => "a CSV file",
            Source::Beacon => "a beacon",
            Source::Prefix => "a network prefix",
            Source::Probe => "a measurement",
        })
    }
}

/// What is said. The variants name their subject first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// A node's port, or a node by some port, is attached to a switch.
    Attached {
        end: End,
        switch: SwitchId,
        /// As the switch calls it.
        switch_port: Option<String>,
        speed_mbps: Option<u32>,
    },
    /// Cables between two switches that work; which of the two is nearer to the core is not said.
    /// One claim has all cables of the pair.
    Linked { a: SwitchId, b: SwitchId, links: u32, rate_mbps: Option<u32> },
    /// A switch is below another in a tree that somebody wrote down. Cables are not counted.
    Under { lower: SwitchId, upper: SwitchId },
    /// Links towards the core that a switch should have.
    ExpectedUplinks { switch: SwitchId, links: u32 },
    /// A node belongs to an NVLink domain. The name is unique in the cluster: the fabric's
    /// `<cluster uuid>.<clique>`, or an operator's word.
    Nvlink { node: String, domain: String },
    /// A node's GPUs are on the NVLink fabric of a cluster uuid, and nobody says in which clique: a fabric may be
    /// divided into cliques that do not reach each other.
    NvlinkCluster { node: String, cluster: String },
    /// A switch or a node belongs to a named group of a tier.
    Member { member: Member, tier: Tier, group: String },
    /// A port heard the beacon of another port of the cluster. The other direction is another claim.
    Heard { listener: End, speaker: End },
    /// A port has an address in a network.
    Prefix { end: End, prefix: String, gateway: Option<String> },
    /// A port belongs to a rail; rails count from 0.
    Rail { end: End, rail: u16 },
    /// A switch belongs to a plane of that name, whatever its cables say.
    Plane { switch: SwitchId, plane: String },
    /// An adapter's port is that of a node, whatever the fabric calls it.
    Owner { guid: Guid, node: String, port: String },
    /// An adapter serves the switch it is on (SHARP aggregation) and belongs to no node.
    NoNode { guid: Guid },
    /// The source has less than there is: a dump that was cut, or changed while it was taken. So many cables are in it
    /// from one end only, and so many devices by others' cables only.
    Cut { cables: u32, devices: u32 },
    /// There is a node of that name; where it is, the source does not know.
    Node { node: String },
}

/// Who is a member of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Member {
    Node(String),
    Switch(SwitchId),
}

/// A node's end of something, as far as the source knows it. GUID and MAC are believed before names: a
/// name in a fabric's dump is what somebody once typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct End {
    pub node: Option<String>,
    /// The port, as the source calls it: `enp65s0f0`, `mlx5_0`, `HCA-1`.
    pub port: Option<String>,
    pub guid: Option<Guid>,
    pub node_guid: Option<Guid>,
    pub mac: Option<Mac>,
    /// The adapter's place among the node's adapters, from 0, as far as a name tells (`HCA-5` is 4).
    pub index: Option<u16>,
}

impl End {
    pub fn of_node(node: &str) -> End {
        End { node: Some(node.to_string()), ..End::default() }
    }

    pub fn of_port(node: &str, port: &str) -> End {
        End { port: Some(port.to_string()), ..End::of_node(node) }
    }
}

/// A switch, by what the source knows of it. What the sources say is merged by `guid`, then `chassis`,
/// then `address`, then `name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct SwitchId {
    /// Of the switch, in an InfiniBand fabric.
    pub guid: Option<Guid>,
    /// Chassis id of LLDP with its kind: `mac 3e:cc:04:9c:17:ad`.
    pub chassis: Option<String>,
    /// Of its management.
    pub address: Option<String>,
    pub name: Option<String>,
}

impl SwitchId {
    pub fn named(name: &str) -> SwitchId {
        SwitchId { name: Some(name.to_string()), ..SwitchId::default() }
    }

    pub fn with_guid(guid: Guid, name: Option<&str>) -> SwitchId {
        SwitchId { guid: Some(guid), name: name.map(str::to_string), ..SwitchId::default() }
    }
}
