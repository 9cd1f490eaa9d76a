//! Placing a gang: how it is cut into pods, where they go, in which order, and what each rank gets there.
//!
//! ```text
//! worlds (elastic) x limits (with what is preferred, then without) x cuts (fewest nodes first)
//!    --> supply --> across: domains --> mapping: slots --> nodes --> inside: devices, cores, ports
//! ```
//! The first combination that works is taken: what is preferred gives way before the number of nodes does.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::spec::Shape;
use phalanx_common::topology::Tier;
use phalanx_common::topology::machine::CpuSet;

use super::across::{Need, Unit, choose};
use super::fabric::{DomainRow, NodeRow, ROOT};
use super::free::{Class, MOST};
use super::inside::{DeviceKind, Inside};
use super::mapping::{Mapped, level, map};
use super::order::{Effort, SlotGraph};
use super::partly::partly_used;
use super::refusal::{NoFit, Obstacle, Refusal};
use super::request::{Cut, GangRequest, Limits};
use super::supply::Supply;
use crate::stock::Stock;

/// Nodes that looked as if they could take a pod and could not are passed over so often.
const RETRIES: usize = 64;

/// Where a gang goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gang {
    /// In NODE_RANK order.
    pub pods: Vec<GangPod>,
    /// Nodes that are held back for it.
    pub spares: Vec<NodeRow>,
    /// No order of its slots over the nodes it has, nor over those it could have, costs less than this.
    pub bound: u128,
    /// The order is proven to be the best.
    pub exact: bool,
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
            for shunning in if request.shun.is_some() { &[true, false][..] } else { &[true] } {
                for kind in &kinds {
                    match (Placing { kind: *kind, ..placing }).world(world, *prefer, *shunning) {
                        Ok(gang) => return Some(gang),
                        Err(found) => obstacle = found.or(obstacle.take()),
                    }
                }
            }
        }
        None
    };
    if let Some(gang) = request.worlds().largest(placing.room(), may_be_cut(stock, request), fits) {
        return Ok(gang);
    }
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
        let supply = self.supply(cut, shunning, passed);
        let spec = self.request.spec;
        let spares = spec.placement.spares;
        let total = cut.nodes.saturating_add(spares);
        if supply.nodes_in(ROOT) < total {
            return Err(Miss::Obstacle(None));
        }
        let (mapped, rows) = self.slots(&supply, cut, limits)?;
        let used: BTreeSet<NodeRow> = rows.iter().copied().collect();
        let spares = self.spares(&supply, &used, spares).ok_or(Miss::Obstacle(None))?;
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
            mapped.map_or((0, true), |mapped| (mapped.solution.bound, mapped.solution.exact));
        Ok(Gang { pods, spares, bound, exact })
    }

    /// What the ranks of a pod get of a node.
    fn inside(&self, node: NodeRow, cut: Cut, limits: &Limits) -> Result<Option<Inside>, Miss> {
        let chosen = self.stock.node(node).choose(self.request, cut).map_err(|_| Miss::Node(node))?;
        match chosen {
            Some(inside) if !self.is_close(node, &inside, limits) => Err(Miss::Node(node)),
            chosen => Ok(chosen),
        }
    }

    /// Whether the groups that have to be closer than a node are: ranks of a group have consecutive numbers among those of
    /// the groups up to theirs.
    fn is_close(&self, node: NodeRow, inside: &Inside, limits: &Limits) -> bool {
        let Some(interior) = &self.stock.node(node).inside else { return true };
        let mut block = 1usize;
        self.request.spec.parallelism.groups.iter().all(|group| {
            block = block.saturating_mul(group.size as usize);
            let blocks = inside.ranks.chunks(block.max(1));
            match limits.inside.get(&group.kind) {
                Some(Tier::Numa) => blocks.into_iter().all(|ranks| {
                    let all = ranks.iter().fold(CpuSet::new(), |all, rank| all.union(&rank.numa));
                    all.len() <= 1
                }),
                Some(Tier::Island | Tier::Device) => blocks.into_iter().all(|ranks| {
                    let rows = ranks.iter().flat_map(|rank| &rank.devices);
                    let mask = rows.fold(0u64, |mask, row| mask | 1 << row);
                    mask.count_ones() <= 1
                        || interior.model.islands().iter().any(|island| mask & !island == 0)
                }),
                _ => true,
            }
        })
    }

    /// The nodes that can take a pod of so many ranks.
    fn supply(&self, cut: Cut, shunning: bool, passed: &BTreeSet<NodeRow>) -> Supply<'_> {
        let (fabric, free) = (self.stock.fabric(), self.stock.free());
        let request = self.request;
        let mut without: BTreeSet<NodeRow> = self.without.keys().chain(passed).copied().collect();
        without.extend(request.refused.keys().filter_map(|id| fabric.row(id)));
        without.extend(request.shun.filter(|_| shunning).and_then(|id| fabric.row(id)));
        let each = request.spec.resources.devices.as_ref().map_or(1, |devices| devices.count.max(1));
        let amount = cut.ranks.saturating_mul(each);
        let odd = self.stock.odd();
        if request.is_particular()
            || self.kind.is_some()
            || amount > MOST
            || amount == 0
            || odd.len() > MOST as usize
        {
            let is_kind = |row| self.kind.is_none_or(|kind| self.stock.has(row, request, kind));
            let takes =
                |row| !without.contains(&row) && is_kind(row) && self.stock.ask(row, request, cut).is_ok();
            return Supply::counted(fabric, free, takes);
        }
        without.extend(odd.iter().copied().filter(|row| self.stock.ask(*row, request, cut).is_err()));
        Supply::indexed(fabric, free, self.class(), amount, without)
    }

    /// A node for each pod.
    fn slots(
        &self,
        supply: &Supply<'_>,
        cut: Cut,
        limits: &Limits,
    ) -> Result<(Option<Mapped>, Vec<NodeRow>), Miss> {
        let fabric = self.stock.fabric();
        let spec = self.request.spec;
        let apart = spec.placement.spread.map(|tier| fabric.level_within(tier).unwrap_or(0));
        if cut.nodes == 1 && apart.is_none() {
            return Ok((None, vec![self.one(supply)?]));
        }
        let mut why = None;
        for limits in self.closest(cut, limits) {
            let layout = self
                .request
                .layout(cut.world(), &limits)
                .map_err(|error| Miss::of(Obstacle::Layout(error)))?;
            // What of a layout does not fold into pods was checked when the job was read.
            let graph = SlotGraph::even(&layout, cut.ranks).map_err(|_| Miss::Obstacle(None))?;
            let unit = graph.unit().map(|(at, nodes)| Unit { nodes, level: usize::from(at) });
            let within = limits.all.map_or(fabric.depth(), usize::from);
            let need = Need { nodes: cut.nodes, within, unit, apart };
            let chosen = match choose(supply, &need) {
                Ok(chosen) => chosen,
                Err(most) => {
                    why = why.or(Some(self.obstacle(supply, &need, most)));
                    continue;
                }
            };
            let mapped = map(supply, &chosen, &graph, apart.is_none(), self.effort)
                .map_err(|_| Miss::Obstacle(None))?;
            if let Some(mapped) = mapped {
                let rows = self.nodes_of(supply, &mapped.domains);
                return Ok((Some(mapped), rows));
            }
            why = why.or_else(|| self.groups_in_the_way(&limits));
        }
        Err(Miss::Obstacle(why))
    }

    /// The limits, with the groups whose traffic weighs most as close together as the tree allows: each level in turn, the closest
    /// first.
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

    /// One that is partly used where that is possible, else an untouched one on the fullest of the lowest domains.
    fn one(&self, supply: &Supply<'_>) -> Result<NodeRow, Miss> {
        let (fabric, free) = (self.stock.fabric(), self.stock.free());
        let class = self.class();
        if let Some(amount) = supply.amount() {
            let whole = (1..=MOST).rev().find(|amount| free.at_least(class, ROOT, *amount) > 0).unwrap_or(0);
            let partly = partly_used(fabric, free, class, (amount, whole), |row| supply.takes(row));
            if let Some(row) = partly {
                return Ok(row);
            }
        }
        let need = Need { nodes: 1, within: fabric.depth(), unit: None, apart: None };
        let chosen = choose(supply, &need).map_err(|_| Miss::Obstacle(None))?;
        let domain = chosen.shares.first().map_or(ROOT, |share| share.domain);
        let key = |row: &NodeRow| (!fabric.node(*row).blemishes.is_empty(), free.amount(class, *row), *row);
        supply.of(domain).min_by_key(key).ok_or(Miss::Obstacle(None))
    }

    /// Nodes for the slots in the order of the tree, those with a blemish last: they are taken where nothing else is left, and hold
    /// the last slots of their domain.
    fn nodes_of(&self, supply: &Supply<'_>, domains: &[DomainRow]) -> Vec<NodeRow> {
        let fabric = self.stock.fabric();
        let class = self.class();
        let mut slots: BTreeMap<DomainRow, Vec<usize>> = BTreeMap::new();
        for (slot, domain) in domains.iter().enumerate() {
            slots.entry(*domain).or_default().push(slot);
        }
        let mut rows = vec![0; domains.len()];
        for (domain, slots) in slots {
            let mut nodes: Vec<NodeRow> = supply.of(domain).collect();
            let blemished = |row: &NodeRow| !fabric.node(*row).blemishes.is_empty();
            nodes.sort_by_key(|row| (blemished(row), self.stock.free().amount(class, *row), *row));
            nodes.truncate(slots.len());
            nodes.sort_by_key(|row| (blemished(row), *row));
            for (slot, node) in slots.into_iter().zip(nodes) {
                rows[slot] = node;
            }
        }
        rows
    }

    /// Nodes to hold back, of other lowest domains than the gang's where there are any, and the nearest of these.
    fn spares(&self, supply: &Supply<'_>, used: &BTreeSet<NodeRow>, count: u32) -> Option<Vec<NodeRow>> {
        if count == 0 {
            return Some(Vec::new());
        }
        let fabric = self.stock.fabric();
        let first = *used.first()?;
        let domains: BTreeSet<DomainRow> = used.iter().map(|row| fabric.domain_of(*row, 0)).collect();
        let mut free: Vec<NodeRow> = supply.of(ROOT).filter(|row| !used.contains(row)).collect();
        let key = |row: &NodeRow| {
            (domains.contains(&fabric.domain_of(*row, 0)), fabric.distance(first, *row), *row)
        };
        free.sort_by_key(key);
        free.truncate(count as usize);
        (free.len() == count as usize).then_some(free)
    }

    /// Unequal pods: as few nodes as hold the ranks, with shares as even as their room allows, in the order of the tree.
    fn uneven(&self, world: u32, limits: &Limits, shunning: bool) -> Option<Gang> {
        let least = Cut { nodes: 2, ranks: 1 };
        let supply = self.supply(least, shunning, &BTreeSet::new());
        let room = |row: NodeRow| Some((row, self.stock.ask(row, self.request, least).ok()?));
        let mut rooms: Vec<(NodeRow, u32)> = supply.of(ROOT).filter_map(room).collect();
        rooms.sort_by_key(|(row, room)| (std::cmp::Reverse(*room), *row));
        let shares = fewest(rooms, world)?;
        // Groups, distances and spares are of equal pods: nothing that was required is dropped for unequal ones.
        let placement = &self.request.spec.placement;
        let several = shares.len() > 1;
        let bound = limits.one_node
            || !limits.groups.is_empty()
            || !limits.inside.is_empty()
            || placement.spread.is_some();
        if placement.spares > 0 || several && (bound || self.too_far(&shares, limits)) {
            return None;
        }
        let mut pods = Vec::with_capacity(shares.len());
        for (node, ranks) in shares {
            let cut = Cut { nodes: 2, ranks };
            let inside = self.stock.node(node).choose(self.request, cut).ok()?;
            pods.push(GangPod { node, ranks, inside });
        }
        Some(Gang { pods, spares: Vec::new(), bound: 0, exact: false })
    }

    /// Whether the nodes are farther apart than the job as a whole may be.
    fn too_far(&self, shares: &[(NodeRow, u32)], limits: &Limits) -> bool {
        let fabric = self.stock.fabric();
        let Some(((first, _), rest)) = shares.split_first() else { return false };
        let meets = |limit: usize| rest.iter().all(|(row, _)| fabric.meet(*first, *row) <= limit);
        limits.all.is_some_and(|limit| !meets(usize::from(limit)))
    }

    fn obstacle(&self, supply: &Supply<'_>, need: &Need, most: u32) -> Obstacle {
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

    fn groups_in_the_way(&self, limits: &Limits) -> Option<Obstacle> {
        let (kind, at) = limits.groups.iter().min_by_key(|(_, at)| **at)?;
        Some(Obstacle::Groups { kind: kind.clone(), tier: self.stock.fabric().tier(usize::from(*at)) })
    }

    fn no_fit(&self, obstacle: Option<Obstacle>) -> NoFit {
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

/// Groups whose members wait for each other within a layer.
const CRITICAL: [&str; 2] = ["tp", "ep"];

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

/// As few nodes as hold `ranks`, with shares as even as their room allows. `rooms` are in the order of choice; the shares are in the
/// order of rows.
fn fewest(mut rooms: Vec<(NodeRow, u32)>, ranks: u32) -> Option<Vec<(NodeRow, u32)>> {
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
