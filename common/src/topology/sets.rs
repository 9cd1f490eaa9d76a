//! Sets of things that belong together.

use std::collections::{BTreeMap, BTreeSet};

/// Disjoint sets of the numbers below a bound.
#[derive(Debug)]
pub(super) struct Union {
    parents: Vec<usize>,
}

impl Union {
    pub(super) fn new(count: usize) -> Union {
        Union { parents: (0..count).collect() }
    }

    /// The smallest number of the set.
    pub(super) fn find(&mut self, of: usize) -> usize {
        let mut root = of;
        while self.parents[root] != root {
            root = self.parents[root];
        }
        let mut at = of;
        while self.parents[at] != root {
            at = std::mem::replace(&mut self.parents[at], root);
        }
        root
    }

    pub(super) fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        let (low, high) = (a.min(b), a.max(b));
        self.parents[high] = low;
    }

    /// All sets, each sorted, by their smallest number.
    pub(super) fn sets(&mut self) -> Vec<Vec<usize>> {
        let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in 0..self.parents.len() {
            sets.entry(self.find(at)).or_default().push(at);
        }
        sets.into_values().collect()
    }
}

/// A member of more clusters finds none (a file server under every leaf): to ask all of them for every set would
/// take long.
const MAX_SEEDS: usize = 64;
/// Clusters that are looked at for a set with such members, those with the most other members in common first.
const MAX_LOOKED_AT: usize = 16;

/// Clusters sets that are alike: a set joins the cluster whose first and largest member it shares at
/// least half of the union with (Jaccard >= 1/2), the closest if several. Equality would be too strict (a
/// leaf that also serves a management host, a host with a dead port), common members too loose (one host
/// with a wrong name would unite two units). Empty sets stay alone, equal sets are together. The work grows
/// with the sum of the sets' sizes. Gives each set's cluster; clusters are numbered by their first set.
pub(super) fn cluster(sets: &[BTreeSet<u32>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sets.len()).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(sets[*at].len()), *at));
    let mut seeds_with: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let mut seed_of = vec![0; sets.len()];
    let mut seed_with: BTreeMap<&BTreeSet<u32>, usize> = BTreeMap::new();
    for at in order {
        if let Some(seed) = seed_with.get(&sets[at]).filter(|_| !sets[at].is_empty()) {
            seed_of[at] = *seed;
            continue;
        }
        let union = |seed: usize, both: usize| sets[seed].len() + sets[at].len() - both;
        // Fractions are compared crosswise; of equals the first seed stays.
        let best = shared(sets, at, &seeds_with)
            .into_iter()
            .filter(|(seed, both)| 2 * both >= union(*seed, *both))
            .reduce(|a, b| if b.1 * union(a.0, a.1) > a.1 * union(b.0, b.1) { b } else { a });
        seed_of[at] = best.map_or(at, |(seed, _)| seed);
        seed_with.insert(&sets[at], seed_of[at]);
        if seed_of[at] == at {
            for member in &sets[at] {
                let seeds = seeds_with.entry(*member).or_default();
                if seeds.len() <= MAX_SEEDS {
                    seeds.push(at);
                }
            }
        }
    }
    let mut numbers = BTreeMap::new();
    seed_of
        .iter()
        .map(|seed| {
            let next = numbers.len();
            *numbers.entry(*seed).or_insert(next)
        })
        .collect()
}

/// The seeds that a set shares members with, in order, and how many.
fn shared(
    sets: &[BTreeSet<u32>],
    at: usize,
    seeds_with: &BTreeMap<u32, Vec<usize>>,
) -> BTreeMap<usize, usize> {
    let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
    let mut silent = false;
    for seeds in sets[at].iter().filter_map(|member| seeds_with.get(member)) {
        match seeds.len() > MAX_SEEDS {
            true => silent = true,
            false => seeds.iter().for_each(|seed| *shared.entry(*seed).or_default() += 1),
        }
    }
    if !silent {
        return shared;
    }
    let mut most: Vec<(usize, usize)> = shared.into_iter().collect();
    most.sort_by_key(|(seed, both)| (std::cmp::Reverse(*both), *seed));
    let both = |seed: usize| sets[at].iter().filter(|member| sets[seed].contains(member)).count();
    most.into_iter().take(MAX_LOOKED_AT).map(|(seed, _)| (seed, both(seed))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sets: &[&[u32]]) -> Vec<usize> {
        let sets: Vec<BTreeSet<u32>> = sets.iter().map(|set| set.iter().copied().collect()).collect();
        cluster(&sets)
    }

    #[test]
    fn sets_that_share_half_are_one_cluster_and_a_chain_is_not() {
        assert_eq!(of(&[&[1, 2, 3, 4], &[1, 2, 3], &[1, 2, 3, 4, 5, 6]]), [0, 0, 0]);
        assert_eq!(of(&[&[1, 2, 3], &[3, 4, 5]]), [0, 1], "one common host does not unite two units");
        assert_eq!(of(&[&[1, 2], &[2, 3], &[3, 4], &[4, 5]]), [0, 1, 2, 3]);
        assert_eq!(of(&[&[], &[], &[1], &[1]]), [0, 1, 2, 2]);
    }

    #[test]
    fn members_that_all_sets_have_hide_no_likeness_and_take_no_time() {
        // Pairs of sets that share four members with each other and six with all others.
        let set = |pair: u32, own: u32| -> BTreeSet<u32> {
            (0..6).chain((0..4).map(|at| 10 + 10 * pair + at)).chain([10 + 10 * pair + 4 + own]).collect()
        };
        let sets: Vec<BTreeSet<u32>> = (0..10_000).flat_map(|pair| [set(pair, 0), set(pair, 1)]).collect();
        let clusters = cluster(&sets);
        assert!(
            clusters.iter().enumerate().all(|(at, cluster)| *cluster == at / 2),
            "{:?}",
            &clusters[..300]
        );
        // Sets that have nothing but such members are found by nobody but their like.
        assert_eq!(cluster(&vec![BTreeSet::from([1, 2]); 10_000]), [0; 10_000]);
    }

    #[test]
    fn united_numbers_are_found_by_their_smallest() {
        let mut union = Union::new(5);
        union.unite(4, 2);
        union.unite(2, 3);
        assert_eq!(union.sets(), [vec![0], vec![1], vec![2, 3, 4]]);
    }
}
