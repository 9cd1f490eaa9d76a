//! An outcome in numbers.

use phalanx_common::topology::Tier;

use super::outcome::{Gang, Outcome, Sample};
use crate::placement::fabric::Fabric;

/// Numbers of one policy under one load. Means of costs and leaves are over gangs of more than one node, weighted
/// by their GPU-hours: what a GPU of such a gang meets on average.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub gangs: usize,
    /// Of more than one node.
    pub wide: usize,
    pub gpu_hours: f64,
    pub wide_gpu_hours: f64,
    /// Modelled cost of a ring over the nodes, and of a grid.
    pub ring: f64,
    pub grid: f64,
    /// Lowest domains that a gang touches.
    pub leaves: f64,
    /// By the tier that holds the gang, the closest first: gangs of more than one node, and their GPU-hours.
    pub tiers: Vec<(Tier, usize, f64)>,
    pub delay: Delay,
    /// Share of GPU-seconds in use.
    pub utilisation: f64,
    /// Share of the free GPUs that are on partly used nodes, where no gang of whole nodes can have them.
    pub stranded: f64,
    pub free_nodes: f64,
    /// The lowest first.
    pub levels: Vec<Level>,
    pub decisions: u64,
    pub stuck: usize,
}

/// Seconds in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Delay {
    pub mean: f64,
    /// Of those of more than one node.
    pub wide: f64,
    pub median: u64,
    /// One of a hundred waits at least so long.
    pub p99: u64,
    pub most: u64,
    /// Mean of those submitted in the first and the second half: far apart, the load is more than the policy
    /// can serve, and the queue grows.
    pub halves: [f64; 2],
}

/// What domains of one level could take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    pub tier: Tier,
    /// The largest gang of whole nodes that one domain could take, mean over time.
    pub largest: f64,
    /// The most that it could be: all free nodes, or as many as the largest domain has.
    pub possible: f64,
}

impl Level {
    /// 0: what is free is together as far as it can be; 1: nothing of it is.
    pub fn fragmentation(&self) -> f64 {
        if self.possible > 0.0 { 1.0 - self.largest / self.possible } else { 0.0 }
    }
}

impl Summary {
    pub fn of(fabric: &Fabric, per_node: u32, outcome: &Outcome) -> Summary {
        let gangs = &outcome.gangs;
        let wide: Vec<&Gang> = gangs.iter().filter(|gang| gang.ask.nodes > 1).collect();
        let seconds = |gangs: &[&Gang]| gangs.iter().map(|gang| gang.gpu_seconds()).sum::<f64>();
        let all = seconds(&gangs.iter().collect::<Vec<_>>());
        let of_wide = seconds(&wide);
        let weighted = |what: fn(&Gang) -> f64| {
            ratio(wide.iter().map(|gang| what(gang) * gang.gpu_seconds()).sum(), of_wide)
        };
        let tiers = (0..=fabric.depth()).map(|level| {
            let at = |gang: &&&Gang| gang.level.is_some_and(|at| usize::from(at) == level);
            let here: Vec<&Gang> = wide.iter().filter(at).copied().collect();
            (fabric.tier(level), here.len(), seconds(&here) / 3600.0)
        });
        let samples = &outcome.samples;
        let mean =
            |what: &dyn Fn(&Sample) -> f64| ratio(samples.iter().map(what).sum(), samples.len() as f64);
        let free_nodes = mean(&|sample| f64::from(sample.free_nodes));
        let free_gpus = mean(&|sample| sample.free_gpus as f64);
        let levels = (0..fabric.depth()).map(|level| {
            let size = |row| fabric.domain(row).nodes.len();
            let largest = fabric.level(level).map(size).max().unwrap_or(0) as f64;
            Level {
                tier: fabric.tier(level),
                largest: mean(&|sample| f64::from(sample.largest[level])),
                possible: mean(&|sample| f64::from(sample.free_nodes).min(largest)),
            }
        });
        Summary {
            gangs: gangs.len(),
            wide: wide.len(),
            gpu_hours: all / 3600.0,
            wide_gpu_hours: of_wide / 3600.0,
            ring: weighted(|gang| gang.ring as f64),
            grid: weighted(|gang| gang.grid as f64),
            leaves: weighted(|gang| f64::from(gang.leaves)),
            tiers: tiers.collect(),
            delay: Delay::of(gangs, &wide),
            utilisation: ratio(outcome.busy as f64, outcome.capacity as f64),
            stranded: ratio(free_gpus - free_nodes * f64::from(per_node), free_gpus),
            free_nodes,
            levels: levels.collect(),
            decisions: outcome.decisions,
            stuck: outcome.stuck,
        }
    }
}

impl Delay {
    fn of(gangs: &[Gang], wide: &[&Gang]) -> Delay {
        let mean = |gangs: &mut dyn Iterator<Item = &Gang>| {
            let (sum, count) =
                gangs.fold((0.0, 0.0), |(sum, count), gang| (sum + gang.delay() as f64, count + 1.0));
            ratio(sum, count)
        };
        let mut delays: Vec<u64> = gangs.iter().map(Gang::delay).collect();
        delays.sort_unstable();
        let at =
            |percent: usize| delays.get((delays.len() * percent / 100).min(delays.len().saturating_sub(1)));
        let (first, second) = gangs.split_at(gangs.len() / 2);
        Delay {
            mean: mean(&mut gangs.iter()),
            wide: mean(&mut wide.iter().copied()),
            median: at(50).copied().unwrap_or(0),
            p99: at(99).copied().unwrap_or(0),
            most: delays.last().copied().unwrap_or(0),
            halves: [mean(&mut first.iter()), mean(&mut second.iter())],
        }
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
