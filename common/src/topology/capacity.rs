//! How many of the cables that should be there are.

use std::collections::BTreeMap;
use std::fmt;

use super::attach::Cables;
use super::levels::Levels;
use super::network::{Capacity, Row, Switch};

/// Fewer peers, switches or nodes, tell nothing about what is usual among them.
pub(super) const MIN_PEERS: usize = 3;

impl Capacity {
    pub fn is_short(self) -> bool {
        self.live < self.expected
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expected {
            0 => write!(f, "{}", self.live),
            expected => write!(f, "{} of {expected}", self.live),
        }
    }
}

/// Writes live and expected uplinks to the switches. What is expected is stated, or what at least half of
/// the switches of the same plane and level have; where neither tells it is not known. Where nobody counts
/// cables the capacity is unknown.
pub(super) fn count(switches: &mut [Switch], levels: &Levels, cables: &Cables<'_>) {
    let mut live: BTreeMap<Row, u32> = BTreeMap::new();
    for ((a, b), (links, _)) in &cables.links {
        for (lower, upper) in [(a, b), (b, a)] {
            let (below, above) = (levels.level[*lower as usize], levels.level[*upper as usize]);
            if below < above && levels.uppers[*lower as usize].contains(upper) {
                let sum = live.entry(*lower).or_default();
                *sum = sum.saturating_add(*links);
            }
        }
    }
    // A dump that was cut has some of the cables.
    live.retain(|row, _| cables.counted.contains(row));
    let role = |row: Row| (switches[row as usize].plane, levels.level[row as usize]);
    let mut peers: BTreeMap<(Option<Row>, u8), BTreeMap<u32, usize>> = BTreeMap::new();
    for (row, links) in &live {
        *peers.entry(role(*row)).or_default().entry(*links).or_default() += 1;
    }
    let usual = |row: Row| {
        let counts = peers.get(&role(row))?;
        let all: usize = counts.values().sum();
        let (links, with) = counts.iter().max_by_key(|(links, with)| (**with, **links))?;
        (all >= MIN_PEERS && 2 * with >= all).then_some(*links)
    };
    let counted: Vec<(Row, Capacity)> = live
        .iter()
        .map(|(row, live)| {
            let expected = cables.expected.get(row).copied().or_else(|| usual(*row));
            (*row, Capacity { live: *live, expected: expected.map_or(0, |expected| expected.max(*live)) })
        })
        .chain(cables.expected.iter().filter(|(row, _)| !live.contains_key(row)).filter_map(
            |(row, expected)| {
                // Where cables are counted and none is there, none works; else nobody knows.
                let capacity = Capacity { live: 0, expected: *expected };
                cables.counted.contains(row).then_some((*row, capacity))
            },
        ))
        .collect();
    for (row, capacity) in counted {
        switches[row as usize].uplinks = Some(capacity);
    }
}

/// The sum over switches, as far as they are counted.
pub(super) fn sum(of: &[Row], switches: &[Switch]) -> Option<Capacity> {
    of.iter().filter_map(|row| switches[*row as usize].uplinks).reduce(|a, b| Capacity {
        live: a.live.saturating_add(b.live),
        expected: if a.expected == 0 || b.expected == 0 { 0 } else { a.expected.saturating_add(b.expected) },
    })
}
