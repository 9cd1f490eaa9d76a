//! What can be wrong with what a job needs, and how it is put into words.

use std::fmt;

use super::{MAX_DEVICES_PER_RANK, MAX_GROUPS, MIN_MEMORY_LIMIT};
use crate::defaults::MAX_RANKS;
use crate::label;
use crate::spec::error::{At, Place};
use crate::spec::job::Choice;
use crate::spec::problem::did_you_mean;
use crate::text::{memory, shown};
use crate::topology::Tier;

/// What is wrong with resources, groups or wishes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NeedsProblem {
    #[error("the group {kind} stands here a second time; the first is at {}", At(first))]
    GroupTwice { kind: String, first: Place },
    #[error("a job has at most {MAX_GROUPS} kinds of groups")]
    TooManyGroups,
    #[error(transparent)]
    Label(label::Error),
    #[error(
        "{tier} is closer than a node, and a whole job takes one at least; expected one of {}{}",
        Tiers(Tier::Node),
        ForGroups(*tier)
    )]
    TierOfAll { tier: Tier },
    #[error("no group of ranks is within one {tier}; expected one of {}", Tiers(Tier::Island))]
    TierOfGroup { tier: Tier },
    #[error("nodes share no {tier} domain anyway; expected one of {}", Tiers(Tier::Nvlink))]
    TierOfSpread { tier: Tier },

    #[error("the devices of a rank are all of one kind, and there is {} too", At(other))]
    TwoKinds { other: Place },
    #[error("no program runs in so little; a limit is at least {}", memory(MIN_MEMORY_LIMIT))]
    LimitTooSmall,
    #[error("the limit is below the memory that each rank is given ({})", At(memory))]
    LimitBelowMemory { memory: Place },
    #[error("an NPU has no MIG slices; leave out mig, or take GPUs")]
    MigOfNpu,
    #[error("{all} devices cannot be shared evenly by ranks of {each} each")]
    PartOfRank { all: u32, each: u32 },
    #[error("{all} devices cannot be shared evenly by {ranks} ranks")]
    UnevenDevices { all: u32, ranks: u32 },
    #[error("{all} devices contradict {ranks} ranks of {each} each = {}", u64::from(*ranks) * u64::from(*each))]
    DevicesContradict { all: u32, ranks: u32, each: u32 },
    #[error("{each} devices for each rank; a rank has at most {MAX_DEVICES_PER_RANK}")]
    TooManyDevices { each: u32 },
    #[error("{ranks} ranks, one for {each} of these devices; a job has at most {MAX_RANKS}")]
    TooManyRanks { ranks: u32, each: u32 },

    #[error("the group {0} has no size; dp alone may be left open, and is then what the others leave")]
    NoSize(String),
    #[error(
        "the group {0} has no place among the others; write them all, fastest first: `order: [tp, dp, {0}]`"
    )]
    NoPlace(String),
    #[error("order lacks the group {kind} ({}), which needs a place in it", At(at))]
    OrderLacks { kind: String, at: Place },
    #[error("{0} stands in order a second time")]
    OrderTwice(String),
    #[error("order names {kind}, and there is no such group{}", Meant(*nearest))]
    OrderUnknown { kind: String, nearest: Option<&'static str> },
    #[error("{0}")]
    Sizes(Sizes),

    #[error("the job has no group {kind}: give its size, as `parallelism: {{{kind}: 8}}`{}", Meant(*nearest))]
    NoGroup { kind: String, nearest: Option<&'static str> },
    #[error(
        "this prefers {prefer}, and {require} is required ({}): only what is closer can be preferred",
        At(other)
    )]
    Farther { prefer: Tier, require: Tier, other: Place },
    #[error("the job takes {nodes} nodes, so it cannot be within one node")]
    JobInNode { nodes: u32 },
    #[error(
        "a node has {ranks_per_node} ranks, and a {kind} group takes its {size} out of {block} in a row, so that some would be on two nodes{}",
        WouldFit { kind, size: *fitting }
    )]
    GroupInNode { kind: String, size: u32, block: u64, ranks_per_node: u32, fitting: Option<u32> },
    #[error(
        "nodes that share no {spread} domain cannot be within one {within}, as is required ({})",
        At(other)
    )]
    SpreadWithin { spread: Tier, within: Tier, other: Place },
    #[error("the node {} is to be used ({}) and to be avoided", shown(node), At(other))]
    UsedAndAvoided { node: String, other: Place },
    #[error("the node {} stands here a second time", shown(.0))]
    NodeTwice(String),
    #[error(
        "only {named} node{} named to choose from, and the job takes {nodes}{}: name as many, or take fewer",
        if *named == 1 { " is" } else { "s are" }, Spares(*spares)
    )]
    TooFewNodes { named: usize, nodes: u32, spares: u32 },

    #[error("`min` is missing, the least ranks that the job can train with")]
    NoMin,
    #[error("elastic from {min} to {max} ranks, and the job has {ranks}; its number lies between the two")]
    OutOfRange { min: u32, max: u32, ranks: u32 },
    #[error("from min {min} by steps of {step} there is no way to {ranks} ranks")]
    NoStep { min: u32, step: u32, ranks: u32 },
    #[error("{count} ranks are no whole replicas: the groups other than dp take {replica} ranks each time")]
    PartOfReplica { count: u32, replica: u64 },
}

/// Sizes of groups that do not make up the ranks of the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Kinds and sizes, fastest first, as far as they were given.
    pub given: Vec<(String, u32)>,
    /// Their product; `None` beyond 64 bits.
    pub product: Option<u64>,
    pub ranks: u32,
    /// dp was left open: the product has to divide the ranks.
    pub open: bool,
    /// What one change alone would make right: a kind, and its nearest sizes.
    pub fitting: Vec<(String, Vec<u32>)>,
    /// The nearest numbers of ranks that the sizes do make up.
    pub ranks_fitting: Vec<u32>,
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<String> = self.given.iter().map(|(kind, size)| format!("{kind} {size}")).collect();
        f.write_str(&terms.join(" x "))?;
        match self.product {
            Some(product) if self.given.len() > 1 => write!(f, " = {product}")?,
            Some(_) => {}
            None => f.write_str(", more than can be counted,")?,
        }
        let s = if self.ranks == 1 { "" } else { "s" };
        match self.open {
            true => write!(f, " does not divide the {} rank{s} of the job", self.ranks)?,
            false => write!(f, ", and the job has {} rank{s}", self.ranks)?,
        }
        let mut fitting: Vec<String> =
            self.fitting.iter().map(|(kind, sizes)| Fitting { kind, sizes }.to_string()).collect();
        fitting.extend(self.ranks_fitting.iter().map(|ranks| format!("{ranks} ranks")));
        match fitting.is_empty() {
            true => Ok(()),
            false => write!(f, "; {} would fit", fitting.join(", or ")),
        }
    }
}

/// `tp 4 or 8`
struct Fitting<'a> {
    kind: &'a str,
    sizes: &'a [u32],
}

impl fmt::Display for Fitting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.sizes.iter().map(u32::to_string).collect();
        write!(f, "{} {}", self.kind, sizes.join(" or "))
    }
}

struct WouldFit<'a> {
    kind: &'a str,
    size: Option<u32>,
}

impl fmt::Display for WouldFit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size {
            Some(size) => write!(f, "; {} {size} would fit", self.kind),
            None => Ok(()),
        }
    }
}

/// The tiers from this one on.
struct Tiers(Tier);

impl fmt::Display for Tiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> =
            Tier::CHOICES.iter().filter(|(_, tier)| *tier >= self.0).map(|(word, _)| *word).collect();
        f.write_str(&words.join(", "))
    }
}

/// The way out for a tier that a group can be limited to.
struct ForGroups(Tier);

impl fmt::Display for ForGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Tier::Island | Tier::Numa => write!(f, "; a kind of group can be limited so: `tp: {}`", self.0),
            _ => Ok(()),
        }
    }
}

struct Spares(u32);

impl fmt::Display for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" and a spare"),
            spares => write!(f, " and {spares} spares"),
        }
    }
}

struct Meant(Option<&'static str>);

impl fmt::Display for Meant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        did_you_mean(f, self.0)
    }
}
