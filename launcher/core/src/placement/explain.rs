//! Why a gang is where it is, or nowhere.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::explanation::{
    Cost, Domain, Group, Placed, Pod, Rank, Reason, Refused, RefusedNode, Traffic,
};
use phalanx_common::id::NodeId;
use phalanx_common::plan::PodBinding;
use phalanx_common::spec::{Elastic, JobSpec, Shape};
use phalanx_common::text::natural;
use phalanx_common::topology::Tier;

use super::fabric::{Blemish, DomainRow, Fabric, NodeRow};
use super::gang::{may_be_cut, most_ranks, place_gang, room};
use super::inside::{Inside, plural};
use super::mapping::Part;
use super::order::{Effort, Layout, Problem, SlotGraph, solve};
use super::refusal::{self, Change, NoFit, Refusal, Stranger};
use super::report::report;
use super::request::{Cut, GangRequest, Limits};
use super::worlds::{Worlds, lcm};
use crate::stock::Stock;

/// A pod as it was planned.
#[derive(Clone, Debug)]
pub struct PlannedPod<'a> {
    pub node: NodeRow,
    pub ranks: u32,
    pub binding: &'a PodBinding,
    /// What was chosen in the node, where that is known.
    pub inside: Option<&'a Inside>,
}

/// A bound that somebody proved, and whether the cost is proven to be the least.
#[derive(Clone, Copy, Debug, Default)]
pub struct Proven {
    pub bound: u128,
    pub exact: bool,
}

/// What these pods cost. `None`: the groups make no such pods.
pub fn explain(
    stock: &Stock,
    request: &GangRequest<'_>,
    pods: &[PlannedPod<'_>],
    spares: &[NodeRow],
    proven: Option<Proven>,
) -> Option<Placed> {
    let fabric = stock.fabric();
    let shares: Vec<u32> = pods.iter().map(|pod| pod.ranks).collect();
    let rows: Vec<NodeRow> = pods.iter().map(|pod| pod.node).collect();
    let world = shares.iter().fold(0u32, |sum, share| sum.saturating_add(*share));
    let layout = request.layout(world, &Limits::default()).ok()?;
    let own = report(stock, &layout, &rows, &shares).ok()?;
    let mut named: Vec<&PlannedPod<'_>> = pods.iter().collect();
    named.sort_by_cached_key(|pod| (natural(&fabric.node(pod.node).name), pod.node));
    let naive_rows: Vec<NodeRow> = named.iter().map(|pod| pod.node).collect();
    let naive_shares: Vec<u32> = named.iter().map(|pod| pod.ranks).collect();
    let naive = report(stock, &layout, &naive_rows, &naive_shares).ok()?;
    let proven = proven.unwrap_or_else(|| prove(stock, &layout, &rows, &shares));
    let cost = Cost {
        cost: whole(own.cost),
        bottleneck: whole(own.bottleneck),
        bound: whole(proven.bound),
        gap: gap(own.cost, proven.bound),
        exact: proven.exact || own.cost <= proven.bound,
        naive: whole(naive.cost),
    };
    let traffic = own.volumes.iter().zip(&naive.volumes).map(|(own, naive)| Traffic {
        tier: own.tier,
        volume: whole(own.volume),
        naive: whole(naive.volume),
    });
    let groups = own.groups.iter().map(|group| Group {
        kind: group.kind.clone(),
        size: group.size,
        worst: group.worst,
    });
    let (domains, of) = known_domains(fabric, &rows);
    let mut first_rank = 0;
    let shown = pods.iter().map(|pod| {
        let first = first_rank;
        first_rank += pod.ranks;
        shown(stock, request, pod, first)
    });
    Some(Placed {
        ranks: world,
        asked: request.spec.world_size(),
        tier: own.tier,
        domains,
        of,
        pods: shown.collect(),
        spares: spares.iter().map(|row| fabric.node(*row).id.to_string()).collect(),
        groups: groups.collect(),
        traffic: traffic.collect(),
        cost,
        notes: refusal::unknown(&strangers(stock, request.spec)).into_iter().collect(),
    })
}

/// How many domains these nodes are on, of the lowest tier that is known of most of them; none where nothing is known.
fn known_domains(fabric: &Fabric, rows: &[NodeRow]) -> (u32, Tier) {
    let known = |level: usize| {
        let own = rows.iter().map(move |row| fabric.domain_of(*row, level));
        own.filter(|row| fabric.domain(*row).known)
    };
    let levels = (0..fabric.depth()).map(|level| (known(level).count(), Reverse(level)));
    match levels.max() {
        Some((1.., Reverse(level))) => {
            let domains: BTreeSet<DomainRow> = known(level).collect();
            (u32::try_from(domains.len()).unwrap_or(u32::MAX), fabric.tier(level))
        }
        _ => (0, fabric.tier(0)),
    }
}

/// Names of nodes in a job that no node goes by.
pub(crate) fn strangers(stock: &Stock, spec: &JobSpec) -> Vec<Stranger> {
    let mut strangers = stock.strangers(&spec.placement.nodes);
    strangers.extend(stock.strangers(&spec.placement.avoid));
    strangers
}

/// A bound of the cost of these nodes in any order.
fn prove(stock: &Stock, layout: &Layout, rows: &[NodeRow], shares: &[u32]) -> Proven {
    let fabric = stock.fabric();
    let even = shares.first().filter(|first| shares.iter().all(|share| share == *first));
    let bound = even.and_then(|share| {
        let graph = SlotGraph::even(layout, *share).ok()?;
        let mut room: Vec<(u32, u32)> = Vec::new();
        let mut domains: Vec<u32> = rows.iter().map(|row| fabric.domain_of(*row, 0)).collect();
        domains.sort_unstable();
        for domain in domains {
            match room.last_mut() {
                Some((last, count)) if *last == domain => *count += 1,
                _ => room.push((domain, 1)),
            }
        }
        let part = Part::new(fabric, room).ok()?;
        let problem = Problem::new(&graph, &part.tree, None).ok()?;
        solve(&problem, &Effort { proposals: 0, ..Effort::default() })
    });
    Proven { bound: bound.map_or(0, |solution| solution.bound), exact: false }
}

fn shown(stock: &Stock, request: &GangRequest<'_>, pod: &PlannedPod<'_>, first_rank: u32) -> Pod {
    let fabric = stock.fabric();
    let node = fabric.node(pod.node);
    let known = fabric.path(pod.node).iter().map(|row| fabric.domain(*row)).filter(|domain| domain.known);
    let domains = known
        .map(|domain| Domain { tier: fabric.tier(usize::from(domain.level)), name: domain.name.clone() });
    let model = stock.node(pod.node).inside.as_ref().map(|inside| &inside.model);
    let asked = request.spec.resources.nics.is_some();
    let ports = |local: u32| {
        let rank = pod.inside.filter(|_| asked).and_then(|inside| inside.ranks.get(local as usize));
        let ports = rank.iter().flat_map(|rank| &rank.ports);
        ports.filter_map(|port| Some(model?.ports().get(usize::from(port.port))?.name.clone())).collect()
    };
    let rank = |local| {
        let binding = pod.binding.ranks.get(local as usize);
        Rank {
            rank: first_rank + local,
            ports: ports(local),
            devices: pod.binding.devices_of(local).iter().map(ToString::to_string).collect(),
            cpus: binding.map(|rank| rank.cpus.to_string()).unwrap_or_default(),
            memory: binding.map(|rank| rank.nodes.to_string()).unwrap_or_default(),
        }
    };
    Pod {
        node: node.id.to_string(),
        name: node.name.clone(),
        domains: domains.collect(),
        first_rank,
        ranks: (0..pod.ranks).map(rank).collect(),
        hca: pod.binding.hca.clone(),
        blemishes: node.blemishes.iter().map(blemish).collect(),
    }
}

fn blemish(of: &Blemish) -> String {
    match of {
        Blemish::Unplaced(tier) => format!("its {tier} is unknown"),
        Blemish::WrongRail { port, rail, on } => {
            format!("port {port} of rail {rail} is on the leaf of rail {on}")
        }
        Blemish::PortDown { port } => format!("port {port} has no link"),
        Blemish::NoRail { rails } => {
            let named: Vec<String> = rails.iter().map(u16::to_string).collect();
            format!("it is not on rail{} {}", plural(rails.len() as u64), named.join(", "))
        }
    }
}

/// Why it does not fit, with the smallest changes that would make it fit.
pub fn explain_refusal(stock: &Stock, request: &GangRequest<'_>, refusal: &NoFit) -> Refused {
    let refused = with_what_lasts(stock, request, &refusal.refused);
    let node =
        |(node, why): (&NodeId, &Refusal)| RefusedNode { node: node.to_string(), why: why.to_string() };
    let reason = |reason: refusal::Reason| Reason {
        nodes: reason.nodes.iter().map(ToString::to_string).collect(),
        why: reason.why,
    };
    Refused {
        why: refusal.headline(),
        reasons: refusal::reasons(&refused).into_iter().map(reason).collect(),
        nodes: refused.iter().map(node).collect(),
        changes: changes(stock, request).iter().map(ToString::to_string).collect(),
        notes: nobody(stock)
            .into_iter()
            .chain(refusal::unknown(&stock.strangers(&request.spec.placement.avoid)))
            .collect(),
    }
}

/// There is no node that anybody knows.
fn nobody(stock: &Stock) -> Option<String> {
    let none = stock.fabric().nodes().is_empty();
    none.then(|| "no node is known: none has joined, or no file names one".to_owned())
}

/// The same reasons, but where a node is only full at the moment and would do no better with nothing on it: there what lasts.
fn with_what_lasts(
    stock: &Stock,
    request: &GangRequest<'_>,
    refused: &BTreeMap<NodeId, Refusal>,
) -> BTreeMap<NodeId, Refusal> {
    let idle = stock.emptied_of_jobs();
    let one = Cut { nodes: 2, ranks: 1 };
    let lasting = |node: &NodeId| {
        let row = idle.fabric().row(node)?;
        idle.ask(row, request, one).err().filter(|refusal| refusal.lasts() || *refusal == Refusal::Untold)
    };
    let told = refused.iter().map(|(node, refusal)| {
        let full = matches!(refusal, Refusal::Slots { .. } | Refusal::Held | Refusal::Shared);
        let told = full.then(|| lasting(node)).flatten();
        (node.clone(), told.unwrap_or_else(|| refusal.clone()))
    });
    told.collect()
}

/// Whether a gang does not fit on all nodes that are known, reachable or not, with nothing on them. `false` while something is not
/// known of a node that may let it in, and while none is there, or one that the networks know is not.
pub(crate) fn never_fits(stock: &Stock, request: &GangRequest<'_>) -> bool {
    let fabric = stock.fabric();
    if fabric.nodes().is_empty() || stock.topology().ids.values().any(|id| fabric.row(id).is_none()) {
        return false;
    }
    let idle = stock.emptied_of_jobs();
    // Whether it fits is asked, not how well.
    let effort = Effort { proposals: 0, search_nodes: 0, exact: false, ..Effort::default() };
    let request = GangRequest { last: &[], ..request.clone() };
    let is_open = |refusal: &Refusal| {
        matches!(
            refusal,
            Refusal::Unreachable | Refusal::Closed { .. } | Refusal::Untold | Refusal::PortsUntold
        ) || matches!(refusal, Refusal::Lacks(lack) if lack.is_untold())
    };
    match place_gang(idle, &request, &BTreeMap::new(), &effort) {
        Ok(_) => false,
        Err(no_fit) => !no_fit.refused.values().any(is_open),
    }
}

/// So many placements are tried for one explanation.
const TRIALS: u32 = 96;

/// Each is tried, as long as there are [`TRIALS`] left: what is listed lets the gang in.
fn changes(stock: &Stock, request: &GangRequest<'_>) -> Vec<Change> {
    let spec = request.spec;
    let effort = Effort { proposals: 0, search_nodes: 0, exact: false, ..Effort::default() };
    let left = Cell::new(TRIALS);
    let fits = |change: &Alter<'_>| {
        let Some(fewer) = left.get().checked_sub(1) else { return false };
        left.set(fewer);
        let mut altered = spec.clone();
        // The least that it can run with is what fits most easily.
        altered.elastic = altered.elastic.map(|elastic| Elastic { max: elastic.min, ..elastic });
        change(&mut altered);
        let request = GangRequest { spec: &altered, last: &[], ..request.clone() };
        place_gang(stock, &request, &BTreeMap::new(), &effort).is_ok()
    };
    let mut found = Vec::new();
    let require = &spec.placement.require;
    let farther = |tier: Tier| Tier::OF_SWITCHES.into_iter().filter(move |other| *other > tier);
    if let Some(tier) = require.all
        && let Some(tier) = farther(tier).find(|tier| fits(&|spec| spec.placement.require.all = Some(*tier)))
    {
        found.push(Change::Require { of: "all".to_owned(), tier });
    }
    for (kind, tier) in &require.groups {
        let with = |tier: &Tier| fits(&|spec| spec.placement.require.groups.extend([(kind.clone(), *tier)]));
        if let Some(tier) = farther(*tier).find(with) {
            found.push(Change::Require { of: kind.clone(), tier });
        }
    }
    if !spec.placement.uneven
        && matches!(spec.shape, Shape::Ranks(_))
        && fits(&|spec| spec.placement.uneven = true)
    {
        found.push(Change::Uneven);
    }
    let spares = spec.placement.spares;
    let with_spares = |spares: u32| fits(&|spec| spec.placement.spares = spares);
    if spares > 0 && with_spares(0) {
        // Fewer fit where more do.
        let (mut fit, mut too_many) = (0, spares);
        while fit + 1 < too_many {
            let middle = fit + (too_many - fit) / 2;
            match with_spares(middle) {
                true => fit = middle,
                false => too_many = middle,
            }
        }
        found.push(Change::Spares(fit));
    }
    if !spec.placement.mixed && fits(&|spec| spec.placement.mixed = true) {
        found.push(Change::Mixed);
    }
    found.extend(fewer(stock, request, &fits));
    if found.is_empty() {
        let empty = stock.idle(false);
        let request = GangRequest { last: &[], ..request.clone() };
        if place_gang(&empty, &request, &BTreeMap::new(), &effort).is_ok() {
            found.push(Change::Wait);
        }
    }
    found
}

/// Whether a job fits once it is altered so.
type Fits<'a> = dyn Fn(&Alter<'_>) -> bool + 'a;
type Alter<'a> = dyn Fn(&mut JobSpec) + 'a;

/// The most ranks that fit, whole replicas of the other groups, below those that the job can do with. Full nodes are tried first, as
/// they fit wherever fewer of them do; then what is between two numbers of these, or where full nodes give less than half
/// of the room, whatever is above.
fn fewer(stock: &Stock, request: &GangRequest<'_>, fits: &Fits<'_>) -> Option<Change> {
    let spec = request.spec;
    let step = match spec.shape {
        Shape::Nodes { ranks_per_node, .. } => ranks_per_node,
        Shape::Ranks(_) => 1,
    };
    let others = spec.parallelism.groups.iter().filter(|group| group.kind != "dp").map(|group| group.size);
    let unit = others.fold(1u32, u32::saturating_mul);
    // What an elastic job may have is some steps below what it asks for.
    let by = spec.elastic.map_or(1, |elastic| elastic.step.max(1));
    let is_stepped = spec.elastic.is_some_and(|elastic| elastic.min.is_multiple_of(by));
    let step = lcm(lcm(step.max(1), unit), if is_stepped { by } else { 1 });
    let with = |ranks: u32| {
        fits(&|spec: &mut JobSpec| {
            spec.elastic = None;
            if let Some(dp) = spec.parallelism.groups.iter_mut().find(|group| group.kind == "dp") {
                dp.size = ranks / unit;
            }
            spec.shape = match spec.shape {
                Shape::Nodes { ranks_per_node, .. } => {
                    Shape::Nodes { nodes: ranks / ranks_per_node.max(1), ranks_per_node }
                }
                Shape::Ranks(_) => Shape::Ranks(ranks),
            };
        })
    };
    let least = spec.elastic.map_or(spec.world_size(), |elastic| elastic.min);
    let most = u32::try_from(room(stock, request)).unwrap_or(u32::MAX).min(least.saturating_sub(1));
    let full = lcm(step, most_ranks(stock, request).max(1));
    let find = |worlds: Option<Worlds>| {
        worlds?.largest(most.into(), may_be_cut(stock, request), |ranks| with(ranks).then_some(ranks))
    };
    let whole = find(Worlds::multiples(full, most)).unwrap_or(0);
    let upto = if whole < most / 2 { most } else { most.min(whole.saturating_add(full - 1)) };
    let ranks = find(Worlds::multiples(step, upto).and_then(|worlds| worlds.above(whole))).unwrap_or(whole);
    let change = match (spec.elastic, spec.shape) {
        (Some(_), _) if is_stepped => Change::Min(ranks),
        (None, Shape::Nodes { ranks_per_node, .. }) => Change::Nodes(ranks / ranks_per_node.max(1)),
        (_, _) => Change::Ranks(ranks),
    };
    (ranks > 0).then_some(change)
}

fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn gap(cost: u128, bound: u128) -> f64 {
    if cost == 0 { 0.0 } else { cost.saturating_sub(bound) as f64 / cost as f64 }
}

#[cfg(test)]
mod tests;
