//! A gang that was placed before: the same nodes where they are still there, and for those that are lost the nodes that add
//! the least cost, held-back ones first. Ranks move only where their node is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::fabric::NodeRow;
use super::gang::{Gang, GangPod, place_gang, reorder};
use super::order::{Effort, SlotGraph};
use super::refusal::Refusal;
use super::report::report;
use super::request::{Cut, GangRequest, Limits};
use crate::stock::Stock;

/// Vacated slots are given to nodes in every order up to so many, else one after the other.
const EVERY_ORDER: usize = 5;
/// Of the nodes that could take a slot, so many of least cost are considered.
const CONSIDERED: usize = 16;

/// The gang on its last nodes; `None`: it never ran, the nodes that are left do not do, or its shape is another.
pub fn keep(stock: &Stock, request: &GangRequest<'_>, without: &BTreeMap<NodeRow, Refusal>) -> Option<Gang> {
    let (_, ranks) = request.last.first()?;
    let cut = Cut { nodes: u32::try_from(request.last.len()).ok()?, ranks: *ranks };
    let even = request.last.iter().all(|(_, own)| own == ranks);
    let world = request.last.iter().fold(0u32, |sum, (_, own)| sum.saturating_add(*own));
    if !request.worlds().contains(world) {
        return None;
    }
    let fabric = stock.fabric();
    let fits = |row: NodeRow, ranks| {
        let id = &fabric.node(row).id;
        !without.contains_key(&row)
            && !request.refused.contains_key(id)
            && request.shun != Some(id)
            && stock.ask(row, request, Cut { ranks, ..cut }).is_ok()
    };
    let mut rows: Vec<Option<NodeRow>> =
        request.last.iter().map(|(id, ranks)| fabric.row(id).filter(|row| fits(*row, *ranks))).collect();
    let vacant: Vec<usize> = (0..rows.len()).filter(|slot| rows[*slot].is_none()).collect();
    if !vacant.is_empty() {
        // Most of it is lost: what is left says little about where it should be.
        if !even || vacant.len() * 2 > rows.len() {
            return None;
        }
        let limits = Limits::of(request.spec, fabric, false);
        let layout = request.layout(world, &limits).ok()?;
        let graph = SlotGraph::even(&layout, cut.ranks).ok()?;
        let used: BTreeSet<NodeRow> = rows.iter().copied().flatten().collect();
        let free =
            (0..).take(fabric.nodes().len()).filter(|row| !used.contains(row) && fits(*row, cut.ranks));
        fill(stock, request, &graph, &mut rows, &vacant, free.collect())?;
        if !within(stock, request, &limits, &graph, &rows) {
            return None;
        }
    }
    let pod = |(row, (_, ranks)): (Option<NodeRow>, &(_, u32))| {
        let node = row?;
        let inside = stock.node(node).choose(request, Cut { ranks: *ranks, ..cut }).ok()?;
        Some(GangPod { node, ranks: *ranks, inside })
    };
    let mut pods: Vec<GangPod> = rows.into_iter().zip(request.last).map(pod).collect::<Option<_>>()?;
    // An order that is imposed moves ranks, and what has to be close is not told of it: placed anew it is looked at.
    if reorder(stock, &mut pods) && !Limits::of(request.spec, fabric, false).groups.is_empty() {
        return None;
    }
    let used: BTreeSet<NodeRow> = pods.iter().map(|pod| pod.node).collect();
    let spares = request.spec.placement.spares as usize;
    let held = request.spares.iter().filter_map(|id| fabric.row(id));
    let held = held.filter(|row| !used.contains(row) && fits(*row, cut.ranks));
    // Spares that are used up are not asked for again: the gang goes on without.
    Some(Gang { spares: held.take(spares).collect(), pods, bound: 0, exact: false, best: None })
}

/// Swaps and moves that are weighed for a placement that nobody asked for.
const ANEW: Effort = Effort { proposals: 20_000, search_nodes: 0, exact: false, seed: 1 };

/// What a gang costs where it is, and what it would cost if it were placed anew: less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anew {
    pub kept: u128,
    pub fresh: u128,
}

/// Whether a gang on these nodes, with so many ranks on each, would cost less if all of it were placed anew. In `stock`
/// it holds nothing: its nodes are as free as others leave them.
pub fn anew(stock: &Stock, request: &GangRequest<'_>, on: &[(NodeRow, u32)]) -> Option<Anew> {
    let cost = |on: &[(NodeRow, u32)]| {
        let (rows, shares): (Vec<NodeRow>, Vec<u32>) = on.iter().copied().unzip();
        let world = shares.iter().fold(0u32, |sum, share| sum.saturating_add(*share));
        let layout = request.layout(world, &Limits::default()).ok()?;
        Some((world, report(stock, &layout, &rows, &shares).ok()?.cost))
    };
    let (world, kept) = cost(on)?;
    let request = GangRequest { last: &[], spares: &[], ..request.clone() };
    let gang = place_gang(stock, &request, &BTreeMap::new(), &ANEW).ok()?;
    let pods: Vec<(NodeRow, u32)> = gang.pods.iter().map(|pod| (pod.node, pod.ranks)).collect();
    let (of, fresh) = cost(&pods)?;
    (of == world && fresh < kept).then_some(Anew { kept, fresh })
}

impl fmt::Display for Anew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let less = (self.kept - self.fresh).saturating_mul(100) / self.kept.max(1);
        let Anew { kept, fresh } = self;
        write!(f, "a fresh placement would cost {fresh} instead of {kept} ({less} % less)")
    }
}

/// Gives the vacant slots to free nodes at the least added cost.
fn fill(
    stock: &Stock,
    request: &GangRequest<'_>,
    graph: &SlotGraph,
    rows: &mut [Option<NodeRow>],
    vacant: &[usize],
    free: Vec<NodeRow>,
) -> Option<()> {
    let fabric = stock.fabric();
    let is_spare = |row: &NodeRow| request.spares.contains(&fabric.node(*row).id);
    let (held, others): (Vec<NodeRow>, Vec<NodeRow>) = free.into_iter().partition(is_spare);
    // Nodes that were held back for this come first; others fill up.
    let mut pool = held;
    if pool.len() < vacant.len() {
        pool.extend(others);
    }
    if pool.len() < vacant.len() {
        return None;
    }
    let near = |row: &NodeRow| vacant.iter().map(|slot| added(stock, graph, rows, *slot, *row)).min();
    pool.sort_by_cached_key(|row| (!is_spare(row), near(row), !fabric.node(*row).blemishes.is_empty(), *row));
    pool.truncate(CONSIDERED.max(vacant.len()));
    let orders = if vacant.len() <= EVERY_ORDER { permutations(vacant) } else { vec![vacant.to_vec()] };
    let best = orders.into_iter().filter_map(|order| {
        let (mut tried, mut pool, mut cost) = (rows.to_vec(), pool.clone(), 0u128);
        for slot in order {
            let key = |(at, row): &(usize, &NodeRow)| (added(stock, graph, &tried, slot, **row), *at);
            let (at, row) = pool.iter().enumerate().min_by_key(key).map(|(at, row)| (at, *row))?;
            cost += added(stock, graph, &tried, slot, row);
            tried[slot] = Some(row);
            pool.remove(at);
        }
        Some((cost, tried))
    });
    let (_, filled) = best.min_by(|(a, _), (b, _)| a.cmp(b))?;
    rows.copy_from_slice(&filled);
    Some(())
}

/// What a slot's traffic costs on a node, to the slots that have one.
fn added(stock: &Stock, graph: &SlotGraph, rows: &[Option<NodeRow>], slot: usize, row: NodeRow) -> u128 {
    let slot = u32::try_from(slot).unwrap_or(u32::MAX);
    let to = |at: u32| rows.get(at as usize).copied().flatten();
    let edges = graph.edges(slot).iter().filter_map(|edge| Some((edge, to(edge.to)?)));
    edges.map(|(edge, other)| u128::from(edge.weight) * u128::from(stock.fabric().distance(row, other))).sum()
}

/// Whether nodes are as close together, and as far apart, as they have to be.
pub(super) fn within(
    stock: &Stock,
    request: &GangRequest<'_>,
    limits: &Limits,
    graph: &SlotGraph,
    rows: &[Option<NodeRow>],
) -> bool {
    let fabric = stock.fabric();
    let meet = |a: usize, b: usize| Some(fabric.meet(rows.get(a).copied()??, rows.get(b).copied()??));
    let close = (0..rows.len()).all(|slot| {
        let edges = graph.edges(u32::try_from(slot).unwrap_or(u32::MAX));
        edges.iter().all(|edge| {
            let limit = graph.within().get(usize::from(edge.kind)).copied().flatten();
            limit.is_none_or(|limit| meet(slot, edge.to as usize).is_some_and(|at| at <= usize::from(limit)))
        })
    });
    let all = limits.all.is_none_or(|limit| {
        (1..rows.len()).all(|slot| meet(0, slot).is_some_and(|at| at <= usize::from(limit)))
    });
    let apart = request.spec.placement.spread.is_none_or(|tier| {
        let level = fabric.level_within(tier).unwrap_or(0);
        let domains: BTreeSet<_> = rows.iter().flatten().map(|row| fabric.domain_of(*row, level)).collect();
        domains.len() == rows.len()
    });
    close && all && apart
}

/// Every order of a few.
fn permutations(of: &[usize]) -> Vec<Vec<usize>> {
    match of {
        [] => vec![Vec::new()],
        _ => (0..of.len())
            .flat_map(|first| {
                let mut rest = of.to_vec();
                let head = rest.remove(first);
                permutations(&rest).into_iter().map(move |tail| [vec![head], tail].concat())
            })
            .collect(),
    }
}
