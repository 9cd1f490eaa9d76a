//! Pods of unequal sizes.

use std::collections::BTreeSet;

use super::{Gang, GangPod, Placing, RETRIES};
use crate::placement::fabric::{NodeRow, ROOT};
use crate::placement::report::report;
use crate::placement::request::{Cut, Limits};

/// Ranks of each node.
type Shares = Vec<(NodeRow, u32)>;

impl Placing<'_> {
    /// Unequal pods: as few nodes as hold the ranks, of the lowest domain that has so many, with shares as even as their room
    /// allows, in the order of the tree.
    pub(super) fn uneven(&self, world: u32, limits: &Limits, shunning: bool) -> Option<Gang> {
        // Groups and distances are of equal pods: nothing that was required is dropped for unequal ones. One pod is equal to itself.
        let placement = &self.request.spec.placement;
        let is_bound = limits.one_node
            || !limits.groups.is_empty()
            || !limits.inside.is_empty()
            || placement.spread.is_some();
        if is_bound {
            return None;
        }
        let least = Cut { nodes: 2, ranks: 1 };
        let (supply, _) = self.supply(least, limits, shunning, &BTreeSet::new());
        let room = |row: NodeRow| Some((row, self.stock.ask(row, self.request, least).ok()?));
        let mut rooms: Vec<(NodeRow, u32)> = supply.of(ROOT).filter_map(room).collect();
        for _ in 0..RETRIES {
            let shares = self.shares(&rooms, world, limits)?;
            let mut pods = Vec::with_capacity(shares.len());
            for (node, ranks) in shares {
                let cut = Cut { nodes: 2, ranks };
                match self.stock.node(node).choose(self.request, cut) {
                    Ok(inside) => pods.push(GangPod { node, ranks, inside }),
                    // It looked as if it could: the others may do without it.
                    Err(_) => {
                        rooms.retain(|(row, _)| *row != node);
                        break;
                    }
                }
            }
            if pods.iter().fold(0u32, |sum, pod| sum.saturating_add(pod.ranks)) == world {
                let order: Vec<(NodeRow, u32)> = pods.iter().map(|pod| (pod.node, pod.ranks)).collect();
                let is_imposed = super::imposed::reorder(self.stock, &mut pods);
                let best = if is_imposed { self.cost(&order) } else { None };
                let spares = self.spares_of_the_largest(&pods, limits, shunning)?;
                let gang = Gang { pods, spares, bound: 0, exact: false, best };
                return (gang.pods.len() > 1).then_some(gang);
            }
        }
        None
    }

    /// Nodes that could take the largest of these pods.
    fn spares_of_the_largest(
        &self,
        pods: &[GangPod],
        limits: &Limits,
        shunning: bool,
    ) -> Option<Vec<NodeRow>> {
        let cut = Cut { nodes: 2, ranks: pods.iter().map(|pod| pod.ranks).max()? };
        let (supply, _) = self.supply(cut, limits, shunning, &BTreeSet::new());
        let rows: Vec<NodeRow> = pods.iter().map(|pod| pod.node).collect();
        self.spares(&supply, limits, &rows, None)
    }

    /// What these shares cost in this order.
    fn cost(&self, order: &[(NodeRow, u32)]) -> Option<u128> {
        let (rows, shares): (Vec<NodeRow>, Vec<u32>) = order.iter().copied().unzip();
        let world = shares.iter().fold(0u32, |sum, share| sum.saturating_add(*share));
        let layout = self.request.layout(world, &Limits::default()).ok()?;
        Some(report(self.stock, &layout, &rows, &shares).ok()?.cost)
    }

    /// The fewest nodes of any domain that is close enough, the lowest first, and of equals the fullest. `rooms` are in the order of
    /// the tree.
    fn shares(&self, rooms: &[(NodeRow, u32)], world: u32, limits: &Limits) -> Option<Shares> {
        let fabric = self.stock.fabric();
        let highest = limits.all.map_or(fabric.depth(), usize::from).min(fabric.depth());
        let mut best: Option<((usize, usize, u64), Shares)> = None;
        for level in 0..=highest {
            for domain in fabric.level(level) {
                let nodes = &fabric.domain(domain).nodes;
                let first = rooms.partition_point(|(row, _)| *row < nodes.start);
                let last = rooms.partition_point(|(row, _)| *row < nodes.end);
                let own = &rooms[first..last];
                let all = own.iter().map(|(_, room)| u64::from(*room)).sum();
                let mut own = own.to_vec();
                let is_blemished = |row: NodeRow| !fabric.node(row).blemishes.is_empty();
                own.sort_by_key(|(row, room)| (std::cmp::Reverse(*room), is_blemished(*row), *row));
                let Some(shares) = fewest(own, world) else { continue };
                let key = (shares.len(), level, all);
                if best.as_ref().is_none_or(|(best, _)| key < *best) {
                    best = Some((key, shares));
                }
            }
        }
        best.map(|(_, shares)| shares)
    }
}

/// As few nodes as hold `ranks`, with shares as even as their room allows. `rooms` are in the order of choice; the shares are in the
/// order of rows.
fn fewest(mut rooms: Vec<(NodeRow, u32)>, ranks: u32) -> Option<Shares> {
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
