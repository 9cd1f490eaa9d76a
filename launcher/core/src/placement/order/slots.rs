//! Slots and what they say to each other.
//!
//! A slot is the share of a gang that one node takes: ranks with consecutive numbers. Edges between ranks of a
//! slot cost nothing and vanish; the others are summed up per pair of slots and kind of group.

use super::layout::{GroupKind, LayoutError, Pattern};
use super::{Layout, Level, contract};

/// A line of all-to-all traffic over more slots than this is modelled as a ring of the same total volume
/// (rounded up to whole units per edge): the pairs of longer lines would outgrow memory, and a line that long
/// leaves every domain anyway.
pub const LONGEST_ALL_TO_ALL: u32 = 128;
/// More edges than this are refused.
pub const MAX_EDGES: usize = 1 << 24;

/// A dimension of the grid that slots form: the lines of one kind of group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dim {
    /// Index into [`SlotGraph::kinds`].
    pub kind: u8,
    /// Slots of a line, at least 2.
    pub size: u32,
    pub pattern: Pattern,
    /// Volume of one edge between two slots.
    pub weight: u64,
}

/// An edge, as seen from one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub to: u32,
    /// Index into [`SlotGraph::kinds`].
    pub kind: u8,
    pub weight: u64,
}

/// The weighted graph of slots, with the grid behind it where there is one.
#[derive(Clone, Debug)]
pub struct SlotGraph {
    pub(super) slots: u32,
    pub(super) kinds: Vec<GroupKind>,
    pub(super) within: Vec<Option<Level>>,
    pub(super) inside: Vec<u128>,
    pub(super) dims: Vec<Dim>,
    /// Coordinates of each slot, one per dimension.
    pub(super) coords: Vec<u32>,
    /// The slots are all points of the grid, in mixed-radix order.
    pub(super) whole: bool,
    pub(super) starts: Vec<u32>,
    pub(super) edges: Vec<Edge>,
}

/// A layout that does not fold into slots.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotsError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("a node with no ranks is no part of a gang")]
    Empty,
    #[error("{ranks} ranks are not a multiple of {share} ranks per node")]
    Share { ranks: u32, share: u32 },
    #[error("the nodes take {shares} ranks in all, and the job has {ranks}")]
    Shares { shares: u64, ranks: u32 },
    #[error("a layout of more than 255 groups is not ordered")]
    Groups,
    #[error("the volume of group {kind} between two nodes is more than a number can hold")]
    Volume { kind: GroupKind },
    #[error("the groups make more than {MAX_EDGES} pairs of nodes that talk")]
    Edges,
}

impl SlotGraph {
    /// Slots of `share` ranks each.
    pub fn even(layout: &Layout, share: u32) -> Result<Self, SlotsError> {
        if share == 0 {
            return Err(SlotsError::Empty);
        }
        if !layout.ranks().is_multiple_of(share) {
            return Err(SlotsError::Share { ranks: layout.ranks(), share });
        }
        contract::even(layout, share)
    }

    /// Slots of unequal shares, in rank order. They form no grid; only the identity order suits them, for
    /// each slot is tied to a node that has room for it.
    pub fn uneven(layout: &Layout, shares: &[u32]) -> Result<Self, SlotsError> {
        if shares.contains(&0) || shares.is_empty() {
            return Err(SlotsError::Empty);
        }
        let total: u64 = shares.iter().map(|share| u64::from(*share)).sum();
        if total != u64::from(layout.ranks()) {
            return Err(SlotsError::Shares { shares: total, ranks: layout.ranks() });
        }
        contract::general(layout, shares)
    }

    pub fn len(&self) -> u32 {
        self.slots
    }

    pub fn is_empty(&self) -> bool {
        self.slots == 0
    }

    /// Kinds of the layout's groups, fastest first.
    pub fn kinds(&self) -> &[GroupKind] {
        &self.kinds
    }

    /// The limit of each kind.
    pub fn within(&self) -> &[Option<Level>] {
        &self.within
    }

    /// Volume of each kind that stays inside slots.
    pub fn inside(&self) -> &[u128] {
        &self.inside
    }

    /// Dimensions of the grid, fastest first; empty where the slots form none.
    pub fn dims(&self) -> &[Dim] {
        &self.dims
    }

    pub fn edges(&self, slot: u32) -> &[Edge] {
        let at = slot as usize;
        &self.edges[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    pub(super) fn coords_of(&self, slot: u32) -> &[u32] {
        let dims = self.dims.len();
        &self.coords[slot as usize * dims..(slot as usize + 1) * dims]
    }

    /// Which slots each limit keeps together: for each level that some kind is limited to, rising, the class of
    /// every slot. Classes are numbered by their first slot.
    pub(super) fn together(&self) -> Vec<(Level, Vec<u32>)> {
        let mut levels: Vec<Level> = self.within.iter().copied().flatten().collect();
        levels.sort_unstable();
        levels.dedup();
        let limited = |kind: u8, level| self.within[usize::from(kind)].is_some_and(|limit| limit <= level);
        let mut all = Vec::new();
        for level in levels {
            let mut classes = vec![u32::MAX; self.slots as usize];
            let mut next = 0;
            let mut reached = Vec::new();
            for slot in 0..self.slots {
                if classes[slot as usize] != u32::MAX {
                    continue;
                }
                classes[slot as usize] = next;
                reached.push(slot);
                while let Some(at) = reached.pop() {
                    for edge in self.edges(at) {
                        if limited(edge.kind, level) && classes[edge.to as usize] == u32::MAX {
                            classes[edge.to as usize] = next;
                            reached.push(edge.to);
                        }
                    }
                }
                next += 1;
            }
            if next < self.slots {
                all.push((level, classes));
            }
        }
        all
    }

    /// The graph of classes of slots: `class[slot]`, or `None` for slots that are left out. Limits at
    /// `level` and above hold by construction and are dropped.
    pub(super) fn quotient(&self, class: &[Option<u32>], level: Level) -> Self {
        let count = class.iter().flatten().max().map_or(0, |last| last + 1);
        let mut pairs = Vec::new();
        let mut firsts = vec![None; count as usize];
        let mut sizes = vec![0u32; count as usize];
        for slot in 0..self.slots {
            let Some(own) = class[slot as usize] else { continue };
            firsts[own as usize].get_or_insert(slot);
            sizes[own as usize] += 1;
            for edge in self.edges(slot) {
                match class[edge.to as usize] {
                    Some(other) if own < other => pairs.push((own, other, edge.kind, edge.weight)),
                    _ => {}
                }
            }
        }
        let kept = |dim: &Dim| self.within[usize::from(dim.kind)].is_none_or(|limit| limit > level);
        let merged = count < self.slots && sizes.iter().any(|size| *size > 1);
        let keep: Vec<bool> = self.dims.iter().map(|dim| !merged || kept(dim)).collect();
        let mut dims = Vec::new();
        for (dim, _) in self.dims.iter().zip(&keep).filter(|(_, keep)| **keep) {
            let times = u64::from(sizes.first().copied().unwrap_or(1));
            dims.push(Dim { weight: dim.weight.saturating_mul(times), ..*dim });
        }
        let mut coords = Vec::with_capacity(dims.len() * count as usize);
        for first in firsts.iter().flatten() {
            coords
                .extend(self.coords_of(*first).iter().zip(&keep).filter(|(_, keep)| **keep).map(|(c, _)| *c));
        }
        let points = dims.iter().map(|dim| u128::from(dim.size)).product::<u128>();
        let (starts, edges) = compress(count, pairs);
        SlotGraph {
            slots: count,
            kinds: self.kinds.clone(),
            within: self.within.iter().map(|limit| limit.filter(|limit| *limit < level)).collect(),
            inside: vec![0; self.kinds.len()],
            whole: self.whole && !dims.is_empty() && points == u128::from(count),
            dims,
            coords,
            starts,
            edges,
        }
    }
}

/// Rows of edges from pairs in any order; what joins the same slots for the same kind is summed up.
pub(super) fn compress(slots: u32, mut pairs: Vec<(u32, u32, u8, u64)>) -> (Vec<u32>, Vec<Edge>) {
    pairs.sort_unstable();
    pairs.dedup_by(|next, kept| {
        let same = (next.0, next.1, next.2) == (kept.0, kept.1, kept.2);
        if same {
            kept.3 = kept.3.saturating_add(next.3);
        }
        same
    });
    let mut starts = vec![0u32; slots as usize + 1];
    for (a, b, ..) in &pairs {
        starts[*a as usize + 1] += 1;
        starts[*b as usize + 1] += 1;
    }
    for at in 0..slots as usize {
        starts[at + 1] += starts[at];
    }
    let mut ends = starts.clone();
    let mut edges = vec![Edge { to: 0, kind: 0, weight: 0 }; pairs.len() * 2];
    for (a, b, kind, weight) in pairs {
        for (from, to) in [(a, b), (b, a)] {
            let end = &mut ends[from as usize];
            edges[*end as usize] = Edge { to, kind, weight };
            *end += 1;
        }
    }
    (starts, edges)
}
