use phalanx_common::id::NodeId;
use phalanx_common::topology::Tier;

use super::policy::Ours;
use super::*;
use crate::placement::fabric::{Fabric, Member, NodeRow, Place};

/// Blocks of leaves of so many nodes. Names count down, so that their order is not the tree's.
fn fabric(blocks: &[&[u32]]) -> Fabric {
    let mut members = Vec::new();
    for (block, leaves) in blocks.iter().enumerate() {
        for (leaf, nodes) in leaves.iter().enumerate() {
            let place = |name: String| Some(Place { name, cables: None });
            for _ in 0..*nodes {
                let name = format!("node-{:03}", 999 - members.len());
                members.push(Member {
                    id: NodeId::new(&name),
                    name,
                    places: vec![place(format!("leaf-{block}-{leaf}")), place(format!("block-{block}"))],
                    blemishes: Vec::new(),
                });
            }
        }
    }
    Fabric::build(&[Tier::Leaf, Tier::Block], members).fabric
}

fn arrival(at: u64, duration: u64, gpus: u32) -> Arrival {
    Arrival { at, duration, ask: Ask::of(gpus, 8) }
}

fn workload(arrivals: Vec<Arrival>, end: u64) -> Workload {
    Workload { arrivals, warm_up: 0, end, copies: 1, stretch_permille: 1000, too_large: 0 }
}

/// A small mix that no cluster of these tests serves at once.
fn mix() -> Vec<Job> {
    let job = |at: u64| {
        let gpus = [1, 8, 2, 16, 4, 32, 1, 64][at as usize % 8];
        Job { submitted: at * 700, duration: 600 + at * 7919 % 5_000, gpus }
    };
    (0..200).map(job).collect()
}

fn demand(load_percent: u32) -> Demand {
    Demand { load_percent, nodes: 24, gpus_per_node: 8, measured: 100_000, most: 100_000, seed: 1 }
}

#[test]
fn nothing_overtakes_the_head_of_the_queue() {
    let fabric = fabric(&[&[2]]);
    let jobs = vec![arrival(0, 100, 8), arrival(1, 10, 16), arrival(2, 10, 1)];
    let outcome = simulate(&fabric, 8, &workload(jobs, 1_000), &mut Ours::default());
    let times: Vec<(u64, u64)> = outcome.gangs.iter().map(|gang| (gang.submitted, gang.started)).collect();
    assert_eq!(times, [(0, 0), (1, 100), (2, 110)]);
    assert_eq!(outcome.busy, 8 * 100 + 16 * 10 + 10);
    assert_eq!(outcome.capacity, 16 * 1_000);
}

#[test]
fn what_ends_is_free_for_what_arrives_in_the_same_second() {
    let fabric = fabric(&[&[1]]);
    let jobs = vec![arrival(0, 10, 8), arrival(10, 5, 8)];
    let outcome = simulate(&fabric, 8, &workload(jobs, 100), &mut Ours::default());
    assert_eq!(outcome.gangs[1].started, 10);
}

#[test]
fn a_load_is_as_many_gpu_seconds_as_it_says() {
    for load in [50, 80, 95] {
        let long = Demand { measured: 10_000_000, most: 1_000_000, ..demand(load) };
        let workload = Workload::new(&mix(), &long).unwrap();
        let share = workload.offered() / (24.0 * 8.0);
        assert!((share * 100.0 - f64::from(load)).abs() < 1.0, "{share} at {load}");
        assert!(workload.arrivals.is_sorted());
    }
}

#[test]
fn a_demand_is_the_same_arrivals_again_and_another_seed_others() {
    let arrivals = |seed| Workload::new(&mix(), &Demand { seed, ..demand(80) }).unwrap();
    assert_eq!(arrivals(1), arrivals(1));
    assert_ne!(arrivals(1).arrivals, arrivals(2).arrivals);
}

#[test]
fn traces_that_make_no_workload_are_refused_with_the_reason() {
    let job = |gpus, duration| Job { submitted: 5, duration, gpus };
    let new = |jobs: &[Job], demand: Demand| Workload::new(jobs, &demand).map(|workload| workload.too_large);
    assert_eq!(new(&[], demand(50)), Err(Error::Nothing { nodes: 24 }));
    assert_eq!(new(&[job(8, 0)], demand(50)), Err(Error::Nothing { nodes: 24 }));
    assert_eq!(new(&[job(0, 10), job(200, 10)], demand(50)), Err(Error::Nothing { nodes: 24 }));
    assert_eq!(new(&[job(8, 10)], demand(0)), Err(Error::Load(0)));
    assert_eq!(new(&[job(8, 10)], demand(101)), Err(Error::Load(101)));
    let endless = Demand { measured: u64::MAX, ..demand(50) };
    assert!(matches!(new(&[job(8, 10)], endless), Err(Error::TooMany { most: 100_000, .. })));
    let extremes =
        [Job { submitted: u64::MAX, duration: u64::MAX, gpus: u32::MAX }, job(1, u64::MAX), job(1, 1)];
    assert!(Workload::new(&extremes, &demand(95)).is_ok_and(|workload| workload.too_large == 1));
    assert_eq!(new(&[job(200, 1_000), job(8, 1_000)], demand(50)), Ok(1));
}

#[test]
fn every_policy_gives_as_many_nodes_as_are_asked_for_each_with_room() {
    let fabric = fabric(&[&[8, 5, 3], &[4, 4]]);
    let workload = Workload::new(&mix(), &demand(90)).unwrap();
    for name in POLICIES {
        let mut checked = Checked(policy(name, &fabric, 1).unwrap());
        let outcome = simulate(&fabric, 8, &workload, &mut checked);
        let measured = workload.arrivals.iter().filter(|arrival| arrival.at >= workload.warm_up).count();
        assert_eq!((outcome.gangs.len(), outcome.stuck, outcome.wrong), (measured, 0, 0), "{name}");
    }
    assert!(policy("best", &fabric, 1).is_none());
}

/// A policy whose every answer is looked at.
struct Checked(Box<dyn Policy>);

impl Policy for Checked {
    fn choose(&mut self, cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>> {
        let chosen = self.0.choose(cluster, ask);
        let has_room = cluster.with(0, ask.gpus) >= ask.nodes;
        assert_eq!(chosen.is_some(), has_room, "{ask:?}");
        let mut nodes = chosen.clone().unwrap_or_default();
        assert!(nodes.iter().all(|node| cluster.free_on(*node) >= ask.gpus));
        nodes.sort_unstable();
        nodes.dedup();
        assert_eq!(nodes.len(), if has_room { ask.nodes as usize } else { 0 });
        chosen
    }

    fn order(&mut self, cluster: &Cluster<'_>, nodes: &[NodeRow], pattern: Pattern) -> Vec<NodeRow> {
        let order = self.0.order(cluster, nodes, pattern);
        let sorted = |nodes: &[NodeRow]| {
            let mut nodes = nodes.to_vec();
            nodes.sort_unstable();
            nodes
        };
        assert_eq!(sorted(&order), sorted(nodes));
        order
    }
}

/// The nodes of a job on a cluster of which some are in use, and the leaves that they hang on.
fn placed(name: &str, blocks: &[&[u32]], used: &[(NodeRow, u32)], gpus: u32) -> Vec<String> {
    let fabric = fabric(blocks);
    let mut cluster = Cluster::new(&fabric, 8);
    for (node, gpus) in used {
        assert!(cluster.take(*node, *gpus));
    }
    let nodes = policy(name, &fabric, 1).unwrap().choose(&cluster, &Ask::of(gpus, 8)).unwrap();
    nodes.iter().map(|node| fabric.domain(fabric.domain_of(*node, 0)).name.clone()).collect()
}

#[test]
fn slurm_takes_the_lowest_switch_that_fits_and_leaves_of_it_by_best_fit() {
    // Block 1 is the fuller one that holds five; of its leaves 4, 3 and 2 the largest, then the one that is left with least.
    assert_eq!(placed("slurm", &[&[8, 8], &[4, 3, 2]], &[], 32), ["leaf-1-0"; 4]);
    let five = placed("slurm", &[&[4, 4, 4], &[4, 3, 2]], &[], 40);
    assert_eq!(five, ["leaf-1-0", "leaf-1-0", "leaf-1-0", "leaf-1-0", "leaf-1-2"]);
}

#[test]
fn volcano_takes_the_fullest_hypernode_of_the_lowest_tier() {
    // By share: 2 of 8 GPUs used against 8 of 64.
    assert_eq!(placed("volcano", &[&[8, 1]], &[(0, 8), (8, 2)], 1), ["leaf-0-1"]);
    // Slurm counts nodes, Volcano shares: six of eight are free, and seven of seven.
    assert_eq!(placed("volcano", &[&[8, 5]], &[(0, 8), (1, 8)], 16), ["leaf-0-0"; 2]);
    assert_eq!(placed("slurm", &[&[8, 5]], &[(0, 8), (1, 8)], 16), ["leaf-0-1"; 2]);
}

#[test]
fn kueue_takes_the_largest_domains_and_as_the_last_the_smallest_that_holds_the_rest() {
    let leaves = placed("kueue", &[&[4, 3, 2, 1]], &[], 40);
    assert_eq!(leaves, ["leaf-0-0", "leaf-0-0", "leaf-0-0", "leaf-0-0", "leaf-0-3"]);
    // Least free capacity is of pods: two hosts with room for one each against one with room for four.
    assert_eq!(placed("kueue", &[&[2, 1]], &[(0, 6), (1, 6), (2, 0)], 2), ["leaf-0-0"]);
}

#[test]
fn sorted_lists_go_by_names_and_by_switches() {
    // Names count down against the order of the tree.
    assert_eq!(placed("first-fit", &[&[2], &[2]], &[], 8), ["leaf-1-0"]);
    assert_eq!(placed("asw", &[&[2], &[2]], &[], 8), ["leaf-0-0"]);
}

#[test]
fn phalanx_keeps_whole_nodes_leaves_and_blocks_in_one_piece() {
    // A node that is in use already, the leaf that is left with nothing, the block that is broken into already.
    assert_eq!(placed("phalanx", &[&[8], &[2]], &[(0, 4)], 4), ["leaf-0-0"]);
    assert_eq!(placed("phalanx", &[&[8], &[2]], &[], 16), ["leaf-1-0"; 2]);
    assert_eq!(placed("phalanx", &[&[4, 4], &[4, 4]], &[(8, 8)], 32), ["leaf-1-1"; 4]);
}

#[test]
fn phalanx_does_not_empty_a_block_to_its_last_leaf_while_the_next_has_a_larger_one() {
    let mut leaves = placed("phalanx", &[&[5, 1, 1], &[4]], &[], 72);
    leaves.dedup();
    assert_eq!(leaves, ["leaf-0-0", "leaf-1-0"]);
}

#[test]
fn a_ring_in_tree_order_crosses_each_used_uplink_twice_and_a_grid_is_ordered_better() {
    let fabric = fabric(&[&[4, 4], &[8]]);
    let nodes: Vec<NodeRow> = (0..8).collect();
    assert_eq!(cost(&fabric, &nodes, Pattern::Ring), 4 * 64);
    assert_eq!(cost(&fabric, &[0, 4, 1, 5, 2, 6, 3, 7], Pattern::Ring), 16 * 64);
    assert_eq!(cost(&fabric, &[0, 8], Pattern::Ring), 2 * 2 * (64 + 128));
    assert_eq!(grid(8), (4, 2));
    assert_eq!((grid(7), grid(1), grid(0)), ((7, 1), (1, 1), (0, 1)));
    // Three, three and two of eight: as rows of the grid eight edges are cut, as columns seven.
    let fabric = self::fabric(&[&[3, 3, 2]]);
    let ordered = Ours::default().order(&Cluster::new(&fabric, 8), &nodes, Pattern::Grid);
    assert_eq!(cost(&fabric, &nodes, Pattern::Grid), 8 * 128);
    assert_eq!(cost(&fabric, &ordered, Pattern::Grid), 7 * 128);
}

#[test]
fn fragmentation_is_what_no_single_domain_can_give() {
    let fabric = fabric(&[&[4, 4], &[4, 4]]);
    // Two nodes of every leaf are taken for the whole time.
    let mut spread = Fixed(vec![0, 1, 4, 5, 8, 9, 12, 13]);
    let outcome = simulate(&fabric, 8, &workload(vec![arrival(0, 100, 64)], 100), &mut spread);
    let summary = Summary::of(&fabric, 8, &outcome);
    let levels: Vec<(Tier, f64, f64)> =
        summary.levels.iter().map(|level| (level.tier, level.largest, level.possible)).collect();
    // The first look is before the first arrival takes its nodes, at second 0 of 100.
    assert_eq!(levels.len(), 2);
    assert!((levels[0].1 - 2.0).abs() < 0.1 && (levels[0].2 - 4.0).abs() < 0.1, "{levels:?}");
    assert!((levels[1].1 - 4.0).abs() < 0.1 && (levels[1].2 - 8.0).abs() < 0.1, "{levels:?}");
    assert!((summary.levels[0].fragmentation() - 0.5).abs() < 0.01);
    assert_eq!((summary.leaves, summary.utilisation, summary.stranded), (4.0, 0.5, 0.0));
    assert_eq!(summary.tiers.iter().map(|(_, gangs, _)| *gangs).collect::<Vec<_>>(), [0, 0, 1]);
}

#[test]
fn a_gang_that_is_given_what_is_not_free_does_not_start_and_is_counted() {
    let fabric = fabric(&[&[3]]);
    let jobs = || vec![arrival(0, 100, 16), arrival(1, 100, 16)];
    // The second finds the nodes of the first taken; then a node twice, too few, and one that is not there.
    for (nodes, wrong) in [(vec![0, 1], 1), (vec![2, 2], 2), (vec![0], 2), (vec![0, 3], 2)] {
        let outcome = simulate(&fabric, 8, &workload(jobs(), 100), &mut Fixed(nodes));
        assert_eq!((outcome.wrong, outcome.gangs.len()), (wrong, 2 - wrong));
        assert_eq!(outcome.busy, 16 * 100 * (2 - wrong) as u128);
    }
}

struct Fixed(Vec<NodeRow>);

impl Policy for Fixed {
    fn choose(&mut self, _: &Cluster<'_>, _: &Ask) -> Option<Vec<NodeRow>> {
        Some(self.0.clone())
    }
}
