//! How far each switch is from the nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::attach::Cables;
use super::network::{Row, row_of};
use super::sets::Union;

/// Levels beyond make no further tiers. It also bounds the work on a tree that somebody wrote in a ring.
const MAX_LEVEL: u8 = 8;

/// The levels of switches (1: leaf, 0: unknown), and for each the switches above it.
#[derive(Debug)]
pub(super) struct Levels {
    pub(super) level: Vec<u8>,
    pub(super) uppers: Vec<BTreeSet<Row>>,
}

impl Levels {
    /// `hosts[switch]`: how many nodes and strange adapters are attached.
    pub(super) fn of(hosts: &[usize], cables: &Cables<'_>) -> Levels {
        let mut linked: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); hosts.len()];
        for (a, b) in cables.links.keys() {
            linked[*a as usize].insert(*b as usize);
            linked[*b as usize].insert(*a as usize);
        }
        let mut level: Vec<u8> = (0..hosts.len()).map(|at| u8::from(is_leaf(at, hosts, &linked))).collect();
        let under: Vec<(usize, usize)> =
            cables.under.iter().map(|(lower, upper)| (*lower as usize, *upper as usize)).collect();
        let uppers: BTreeSet<usize> = under.iter().map(|(_, upper)| *upper).collect();
        spread(&mut level, &linked);
        // The lowest of a written tree are leaves even if no node is there, unless cables tell otherwise.
        for (lower, _) in under.iter().filter(|(lower, _)| !uppers.contains(lower)) {
            level[*lower] = level[*lower].max(1);
        }
        spread(&mut level, &linked);
        raise(&mut level, &under);

        let mut above: Vec<BTreeSet<Row>> = vec![BTreeSet::new(); hosts.len()];
        for (a, b) in cables.links.keys() {
            let (la, lb) = (level[*a as usize], level[*b as usize]);
            if 0 < la && la < lb {
                above[*a as usize].insert(*b);
            } else if 0 < lb && lb < la {
                above[*b as usize].insert(*a);
            }
        }
        for (lower, upper) in &cables.under {
            above[*lower as usize].insert(*upper);
        }
        meet_beside(&mut above, &level, &linked);
        Levels { level, uppers: above }
    }
}

/// Whether nodes hang on it, and it is no switch of the next level that a few nodes (file servers,
/// management) hang on: one that unites more leaves than it has nodes, and each of them has more.
fn is_leaf(at: usize, hosts: &[usize], linked: &[BTreeSet<usize>]) -> bool {
    let mut neighbours = linked[at].iter().filter(|other| hosts[**other] > 0);
    let unites = neighbours.clone().count();
    let above = unites >= 2 && unites > hosts[at] && neighbours.all(|other| hosts[*other] > hosts[at]);
    hosts[at] > 0 && !above
}

/// The level of the nearest leaf by cables, plus the distance to it.
fn spread(level: &mut [u8], linked: &[BTreeSet<usize>]) {
    for from in 1..MAX_LEVEL {
        let next: BTreeSet<usize> = (0..level.len())
            .filter(|at| level[*at] == from)
            .flat_map(|at| linked[at].iter().copied())
            .filter(|at| level[*at] == 0)
            .collect();
        for at in next {
            level[at] = from + 1;
        }
    }
}

/// Switches with nothing above and cables between them (two back to back, a mesh) meet beside: the first of
/// them stands for what unites them.
fn meet_beside(above: &mut [BTreeSet<Row>], level: &[u8], linked: &[BTreeSet<usize>]) {
    let top: Vec<bool> = above.iter().map(BTreeSet::is_empty).collect();
    let mut union = Union::new(level.len());
    for at in (0..level.len()).filter(|at| top[*at] && level[*at] > 0) {
        for other in linked[at].iter().filter(|other| top[**other] && level[**other] == level[at]) {
            union.unite(at, *other);
        }
    }
    for set in union.sets().into_iter().filter(|set| set.len() > 1) {
        let first = row_of(set[0]);
        for at in set {
            above[at].insert(first);
        }
    }
}

/// Above everything that is stated to be below.
fn raise(level: &mut [u8], under: &[(usize, usize)]) {
    for _ in 0..MAX_LEVEL {
        let before: BTreeMap<usize, u8> = under.iter().map(|(lower, _)| (*lower, level[*lower])).collect();
        for (lower, upper) in under {
            level[*upper] = level[*upper].max(before[lower].saturating_add(1)).min(MAX_LEVEL);
        }
    }
}

/// Switches on a written ring, or between two: what is left of the tree once all without anything below, or without
/// anything above, are taken away again and again. One that is stated to be under itself is such a ring.
pub(super) fn rings(under: &BTreeSet<(Row, Row)>, under_itself: &BTreeSet<Row>) -> Vec<Row> {
    let mut left: BTreeMap<Row, Beside> = BTreeMap::new();
    for (lower, upper) in under {
        left.entry(*lower).or_default().above.push(*upper);
        left.entry(*upper).or_default().below.push(*lower);
    }
    for it in left.values_mut() {
        it.count = (it.below.len(), it.above.len());
    }
    let is_end = |it: &Beside| it.count.0 == 0 || it.count.1 == 0;
    let mut ends: Vec<Row> = left.iter().filter(|(_, it)| is_end(it)).map(|(row, _)| *row).collect();
    while let Some(row) = ends.pop() {
        let Some(gone) = left.remove(&row) else { continue };
        for upper in gone.above {
            let Some(it) = left.get_mut(&upper) else { continue };
            it.count.0 -= 1;
            ends.extend(is_end(it).then_some(upper));
        }
        for lower in gone.below {
            let Some(it) = left.get_mut(&lower) else { continue };
            it.count.1 -= 1;
            ends.extend(is_end(it).then_some(lower));
        }
    }
    let rings: BTreeSet<Row> = left.into_keys().chain(under_itself.iter().copied()).collect();
    rings.into_iter().collect()
}

/// What is stated to be next to a switch, and how many of these below and above are left.
#[derive(Debug, Default)]
struct Beside {
    below: Vec<Row>,
    above: Vec<Row>,
    count: (usize, usize),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ring_at_the_end_of_a_long_chain_is_found_at_once() {
        let chain = 0..100_000;
        let mut under: BTreeSet<(Row, Row)> = chain.map(|row| (row, row + 1)).collect();
        assert_eq!(rings(&under, &BTreeSet::new()), [0; 0]);
        under.extend([(100_000, 200_001), (200_001, 200_002), (200_002, 100_000), (200_002, 200_003)]);
        assert_eq!(rings(&under, &BTreeSet::from([7, 100_000])), [7, 100_000, 200_001, 200_002]);
    }

    /// All without anything below or above are taken away at once, as often as there are any.
    fn in_rounds(under: &BTreeSet<(Row, Row)>) -> Vec<Row> {
        let mut left = under.clone();
        loop {
            let lowers: BTreeSet<Row> = left.iter().map(|(lower, _)| *lower).collect();
            let uppers: BTreeSet<Row> = left.iter().map(|(_, upper)| *upper).collect();
            let before = left.len();
            left.retain(|(lower, upper)| uppers.contains(lower) && lowers.contains(upper));
            if left.len() == before {
                return lowers.into_iter().collect();
            }
        }
    }

    proptest! {
        #[test]
        fn one_after_another_is_as_in_rounds(under in prop::collection::btree_set((0..12u32, 0..12u32), 0..20)) {
            prop_assert_eq!(rings(&under, &BTreeSet::new()), in_rounds(&under));
        }
    }
}
