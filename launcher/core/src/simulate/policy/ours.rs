//! The placement of Phalanx.

use std::collections::BTreeMap;

use phalanx_common::spec::{GroupSpec, JobSpec, Parallelism, Shape};
use phalanx_common::time::Timestamp;

use super::super::cost::grid;
use super::{Ask, Cluster, Pattern, Policy};
use crate::placement::fabric::{Fabric, NodeRow};
use crate::placement::gang::place_gang;
use crate::placement::order::Effort;
use crate::placement::refusal::Refusal;
use crate::placement::request::{GangRequest, NONE_SHUNNED};

/// Orders that are remembered. Gangs that are spread alike are ordered alike.
const REMEMBERED: usize = 4_096;

/// Nodes and their order as [`place_gang`] gives them to a job that says nothing of its groups: a ring over its ranks. For a grid,
/// the order that [`place_gang`] gives to one of data by pipeline parallel that has these nodes and no other choice.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    orders: BTreeMap<(Pattern, Vec<Part>), Option<Vec<usize>>>,
}

/// Nodes of a gang in one lowest domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    nodes: u32,
    /// Below the domain that it shares with the part before, what its uplinks cost, the lowest first.
    uplinks: Vec<u64>,
    /// How many of them are its own, and not the part's before.
    own: usize,
}

impl Policy for Ours {
    fn choose(&mut self, cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>> {
        placed(cluster, job(*ask, Vec::new()), &BTreeMap::new())
    }

    fn order(&mut self, cluster: &Cluster<'_>, nodes: &[NodeRow], pattern: Pattern) -> Vec<NodeRow> {
        if pattern == Pattern::Ring {
            return nodes.to_vec();
        }
        let mut sorted = nodes.to_vec();
        sorted.sort_unstable();
        if self.orders.len() >= REMEMBERED {
            self.orders.clear();
        }
        let key = (pattern, parts(cluster.fabric(), &sorted));
        let order = self.orders.entry(key).or_insert_with(|| ordered(cluster, &sorted));
        match order {
            Some(order) => order.iter().map(|at| sorted[*at]).collect(),
            None => nodes.to_vec(),
        }
    }
}

/// Which of these nodes, in the order of the tree, each slot of a grid gets.
fn ordered(cluster: &Cluster<'_>, nodes: &[NodeRow]) -> Option<Vec<usize>> {
    let count = u32::try_from(nodes.len()).ok()?;
    let (members, stages) = grid(count);
    let group =
        |kind: &str, size| GroupSpec { kind: kind.to_owned(), size, pattern: None, volume_bytes: Some(1) };
    let job = job(Ask { nodes: count, gpus: 1 }, vec![group("dp", members), group("pp", stages)]);
    let others = (0..).take(cluster.fabric().nodes().len()).filter(|row| nodes.binary_search(row).is_err());
    let without = others.map(|row| (row, Refusal::NotNamed)).collect();
    let order = placed(cluster, job, &without)?;
    order.iter().map(|node| nodes.binary_search(node).ok()).collect()
}

fn placed(
    cluster: &Cluster<'_>,
    spec: JobSpec,
    without: &BTreeMap<NodeRow, Refusal>,
) -> Option<Vec<NodeRow>> {
    let request = GangRequest {
        spec: &spec,
        user: None,
        probes: false,
        last: &[],
        spares: &[],
        shun: NONE_SHUNNED,
        refused: &BTreeMap::new(),
        now: Timestamp::default(),
        port_salt: 0,
    };
    let gang = place_gang(cluster.stock(), &request, without, &Effort::default()).ok()?;
    Some(gang.pods.iter().map(|pod| pod.node).collect())
}

/// A job with a rank for each GPU that is asked for.
fn job(ask: Ask, groups: Vec<GroupSpec>) -> JobSpec {
    let shape = Shape::Nodes { nodes: ask.nodes, ranks_per_node: ask.gpus };
    JobSpec { parallelism: Parallelism { groups }, ..JobSpec::of("simulated", shape, &["train"]) }
}

/// The parts of nodes in the order of the tree.
fn parts(fabric: &Fabric, nodes: &[NodeRow]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut before: Option<NodeRow> = None;
    for node in nodes {
        let own = before.map_or(fabric.depth(), |before| fabric.meet(before, *node));
        match parts.last_mut().filter(|_| own == 0) {
            Some(part) => part.nodes += 1,
            None => {
                let uplinks = fabric.path(*node).iter().map(|domain| fabric.domain(*domain).uplink).collect();
                parts.push(Part { nodes: 1, uplinks, own });
            }
        }
        before = Some(*node);
    }
    parts
}
