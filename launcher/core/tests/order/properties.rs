//! What holds for every problem.

use phalanx_launcher_core::placement::order::{Cost, Effort, Problem, SlotGraph, Solution, Tree, solve};
use proptest::prelude::*;

use super::instances::{Instance, instance, limited};
use super::oracle;

fn solved(graph: &SlotGraph, tree: &Tree, effort: &Effort) -> Option<Solution> {
    solve(&Problem::new(graph, tree, None).expect("a problem"), effort)
}

/// The domain of each slot, as the oracle numbers them.
fn homes(tree: &Tree, solution: &Solution) -> Vec<usize> {
    solution.leaves.iter().map(|leaf| tree.leaves()[*leaf as usize] as usize).collect()
}

fn keeps_room(tree: &Tree, solution: &Solution) -> bool {
    (0..tree.leaf_count()).all(|leaf| {
        solution.leaves.iter().filter(|used| **used == leaf).count() <= tree.capacity(leaf) as usize
    })
}

fn keeps_limits(instance: &Instance, tree: &Tree, solution: &Solution) -> bool {
    let talk = oracle::talk(&instance.groups, instance.share as usize);
    instance.groups.iter().zip(&talk.lines).all(|(group, lines)| {
        let Some(level) = group.within else { return true };
        lines.iter().filter(|line| line.count_ones() > 1).all(|line| {
            let members: Vec<usize> = (0..talk.slots).filter(|slot| line >> slot & 1 == 1).collect();
            members.iter().all(|slot| {
                let meeting = tree.meeting(solution.leaves[members[0]], solution.leaves[*slot]);
                tree.domains()[meeting as usize].level <= level
            })
        })
    })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_global_rejects: 1 << 20,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn subsets_labels_in_turn_and_plain_enumeration_agree(instance in instance(5)) {
        let leaves = instance.domains.iter().filter(|domain| domain.capacity > 0).count();
        prop_assume!(leaves <= 6);
        let talk = oracle::talk(&instance.groups, instance.share as usize);
        let optimum = talk.optimum(&instance.domains, &instance.groups);
        prop_assert_eq!(optimum, talk.enumerated(&instance.domains));
        prop_assert_eq!(optimum, talk.in_turn(&instance.domains, usize::MAX));
    }

    #[test]
    fn the_cost_is_that_of_all_edges_between_ranks(instance in instance(24)) {
        let (graph, tree) = (instance.graph(), instance.tree());
        let solution = solved(&graph, &tree, &Effort { proposals: 100, exact: false, ..Effort::default() });
        let solution = solution.expect("room for all");
        let talk = oracle::talk(&instance.groups, instance.share as usize);
        let cost = talk.cost(&instance.domains, &homes(&tree, &solution));
        prop_assert_eq!(solution.cost.weighted, u128::from(cost));
        prop_assert!(keeps_room(&tree, &solution));
        let levels: u128 = solution.cost.volumes.iter().map(|volume| volume.volume).sum();
        let inside: u128 = graph.inside().iter().sum();
        let all: u64 = talk.volume.iter().flatten().sum::<u64>() / 2;
        prop_assert_eq!(levels, u128::from(all));
        let alone = oracle::talk(&instance.groups, 1);
        prop_assert_eq!(levels + inside, u128::from(alone.volume.iter().flatten().sum::<u64>() / 2));
    }

    #[test]
    fn the_exact_step_finds_the_optimum_and_the_bound_stays_below(instance in instance(11)) {
        let (graph, tree) = (instance.graph(), instance.tree());
        let talk = oracle::talk(&instance.groups, instance.share as usize);
        let optimum = u128::from(talk.optimum(&instance.domains, &instance.groups).expect("room for all"));
        let rough = Effort { proposals: 0, exact: false, ..Effort::default() };
        let bound = solved(&graph, &tree, &rough).expect("room for all").bound;
        prop_assert!(bound <= optimum, "bound {} above {}", bound, optimum);
        let effort = Effort { proposals: 0, ..Effort::default() };
        let solution = solved(&graph, &tree, &effort).expect("room for all");
        prop_assert!(solution.exact);
        prop_assert_eq!(solution.cost.weighted, optimum);
        prop_assert_eq!(solution.bound, optimum);
    }

    #[test]
    fn limits_are_kept_and_feasible_problems_solved(instance in limited(10)) {
        let (graph, tree) = (instance.graph(), instance.tree());
        let talk = oracle::talk(&instance.groups, instance.share as usize);
        let optimum = talk.optimum(&instance.domains, &instance.groups);
        for exact in [false, true] {
            let solution = solved(&graph, &tree, &Effort { exact, ..Effort::default() });
            prop_assert_eq!(solution.is_some(), optimum.is_some(), "exact step {}", exact);
            let (Some(solution), Some(optimum)) = (solution, optimum) else { continue };
            prop_assert!(keeps_room(&tree, &solution));
            prop_assert!(keeps_limits(&instance, &tree, &solution));
            prop_assert!(solution.cost.weighted >= u128::from(optimum));
            if solution.exact {
                prop_assert_eq!(solution.cost.weighted, u128::from(optimum));
            }
            prop_assert!(!exact || solution.exact, "not settled in {} steps", solution.search_nodes);
        }
    }

    #[test]
    fn the_same_problem_has_the_same_answer(instance in limited(24)) {
        let (graph, tree) = (instance.graph(), instance.tree());
        let effort = Effort { proposals: 5_000, search_nodes: 5_000, ..Effort::default() };
        let first = solved(&graph, &tree, &effort);
        prop_assert_eq!(&first, &solved(&instance.graph(), &instance.tree(), &effort));
        if let Some(first) = first {
            prop_assert_eq!(Some(first.cost), Cost::of(&graph, &tree, &first.leaves));
            prop_assert!(first.proposals <= 5 * effort.proposals && first.search_nodes <= effort.search_nodes);
        }
    }
}
