//! How close two places are.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A level of closeness, closest first. A larger tier is farther apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    Device,
    /// NVLink inside of a node.
    Island,
    Numa,
    Node,
    /// An NVLink domain over nodes.
    Nvlink,
    /// An access switch; in a rail-optimised fabric the leaves that serve the same hosts.
    Leaf,
    /// The leaves under one switch of the next level.
    Block,
    Core,
    Site,
}

impl Tier {
    /// The tiers that switches make, closest first.
    pub const OF_SWITCHES: [Tier; 4] = [Tier::Leaf, Tier::Block, Tier::Core, Tier::Site];

    pub fn name(self) -> &'static str {
        match self {
            Tier::Device => "device",
            Tier::Island => "island",
            Tier::Numa => "numa",
            Tier::Node => "node",
            Tier::Nvlink => "nvlink",
            Tier::Leaf => "leaf",
            Tier::Block => "block",
            Tier::Core => "core",
            Tier::Site => "site",
        }
    }

    /// One domain of it, in words.
    pub fn one(self) -> &'static str {
        match self {
            Tier::Island => "NVLink island",
            Tier::Numa => "NUMA node",
            Tier::Nvlink => "NVLink domain",
            _ => self.name(),
        }
    }

    /// Several of its domains, in words.
    pub fn several(self) -> &'static str {
        match self {
            Tier::Device => "devices",
            Tier::Island => "NVLink islands",
            Tier::Numa => "NUMA nodes",
            Tier::Node => "nodes",
            Tier::Nvlink => "NVLink domains",
            Tier::Leaf => "leaves",
            Tier::Block => "blocks",
            Tier::Core => "cores",
            Tier::Site => "sites",
        }
    }

    /// The tier of that name.
    pub fn named(name: &str) -> Option<Tier> {
        use Tier::{Block, Core, Device, Island, Leaf, Node, Numa, Nvlink, Site};
        [Device, Island, Numa, Node, Nvlink, Leaf, Block, Core, Site]
            .into_iter()
            .find(|tier| tier.name() == name)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known about the distance of two places: not closer than `best`, not farther than `worst`.
/// Hard limits go by `worst`. The two are equal where the distance is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TierInterval {
    pub best: Tier,
    pub worst: Tier,
}

impl TierInterval {
    pub fn exactly(tier: Tier) -> TierInterval {
        TierInterval { best: tier, worst: tier }
    }

    pub fn is_exact(self) -> bool {
        self.best == self.worst
    }
}

impl fmt::Display for TierInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_exact() {
            true => write!(f, "{}", self.best),
            false => write!(f, "{} to {}", self.best, self.worst),
        }
    }
}
