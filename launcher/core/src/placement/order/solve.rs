//! The steps in order: counts, tiles, refinement, exact search, and the proof.

use super::cost::Cost;
use super::kicks::Dice;
use super::model::Model;
use super::state::State;
use super::{SlotGraph, Tree, bound, counts, exact, refine, tiles, within};

/// Slots up to which many starts are refined and kicks go on long.
const SMALL: u32 = 64;
/// Starts that are refined where there are few slots.
const STARTS: usize = 8;
/// And so many times the proposals: leaves and order are chosen together, and a proposal takes less time.
const SMALL_TIMES: u64 = 5;
/// This part of the proposals comes before an exact search, which mostly finds in less time what is missing then.
const BEFORE_SEARCH: u64 = 4;

/// Starts that are tried for every choice of leaves, where none is given.
const EACH_CHOICE: usize = 3;

/// What is to be ordered.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    graph: &'a SlotGraph,
    tree: &'a Tree,
    counts: Option<&'a [u32]>,
}

/// Counts that are none for this problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemError {
    #[error("{counts} counts are given for {leaves} lowest domains")]
    Length { counts: usize, leaves: u32 },
    #[error("leaf {leaf} is to take {count} slots and has room for {capacity}")]
    Capacity { leaf: u32, count: u32, capacity: u32 },
    #[error("the counts add up to {sum} slots, and there are {slots}")]
    Sum { sum: u64, slots: u32 },
}

impl<'a> Problem<'a> {
    /// `counts` says how many slots each leaf takes at the start; refinement may still use the room that is left.
    pub fn new(
        graph: &'a SlotGraph,
        tree: &'a Tree,
        counts: Option<&'a [u32]>,
    ) -> Result<Self, ProblemError> {
        if let Some(counts) = counts {
            if counts.len() != tree.leaf_count() as usize {
                return Err(ProblemError::Length { counts: counts.len(), leaves: tree.leaf_count() });
            }
            for (leaf, count) in (0u32..).zip(counts) {
                let (count, capacity) = (*count, tree.capacity(leaf));
                if count > capacity {
                    return Err(ProblemError::Capacity { leaf, count, capacity });
                }
            }
            let sum: u64 = counts.iter().map(|count| u64::from(*count)).sum();
            if sum != u64::from(graph.len()) {
                return Err(ProblemError::Sum { sum, slots: graph.len() });
            }
        }
        Ok(Problem { graph, tree, counts })
    }
}

/// How much work a solution may take. The same effort gives the same solution on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Swaps and moves that are weighed; of up to 64 slots five times as many.
    pub proposals: u64,
    /// Steps of the exact search.
    pub search_nodes: u64,
    /// Search exactly where there are few enough slots.
    pub exact: bool,
    /// Where kicks begin.
    pub seed: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Effort { proposals: 200_000, search_nodes: 1_000_000, exact: true, seed: 1 }
    }
}

/// An order of the slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution {
    /// The leaf of each slot, as numbered by [`Tree::leaves`].
    pub leaves: Vec<u32>,
    pub cost: Cost,
    /// No assignment has a lower weighted cost, limits or not.
    pub bound: u128,
    /// This one is proven to be the best.
    pub exact: bool,
    /// Swaps and moves that were weighed.
    pub proposals: u64,
    /// Steps of the exact search.
    pub search_nodes: u64,
}

impl Solution {
    /// How far above the bound the cost is, as a share of the cost: 0 is proven best.
    pub fn gap(&self) -> f64 {
        if self.cost.weighted == 0 {
            return 0.0;
        }
        (self.cost.weighted.saturating_sub(self.bound)) as f64 / self.cost.weighted as f64
    }
}

/// Work that is left.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) proposals: u64,
    pub(super) dice: Dice,
}

/// Gives every slot a leaf; `None` if the leaves have too little room, or none that keeps the hard limits.
///
/// Where a limit's classes have unequal sizes, which only layouts that form no grid have, and more slots than the
/// exact search takes, `None` can also mean that nothing was found.
pub fn solve(problem: &Problem<'_>, effort: &Effort) -> Option<Solution> {
    let (graph, tree) = (problem.graph, problem.tree);
    if tree.room() < u64::from(graph.len()) {
        return None;
    }
    let model = Model::new(graph, tree);
    let mut floor = bound::lower_bound(&model);
    let times = if graph.len() <= SMALL { SMALL_TIMES } else { 1 };
    let proposals = effort.proposals.saturating_mul(times);
    let mut budget = Budget { proposals, dice: Dice::new(effort.seed) };
    let few = graph.len() as usize <= exact::MOST_SLOTS && model.leaves <= exact::MOST_LEAVES;
    let is_searched = effort.exact && few;
    let mut best = match is_searched {
        true => {
            let first = effort.proposals / BEFORE_SEARCH;
            let mut own = Budget { proposals: first, dice: budget.dice.clone() };
            let best = start(problem, &model, floor, &mut own);
            budget.proposals -= first - own.proposals;
            best
        }
        false => start(problem, &model, floor, &mut budget),
    };
    let mut steps = 0;
    let is_least = |best: &Option<(i64, Vec<u32>)>, floor| best.as_ref().is_some_and(|best| best.0 <= floor);
    let mut proven = is_least(&best, floor);
    if is_searched && !proven {
        let known = best.as_ref().map_or(i64::MAX, |best| best.0);
        let found = exact::search(&model, known, floor, effort.search_nodes);
        (steps, proven, floor) = (found.steps, found.complete, found.least);
        best = found.better.or(best);
        if !proven {
            let other = start(problem, &model, floor, &mut budget);
            best = best.into_iter().chain(other).min();
            proven = is_least(&best, floor);
        }
    }
    let (cost, leaves) = best?;
    Some(Solution {
        cost: Cost::of(graph, tree, &leaves)?,
        leaves,
        bound: if proven { cost.max(floor) } else { floor } as u128 * model.unit,
        exact: proven && model.exact,
        proposals: proposals - budget.proposals,
        search_nodes: steps,
    })
}

/// An assignment that keeps the limits, refined.
fn start(
    problem: &Problem<'_>,
    model: &Model<'_>,
    floor: i64,
    budget: &mut Budget,
) -> Option<(i64, Vec<u32>)> {
    if model.limits.is_empty() {
        return Some(search(model, problem.counts, floor, budget));
    }
    let leaves = within::start(problem.graph, problem.tree, &model.limits, budget)?;
    let mut state = State::new(model, leaves);
    polish(&mut state, floor, budget);
    Some((state.cost, state.leaf_of))
}

/// A good assignment of a problem without limits.
pub(super) fn best_start(
    graph: &SlotGraph,
    tree: &Tree,
    counts: Option<&[u32]>,
    budget: &mut Budget,
) -> Option<Vec<u32>> {
    if tree.room() < u64::from(graph.len()) {
        return None;
    }
    let model = Model::new(graph, tree);
    let floor = bound::lower_bound(&model);
    Some(search(&model, counts, floor, budget).1)
}

/// Starts of all kinds, the best of them refined.
fn search(model: &Model<'_>, given: Option<&[u32]>, floor: i64, budget: &mut Budget) -> (i64, Vec<u32>) {
    let slots = model.slots();
    let small = slots <= SMALL;
    let units: &[u32] = if small { &[1, 2, 3, 4, 5, 6, 7, 8] } else { &[1] };
    let shares = match given {
        Some(counts) => vec![counts.to_vec()],
        None => counts::alternatives(model.tree, slots, units, small),
    };
    let mut starts = Vec::new();
    for counts in &shares {
        let mut tilings = tiles::tilings(model, counts);
        if small && given.is_none() {
            // A choice of leaves is judged by what becomes of it, not by its first cost.
            tilings.truncate(EACH_CHOICE);
            let most = budget.proposals / 2 / shares.len() as u64;
            for tiling in &mut tilings {
                let mut own = Budget { proposals: most / EACH_CHOICE as u64, dice: budget.dice.clone() };
                let before = own.proposals;
                let mut state = State::new(model, std::mem::take(&mut tiling.1));
                refine::settle(&mut state, &mut own.proposals);
                refine::escape(&mut state, &mut own.dice, floor, 12, &mut own.proposals);
                budget.proposals -= before - own.proposals;
                *tiling = (state.cost, state.leaf_of);
            }
        }
        let done = tilings.iter().any(|tiling| tiling.0 <= floor);
        starts.extend(tilings);
        if done {
            break;
        }
    }
    starts.sort();
    starts.dedup();
    starts.truncate(if small { STARTS } else { 1 });
    let each = budget.proposals / starts.len().max(1) as u64;
    let mut best: Option<(i64, Vec<u32>)> = None;
    for (at, (_, leaf_of)) in starts.into_iter().enumerate() {
        if best.as_ref().is_some_and(|best| best.0 <= floor) {
            break;
        }
        let mut state = State::new(model, leaf_of);
        let spared = budget.proposals.saturating_sub(each * (at as u64 + 1));
        let mut own = Budget { proposals: budget.proposals - spared, dice: budget.dice.clone() };
        polish(&mut state, floor, &mut own);
        budget.proposals = own.proposals + spared;
        budget.dice = own.dice;
        if best.as_ref().is_none_or(|best| state.cost < best.0) {
            best = Some((state.cost, state.leaf_of));
        }
    }
    best.unwrap_or_default()
}

/// Refines one assignment.
fn polish(state: &mut State<'_>, floor: i64, budget: &mut Budget) {
    if state.cost <= floor {
        return;
    }
    refine::settle(state, &mut budget.proposals);
    let patience = 100 + 4 * state.model.slots();
    refine::escape(state, &mut budget.dice, floor, patience, &mut budget.proposals);
}
