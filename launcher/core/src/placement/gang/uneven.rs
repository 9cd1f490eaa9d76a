//! Pods of unequal sizes.

use std::collections::BTreeSet;

use super::{Gang, GangPod, Placing};
use crate::placement::fabric::{NodeRow, ROOT};
use crate::placement::request::{Cut, Limits};

impl Placing<'_> {
    /// Unequal pods: as few nodes as hold the ranks, with shares as even as their room allows, in the order of the tree.
    pub(super) fn uneven(&self, world: u32, limits: &Limits, shunning: bool) -> Option<Gang> {
        let least = Cut { nodes: 2, ranks: 1 };
        let (supply, _) = self.supply(least, limits, shunning, &BTreeSet::new());
        let room = |row: NodeRow| Some((row, self.stock.ask(row, self.request, least).ok()?));
        let mut rooms: Vec<(NodeRow, u32)> = supply.of(ROOT).filter_map(room).collect();
        rooms.sort_by_key(|(row, room)| (std::cmp::Reverse(*room), *row));
        let shares = fewest(rooms, world)?;
        // Groups, distances and spares are of equal pods: nothing that was required is dropped for unequal ones.
        let placement = &self.request.spec.placement;
        let several = shares.len() > 1;
        let bound = limits.one_node
            || !limits.groups.is_empty()
            || !limits.inside.is_empty()
            || placement.spread.is_some();
        if placement.spares > 0 || several && (bound || self.too_far(&shares, limits)) {
            return None;
        }
        let mut pods = Vec::with_capacity(shares.len());
        for (node, ranks) in shares {
            let cut = Cut { nodes: 2, ranks };
            let inside = self.stock.node(node).choose(self.request, cut).ok()?;
            pods.push(GangPod { node, ranks, inside });
        }
        super::imposed::reorder(self.stock, &mut pods);
        Some(Gang { pods, spares: Vec::new(), bound: 0, exact: false, best: None })
    }

    /// Whether the nodes are farther apart than the job as a whole may be.
    fn too_far(&self, shares: &[(NodeRow, u32)], limits: &Limits) -> bool {
        let fabric = self.stock.fabric();
        let Some(((first, _), rest)) = shares.split_first() else { return false };
        let meets = |limit: usize| rest.iter().all(|(row, _)| fabric.meet(*first, *row) <= limit);
        limits.all.is_some_and(|limit| !meets(usize::from(limit)))
    }
}

/// As few nodes as hold `ranks`, with shares as even as their room allows. `rooms` are in the order of choice; the shares are in the
/// order of rows.
fn fewest(mut rooms: Vec<(NodeRow, u32)>, ranks: u32) -> Option<Vec<(NodeRow, u32)>> {
    let mut room = 0u64;
    let last = rooms.iter().position(|(_, own)| {
        room += u64::from(*own);
        room >= u64::from(ranks)
    })?;
    rooms.truncate(last + 1);
    rooms.sort_unstable();
    let mut shares: Vec<(NodeRow, u32, u32)> = rooms.into_iter().map(|(row, room)| (row, room, 0)).collect();
    let mut left = ranks;
    while left > 0 {
        let open = shares.iter().filter(|(_, room, share)| share < room).count();
        let each = left.div_ceil(u32::try_from(open.max(1)).unwrap_or(u32::MAX));
        for (_, room, share) in &mut shares {
            let more = each.min(*room - *share).min(left);
            *share += more;
            left -= more;
        }
    }
    Some(shares.into_iter().map(|(row, _, share)| (row, share)).filter(|(_, share)| *share > 0).collect())
}
