//! What was seen in a simulation.

use super::cluster::{Ask, Cluster};
use super::cost::{Pattern, cost};
use super::policy::Policy;
use super::workload::Arrival;
use crate::placement::fabric::{NodeRow, ROOT};

/// A gang that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gang {
    /// Seconds from the start.
    pub submitted: u64,
    pub started: u64,
    pub duration: u64,
    pub ask: Ask,
    /// Lowest domains that it touches.
    pub leaves: u32,
    /// Level of the lowest domain that holds all of it, as [`Fabric::tier`](crate::placement::fabric::Fabric::tier)
    /// counts; `None` on one node.
    pub level: Option<u8>,
    /// Of a ring over its nodes, in the order that the policy gives them.
    pub ring: u64,
    /// Of a grid over them, in the policy's order for that.
    pub grid: u64,
}

impl Gang {
    pub(super) fn new(
        cluster: &Cluster<'_>,
        policy: &mut dyn Policy,
        arrival: &Arrival,
        started: u64,
        nodes: &[NodeRow],
    ) -> Gang {
        let fabric = cluster.fabric();
        let &Arrival { at, duration, ask } = arrival;
        let mut gang =
            Gang { submitted: at, started, duration, ask, leaves: 1, level: None, ring: 0, grid: 0 };
        let (&[first, .., last], true) = (nodes, fabric.depth() > 0) else { return gang };
        // Rows are in the order of the tree: what holds the lowest and the highest holds all between.
        let low = nodes.iter().copied().min().unwrap_or(first);
        let high = nodes.iter().copied().max().unwrap_or(last);
        gang.level = u8::try_from(fabric.meet(low, high)).ok();
        let mut leaves: Vec<u32> = nodes.iter().map(|node| fabric.domain_of(*node, 0)).collect();
        leaves.sort_unstable();
        leaves.dedup();
        gang.leaves = u32::try_from(leaves.len()).unwrap_or(u32::MAX);
        if leaves.len() > 1 {
            gang.ring = cost(fabric, &policy.order(cluster, nodes, Pattern::Ring), Pattern::Ring);
            gang.grid = cost(fabric, &policy.order(cluster, nodes, Pattern::Grid), Pattern::Grid);
        }
        gang
    }

    pub fn gpu_seconds(&self) -> f64 {
        self.ask.all_gpus() as f64 * self.duration as f64
    }

    /// Seconds in the queue.
    pub fn delay(&self) -> u64 {
        self.started - self.submitted
    }
}

/// The state of the cluster at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Seconds from the start.
    pub at: u64,
    pub queued: usize,
    /// How long the head of the queue has waited, in seconds.
    pub head_waits: u64,
    pub free_gpus: u64,
    /// Nodes that are free as a whole.
    pub free_nodes: u32,
    /// By level, the lowest first, below the root: the largest gang of whole nodes that one domain could take.
    pub largest: Vec<u32>,
}

impl Sample {
    pub(super) fn of(cluster: &Cluster<'_>, at: u64, queued: usize, head: Option<&Arrival>) -> Sample {
        let fabric = cluster.fabric();
        let whole = |domain| cluster.with(domain, cluster.per_node());
        let largest = (0..fabric.depth()).map(|level| fabric.level(level).map(whole).max().unwrap_or(0));
        Sample {
            at,
            queued,
            head_waits: head.map_or(0, |head| at.saturating_sub(head.at)),
            free_gpus: cluster.free_in(ROOT),
            free_nodes: whole(ROOT),
            largest: largest.collect(),
        }
    }
}

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Those that were submitted while it was measured, in that order.
    pub gangs: Vec<Gang>,
    /// Submitted while it was measured, and never started: the policy finds no place for them on an empty cluster.
    pub stuck: usize,
    /// Gangs that were given nodes without room for them, or not as many different ones as they ask for. They never start, and hold
    /// nothing: the policy is at fault.
    pub wrong: usize,
    /// At equal distances over the measured time.
    pub samples: Vec<Sample>,
    /// How often the policy was asked, warm-up included.
    pub decisions: u64,
    /// GPU-seconds in use while it was measured.
    pub busy: u128,
    /// GPU-seconds that there were.
    pub capacity: u128,
}
