//! What stands in the way of a gang.

use std::collections::BTreeMap;

use phalanx_common::spec::Shape;

use super::Placing;
use crate::placement::across::Need;
use crate::placement::refusal::{NoFit, Obstacle, Refusal};
use crate::placement::request::{Cut, Limits};
use crate::placement::supply::Supply;

impl Placing<'_> {
    pub(super) fn obstacle(&self, supply: &Supply<'_>, need: &Need, most: u32) -> Obstacle {
        let fabric = self.stock.fabric();
        if let Some(at) = need.apart {
            return Obstacle::TooFewDomains { tier: fabric.tier(at), domains: most, needed: need.nodes };
        }
        let at = need.within.min(fabric.depth());
        let largest = fabric.level(at).map(|row| (supply.nodes_in(row), std::cmp::Reverse(row))).max();
        let (nodes, domain) = largest.map_or((0, String::new()), |(nodes, std::cmp::Reverse(row))| {
            (nodes, fabric.domain(row).name.clone())
        });
        Obstacle::TooFarApart { tier: fabric.tier(at), domain, nodes, needed: need.nodes }
    }

    pub(super) fn groups_in_the_way(&self, limits: &Limits) -> Option<Obstacle> {
        let (kind, at) = limits.groups.iter().min_by_key(|(_, at)| **at)?;
        Some(Obstacle::Groups { kind: kind.clone(), tier: self.stock.fabric().tier(usize::from(*at)) })
    }

    pub(super) fn no_fit(&self, obstacle: Option<Obstacle>) -> NoFit {
        let fabric = self.stock.fabric();
        let shape = self.request.spec.shape;
        let cut = match shape {
            Shape::Nodes { nodes, ranks_per_node } => Cut { nodes, ranks: ranks_per_node },
            Shape::Ranks(_) => Cut { nodes: 2, ranks: 1 },
        };
        let (mut fitting, mut refused) = (0u32, BTreeMap::new());
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
        NoFit { needed: shape, fitting, refused, obstacle, changes: Vec::new() }
    }
}
