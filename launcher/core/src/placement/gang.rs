//! Placing a gang: how it is cut into pods, where they go, in which order, and what each rank gets there.
//!
//! ```text
//! worlds (elastic) x limits (with what is preferred, then without) x cuts (fewest nodes first)
//!    --> supply --> across: domains --> mapping: slots --> nodes --> inside: devices, cores, ports
//! ```
//! The first combination that works is taken: what is preferred gives way before the number of nodes does.

mod imposed;
mod nodes;
mod obstacles;
mod slots;
mod spares;
mod uneven;

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::spec::Shape;

use super::bounds::Bounds;
use super::close::{Close, is_close};
use super::fabric::{NodeRow, ROOT};
use super::free::{Class, MOST};
use super::inside::{DeviceKind, Inside};
use super::order::{Effort, SlotGraph};
use super::refusal::{NoFit, Obstacle, Refusal};
use super::request::{Cut, GangRequest, Limits};
use super::supply::Supply;
use crate::stock::Stock;

pub(super) use self::imposed::reorder;
use self::slots::Slots;

/// Nodes that looked as if they could take a pod and could not are passed over so often.
const RETRIES: usize = 64;

/// Where a gang goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gang {
    /// In NODE_RANK order.
    pub pods: Vec<GangPod>,
    /// Nodes that are held back for it.
    pub spares: Vec<NodeRow>,
    /// No order of its slots over the domains that were chosen costs less than this. Up to 64 slots these are all lowest domains
    /// below the lowest that holds it; beyond, those that give a node. Of other choices it says nothing.
    pub bound: u128,
    /// The order is proven to be the best.
    pub exact: bool,
    /// What the best order that was found costs, where a framework imposes another.
    pub best: Option<u128>,
}

/// A node's share of a gang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GangPod {
    pub node: NodeRow,
    pub ranks: u32,
    /// `None`: the ranks share what the worker may use.
    pub inside: Option<Inside>,
}

/// Places a gang. Reads and changes nothing: same input, same answer. `without`: nodes that are no choice now.
///
/// # Errors
/// What is missing, node by node, and what would make it fit.
pub fn place_gang(
    stock: &Stock,
    request: &GangRequest<'_>,
    without: &BTreeMap<NodeRow, Refusal>,
    effort: &Effort,
) -> Result<Gang, Box<NoFit>> {
    // Unlike devices wait for each other: a gang has devices of one kind unless its job says otherwise.
    let kinds = if request.spec.placement.mixed { BTreeSet::new() } else { stock.kinds(request) };
    let kinds: Vec<Option<&DeviceKind>> =
        if kinds.len() > 1 { kinds.iter().map(Some).collect() } else { vec![None] };
    let placing = Placing { stock, request, without, effort, kind: None };
    let mut obstacle = None;
    let fits = |world: u32| {
        for prefer in wishes(request) {
            for shunning in if !request.shun.is_empty() { &[true, false][..] } else { &[true] } {
                for kind in &kinds {
                    match (Placing { kind: *kind, ..placing }).world(world, *prefer, *shunning) {
                        Ok(gang) => return Some(gang),
                        // What was a wish alone is in nobody's way.
                        Err(found) if !*prefer => obstacle = found.or(obstacle.take()),
                        Err(_) => {}
                    }
                }
            }
        }
        None
    };
    let room = placing.room();
    if let Some(gang) = request.worlds().largest(room, may_be_cut(stock, request), fits) {
        return Ok(gang);
    }
    let unequal = kinds.iter().find_map(|kind| (Placing { kind: *kind, ..placing }).only_unequal(room));
    obstacle = unequal.or(obstacle);
    if kinds.len() > 1 && obstacle.is_none() {
        obstacle =
            Some(Obstacle::Unlike { kinds: kinds.iter().flatten().map(ToString::to_string).collect() });
    }
    Err(Box::new(placing.no_fit(obstacle)))
}

/// More ranks than this have no place by the devices or slots of all nodes.
pub fn room(stock: &Stock, request: &GangRequest<'_>) -> u64 {
    let effort = Effort::default();
    Placing { stock, request, without: &BTreeMap::new(), effort: &effort, kind: None }.room()
}

/// The most ranks that any node takes by its devices or slots.
pub(super) fn most_ranks(stock: &Stock, request: &GangRequest<'_>) -> u32 {
    let effort = Effort::default();
    Placing { stock, request, without: &BTreeMap::new(), effort: &effort, kind: None }.most_ranks()
}

/// Whether there are nodes for so many ranks in equal pods, by devices or slots alone.
pub(super) fn may_be_cut<'a>(stock: &'a Stock, request: &'a GangRequest<'_>) -> impl Fn(u32) -> bool + 'a {
    // Looked up once it is asked for: most jobs have one number of ranks, of which nobody asks.
    let most = LazyCell::new(move || {
        let effort = Effort::default();
        let placing = Placing { stock, request, without: &BTreeMap::new(), effort: &effort, kind: None };
        (placing.class(), placing.most_ranks())
    });
    let each = request.spec.resources.devices.as_ref().map_or(1, |devices| devices.count.max(1));
    move |world| {
        let (class, most) = *most;
        // A node with more than is counted may hold any number.
        let amount = |ranks: u32| ranks.saturating_mul(each).clamp(1, MOST);
        request.may_be_cut(world, most, |ranks| stock.free().at_least(class, ROOT, amount(ranks)))
    }
}

/// With what is preferred, and without.
fn wishes(request: &GangRequest<'_>) -> &'static [bool] {
    if request.spec.placement.prefer.is_empty() { &[false] } else { &[true, false] }
}

#[derive(Clone, Copy)]
struct Placing<'a> {
    stock: &'a Stock,
    request: &'a GangRequest<'a>,
    without: &'a BTreeMap<NodeRow, Refusal>,
    effort: &'a Effort,
    /// Nodes with other devices are no choice.
    kind: Option<&'a DeviceKind>,
}

impl Placing<'_> {
    fn world(&self, world: u32, prefer: bool, shunning: bool) -> Result<Gang, Option<Obstacle>> {
        let fabric = self.stock.fabric();
        let limits = Limits::of(self.request.spec, fabric, prefer);
        let mut obstacle = None;
        let may_be_uneven =
            self.request.spec.placement.uneven && matches!(self.request.spec.shape, Shape::Ranks(_));
        let mut uneven = if may_be_uneven { self.uneven(world, &limits, shunning) } else { None };
        let fewest = uneven.as_ref().map_or(usize::MAX, |gang| gang.pods.len());
        for cut in self.request.cuts(world, self.most_ranks()) {
            if cut.nodes as usize > fewest {
                continue;
            }
            if !limits.allow(self.request.spec, cut) {
                obstacle = obstacle.or_else(|| self.node_in_the_way(&limits, cut));
                continue;
            }
            match self.cut(cut, &limits, shunning) {
                Ok(gang) => return Ok(gang),
                Err(found) => obstacle = obstacle.or(found),
            }
        }
        if let Some(gang) = uneven.take() {
            return Ok(gang);
        }
        Err(obstacle)
    }

    /// The most ranks that any node takes by its devices or slots.
    fn most_ranks(&self) -> u32 {
        let each = self.request.spec.resources.devices.as_ref().map_or(1, |devices| devices.count.max(1));
        let class = self.class();
        let fits = |amount: &u32| self.stock.free().at_least(class, ROOT, *amount) > 0;
        let most = (1..=MOST).rev().find(fits).unwrap_or(0);
        // Beyond what is counted a node has to be asked.
        let all = || {
            (0..)
                .take(self.stock.fabric().nodes().len())
                .map(|row| self.stock.free().amount(class, row))
                .max()
        };
        let most = if most == MOST { all().unwrap_or(most) } else { most };
        most / each
    }

    /// More ranks than this have no place by the devices or slots of all nodes.
    fn room(&self) -> u64 {
        let free = self.stock.free();
        let class = self.class();
        if free.at_least(class, ROOT, MOST) > 0 {
            // Some have more than is counted.
            return u64::MAX;
        }
        let all: u64 = (1..MOST).map(|amount| u64::from(free.at_least(class, ROOT, amount))).sum();
        all / u64::from(
            self.request.spec.resources.devices.as_ref().map_or(1, |devices| devices.count.max(1)),
        )
    }

    fn class(&self) -> Class {
        if self.request.spec.resources.devices.is_some() { Class::Devices } else { Class::Slots }
    }

    /// Pods of one size.
    fn cut(&self, cut: Cut, limits: &Limits, shunning: bool) -> Result<Gang, Option<Obstacle>> {
        let mut passed = BTreeSet::new();
        for _ in 0..RETRIES {
            match self.attempt(cut, limits, shunning, &passed) {
                Ok(gang) => return Ok(gang),
                Err(Miss::Node(row)) => drop(passed.insert(row)),
                Err(Miss::Obstacle(obstacle)) => return Err(obstacle),
            }
        }
        Err(None)
    }

    fn attempt(
        &self,
        cut: Cut,
        limits: &Limits,
        shunning: bool,
        passed: &BTreeSet<NodeRow>,
    ) -> Result<Gang, Miss> {
        let (supply, far) = self.supply(cut, limits, shunning, passed);
        let spec = self.request.spec;
        let spares = spec.placement.spares;
        let total = cut.nodes.saturating_add(spares);
        let there = supply.nodes_in(ROOT);
        if there < cut.nodes {
            let in_the_way = there.saturating_add(far) >= cut.nodes;
            return Err(Miss::Obstacle(self.parts_in_the_way(limits).filter(|_| in_the_way)));
        }
        if there < total {
            // What is in the way of the gang itself is said before its spares.
            let effort = Effort { proposals: 0, search_nodes: 0, exact: false, ..Effort::default() };
            (Placing { effort: &effort, ..*self }).slots(&supply, cut, limits)?;
            return Err(Miss::of(Obstacle::Spares { spares, more: there - cut.nodes }));
        }
        let Slots { rows, graph, mapped } = self.slots(&supply, cut, limits)?;
        let none = || Miss::of(Obstacle::Spares { spares, more: 0 });
        let spares = self.spares(&supply, limits, &rows, graph.as_ref()).ok_or_else(none)?;
        let mut pods: Vec<GangPod> = Vec::with_capacity(rows.len());
        for node in rows {
            // Nodes of a kind with as much free get the same; most of a large gang's are.
            let like = pods.last().filter(|pod| self.stock.alike(pod.node, node));
            let inside = match like {
                Some(pod) => pod.inside.clone(),
                None => self.inside(node, cut, limits)?,
            };
            pods.push(GangPod { node, ranks: cut.ranks, inside });
        }
        let (bound, exact) =
            mapped.as_ref().map_or((0, true), |mapped| (mapped.solution.bound, mapped.solution.exact));
        let best = mapped.map(|mapped| mapped.solution.cost.weighted);
        let mut gang = Gang { pods, spares, bound, exact, best: None };
        if reorder(self.stock, &mut gang.pods) {
            (gang.exact, gang.best) = (false, best);
            let rows: Vec<Option<NodeRow>> = gang.pods.iter().map(|pod| Some(pod.node)).collect();
            let bounds = Bounds { stock: self.stock, request: self.request, limits };
            let layout = self.request.layout(cut.world(), limits).ok();
            let graph = layout.and_then(|layout| SlotGraph::even(&layout, cut.ranks).ok());
            if !graph.is_some_and(|graph| bounds.hold(Some(&graph), &rows)) {
                return Err(Miss::Obstacle(self.groups_in_the_way(limits)));
            }
        }
        Ok(gang)
    }

    /// What the ranks of a pod get of a node.
    fn inside(&self, node: NodeRow, cut: Cut, limits: &Limits) -> Result<Option<Inside>, Miss> {
        let chosen = self.stock.node(node).choose(self.request, cut).map_err(|_| Miss::Node(node))?;
        match is_close(self.stock, node, chosen.as_ref(), self.request, limits) {
            true => Ok(chosen),
            false => Err(Miss::Node(node)),
        }
    }

    /// The nodes that can take a pod of so many ranks, and how many more could if nothing had to be closer than a node.
    fn supply(
        &self,
        cut: Cut,
        limits: &Limits,
        shunning: bool,
        passed: &BTreeSet<NodeRow>,
    ) -> (Supply<'_>, u32) {
        let (fabric, free) = (self.stock.fabric(), self.stock.free());
        let request = self.request;
        let mut without: BTreeSet<NodeRow> = self.without.keys().chain(passed).copied().collect();
        without.extend(request.refused.keys().filter_map(|id| fabric.row(id)));
        without.extend(request.shun.iter().filter(|_| shunning).filter_map(|id| fabric.row(id)));
        let each = request.spec.resources.devices.as_ref().map_or(1, |devices| devices.count.max(1));
        let amount = cut.ranks.saturating_mul(each);
        let odd = self.stock.odd();
        if request.is_particular()
            || self.kind.is_some()
            || !self.stock.all_serve(request)
            || amount > MOST
            || amount == 0
            || odd.len() > MOST as usize
            || limits.look_inside()
        {
            let is_kind = |row| self.kind.is_none_or(|kind| self.stock.has(row, request, kind));
            let mut close = Close::new(self.stock, request, cut, limits);
            let mut far = 0;
            let takes = |row| {
                let fits =
                    !without.contains(&row) && is_kind(row) && self.stock.ask(row, request, cut).is_ok();
                let is_close = fits && close.is(row);
                far += u32::from(fits && !is_close);
                is_close
            };
            let supply = Supply::counted(fabric, free, takes);
            return (supply, far);
        }
        without.extend(odd.iter().copied().filter(|row| self.stock.ask(*row, request, cut).is_err()));
        (Supply::indexed(fabric, free, self.class(), amount, without), 0)
    }
}

/// Why an attempt came to nothing.
#[derive(Debug)]
enum Miss {
    /// This node cannot take its pod after all.
    Node(NodeRow),
    Obstacle(Option<Obstacle>),
}

impl Miss {
    fn of(obstacle: Obstacle) -> Miss {
        Miss::Obstacle(Some(obstacle))
    }
}
