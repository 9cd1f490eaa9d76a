//! Which free nodes take the place of those that are lost.
//!
//! Free nodes of one lowest domain are equal to a slot, so domains are chosen. The search goes from slot to slot, the cheapest
//! domain first, and back where a limit is in the way; what is found first is the greedy choice.

use std::collections::{BTreeMap, BTreeSet};

use super::Keeping;
use crate::placement::fabric::{DomainRow, NodeRow};
use crate::placement::order::SlotGraph;

/// So many domains are considered for a slot, and one more for each other slot that may be in the way.
const CONSIDERED: usize = 64;
/// After so many steps the best that was found is taken.
const STEPS: usize = 1 << 12;
/// A gang that lost more nodes than this at once is placed anew.
const MOST: usize = 512;

/// What a choice costs, what decides first in front: nodes that were not held back, added cost, nodes with a blemish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Price(u32, u128, u32);

impl Price {
    fn plus(self, other: Price) -> Price {
        Price(self.0 + other.0, self.1.saturating_add(other.1), self.2 + other.2)
    }
}

/// Free nodes that are equal: of one lowest domain, held back or not, with a blemish or without.
struct Pool {
    domain: DomainRow,
    price: Price,
    nodes: Vec<NodeRow>,
}

struct Search<'a> {
    keeping: &'a Keeping<'a>,
    graph: &'a SlotGraph,
    vacant: &'a [usize],
    pools: Vec<Pool>,
    /// For each vacant slot pools with the price beside the nodes that stay, the cheapest first.
    open: Vec<Vec<(Price, usize)>>,
    /// No choice for the vacant slots from one on costs less.
    least: Vec<Price>,
    rows: Vec<Option<NodeRow>>,
    /// Nodes of each pool that are taken.
    taken: Vec<usize>,
    /// Domains of which no other node may be taken.
    apart: BTreeSet<DomainRow>,
    best: Option<(Price, Vec<Option<NodeRow>>)>,
    steps: usize,
}

/// The rows with the vacant ones filled; `None`: no way was found that keeps to the limits.
pub(super) fn fill(
    keeping: &Keeping<'_>,
    graph: &SlotGraph,
    rows: &[Option<NodeRow>],
    vacant: &[usize],
    free: impl Iterator<Item = NodeRow>,
) -> Option<Vec<Option<NodeRow>>> {
    if vacant.len() > MOST {
        return None;
    }
    let pools = pools(keeping, free);
    let apart = rows.iter().flatten().filter_map(|row| keeping.bounds().apart(*row)).collect();
    let (taken, open, least) = (vec![0; pools.len()], Vec::new(), vec![Price::default()]);
    let mut search = Search {
        keeping,
        graph,
        vacant,
        pools,
        open,
        least,
        rows: rows.to_vec(),
        taken,
        apart,
        best: None,
        steps: STEPS + vacant.len(),
    };
    for slot in vacant.iter().rev() {
        let open = search.open(*slot);
        let least = open.first()?.0.plus(search.least[0]);
        search.open.insert(0, open);
        search.least.insert(0, least);
    }
    search.descend(0, Price::default());
    search.best.map(|(_, rows)| rows)
}

fn pools(keeping: &Keeping<'_>, free: impl Iterator<Item = NodeRow>) -> Vec<Pool> {
    let fabric = keeping.stock.fabric();
    let mut pools: BTreeMap<(DomainRow, Price), Vec<NodeRow>> = BTreeMap::new();
    for row in free {
        let node = fabric.node(row);
        let is_other = !keeping.request.spares.contains(&node.id);
        let price = Price(u32::from(is_other), 0, u32::from(!node.blemishes.is_empty()));
        pools.entry((fabric.domain_of(row, 0), price)).or_default().push(row);
    }
    pools.into_iter().map(|((domain, price), nodes)| Pool { domain, price, nodes }).collect()
}

impl Search<'_> {
    /// Pools for a slot by their price beside the nodes that stay.
    fn open(&self, slot: usize) -> Vec<(Price, usize)> {
        let mut known: BTreeMap<DomainRow, Option<u128>> = BTreeMap::new();
        let mut open: Vec<(Price, usize)> = Vec::new();
        for (at, pool) in self.pools.iter().enumerate() {
            let row = pool.nodes[0];
            let added = *known.entry(pool.domain).or_insert_with(|| {
                self.keeping.bounds().reaches(&self.rows, row).then(|| self.added(slot, row)).flatten()
            });
            open.extend(added.map(|added| (pool.price.plus(Price(0, added, 0)), at)));
        }
        open.sort_unstable();
        open.truncate(CONSIDERED + self.vacant.len());
        open
    }

    /// What the traffic of a slot costs from a node to the slots that have one; `None`: that is too far, or too near.
    fn added(&self, slot: usize, row: NodeRow) -> Option<u128> {
        let fabric = self.keeping.stock.fabric();
        if self.keeping.bounds().apart(row).is_some_and(|domain| self.apart.contains(&domain)) {
            return None;
        }
        let mut sum = 0u128;
        for edge in self.graph.edges(u32::try_from(slot).ok()?) {
            let Some(other) = self.rows.get(edge.to as usize).copied().flatten() else { continue };
            let limit = self.graph.within().get(usize::from(edge.kind)).copied().flatten();
            if limit.is_some_and(|limit| fabric.meet(row, other) > usize::from(limit)) {
                return None;
            }
            sum += u128::from(edge.weight) * u128::from(fabric.distance(row, other));
        }
        Some(sum)
    }

    fn descend(&mut self, at: usize, price: Price) {
        let Some(slot) = self.vacant.get(at).copied() else {
            self.best = Some((price, self.rows.clone()));
            return;
        };
        for next in 0..self.open[at].len() {
            let (beside, pool) = self.open[at][next];
            let bound = price.plus(beside).plus(self.least[at + 1]);
            if self.steps == 0 || self.best.as_ref().is_some_and(|(best, _)| bound >= *best) {
                return;
            }
            let Some(row) = self.pools[pool].nodes.get(self.taken[pool]).copied() else { continue };
            // What is added to other vacated slots comes on top.
            let Some(added) = self.added(slot, row) else { continue };
            let with = price.plus(self.pools[pool].price).plus(Price(0, added, 0));
            if self.best.as_ref().is_some_and(|(best, _)| with.plus(self.least[at + 1]) >= *best) {
                continue;
            }
            self.steps -= 1;
            self.rows[slot] = Some(row);
            self.taken[pool] += 1;
            let apart = self.keeping.bounds().apart(row);
            self.apart.extend(apart);
            self.descend(at + 1, with);
            if let Some(domain) = apart {
                self.apart.remove(&domain);
            }
            self.taken[pool] -= 1;
            self.rows[slot] = None;
        }
    }
}
