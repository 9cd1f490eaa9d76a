//! What stands in the way of a gang.

use std::collections::BTreeMap;

use phalanx_common::spec::Shape;
use phalanx_common::topology::Tier;

use super::Placing;
use crate::placement::across::Need;
use crate::placement::fabric::{DomainRow, NodeRow, ROOT, row};
use crate::placement::refusal::{NoFit, Obstacle, Refusal};
use crate::placement::request::{Cut, Limits, UnknownTier};
use crate::placement::supply::Supply;

impl Placing<'_> {
    /// What is in the way of that many nodes.
    pub(super) fn obstacle(&self, supply: &Supply<'_>, need: &Need, limits: &Limits) -> Option<Obstacle> {
        let fabric = self.stock.fabric();
        let at = need.within.min(fabric.depth());
        // Of nodes that are to be apart a domain has as many to give as it has domains below that give one.
        let give = |row: DomainRow| match need.apart {
            None => supply.nodes_in(row),
            Some(apart) => {
                let nodes = &fabric.domain(row).nodes;
                let below =
                    fabric.level(apart).filter(|row| nodes.contains(&fabric.domain(*row).nodes.start));
                below.map(|row| u32::from(supply.nodes_in(row) > 0)).sum()
            }
        };
        if let Some(apart) = need.apart {
            let (domains, needed) = (give(ROOT), need.nodes);
            let spread = self.request.spec.placement.spread;
            if let Some(tier) = spread.filter(|tier| domains < needed && *tier != fabric.tier(apart)) {
                return Some(UnknownTier::new("spread", tier, None).into());
            }
            if domains < needed {
                return Some(Obstacle::TooFewDomains { tier: fabric.tier(apart), domains, needed });
            }
        }
        if let Some(tier) = self.request.spec.placement.require.all
            && let Some(unknown) = self.unknown_above("all", tier, at)
        {
            return Some(unknown);
        }
        let largest = fabric.level(at).map(|row| (give(row), std::cmp::Reverse(row))).max();
        let (nodes, domain) = largest.map_or((0, String::new()), |(nodes, std::cmp::Reverse(row))| {
            (nodes, fabric.domain(row).name.clone())
        });
        // Enough of them, and not in whole groups.
        if nodes >= need.nodes {
            return self.groups_in_the_way(limits);
        }
        Some(Obstacle::TooFarApart { tier: fabric.tier(at), domain, nodes, needed: need.nodes })
    }

    /// Of the groups that have to be closer than a node those that have to be closest.
    pub(super) fn parts_in_the_way(&self, limits: &Limits) -> Option<Obstacle> {
        let (kind, tier) = limits.inside.iter().min_by_key(|(_, tier)| **tier)?;
        Some(Obstacle::Groups { kind: kind.clone(), tier: *tier })
    }

    pub(super) fn groups_in_the_way(&self, limits: &Limits) -> Option<Obstacle> {
        let (kind, at) = limits.groups.iter().min_by_key(|(_, at)| **at)?;
        if let Some(unknown) = self.unknown_group(limits) {
            return Some(unknown);
        }
        Some(Obstacle::Groups { kind: kind.clone(), tier: self.stock.fabric().tier(usize::from(*at)) })
    }

    /// What must be within a node and is not, in pods like these: of nodes nobody told that they are within one of its tier.
    pub(super) fn node_in_the_way(&self, limits: &Limits, cut: Cut) -> Option<Obstacle> {
        if limits.one_node {
            let tier = self.request.spec.placement.require.all.unwrap_or(Tier::Node).max(Tier::Node);
            return Some(Obstacle::OneNode { tier, most: self.most_on_one(), needed: cut.world() });
        }
        let (kind, tier) = limits.inside.iter().min_by_key(|(_, tier)| **tier)?;
        Some(match *tier > Tier::Node {
            true => UnknownTier::new(kind, *tier, None).into(),
            false => Obstacle::Groups { kind: kind.clone(), tier: *tier },
        })
    }

    /// The most ranks that fit on one node.
    fn most_on_one(&self) -> u32 {
        let one = Cut { nodes: 1, ranks: 1 };
        let rows = 0..row(self.stock.fabric().nodes().len());
        let open = rows.filter(|row| !self.without.contains_key(row));
        open.filter_map(|row| self.stock.ask(row, self.request, one).ok()).max().unwrap_or(0)
    }

    /// Where only pods of unequal size are in the way of the least of the numbers of ranks that there may be: such pods.
    pub(super) fn only_unequal(&self, room: u64) -> Option<Obstacle> {
        let spec = self.request.spec;
        if spec.placement.uneven || !matches!(spec.shape, Shape::Ranks(_)) {
            return None;
        }
        let world = Some(self.request.worlds().least()).filter(|world| u64::from(*world) <= room)?;
        let limits = Limits::of(spec, self.stock.fabric(), false);
        let gang = self.uneven(world, &limits, false).filter(|gang| gang.pods.len() > 1)?;
        Some(Obstacle::Uneven { shares: gang.pods.iter().map(|pod| pod.ranks).collect() })
    }

    /// A group that has to be closer together than anybody told, as it has to be within a tier of which nothing is known.
    pub(super) fn unknown_group(&self, limits: &Limits) -> Option<Obstacle> {
        self.request
            .spec
            .placement
            .require
            .groups
            .iter()
            .find_map(|(kind, tier)| self.unknown_above(kind, *tier, usize::from(*limits.groups.get(kind)?)))
    }

    /// The tier that is required, where nodes of one domain of a lower one at this level are all that is known to be within it.
    fn unknown_above(&self, of: &str, tier: Tier, at: usize) -> Option<Obstacle> {
        let fabric = self.stock.fabric();
        let known = fabric.tier(at);
        (known < tier && fabric.level_within(tier) == Some(at))
            .then(|| UnknownTier::new(of, tier, Some(known)).into())
    }

    /// Why a node does not take as many ranks as it has devices or slots for.
    fn short_of(&self, row: NodeRow) -> Option<Refusal> {
        let each = self.request.spec.resources.devices.as_ref().map_or(1, |devices| devices.count.max(1));
        let ranks = self.stock.free().amount(self.class(), row) / each;
        self.stock.ask(row, self.request, Cut { nodes: 2, ranks }).err()
    }

    pub(super) fn no_fit(&self, obstacle: Option<Obstacle>) -> NoFit {
        let fabric = self.stock.fabric();
        let least = self.request.worlds().least();
        let shape = match self.request.spec.shape {
            Shape::Nodes { ranks_per_node, .. } => {
                Shape::Nodes { nodes: least / ranks_per_node.max(1), ranks_per_node }
            }
            Shape::Ranks(_) => Shape::Ranks(least),
        };
        let cut = match shape {
            Shape::Nodes { nodes, ranks_per_node } => Cut { nodes, ranks: ranks_per_node },
            Shape::Ranks(_) => Cut { nodes: 2, ranks: 1 },
        };
        let (mut fitting, mut refused, mut short) = (0u32, BTreeMap::new(), BTreeMap::new());
        for (node, row) in fabric.nodes().iter().zip(0..) {
            let refusal = match (self.without.get(&row), self.request.refused.get(&node.id)) {
                (_, Some(why)) => Some(Refusal::Cannot { why: why.clone() }),
                (Some(refusal), None) => Some(refusal.clone()),
                (None, None) => match self.stock.ask(row, self.request, cut) {
                    Ok(ranks) => {
                        fitting = fitting.saturating_add(if let Shape::Ranks(_) = shape { ranks } else { 1 });
                        None
                    }
                    Err(refusal) => Some(refusal),
                },
            };
            refused.extend(refusal.map(|refusal| (node.id.clone(), refusal)));
        }
        if let Shape::Ranks(ranks) = shape
            && fitting < ranks
        {
            for (node, row) in
                fabric.nodes().iter().zip(0..).filter(|(node, _)| !refused.contains_key(&node.id))
            {
                short.extend(self.short_of(row).map(|refusal| (node.id.clone(), refusal)));
            }
        }
        refused.append(&mut short);
        NoFit {
            needed: shape,
            fitting,
            refused,
            strangers: self.stock.strangers(&self.request.spec.placement.nodes),
            obstacle,
        }
    }
}
