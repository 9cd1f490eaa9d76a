//! Whether what a pod gets of a node is as close together as groups have to be that stay within a node.

use phalanx_common::topology::Tier;
use phalanx_common::topology::machine::CpuSet;

use super::fabric::NodeRow;
use super::inside::{Inside, NodeModel, RankInside};
use super::request::{Cut, GangRequest, Limits};
use crate::stock::Stock;

/// So many unlike nodes are remembered: most nodes of a cluster are alike.
const REMEMBERED: usize = 16;

/// Answers for one size of pods, each once for nodes that are alike.
pub(super) struct Close<'a> {
    stock: &'a Stock,
    request: &'a GangRequest<'a>,
    cut: Cut,
    limits: &'a Limits,
    known: Vec<(NodeRow, bool)>,
}

impl<'a> Close<'a> {
    pub(super) fn new(
        stock: &'a Stock,
        request: &'a GangRequest<'a>,
        cut: Cut,
        limits: &'a Limits,
    ) -> Close<'a> {
        Close { stock, request, cut, limits, known: Vec::new() }
    }

    /// Whether a node that can take a pod can give it what is close enough.
    pub(super) fn is(&mut self, row: NodeRow) -> bool {
        if !self.limits.look_inside() {
            return true;
        }
        if let Some((_, is)) = self.known.iter().find(|(known, _)| self.stock.alike(*known, row)) {
            return *is;
        }
        let node = self.stock.node(row);
        let is = node
            .choose(self.request, self.cut)
            .is_ok_and(|inside| is_close(self.stock, row, inside.as_ref(), self.request, self.limits));
        self.known.truncate(REMEMBERED - 1);
        self.known.insert(0, (row, is));
        is
    }
}

/// Whether the groups that have to be closer than a node are: ranks of a group have consecutive numbers among those of the groups
/// up to theirs. What nobody knows is not close.
pub(super) fn is_close(
    stock: &Stock,
    row: NodeRow,
    inside: Option<&Inside>,
    request: &GangRequest<'_>,
    limits: &Limits,
) -> bool {
    let mut block = 1usize;
    request.spec.parallelism.groups.iter().all(|group| {
        block = block.saturating_mul(group.size as usize);
        let Some(tier) = limits.inside.get(&group.kind).filter(|tier| **tier < Tier::Node) else {
            return true;
        };
        if group.size < 2 {
            return true;
        }
        let (Some(inside), Some(interior)) = (inside, &stock.node(row).inside) else { return false };
        inside.ranks.chunks(block).all(|ranks| together(&interior.model, ranks, *tier))
    })
}

fn together(model: &NodeModel, ranks: &[RankInside], tier: Tier) -> bool {
    if tier == Tier::Numa {
        let all = ranks.iter().fold(CpuSet::new(), |all, rank| all.union(&rank.numa));
        return all.len() == 1 && ranks.iter().all(|rank| !rank.numa.is_empty());
    }
    let rows = ranks.iter().flat_map(|rank| &rank.devices);
    let mask = rows.fold(0u64, |mask, row| mask | 1 << row);
    mask != 0 && model.islands().iter().any(|island| mask & !island == 0)
}
