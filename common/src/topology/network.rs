//! The facts: what the cluster's networks are, as far as the evidence tells.
//!
//! Everything is in tables, sorted by name, and refers to rows of other tables by number, so that a
//! cluster of ten thousand nodes stays small. Nothing here holds a time: the same facts are the same bytes
//! whenever they were derived. Absent fields are left out of the text form, so it has to be one that
//! names its fields (JSON).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Source, SwitchId};
use super::owners::Stray;
use super::port::{Guid, LinkLayer, Mac};
use super::splits::Split;
use super::tier::Tier;

/// A row of a table of [`Network`].
pub type Row = u32;

/// The number of a row. Tables are bounded far below what it holds.
pub(super) fn row_of(at: usize) -> Row {
    Row::try_from(at).unwrap_or(Row::MAX)
}

/// What the networks of a cluster are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// By name.
    pub nodes: Vec<Node>,
    /// By name, then by what else they are known by.
    pub switches: Vec<Switch>,
    pub links: Vec<Link>,
    pub planes: Vec<Plane>,
    /// Groups of a plane are adjacent, closest tier first.
    pub groups: Vec<Group>,
    /// The plane that jobs' traffic takes, by which distances are told.
    pub main: Option<Row>,
    /// Names of the NVLink domains over nodes.
    pub nvlink: Vec<String>,
    /// Rows of `nvlink`, in order, that are clusters: in which clique their nodes are is unknown, so that two of them may
    /// reach each other or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nvlink_clusters: Vec<Row>,
    /// Layer-2 broadcast domains: ports that hear each other, each in both directions.
    pub layer2: Vec<Vec<PortRef>>,
    pub one_way: Vec<OneWay>,
    /// Networks that ports have addresses in.
    pub prefixes: Vec<Prefix>,
    pub conflicts: Vec<Conflict>,
    /// Adapters on the fabric of which no node is known.
    pub unjoined: Vec<Unjoined>,
    /// Names that several machines go by.
    pub duplicates: Vec<Duplicate>,
    /// Statements that nothing follows from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub idle: Vec<Idle>,
    /// What the operator names and no other source knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<Unseen>,
    /// GUIDs that the operator gives to ports of nodes and no port has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strays: Vec<Stray>,
    /// Networks of which somebody wrote a part, so that they are several planes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub splits: Vec<Split>,
    /// Sources that have less than there is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<Cut>,
    /// Switches that are said to be above what is above them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rings: Vec<Row>,
    /// Pieces of evidence with names that are too long, or no plain text.
    pub refused: u32,
}

/// A node and where it hangs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub name: String,
    /// It told about itself; the others are known from the network's side alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub joined: bool,
    /// By adapter index, then name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<NodePort>,
    /// One for each plane in which something is known, in the order of planes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
    /// Its NVLink domain over nodes, if it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvlink: Option<Row>,
}

/// A node's port and what it is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePort {
    pub name: String,
    /// The adapter's place among the node's, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<LinkLayer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mbps: Option<u32>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub down: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bond: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<At>,
    /// The rail that the port should be on, by its index or by statement, in a plane that has rails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rail: Option<u16>,
}

/// What a port is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    pub switch: Row,
    /// As the switch calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    pub source: Source,
}

/// Where a node is in a plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub plane: Row,
    /// Its groups, closest tier first. A tier of the plane that is missing here is unknown.
    pub groups: Vec<Row>,
}

/// A switch, as merged from all that is said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// Its name, or what else it is known by.
    pub name: String,
    /// Everything that sources call it.
    pub ids: Vec<SwitchId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plane: Option<Row>,
    /// 1: nearest to the nodes. 0: unknown.
    pub level: u8,
    /// The leaf group that it belongs to, where nodes are attached to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Row>,
    /// The rail that a leaf of a rail-optimised fabric serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rail: Option<u16>,
    /// Cables towards the core, where cables are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplinks: Option<Capacity>,
}

/// Live and expected cables. 14 of 18 is 0.78 of the capacity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    pub live: u32,
    /// 0: nobody says how many there should be.
    pub expected: u32,
}

/// The cables between two switches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Nearer to the nodes, where the levels are known and differ.
    pub lower: Row,
    pub upper: Row,
    /// Cables that work. `None`: a tree was written down, and nobody counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<u32>,
    /// Of one cable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_mbps: Option<u32>,
}

/// One physical network, or a tree that somebody wrote down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plane {
    pub name: String,
    pub kind: PlaneKind,
    /// The tiers that tell nodes apart or unite them, closest first.
    pub tiers: Vec<Tier>,
    /// Rails of a rail-optimised plane, else 0.
    pub rails: u16,
    /// Parts without a known cable between them. Each is a rail of its own where there are several.
    pub fabrics: u16,
}

/// What a plane is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaneKind {
    InfiniBand,
    Ethernet,
    /// Only named, by an operator or another tool: nothing says what it is made of.
    Declared,
}

/// Nodes that are equally close, by a tier of a plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub tier: Tier,
    pub name: String,
    pub plane: Row,
    /// The group of the next tier. `None`: nothing is known above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Row>,
    /// The switches that make it: the leaves of a leaf group, the switches above otherwise.
    pub switches: Vec<Row>,
    /// Cables of a leaf group towards the core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplinks: Option<Capacity>,
}

/// A port of a node: rows of `nodes` and of its `ports`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortRef {
    pub node: Row,
    pub port: Row,
}

/// A beacon that was heard in one direction only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OneWay {
    pub listener: PortRef,
    pub speaker: PortRef,
}

/// Ports with addresses in one network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefix {
    pub prefix: String,
    pub gateway: Option<String>,
    pub ports: Vec<PortRef>,
}

/// An adapter that the fabric knows and no node has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unjoined {
    pub switch: Row,
    pub switch_port: Option<String>,
    pub guid: Option<Guid>,
    pub mac: Option<Mac>,
    /// What the fabric calls its node, if anything.
    pub called: Option<String>,
}

/// Several ports that claim to be the same port of the same node: two machines go by one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duplicate {
    pub name: String,
    pub port: String,
    pub guids: Vec<Guid>,
}

/// A statement of a switch's group that no group comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idle {
    pub switch: Row,
    pub tier: Tier,
    pub group: String,
}

/// What a statement names and no other source knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unseen {
    pub origin: String,
    pub nodes: Vec<Row>,
    pub switches: Vec<Row>,
}

/// A dump that was cut: what it lacks proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    pub origin: String,
    /// That it has from one end only.
    pub cables: u32,
    /// That it has by others' cables only.
    pub devices: u32,
    /// Of which it speaks.
    pub planes: BTreeSet<Row>,
}

/// Sources that disagree, and what was decided.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conflict {
    pub subject: Subject,
    /// The claim that counts is the first.
    pub claims: Vec<Said>,
    pub reason: Reason,
}

/// What sources disagree about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The switch that a port is attached to.
    Port(PortRef),
    /// The leaf that a node is under, in a plane.
    Leaf {
        node: Row,
        plane: Row,
    },
    /// The number of cables between two switches.
    Link {
        a: Row,
        b: Row,
    },
    /// The uplinks that a switch should have.
    Uplinks {
        switch: Row,
    },
    Nvlink {
        node: Row,
    },
    /// The group of a tier that a node or a switch belongs to.
    Member {
        of: String,
        tier: Tier,
    },
    Rail(PortRef),
    /// Whose port an adapter's GUID is.
    Owner {
        guid: Guid,
    },
    /// The plane of a switch, and of all that cables unite with it.
    Plane {
        switch: Row,
    },
}

/// What a source said in a conflict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    pub source: Source,
    pub origin: String,
    /// In that file, where it is one that people write. No fact: the hash does not cover it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    pub value: Value,
}

impl Said {
    pub(super) fn by(by: &Evidence, value: Value) -> Said {
        Said { source: by.source, origin: by.origin.clone(), line: by.line, value }
    }
}

/// The value of a claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    Switch(Row),
    Number(u32),
    Name(String),
}

/// Why a claim won.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Its source ranks higher.
    Rank,
    /// Of sources of one rank it is the surest.
    Confidence,
    /// Of equally sure sources of one rank it is the newest.
    Newest,
    /// Nothing tells them apart; the first in their order is taken, so that it stays the same.
    Order,
    /// It is said of the node itself, the others, of sources of one rank, of a switch above it.
    Itself,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
