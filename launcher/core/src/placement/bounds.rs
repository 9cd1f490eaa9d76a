//! How close together the nodes of a gang have to be, and how far apart.

use std::collections::BTreeSet;

use super::fabric::{DomainRow, NodeRow};
use super::order::SlotGraph;
use super::request::{GangRequest, Limits};
use crate::stock::Stock;

/// What a gang's nodes have to keep to among each other.
pub(super) struct Bounds<'a> {
    pub(super) stock: &'a Stock,
    pub(super) request: &'a GangRequest<'a>,
    pub(super) limits: &'a Limits,
}

impl Bounds<'_> {
    /// Whether a node is as close to the nodes of the gang as all have to be: to the first is to all.
    pub(super) fn reaches(&self, rows: &[Option<NodeRow>], row: NodeRow) -> bool {
        let first = rows.iter().copied().flatten().next();
        let meet = |first| self.stock.fabric().meet(first, row);
        first.zip(self.limits.all).is_none_or(|(first, limit)| meet(first) <= usize::from(limit))
    }

    /// The domain of a node that no other node of the gang may be in.
    pub(super) fn apart(&self, row: NodeRow) -> Option<DomainRow> {
        let fabric = self.stock.fabric();
        let tier = self.request.spec.placement.spread?;
        Some(fabric.domain_of(row, fabric.level_apart(tier)?))
    }

    /// Whether nodes are as close together, and as far apart, as they have to be. `None` for pods of unequal size, which have no
    /// groups.
    pub(super) fn hold(&self, graph: Option<&SlotGraph>, rows: &[Option<NodeRow>]) -> bool {
        let fabric = self.stock.fabric();
        let row = |slot: u32| rows.get(slot as usize).copied().flatten();
        let is_close = |graph: &SlotGraph| {
            (0..graph.len()).all(|slot| {
                graph.edges(slot).iter().all(|edge| {
                    let limit = graph.within().get(usize::from(edge.kind)).copied().flatten();
                    let ends = row(slot).zip(row(edge.to));
                    limit.is_none_or(|limit| {
                        ends.is_some_and(|(a, b)| fabric.meet(a, b) <= usize::from(limit))
                    })
                })
            })
        };
        let all = rows.iter().flatten().all(|row| self.reaches(rows, *row));
        let domains: BTreeSet<DomainRow> = rows.iter().flatten().filter_map(|row| self.apart(*row)).collect();
        let apart =
            self.request.spec.placement.spread.is_none() || rows.len() < 2 || domains.len() == rows.len();
        graph.is_none_or(is_close) && all && apart
    }
}
