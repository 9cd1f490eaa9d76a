//! Which node holds which slot of a gang.

use std::collections::BTreeSet;

use super::{Miss, Placing};
use crate::placement::across::{Need, Unit, choose};
use crate::placement::fabric::{DomainRow, Fabric, NodeRow};
use crate::placement::mapping::{Mapped, level, map};
use crate::placement::order::{Level, SlotGraph};
use crate::placement::refusal::Obstacle;
use crate::placement::request::{Cut, Limits, UnknownTier};
use crate::placement::supply::Supply;

impl Placing<'_> {
    /// A node for each pod: of the ways that [`Self::closest`] has, the best by what the objective says of it.
    pub(super) fn slots(&self, supply: &Supply<'_>, cut: Cut, limits: &Limits) -> Result<Slots, Miss> {
        let fabric = self.stock.fabric();
        let spec = self.request.spec;
        let spread = spec.placement.spread.filter(|_| cut.nodes > 1);
        let apart = spread.map(|tier| {
            let unknown = || Miss::of(UnknownTier::new("spread", tier, None).into());
            fabric.level_apart(tier).ok_or_else(unknown)
        });
        let apart = apart.transpose()?;
        if cut.nodes == 1 && apart.is_none() {
            return Ok(Slots { rows: vec![self.one(supply, cut)?], graph: None, mapped: None });
        }
        let mut why = None;
        let mut best: Option<(Merit, SlotGraph, Mapped)> = None;
        let ways = self.closest(cut, limits);
        for limits in &ways {
            let layout = self
                .request
                .layout(cut.world(), limits)
                .map_err(|error| Miss::of(Obstacle::Layout(error)))?;
            // What of a layout does not fold into pods was checked when the job was read.
            let graph = SlotGraph::even(&layout, cut.ranks).map_err(|_| Miss::Obstacle(None))?;
            let unit = graph.unit().map(|(at, nodes)| Unit { nodes, level: usize::from(at) });
            let within = limits.all.map_or(fabric.depth(), usize::from);
            // Nodes that are held back are of use where the whole gang has to stay, if that has some.
            let beside = if limits.all.is_some() { spec.placement.spares } else { 0 };
            let need = Need { nodes: cut.nodes, within, unit, apart, beside: 0 };
            let chosen = choose(supply, &Need { beside, ..need }).or_else(|_| choose(supply, &need));
            let chosen = match chosen {
                Ok(chosen) => chosen,
                Err(_) => {
                    // That of the limits that the job set, which come last.
                    let group = unit.and_then(|_| self.unknown_group(limits));
                    why = group.or_else(|| self.obstacle(supply, &need, limits));
                    continue;
                }
            };
            let mapped = map(supply, &chosen, &graph, apart.is_none(), self.effort)
                .map_err(|_| Miss::Obstacle(None))?;
            match mapped {
                Some(mapped) => {
                    let merit = Merit::of(fabric, &graph, &mapped);
                    if best.as_ref().is_none_or(|(known, ..)| merit < *known) {
                        best = Some((merit, graph, mapped));
                    }
                }
                None => why = self.groups_in_the_way(limits),
            }
        }
        let Some((_, graph, mapped)) = best else { return Err(Miss::Obstacle(why)) };
        let rows = self.nodes_of(supply, &mapped.domains);
        Ok(Slots { rows, graph: Some(graph), mapped: Some(mapped) })
    }

    /// The limits, with the groups whose traffic weighs most kept together at each level in turn, the closest first.
    fn closest(&self, cut: Cut, limits: &Limits) -> Vec<Limits> {
        let mut fast = 1u64;
        let mut critical: Vec<&str> = Vec::new();
        for group in &self.request.spec.parallelism.groups {
            fast = fast.saturating_mul(u64::from(group.size));
            let spans = group.size > 1 && !u64::from(cut.ranks).is_multiple_of(fast);
            if spans && CRITICAL.contains(&group.kind.as_str()) {
                critical.push(&group.kind);
            }
        }
        let mut all = Vec::new();
        if !critical.is_empty() {
            for at in 0..self.stock.fabric().depth() {
                let mut closer = limits.clone();
                for kind in &critical {
                    let known = closer.groups.entry((*kind).to_owned()).or_insert(level(at));
                    *known = level(at).min(*known);
                }
                all.push(closer);
            }
        }
        all.push(limits.clone());
        all.dedup();
        all
    }
}

/// Groups whose members wait for each other within a layer.
const CRITICAL: [&str; 2] = ["tp", "ep"];

/// The nodes of a gang in the order of its slots, and how that came about where there are several.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) rows: Vec<NodeRow>,
    pub(super) graph: Option<SlotGraph>,
    pub(super) mapped: Option<Mapped>,
}

/// What tells the better of two ways to place the same gang: less is better, the first difference decides.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Merit {
    /// The lowest level that holds all of it.
    level: usize,
    /// The farthest level that a group spans whose members wait for each other within a layer.
    critical: Option<Level>,
    weighted: u128,
    /// Lowest domains that it is on.
    domains: usize,
}

impl Merit {
    fn of(fabric: &Fabric, graph: &SlotGraph, mapped: &Mapped) -> Merit {
        let domains: BTreeSet<DomainRow> = mapped.domains.iter().copied().collect();
        let node = |row: &DomainRow| fabric.domain(*row).nodes.start;
        // Rows are in the order of the tree: what holds the first and the last holds all.
        let level = match (domains.first(), domains.last()) {
            (Some(first), Some(last)) => fabric.meet(node(first), node(last)),
            _ => 0,
        };
        let cost = &mapped.solution.cost;
        let kinds = graph.kinds().iter().zip(&cost.worst);
        let critical = kinds.filter(|(kind, _)| CRITICAL.contains(&kind.to_string().as_str()));
        let critical = critical.filter_map(|(_, worst)| *worst).max();
        Merit { level, critical, weighted: cost.weighted, domains: domains.len() }
    }
}
