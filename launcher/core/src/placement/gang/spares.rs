//! Which nodes are held back for a gang.

use std::collections::{BTreeMap, BTreeSet};

use super::Placing;
use crate::placement::fabric::{DomainRow, Fabric, NodeRow};
use crate::placement::order::{Level, SlotGraph};
use crate::placement::request::Limits;
use crate::placement::supply::Supply;

/// Of the domains that could give spares, so many of the nearest are weighed against every slot.
const WEIGHED: usize = 32;

/// What tells the better of two domains to hold a node back in: less is better, the first difference decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    /// Slots that it could not stand in for, by what is required.
    unfit: usize,
    /// The gang is on it: what takes out a slot's node may take out the spare as well.
    shared: bool,
    /// What the slot that it suits the least costs on it.
    cost: u128,
    /// The way to all nodes of the gang.
    far: u128,
    /// Nothing runs there, so that a gang would find all of it free.
    untouched: bool,
    open: u32,
}

impl Placing<'_> {
    /// Nodes to hold back; `None`: too few are left. They are nodes that could stand in for as many of the gang's as possible,
    /// of lowest domains that it is not on, at the least added cost, and where they are the least missed by others.
    pub(super) fn spares(
        &self,
        supply: &Supply<'_>,
        limits: &Limits,
        rows: &[NodeRow],
        graph: Option<&SlotGraph>,
    ) -> Option<Vec<NodeRow>> {
        let count = self.request.spec.placement.spares as usize;
        if count == 0 {
            return Some(Vec::new());
        }
        let fabric = self.stock.fabric();
        let gang = Held::new(fabric, rows);
        let used: BTreeSet<NodeRow> = rows.iter().copied().collect();
        let apart = self.request.spec.placement.spread.and_then(|tier| fabric.level_apart(tier));
        let mut near: Vec<(bool, u128, DomainRow)> = fabric
            .level(0)
            .filter(|row| supply.nodes_in(*row) > gang.on(*row))
            .map(|row| (gang.on(row) > 0, gang.far(row), row))
            .collect();
        near.sort_unstable();
        // The nearest of those that it is on, and the nearest of the others: far ones come after all of them.
        let own = near.partition_point(|(shared, ..)| !shared);
        let (others, own) = near.split_at(own);
        let weighed = others.iter().take(WEIGHED).chain(own.iter().take(WEIGHED));
        let mut domains: Vec<(bool, Worth, DomainRow)> = Vec::new();
        for (shared, far, row) in weighed {
            let (unfit, cost) = gang.stand_in(*row, graph, limits, apart);
            if unfit == rows.len() {
                // Nobody would gain by a node that can stand in for none.
                continue;
            }
            let open = supply.nodes_in(*row) - gang.on(*row);
            let untouched = open as usize == fabric.domain(*row).nodes.len();
            let worth = Worth { unfit, shared: *shared, cost, far: *far, untouched, open };
            domains.push((false, worth, *row));
        }
        for (shared, far, row) in others.iter().skip(WEIGHED).chain(own.iter().skip(WEIGHED)) {
            let worth = Worth { unfit: 0, shared: *shared, cost: 0, far: *far, untouched: false, open: 0 };
            domains.push((true, worth, *row));
        }
        domains.sort_unstable();
        // Of equal domains' nodes those without a blemish.
        let equal = domains.chunk_by(|(a, one, _), (b, other, _)| (a, one) == (b, other));
        let nodes = equal.flat_map(|equal| {
            let nodes = equal.iter().flat_map(|(.., row)| supply.of(*row));
            let mut nodes: Vec<NodeRow> = nodes.filter(|node| !used.contains(node)).collect();
            nodes.sort_by_key(|node| (!fabric.node(*node).blemishes.is_empty(), *node));
            nodes
        });
        let mut spares: Vec<NodeRow> = Vec::with_capacity(count);
        let mut beside: Vec<NodeRow> = Vec::new();
        for node in nodes {
            if spares.len() == count {
                break;
            }
            // Nodes that have to be apart from each other are so as spares, too, where there are enough.
            let together = |other: &NodeRow| apart.is_some_and(|level| fabric.meet(*other, node) <= level);
            match spares.iter().any(together) {
                true => beside.push(node),
                false => spares.push(node),
            }
        }
        spares.extend(beside.into_iter().take(count - spares.len()));
        (spares.len() == count).then_some(spares)
    }
}

/// The nodes that a gang has.
struct Held<'a> {
    fabric: &'a Fabric,
    rows: &'a [NodeRow],
    /// How many of each lowest domain.
    domains: BTreeMap<DomainRow, u32>,
}

impl<'a> Held<'a> {
    fn new(fabric: &'a Fabric, rows: &'a [NodeRow]) -> Held<'a> {
        let mut domains = BTreeMap::new();
        for row in rows {
            *domains.entry(fabric.domain_of(*row, 0)).or_insert(0) += 1;
        }
        Held { fabric, rows, domains }
    }

    fn on(&self, domain: DomainRow) -> u32 {
        self.domains.get(&domain).copied().unwrap_or(0)
    }

    /// A node of a domain: all of a lowest one are at the same distance.
    fn any(&self, domain: DomainRow) -> NodeRow {
        self.fabric.domain(domain).nodes.start
    }

    /// The distance of a domain to all nodes of the gang, summed up.
    fn far(&self, domain: DomainRow) -> u128 {
        let way = |(own, count): (&DomainRow, &u32)| {
            let distance =
                if *own == domain { 0 } else { self.fabric.distance(self.any(*own), self.any(domain)) };
            u128::from(*count) * u128::from(distance)
        };
        self.domains.iter().map(way).sum()
    }

    /// How many slots a node of a domain could not stand in for, and what the slot costs there that costs the most.
    fn stand_in(
        &self,
        domain: DomainRow,
        graph: Option<&SlotGraph>,
        limits: &Limits,
        apart: Option<usize>,
    ) -> (usize, u128) {
        let node = self.any(domain);
        let fabric = self.fabric;
        // With one node of the gang gone, the rest has to be near and apart.
        let too_far =
            |row: &NodeRow| limits.all.is_some_and(|limit| fabric.meet(*row, node) > usize::from(limit));
        let beside = |row: &NodeRow| apart.is_some_and(|level| fabric.meet(*row, node) <= level);
        let bad: Vec<usize> = (0..self.rows.len())
            .filter(|slot| too_far(&self.rows[*slot]) || beside(&self.rows[*slot]))
            .collect();
        // Those of the graph are also of what is merely better.
        let kinds = graph.iter().flat_map(|graph| graph.kinds());
        let required: Vec<Option<Level>> =
            kinds.map(|kind| limits.groups.get(&kind.to_string()).copied()).collect();
        let (mut unfit, mut worst) = (0, 0);
        for slot in 0..self.rows.len() {
            let bounded = bad.iter().any(|other| *other != slot);
            let edges = graph.map_or(&[][..], |graph| graph.edges(crate::placement::fabric::row(slot)));
            let mut cost = 0u128;
            let mut close = true;
            for edge in edges {
                let other = self.rows[edge.to as usize];
                cost += u128::from(edge.weight) * u128::from(fabric.distance(node, other));
                let limit = required.get(usize::from(edge.kind)).copied().flatten();
                close &= limit.is_none_or(|limit| fabric.meet(node, other) <= usize::from(limit));
            }
            unfit += usize::from(bounded || !close);
            worst = worst.max(cost);
        }
        (unfit, worst)
    }
}
