//! The cluster as placement sees it: its nodes in one tree of domains. Immutable; a change of the topology is another fabric.
//!
//! ```text
//!                 root
//!            ┌─────┴─────┐
//!   block    b1          b2          what leaves a domain crosses its uplink and costs `Domain::uplink` per unit
//!          ┌─┴─┐       ┌─┴─┐
//!   leaf   s1  s2      s3  (n9)      a node of which nothing is known has a domain of its own
//!         n1 n2 n3    n4 n5 n9       rows of nodes are in the order of the tree: a domain's are a range
//! ```
//!
//! Every node is at the same depth, so that the distance of two nodes is the height of the lowest domain that
//! holds both (an ultrametric), and what traffic costs is a sum over domains: how much leaves each, times its uplink.

mod build;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use phalanx_common::id::NodeId;
use phalanx_common::topology::{Capacity, Tier};

pub use build::{Built, Member, Place};

/// A row of [`Fabric::nodes`].
pub type NodeRow = u32;
/// A row of [`Fabric::domains`].
pub type DomainRow = u32;

/// The root of every fabric.
pub const ROOT: DomainRow = 0;

/// The nodes of a cluster in a tree of domains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fabric {
    /// Of the levels below the root, the lowest first. Empty: nothing tells nodes apart.
    tiers: Vec<Tier>,
    /// The root, then level by level from the top, each in the order of the tree: children are a range.
    domains: Vec<Domain>,
    nodes: Vec<FabricNode>,
    /// For each node its domains, the lowest first, without the root.
    paths: Vec<DomainRow>,
    rows: BTreeMap<NodeId, NodeRow>,
    /// Of nodes, for people.
    names: BTreeSet<String>,
}

/// Nodes that are equally close, and the links that lead out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    pub name: String,
    /// 0: the lowest. The root is one above the highest tier.
    pub level: u8,
    /// The root is its own.
    pub parent: DomainRow,
    pub children: Range<DomainRow>,
    pub nodes: Range<NodeRow>,
    /// What one unit of volume costs that leaves it or comes in. The root's is 0.
    pub uplink: u64,
    /// Cables of its uplink, where they were counted.
    pub cables: Option<Capacity>,
    /// Nodes with a blemish.
    pub blemished: u32,
    /// `false`: made for one node, or for those of one domain below, as their place in this tier is unknown. The worst is assumed.
    pub known: bool,
}

/// A node of a fabric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FabricNode {
    pub id: NodeId,
    /// For people.
    pub name: String,
    /// Why others are taken before it, if anything.
    pub blemishes: Vec<Blemish>,
}

/// What makes a node the last among equals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blemish {
    /// Where it hangs is not known for this tier.
    Unplaced(Tier),
    /// Its port is on the leaf of another rail.
    WrongRail { port: String, rail: u16, on: u16 },
    /// A port without a link that equal nodes have.
    PortDown { port: String },
    /// Rails of its plane that it is not on: half of them at most.
    NoRail { rails: Vec<u16> },
}

/// What leaving a domain of this tier costs per unit of volume, with all cables working. Two nodes on one leaf are at no distance,
/// of one block at 128, of different blocks at 384: the weights 0, 1 and 3 of the model, in parts of 128 so that
/// shares of broken uplinks stay whole numbers.
pub const fn uplink_of(tier: Tier) -> u64 {
    match tier {
        Tier::Device | Tier::Island | Tier::Numa | Tier::Node | Tier::Nvlink | Tier::Leaf => 64,
        Tier::Block => 128,
        Tier::Core => 256,
        Tier::Site => 512,
    }
}

/// A domain whose uplinks are all broken costs so many times what it should: it is the last to be crossed, and
/// a cost stays a number.
const BROKEN: u64 = 64;

/// What leaving a domain costs of whose uplinks so many work: 14 of 18 carry a byte at 18/14 of the cost.
pub fn degraded(base: u64, cables: Option<Capacity>) -> u64 {
    match cables {
        Some(Capacity { live, expected }) if expected > 0 => match live {
            0 => base * BROKEN,
            live => (base * u64::from(expected.max(live))).div_ceil(u64::from(live)).min(base * BROKEN),
        },
        _ => base,
    }
}

impl Fabric {
    /// Of the levels below the root, the lowest first.
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// How many levels there are below the root.
    pub fn depth(&self) -> usize {
        self.tiers.len()
    }

    /// The closeness of nodes whose lowest common domain is at this level, at worst: above the highest tier nothing is known.
    pub fn tier(&self, level: usize) -> Tier {
        self.tiers.get(level).copied().unwrap_or(Tier::Site)
    }

    /// The highest level whose domains are at least this close; `None`: not even the lowest is.
    pub fn level_within(&self, tier: Tier) -> Option<usize> {
        (0..=self.depth()).rev().find(|level| self.tier(*level) <= tier)
    }

    /// The lowest level of which nodes of different domains share none of a tier; `None`: of no two nodes that is known.
    pub fn level_apart(&self, tier: Tier) -> Option<usize> {
        self.tiers.iter().position(|known| *known >= tier)
    }

    pub fn nodes(&self) -> &[FabricNode] {
        &self.nodes
    }

    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    pub fn domain(&self, row: DomainRow) -> &Domain {
        &self.domains[row as usize]
    }

    pub fn node(&self, row: NodeRow) -> &FabricNode {
        &self.nodes[row as usize]
    }

    pub fn row(&self, id: &NodeId) -> Option<NodeRow> {
        self.rows.get(id).copied()
    }

    /// Whether a node goes by this: its name, its id, or the beginning of its id where no node is called so in whole.
    pub fn is_called(&self, row: NodeRow, text: &str) -> bool {
        let node = self.node(row);
        let in_whole = || self.names.contains(text) || self.rows.contains_key(&NodeId::new(text));
        let id = node.id.as_str();
        node.name == text || id == text || (id.starts_with(text) && !in_whole())
    }

    /// The domain of a node at a level; the root above the highest.
    pub fn domain_of(&self, node: NodeRow, level: usize) -> DomainRow {
        if level < self.depth() { self.paths[node as usize * self.depth() + level] } else { ROOT }
    }

    /// A node's domains, the lowest first, without the root.
    pub fn path(&self, node: NodeRow) -> &[DomainRow] {
        &self.paths[node as usize * self.depth()..][..self.depth()]
    }

    /// All domains of a level, in the order of the tree.
    pub fn level(&self, level: usize) -> Range<DomainRow> {
        let at = |domain: &Domain| usize::from(domain.level);
        // Levels are in descending order.
        let first = self.domains.partition_point(|domain| at(domain) > level);
        let end = self.domains.partition_point(|domain| at(domain) >= level);
        row(first)..row(end)
    }

    /// The level of the lowest domain that holds both nodes.
    pub fn meet(&self, a: NodeRow, b: NodeRow) -> usize {
        let (a, b) = (self.path(a), self.path(b));
        a.iter().zip(b).position(|(a, b)| a == b).unwrap_or(self.depth())
    }

    /// What a unit of volume costs between two nodes: the uplinks on the way up from both, to the domain they share.
    pub fn distance(&self, a: NodeRow, b: NodeRow) -> u64 {
        let way = |domain: &DomainRow| self.domain(*domain).uplink;
        let levels = self.meet(a, b);
        self.path(a)[..levels].iter().chain(&self.path(b)[..levels]).map(way).sum()
    }
}

pub(crate) fn row(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
