//! How good the order is, as figures over many random problems. They are printed.

use phalanx_launcher_core::placement::order::{
    Cost, Domain, Effort, Group, GroupKind, Layout, Pattern, Problem, SlotGraph, Solution, Tree, solve,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::instances::{BLOCK, Instance, LEAF, instance, nearly_full, no_grid};
use super::oracle;

fn sample(strategy: &impl Strategy<Value = Instance>, count: usize) -> Vec<Instance> {
    // Most draws have too little room or too many slots.
    let config = Config { max_local_rejects: 1 << 24, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    (0..count).map(|_| strategy.new_tree(&mut runner).expect("an instance").current()).collect()
}

fn solved(instance: &Instance, effort: &Effort) -> Option<Solution> {
    let (graph, tree) = (instance.graph(), instance.tree());
    solve(&Problem::new(&graph, &tree, None).expect("a problem"), effort)
}

#[derive(Default)]
struct Figures {
    count: usize,
    best: usize,
    sum: f64,
    worst: f64,
    proven: usize,
    bound: f64,
}

impl Figures {
    fn add(&mut self, found: &Solution, optimum: u128) {
        let cost = found.cost.weighted;
        assert!(cost >= optimum, "an order cannot cost {cost}, less than the optimum {optimum}");
        assert!(found.bound <= optimum, "the bound {} is above the optimum {optimum}", found.bound);
        self.count += 1;
        let above =
            if optimum == 0 { f64::from(u8::from(cost > 0)) } else { cost as f64 / optimum as f64 - 1.0 };
        self.best += usize::from(cost == optimum);
        self.sum += above;
        self.worst = self.worst.max(above);
        self.proven += usize::from(found.bound == optimum);
        self.bound += if optimum == 0 { 0.0 } else { 1.0 - found.bound as f64 / optimum as f64 };
    }

    fn check(&self, name: &str) {
        let count = self.count as f64;
        println!(
            "{name}: {} problems, best found {:.2} %, mean {:.3} % above, worst {:.2} %; bound tight in {:.1} %, mean {:.2} % below",
            self.count,
            100.0 * self.best as f64 / count,
            100.0 * self.sum / count,
            100.0 * self.worst,
            100.0 * self.proven as f64 / count,
            100.0 * self.bound / count,
        );
        assert!(self.best as f64 >= 0.95 * count, "the optimum is found too seldom");
        assert!(self.sum < 0.01 * count, "the mean is too far above the optimum");
        assert!(self.worst < 0.15, "the worst is too far above the optimum");
    }
}

#[test]
fn heuristics_alone_find_the_optimum_of_small_problems_almost_always() {
    let effort = Effort { exact: false, ..Effort::default() };
    let mut figures = Figures::default();
    for instance in sample(&instance(12), 3_000) {
        let talk = oracle::talk(&instance.groups, instance.share as usize);
        let optimum = talk.optimum(&instance.domains, &instance.groups).expect("room for all");
        figures.add(&solved(&instance, &effort).expect("room for all"), u128::from(optimum));
    }
    figures.check("up to 12 slots, exact step off");
}

#[test]
fn heuristics_alone_find_the_optimum_up_to_24_slots_almost_always() {
    let effort = Effort { exact: false, ..Effort::default() };
    let mut figures = Figures::default();
    for instance in sample(&instance(24), 400).iter().filter(|instance| instance.graph().len() > 12) {
        let best = solved(instance, &Effort::default()).expect("room for all");
        figures.add(&solved(instance, &effort).expect("room for all"), best.cost.weighted);
    }
    figures.check("13 to 24 slots, exact step off");
}

#[test]
fn what_a_job_gets_by_default_is_proven_to_be_the_optimum_up_to_24_slots() {
    let (mut count, mut searched, mut most) = (0, 0, 0);
    for instance in sample(&instance(24), 1_000).into_iter().chain(sample(&nearly_full(24), 1_000)) {
        let found = solved(&instance, &Effort::default()).expect("room for all");
        assert!(found.exact, "not proven in {} steps: {instance:?}", found.search_nodes);
        assert_eq!(found.cost.weighted, found.bound);
        count += 1;
        searched += u32::from(found.search_nodes > 0);
        most = most.max(found.search_nodes);
    }
    println!("{count} problems, all proven, {searched} by search, at most {most} steps");
}

#[test]
fn what_is_proven_up_to_24_slots_is_the_least_that_labels_in_turn_give() {
    // What local search finds is not made use of, so that the search has to find it.
    let effort = Effort { proposals: 0, ..Effort::default() };
    let mut count = 0;
    for instance in sample(&nearly_full(24), 1_000).iter().filter(|instance| instance.graph().len() > 11) {
        let talk = oracle::talk(&instance.groups, instance.share as usize);
        let Some(optimum) = talk.in_turn(&instance.domains, 6_000) else { continue };
        for effort in [effort, Effort::default()] {
            let found = solved(instance, &effort).expect("room for all");
            assert_eq!((found.cost.weighted, found.exact), (u128::from(optimum), true), "{instance:?}");
        }
        count += 1;
    }
    println!("{count} problems of 12 to 24 slots");
    assert!(count >= 200, "{count} are too few to tell");
}

#[test]
fn where_nodes_form_no_grid_most_is_proven_too_and_never_worse_than_what_heuristics_find() {
    let (mut count, mut proven) = (0, 0);
    for instance in sample(&no_grid(24), 60) {
        let best = solved(&instance, &Effort::default()).expect("room for all");
        let found = solved(&instance, &Effort { exact: false, ..Effort::default() }).expect("room for all");
        assert!(best.bound <= found.cost.weighted, "{instance:?}");
        assert!(!best.exact || best.cost.weighted <= found.cost.weighted, "{instance:?}");
        count += 1;
        proven += u32::from(best.exact);
    }
    println!("{count} problems of 13 to 24 slots that are no grid, {proven} proven");
    assert!(proven * 10 >= count * 9, "{proven} of {count}");
}

/// Hosts of a job on a Clos in use, as the sketch has it: 119 leaves in three blocks, 45 % of the hosts free,
/// the job on the fullest leaves of the lowest domain that holds it. Leaves have room for just what is taken.
fn clos(seed: u32, hosts: u32) -> Tree {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut dice = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    let mut free: Vec<Vec<u32>> = vec![Vec::new(); 3];
    for leaf in 0..119 {
        let size = 4 + dice(5);
        free[leaf % 3].push((0..size).filter(|_| dice(100) < 45).count() as u32);
    }
    let fitting = (0..3).filter(|block| free[*block].iter().sum::<u32>() >= hosts);
    let inside = fitting.min_by_key(|block| free[*block].iter().sum::<u32>());
    let mut fullest: Vec<(u32, usize, usize)> = Vec::new();
    for (block, leaves) in
        free.iter().enumerate().filter(|(block, _)| inside.is_none_or(|only| only == *block))
    {
        fullest.extend(leaves.iter().enumerate().map(|(leaf, count)| (*count, block, leaf)));
    }
    fullest.sort_by_key(|(count, block, leaf)| (std::cmp::Reverse(*count), *block, *leaf));
    let mut taken = vec![vec![0; 40]; 3];
    let mut left = hosts;
    for (count, block, leaf) in fullest {
        taken[block][leaf] = count.min(left);
        left -= taken[block][leaf];
    }
    let mut domains = vec![Domain { parent: None, uplink: 0, level: BLOCK + 1, capacity: 0 }];
    for leaves in taken {
        let block = domains.len() as u32;
        domains.push(Domain { parent: Some(0), uplink: 128, level: BLOCK, capacity: 0 });
        for capacity in leaves.into_iter().filter(|count| *count > 0) {
            domains.push(Domain { parent: Some(block), uplink: 64, level: LEAF, capacity });
        }
    }
    Tree::new(domains).expect("a tree")
}

/// Jobs of facts/placement.md, 3.5: hosts as data x pipeline parallel, their weights, and what tiles with
/// refinement cost there as a share of what tree order costs.
const JOBS: [(u32, u32, u64, u64, f64); 7] = [
    (8, 8, 1, 1, 67.0 / 80.0),
    (8, 8, 4, 1, 140.0 / 152.0),
    (8, 8, 1, 4, 118.0 / 247.0),
    (16, 4, 1, 1, 58.0 / 68.0),
    (4, 16, 1, 1, 70.0 / 82.0),
    (16, 8, 2, 1, 185.0 / 192.0),
    (32, 8, 1, 1, 302.0 / 423.0),
];

#[test]
fn grids_gain_over_tree_order_what_a_published_sketch_gains() {
    // A part of what a job gets is enough for that.
    let effort = Effort { proposals: Effort::default().proposals / 5, ..Effort::default() };
    for (dp, pp, dp_volume, pp_volume, sketch) in JOBS {
        let group = |kind, size, pattern, volume| Group { kind, size, pattern, volume, within: None };
        let groups = vec![
            group(GroupKind::Dp, dp, Pattern::Ring, dp_volume),
            group(GroupKind::Pp, pp, Pattern::Chain, pp_volume),
        ];
        let graph = SlotGraph::even(&Layout::new(groups, dp * pp).expect("a layout"), 1).expect("slots");
        let (mut plain, mut ordered, mut bound) = (0, 0, 0);
        for seed in 1..=20 {
            let tree = clos(seed, dp * pp);
            let problem = Problem::new(&graph, &tree, None).expect("a problem");
            let solution = solve(&problem, &effort).expect("room for all");
            // The same hosts, slots in index order.
            let mut leaves = solution.leaves.clone();
            leaves.sort_unstable();
            plain += Cost::of(&graph, &tree, &leaves).expect("a cost").weighted;
            ordered += solution.cost.weighted;
            bound += solution.bound;
        }
        let share = ordered as f64 / plain as f64;
        println!(
            "{dp}x{pp} {dp_volume}:{pp_volume}: tree order {}, ordered {}, bound {}, share {share:.3}, sketch {sketch:.3}",
            plain / 20 / 128,
            ordered / 20 / 128,
            bound / 20 / 128
        );
        assert!(share <= sketch * 1.03, "{dp}x{pp} gains less than the sketch");
    }
}
