//! Phalanx's placement beside others' on a production Clos (847 hosts) with traces of real jobs (ElasticFlow), short cuts of what
//! `docs/placement.md` shows. Both stay outside of the repository: PHALANX_DATA names their folder.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "captures are files; helpers of tests end where something is wrong"
)]

mod capture;

use capture::capture;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Source, derive};
use phalanx_formats::{csv, trace};
use phalanx_launcher_core::placement::fabric::Fabric;
use phalanx_launcher_core::simulate::{Demand, Job, POLICIES, Summary, Workload, policy, simulate};

/// As much worse than the best of the others as noise is.
const NOISE: f64 = 1.02;

#[test]
fn gangs_of_many_nodes_cost_less_and_wait_no_longer_than_under_any_other_policy() {
    let Some(fabric) = clos() else { return };
    let Some(jobs) = jobs("cluster03") else { return };
    let [ours, others @ ..] = outcomes(&fabric, &jobs, 80, 60);
    for (name, other) in POLICIES[1..].iter().zip(&others) {
        assert!(ours.ring < other.ring, "a ring: {} {name} {}", ours.ring, other.ring);
        assert!(ours.grid < other.grid, "a grid: {} {name} {}", ours.grid, other.grid);
        assert!(ours.leaves <= other.leaves, "leaves: {} {name} {}", ours.leaves, other.leaves);
        worse_by_noise_at_most(&ours, other, name);
    }
}

#[test]
fn where_most_jobs_are_parts_of_nodes_no_other_policy_keeps_more_in_one_piece() {
    let Some(fabric) = clos() else { return };
    let Some(jobs) = jobs("cluster05") else { return };
    let [ours, others @ ..] = outcomes(&fabric, &jobs, 50, 1);
    assert_eq!(ours.wide, 0, "cluster05 has no gang of several nodes");
    for (name, other) in POLICIES[1..].iter().zip(&others) {
        worse_by_noise_at_most(&ours, other, name);
    }
}

/// Delay, and the largest gangs that a leaf and a block could take.
fn worse_by_noise_at_most(ours: &Summary, other: &Summary, name: &str) {
    let (mean, others) = (ours.delay.mean, other.delay.mean);
    assert!(mean <= others * NOISE, "delay: {mean} {name} {others}");
    for (level, others) in ours.levels.iter().zip(&other.levels) {
        let (tier, largest, others) = (level.tier, level.largest, others.largest);
        assert!(largest * NOISE >= others, "largest gang of a {tier}: {largest} {name} {others}");
    }
}

fn outcomes(fabric: &Fabric, jobs: &[Job], load_percent: u32, days: u64) -> [Summary; 7] {
    let nodes = u32::try_from(fabric.nodes().len()).unwrap();
    let demand =
        Demand { load_percent, nodes, gpus_per_node: 8, measured: days * 86_400, most: 500_000, seed: 1 };
    let workload = Workload::new(jobs, &demand).unwrap();
    POLICIES.map(|name| {
        let mut policy = policy(name, fabric, 1).unwrap();
        Summary::of(fabric, 8, &simulate(fabric, 8, &workload, policy.as_mut()))
    })
}

fn clos() -> Option<Fabric> {
    let bytes = capture("topology/clos-production/alibaba-lingjun-2023-topo.csv")?;
    let outline = csv::read(&bytes).unwrap();
    let network =
        derive(&[], &outline.evidence(Source::Csv, "the Clos", Timestamp(1)), Timestamp(2)).unwrap();
    let fabric = Fabric::recorded(&network);
    assert_eq!((fabric.nodes().len(), fabric.level(0).len()), (847, 119));
    Some(fabric)
}

fn jobs(name: &str) -> Option<Vec<Job>> {
    let bytes = capture(&format!("traces/elasticflow/{name}.csv"))?;
    let job = |job: trace::TraceJob| Job { submitted: job.submitted, duration: job.duration, gpus: job.gpus };
    Some(trace::read(&bytes).unwrap().into_iter().map(job).collect())
}
