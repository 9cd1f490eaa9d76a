//! What a placement costs, beside what it could cost: for people and for other programs.

use phalanx_common::topology::Tier;
use serde::Serialize;

use super::fabric::NodeRow;
use super::mapping::Part;
use super::order::{Cost, Layout, SlotGraph, SlotsError};
use crate::stock::Stock;

/// What a gang's traffic crosses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The closest tier that holds all of it.
    pub tier: Tier,
    /// Lowest domains that it is on: leaves, or NVLink domains where there are any.
    pub domains: usize,
    /// Uplinks times what crosses them, in units of volume times 1/128 of the way between two leaves.
    pub cost: u128,
    /// The largest single term of the cost.
    pub bottleneck: u128,
    /// For each kind of group, fastest first.
    pub groups: Vec<GroupReport>,
    /// What meets at each tier in a step, the closest first; within nodes too.
    pub volumes: Vec<Volume>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupReport {
    pub kind: String,
    pub size: u32,
    /// The farthest tier that a group of it spans.
    pub worst: Tier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Volume {
    pub tier: Tier,
    pub volume: u128,
}

/// What it costs to have the slots of a layout on these nodes, `shares` ranks each.
///
/// # Errors
/// A layout that does not fold into the shares.
pub fn report(
    stock: &Stock,
    layout: &Layout,
    rows: &[NodeRow],
    shares: &[u32],
) -> Result<Report, SlotsError> {
    let fabric = stock.fabric();
    let even = shares.first().copied().filter(|first| shares.iter().all(|share| share == first));
    let graph = match even {
        Some(share) => SlotGraph::even(layout, share)?,
        None => SlotGraph::uneven(layout, shares)?,
    };
    let mut domains: Vec<u32> = rows.iter().map(|row| fabric.domain_of(*row, 0)).collect();
    let of_slot = domains.clone();
    domains.sort_unstable();
    domains.dedup();
    let part = Part::new(fabric, domains.iter().map(|row| (*row, u32::MAX)));
    let leaf = |row: &u32| u32::try_from(domains.binary_search(row).unwrap_or(0)).unwrap_or(u32::MAX);
    let leaves: Vec<u32> = of_slot.iter().map(leaf).collect();
    let cost = part.ok().and_then(|part| Cost::of(&graph, &part.tree, &leaves)).unwrap_or_default();
    let tier = match rows {
        [] | [_] => Tier::Node,
        [first, rest @ ..] => {
            fabric.tier(rest.iter().map(|row| fabric.meet(*first, *row)).max().unwrap_or(0))
        }
    };
    let groups = layout.groups().iter().zip(0..).map(|(group, at): (_, usize)| GroupReport {
        kind: group.kind.to_string(),
        size: group.size,
        worst: cost
            .worst
            .get(at)
            .copied()
            .flatten()
            .map_or(Tier::Node, |level| fabric.tier(usize::from(level))),
    });
    let inside = Volume { tier: Tier::Node, volume: graph.inside().iter().sum() };
    let between = (0..=fabric.depth()).map(|level| Volume {
        tier: fabric.tier(level),
        volume: cost.volume_at(super::mapping::level(level)),
    });
    Ok(Report {
        tier,
        domains: domains.len(),
        cost: cost.weighted,
        bottleneck: cost.bottleneck,
        groups: groups.collect(),
        volumes: std::iter::once(inside).chain(between).collect(),
    })
}
