//! How long ordering takes, and what it reaches. Run by hand; prints a line per case, best of some runs.
//!
//! ```text
//! cargo bench -p phalanx-launcher-core --bench order
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

#[allow(dead_code, reason = "tests use all of it")]
#[path = "../tests/order/instances.rs"]
mod instances;

use std::time::{Duration, Instant};

use phalanx_launcher_core::placement::order::{
    Domain, Effort, Group, GroupKind, Layout, Problem, SlotGraph, Solution, Tree, solve,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::instances::{Instance, instance, nearly_full, no_grid};

const RUNS: u32 = 15;

fn main() {
    let layout = layout(8, 720, 16);
    large("720x16 on full leaves of 8", &layout, &|_| 8);
    large("720x16 on leaves with 4 to 8 free", &layout, &|leaf| 4 + leaf.wrapping_mul(2_654_435_761) % 5);
    let ring = Layout::ring(92_160).expect("a ring");
    large("one ring of 92,160 ranks, full leaves", &ring, &|_| 8);
    for (dp, pp) in [(2, 1), (4, 4), (8, 8), (16, 8), (32, 8), (64, 16)] {
        small(&layout_of(dp, pp), dp, pp);
    }
    random("grids on leaves with up to three times the room", &instance(24), 5_000);
    random("grids on two to four leaves, nearly full", &nearly_full(24), 5_000);
    random("no grids, on leaves with up to three times the room", &no_grid(24), 1_000);
}

/// Of random problems of 13 to 24 slots how many are proven, and how long that takes.
fn random(name: &str, strategy: &impl Strategy<Value = Instance>, count: u32) {
    let config = Config { max_local_rejects: 1 << 24, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (mut proven, mut steps, mut took) = (0, 0, Vec::new());
    let mut alone = (0, 0.0f64);
    while (took.len() as u32) < count {
        let instance = strategy.new_tree(&mut runner).expect("an instance").current();
        let (graph, tree) = (instance.graph(), instance.tree());
        if graph.len() < 13 {
            continue;
        }
        let problem = Problem::new(&graph, &tree, None).expect("a problem");
        let start = Instant::now();
        let best = solve(&problem, &Effort::default()).expect("it fits");
        took.push(start.elapsed());
        proven += u32::from(best.exact);
        steps = best.search_nodes.max(steps);
        if best.exact {
            let found = solve(&problem, &Effort { exact: false, ..Effort::default() }).expect("it fits");
            let (found, best) = (found.cost.weighted, best.cost.weighted.max(1));
            alone = (alone.0 + u32::from(found <= best), alone.1.max(found as f64 / best as f64 - 1.0));
        }
    }
    took.sort_unstable();
    println!(
        "{count} {name}: {:.2} % proven, at most {steps} steps; median {:?}, worst {:?}; without the exact step the least in {:.2} % of those, \
         at most {:.1} % above",
        100.0 * f64::from(proven) / f64::from(count),
        took[took.len() / 2],
        took[took.len() - 1],
        100.0 * f64::from(alone.0) / f64::from(proven.max(1)),
        100.0 * alone.1
    );
}

fn layout_of(dp: u32, pp: u32) -> Layout {
    layout(8, dp, pp)
}

fn layout(tp: u32, dp: u32, pp: u32) -> Layout {
    let groups =
        vec![Group::of(GroupKind::Tp, tp), Group::of(GroupKind::Dp, dp), Group::of(GroupKind::Pp, pp)];
    Layout::new(groups, tp * dp * pp).expect("a layout")
}

/// Leaves of eight slots, 60 to a block, 10 blocks to a core.
fn tree(leaves: u32, capacity: impl Fn(u32) -> u32) -> Tree {
    let mut domains = vec![Domain { parent: None, uplink: 0, level: 8, capacity: 0 }];
    for leaf in 0..leaves {
        if leaf % 600 == 0 {
            domains.push(Domain { parent: Some(0), uplink: 256, level: 7, capacity: 0 });
        }
        if leaf % 60 == 0 {
            let core = (0..domains.len()).rev().find(|at| domains[*at].level == 7).unwrap_or(0) as u32;
            domains.push(Domain { parent: Some(core), uplink: 128, level: 6, capacity: 0 });
        }
        let block = (0..domains.len()).rev().find(|at| domains[*at].level == 6).unwrap_or(0) as u32;
        domains.push(Domain { parent: Some(block), uplink: 64, level: 5, capacity: capacity(leaf) });
    }
    Tree::new(domains).expect("a tree")
}

fn best_of<T>(mut run: impl FnMut() -> T) -> (Duration, T) {
    let mut best: Option<(Duration, T)> = None;
    for _ in 0..RUNS {
        let start = Instant::now();
        let value = run();
        let took = start.elapsed();
        if best.as_ref().is_none_or(|best| took < best.0) {
            best = Some((took, value));
        }
    }
    best.expect("at least one run")
}

fn large(name: &str, layout: &Layout, capacity: &dyn Fn(u32) -> u32) {
    let tree = tree(2_000, capacity);
    let (folded, graph) = best_of(|| SlotGraph::even(layout, 8).expect("slots"));
    // The first leaves that hold the job, as an earlier step gives them.
    let mut left = graph.len();
    let counts: Vec<u32> = (0..tree.leaf_count())
        .map(|leaf| {
            let count = left.min(tree.capacity(leaf));
            left -= count;
            count
        })
        .collect();
    let used = counts.iter().filter(|count| **count > 0).count();
    println!("{name}: {} slots, {used} of {} leaves; folded in {folded:?}", graph.len(), tree.leaf_count());
    let problem = Problem::new(&graph, &tree, Some(&counts)).expect("a problem");
    for proposals in [0, Effort::default().proposals, 1_000_000] {
        let effort = Effort { proposals, ..Effort::default() };
        let (took, solution) = best_of(|| solve(&problem, &effort).expect("it fits"));
        report(&format!("  {proposals} proposals"), took, &solution);
    }
}

fn small(layout: &Layout, dp: u32, pp: u32) {
    let graph = SlotGraph::even(layout, 8).expect("slots");
    let tree = tree(dp * pp / 4 + 1, |leaf| 2 + leaf.wrapping_mul(2_654_435_761) % 7);
    let problem = Problem::new(&graph, &tree, None).expect("a problem");
    let (took, solution) = best_of(|| solve(&problem, &Effort::default()).expect("it fits"));
    report(&format!("{dp}x{pp}, counts chosen"), took, &solution);
}

fn report(name: &str, took: Duration, solution: &Solution) {
    println!(
        "{name}: {took:?}, cost {}, bound {}, gap {:.1} %, proven {}, {} proposals, {} steps",
        solution.cost.weighted,
        solution.bound,
        solution.gap() * 100.0,
        solution.exact,
        solution.proposals,
        solution.search_nodes
    );
}
