//! A gang that was placed before: the same nodes where they are still there, and for those that are lost the nodes that add
//! the least cost, held-back ones first. Ranks move only where their node is lost.

mod anew;
mod fill;

use std::collections::{BTreeMap, BTreeSet};

use super::bounds::Bounds;
use super::close::{Close, is_close};
use super::fabric::NodeRow;
use super::gang::{Gang, GangPod, reorder};
use super::inside::DeviceKind;
use super::order::SlotGraph;
use super::refusal::Refusal;
use super::request::{Cut, GangRequest, Limits};
use crate::stock::Stock;

pub use self::anew::{Anew, anew};

/// The gang on its last nodes; `None`: it never ran, the nodes that are left do not do, or its shape is another.
pub fn keep(stock: &Stock, request: &GangRequest<'_>, without: &BTreeMap<NodeRow, Refusal>) -> Option<Gang> {
    let (_, ranks) = request.last.first()?;
    let cut = Cut { nodes: u32::try_from(request.last.len()).ok()?, ranks: *ranks };
    let world = request.last.iter().fold(0u32, |sum, (_, own)| sum.saturating_add(*own));
    let is_even = request.last.iter().all(|(_, own)| own == ranks);
    let limits = Limits::of(request.spec, stock.fabric(), false);
    let allowed = if is_even { limits.allow(request.spec, cut) } else { !limits.one_node };
    if !allowed || !request.worlds().contains(world) {
        return None;
    }
    // Its nodes are of one kind, and so are those that come in.
    let kinds = if request.spec.placement.mixed { BTreeSet::new() } else { stock.kinds(request) };
    let kinds: Vec<Option<&DeviceKind>> =
        if kinds.len() > 1 { kinds.iter().map(Some).collect() } else { vec![None] };
    kinds.into_iter().find_map(|kind| {
        let keeping = Keeping { stock, request, without, limits: &limits, kind, cut };
        keeping.gang(is_even.then_some(world))
    })
}

/// What a gang has to keep to.
struct Keeping<'a> {
    stock: &'a Stock,
    request: &'a GangRequest<'a>,
    without: &'a BTreeMap<NodeRow, Refusal>,
    limits: &'a Limits,
    /// Nodes with other devices are no choice.
    kind: Option<&'a DeviceKind>,
    cut: Cut,
}

impl Keeping<'_> {
    /// `world`: its ranks, where its pods are equal.
    fn gang(&self, world: Option<u32>) -> Option<Gang> {
        let (stock, request, cut) = (self.stock, self.request, self.cut);
        let fabric = stock.fabric();
        let mut rows: Vec<Option<NodeRow>> = request
            .last
            .iter()
            .map(|(id, ranks)| fabric.row(id).filter(|row| self.fits(*row, *ranks)))
            .collect();
        let graph = match world {
            Some(world) => {
                let layout = request.layout(world, self.limits).ok()?;
                Some(SlotGraph::even(&layout, cut.ranks).ok()?)
            }
            None => None,
        };
        let vacant: Vec<usize> = (0..rows.len()).filter(|slot| rows[*slot].is_none()).collect();
        if !vacant.is_empty() {
            // Most of it is lost: what is left says little about where it should be.
            let graph = graph.as_ref().filter(|_| vacant.len() * 2 <= rows.len())?;
            let used: BTreeSet<NodeRow> = rows.iter().copied().flatten().collect();
            let mut close = Close::new(stock, request, cut, self.limits);
            let free = (0..)
                .take(fabric.nodes().len())
                .filter(|row| !used.contains(row) && self.fits(*row, cut.ranks) && close.is(*row));
            rows = fill::fill(self, graph, &rows, &vacant, free)?;
        }
        if !self.bounds().hold(graph.as_ref(), &rows) {
            return None;
        }
        let pod = |(row, (_, ranks)): (Option<NodeRow>, &(_, u32))| {
            let node = row?;
            let inside = stock.node(node).choose(request, Cut { ranks: *ranks, ..cut }).ok()?;
            let is_close = is_close(stock, node, inside.as_ref(), request, self.limits);
            is_close.then_some(GangPod { node, ranks: *ranks, inside })
        };
        let mut pods: Vec<GangPod> = rows.into_iter().zip(request.last).map(pod).collect::<Option<_>>()?;
        // An order that is imposed moves ranks, and what has to be close is not told of it: placed anew it is looked at.
        if reorder(stock, &mut pods) && !self.limits.groups.is_empty() {
            return None;
        }
        let used: BTreeSet<NodeRow> = pods.iter().map(|pod| pod.node).collect();
        let spares = request.spec.placement.spares as usize;
        let held = request.spares.iter().filter_map(|id| fabric.row(id));
        let held = held.filter(|row| !used.contains(row) && self.fits(*row, cut.ranks));
        // Spares that are used up are not asked for again: the gang goes on without.
        Some(Gang { spares: held.take(spares).collect(), pods, bound: 0, exact: false, best: None })
    }

    fn fits(&self, row: NodeRow, ranks: u32) -> bool {
        let id = &self.stock.fabric().node(row).id;
        !self.without.contains_key(&row)
            && !self.request.refused.contains_key(id)
            && !self.request.shun.contains(id)
            && self.kind.is_none_or(|kind| self.stock.has(row, self.request, kind))
            && self.stock.ask(row, self.request, Cut { ranks, ..self.cut }).is_ok()
    }

    fn bounds(&self) -> Bounds<'_> {
        Bounds { stock: self.stock, request: self.request, limits: self.limits }
    }
}
