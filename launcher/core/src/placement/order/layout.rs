//! How the ranks of a job talk: its parallel groups, fastest first.

use std::fmt;

use super::Level;

/// Relative bytes that a rank sends to the next member of its group in a step, where the user says nothing.
/// A tensor-parallel rank reduces activations four times per layer and micro-batch.
pub const TP_VOLUME: u64 = 512;
/// Tokens go out and come back once per expert layer, to every member rather than to the next.
pub const EP_VOLUME: u64 = 64;
/// Keys and values of a layer go around once per micro-batch, a fraction of a layer's activations.
pub const CP_VOLUME: u64 = 32;
/// Gradients go around once per step, however many layers and micro-batches there are.
pub const DP_VOLUME: u64 = 8;
/// Activations of one layer boundary per micro-batch, and only at the ends of a stage.
pub const PP_VOLUME: u64 = 2;

/// More ranks than this are refused: work and memory of the contraction grow with them.
pub const MAX_RANKS: u32 = 1 << 20;

/// What a group of ranks shares out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKind {
    /// Tensor parallel.
    Tp,
    /// Context parallel.
    Cp,
    /// Expert parallel.
    Ep,
    /// Data parallel.
    Dp,
    /// Pipeline parallel.
    Pp,
    Custom(String),
}

impl GroupKind {
    /// Relative volume of an edge where the user says nothing. A custom group counts as data parallel.
    pub fn default_volume(&self) -> u64 {
        match self {
            GroupKind::Tp => TP_VOLUME,
            GroupKind::Ep => EP_VOLUME,
            GroupKind::Cp => CP_VOLUME,
            GroupKind::Dp | GroupKind::Custom(_) => DP_VOLUME,
            GroupKind::Pp => PP_VOLUME,
        }
    }

    /// The pattern that frameworks use: experts exchange all with all, stages hand on, the rest goes round.
    pub fn default_pattern(&self) -> Pattern {
        match self {
            GroupKind::Ep => Pattern::AllToAll,
            GroupKind::Pp => Pattern::Chain,
            GroupKind::Tp | GroupKind::Cp | GroupKind::Dp | GroupKind::Custom(_) => Pattern::Ring,
        }
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GroupKind::Tp => "tp",
            GroupKind::Cp => "cp",
            GroupKind::Ep => "ep",
            GroupKind::Dp => "dp",
            GroupKind::Pp => "pp",
            GroupKind::Custom(name) => name,
        })
    }
}

/// Which members of a line talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Each with the next, and the last with the first. Two members are joined twice, there and back.
    Ring,
    /// Each pair, by one edge.
    AllToAll,
    /// Each with the next.
    Chain,
    /// Member `i` with member `(i - 1) / 2`.
    Tree,
}

/// A kind of group. It cuts the ranks into lines of `size` members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub kind: GroupKind,
    /// Members of a line.
    pub size: u32,
    pub pattern: Pattern,
    /// Bytes per step along an edge of the pattern between two ranks, in any unit that all groups share.
    pub volume: u64,
    /// All members of a line must be in one domain of this level or a closer one.
    pub within: Option<Level>,
}

impl Group {
    /// A group with the pattern and volume of its kind, and no limit.
    pub fn of(kind: GroupKind, size: u32) -> Self {
        Group { size, pattern: kind.default_pattern(), volume: kind.default_volume(), within: None, kind }
    }
}

/// The groups of a job, fastest first: a rank is the mixed-radix number of its coordinates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    groups: Vec<Group>,
    ranks: u32,
}

/// Groups that make no layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("a job of no ranks has no layout")]
    NoRanks,
    #[error("{ranks} ranks are more than the {MAX_RANKS} that can be ordered")]
    TooManyRanks { ranks: u64 },
    #[error("group {kind} has size 0; leave it out or give it at least 1")]
    ZeroSize { kind: GroupKind },
    #[error("group {kind} is stated twice")]
    Duplicate { kind: GroupKind },
    #[error("the sizes of the groups multiply to {product}, and the job has {ranks} ranks")]
    Product { product: u128, ranks: u32 },
    #[error("the sizes of the groups multiply to more than a number of ranks can be")]
    Overflow,
}

impl Layout {
    /// Checks that `groups`, fastest first, make exactly `ranks` ranks.
    pub fn new(groups: Vec<Group>, ranks: u32) -> Result<Self, LayoutError> {
        check_ranks(u64::from(ranks))?;
        let mut product = 1u128;
        for (place, group) in groups.iter().enumerate() {
            if group.size == 0 {
                return Err(LayoutError::ZeroSize { kind: group.kind.clone() });
            }
            if groups.iter().take(place).any(|earlier| earlier.kind == group.kind) {
                return Err(LayoutError::Duplicate { kind: group.kind.clone() });
            }
            product = product.checked_mul(u128::from(group.size)).ok_or(LayoutError::Overflow)?;
        }
        if product != u128::from(ranks) {
            return Err(LayoutError::Product { product, ranks });
        }
        Ok(Layout { groups, ranks })
    }

    /// What is assumed where nothing is stated: one data-parallel ring over all ranks.
    pub fn ring(ranks: u32) -> Result<Self, LayoutError> {
        Layout::new(vec![Group::of(GroupKind::Dp, ranks)], ranks)
    }

    /// Fastest first.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub fn ranks(&self) -> u32 {
        self.ranks
    }
}

pub(super) fn check_ranks(ranks: u64) -> Result<(), LayoutError> {
    match ranks {
        0 => Err(LayoutError::NoRanks),
        1.. if ranks > u64::from(MAX_RANKS) => Err(LayoutError::TooManyRanks { ranks }),
        _ => Ok(()),
    }
}
