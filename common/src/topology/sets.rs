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

/// Clusters sets that are alike: a set joins the cluster whose first and largest member it shares at
/// least half of the union with (Jaccard >= 1/2), the closest if several. Equality would be too strict (a
/// leaf that also serves a management host, a host with a dead port), common members too loose (one host
/// with a wrong name would unite two units). Empty sets stay alone. Gives each set's cluster; clusters are
/// numbered by their first set.
pub(super) fn cluster(sets: &[BTreeSet<u32>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sets.len()).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(sets[*at].len()), *at));
    let mut seeds_with: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let mut seed_of = vec![0; sets.len()];
    for at in order {
        let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
        for member in &sets[at] {
            for seed in seeds_with.get(member).into_iter().flatten() {
                *shared.entry(*seed).or_default() += 1;
            }
        }
        let union = |seed: usize, both: usize| sets[seed].len() + sets[at].len() - both;
        // Fractions are compared crosswise; of equals the first seed stays.
        let best = shared
            .into_iter()
            .filter(|(seed, both)| 2 * both >= union(*seed, *both))
            .reduce(|a, b| if b.1 * union(a.0, a.1) > a.1 * union(b.0, b.1) { b } else { a });
        seed_of[at] = best.map_or(at, |(seed, _)| seed);
        if seed_of[at] == at {
            for member in &sets[at] {
                seeds_with.entry(*member).or_default().push(at);
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
    fn united_numbers_are_found_by_their_smallest() {
        let mut union = Union::new(5);
        union.unite(4, 2);
        union.unite(2, 3);
        assert_eq!(union.sets(), [vec![0], vec![1], vec![2, 3, 4]]);
    }
}
