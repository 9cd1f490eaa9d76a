//! Answers found another way: every rank's edges one by one, every subset of slots for every domain.

use std::collections::BTreeMap;

use phalanx_launcher_core::placement::order::{Domain, Group, Pattern};

const NEVER: u64 = u64::MAX / 4;

/// Volume between each pair of slots, `share` ranks to each, and the lines of each group as sets of slots.
pub(crate) struct Talk {
    pub(crate) slots: usize,
    pub(crate) volume: Vec<Vec<u64>>,
    pub(crate) lines: Vec<Vec<u32>>,
}

pub(crate) fn talk(groups: &[Group], share: usize) -> Talk {
    let ranks: usize = groups.iter().map(|group| group.size as usize).product();
    let slots = ranks / share;
    let mut volume = vec![vec![0; slots]; slots];
    let mut lines = Vec::new();
    let mut stride = 1;
    for group in groups {
        let size = group.size as usize;
        let mut of_group = Vec::new();
        for rank in 0..ranks {
            let at = rank / stride % size;
            let other = |to: usize| rank - at * stride + to * stride;
            let partners: Vec<usize> = match group.pattern {
                Pattern::Ring => vec![other((at + 1) % size)],
                Pattern::Chain if at + 1 < size => vec![other(at + 1)],
                Pattern::Tree if at > 0 => vec![other((at - 1) / 2)],
                Pattern::AllToAll => (at + 1..size).map(other).collect(),
                _ => Vec::new(),
            };
            for partner in partners {
                let (a, b) = (rank / share, partner / share);
                if a != b {
                    volume[a][b] += group.volume;
                    volume[b][a] += group.volume;
                }
            }
            if at == 0 {
                // Sets of slots are for the oracle, which takes few; where there are more only the volumes are asked for.
                let bit = |member: usize| {
                    u32::try_from(other(member) / share).ok().and_then(|at| 1u32.checked_shl(at))
                };
                of_group.push((0..size).fold(0u32, |set, member| set | bit(member).unwrap_or(0)));
            }
        }
        lines.push(of_group);
        stride *= size;
    }
    Talk { slots, volume, lines }
}

impl Talk {
    fn cuts(&self) -> Vec<u64> {
        let mut cuts = vec![0; 1 << self.slots];
        for set in 1..1usize << self.slots {
            let low = set.trailing_zeros() as usize;
            let rest = set & (set - 1);
            cuts[set] = cuts[rest];
            for other in (0..self.slots).filter(|other| *other != low) {
                if rest >> other & 1 == 1 {
                    cuts[set] -= self.volume[low][other];
                } else {
                    cuts[set] += self.volume[low][other];
                }
            }
        }
        cuts
    }

    /// The least cost, by dynamic programming over subsets; `None` if nothing is feasible.
    pub(crate) fn optimum(&self, domains: &[Domain], groups: &[Group]) -> Option<u64> {
        let cuts = self.cuts();
        let full = (1usize << self.slots) - 1;
        let mut below: Vec<Option<Vec<u64>>> = vec![None; domains.len()];
        for at in (0..domains.len()).rev() {
            let domain = domains[at];
            let lowest = !domains.iter().any(|other| other.parent == Some(at as u32));
            let mut own = below[at].take().unwrap_or_else(|| vec![NEVER; full + 1]);
            if lowest {
                for (set, cost) in own.iter_mut().enumerate() {
                    *cost = if (set.count_ones()) <= domain.capacity { 0 } else { NEVER };
                }
            }
            for (set, cost) in own.iter_mut().enumerate() {
                if at > 0 {
                    *cost = (*cost).min(NEVER) + domain.uplink * cuts[set];
                }
                for (group, lines) in groups.iter().zip(&self.lines) {
                    let Some(level) = group.within else { continue };
                    let parent = domain.parent.map(|parent| domains[parent as usize].level);
                    let top = domain.level <= level && parent.is_none_or(|parent| parent > level);
                    let long = || lines.iter().filter(|line| line.count_ones() > 1);
                    let split = |line: &u32| set as u32 & line != 0 && set as u32 & line != *line;
                    let touched = |line: &u32| set as u32 & line != 0;
                    if (top && long().any(split)) || (lowest && domain.level > level && long().any(touched)) {
                        *cost = NEVER;
                    }
                }
                *cost = (*cost).min(NEVER);
            }
            let Some(parent) = domain.parent else {
                return (own[full] < NEVER).then_some(own[full]);
            };
            let above = below[parent as usize].take();
            below[parent as usize] = Some(match above {
                None => own,
                Some(above) => join(&above, &own, full),
            });
        }
        None
    }

    /// The least cost, slot by slot: for every way to label the slots that still have something to say to later ones, and every
    /// number of slots in each lowest domain, the least so far. `None` where that is more than `most` states, or nothing fits.
    pub(crate) fn in_turn(&self, domains: &[Domain], most: usize) -> Option<u64> {
        let lowest = lowest(domains);
        let apart: Vec<Vec<u64>> = lowest
            .iter()
            .map(|one| lowest.iter().map(|other| distance(domains, *one, *other)).collect())
            .collect();
        let mut states: BTreeMap<(Vec<u8>, Vec<u8>), u64> = BTreeMap::new();
        states.insert((Vec::new(), vec![0; lowest.len()]), 0);
        let mut labelled: Vec<usize> = Vec::new();
        let mut left: Vec<usize> = (0..self.slots).collect();
        while !left.is_empty() {
            // The slot after which the fewest labels are needed.
            let needed = |next: usize| {
                let talks = |slot: usize| left.iter().any(|to| *to != next && self.volume[slot][*to] > 0);
                labelled.iter().copied().chain([next]).filter(|slot| talks(*slot)).collect::<Vec<_>>()
            };
            let at = (0..left.len()).min_by_key(|at| needed(left[*at]).len())?;
            let (next, kept) = (left[at], needed(left[at]));
            let mut after = BTreeMap::new();
            for ((labels, filled), cost) in states {
                for home in (0..lowest.len())
                    .filter(|home| u32::from(filled[*home]) < domains[lowest[*home]].capacity)
                {
                    let said = labelled.iter().zip(&labels);
                    let cost = cost
                        + said
                            .map(|(slot, label)| self.volume[*slot][next] * apart[usize::from(*label)][home])
                            .sum::<u64>();
                    let label = |slot: &usize| match labelled.iter().position(|known| known == slot) {
                        Some(at) => labels[at],
                        None => home as u8,
                    };
                    let mut filled = filled.clone();
                    filled[home] += 1;
                    let known = after.entry((kept.iter().map(label).collect(), filled)).or_insert(cost);
                    *known = cost.min(*known);
                }
            }
            if after.len() > most {
                return None;
            }
            states = after;
            labelled = kept;
            left.remove(at);
        }
        states.into_values().min()
    }

    /// The least cost of all assignments, each counted.
    pub(crate) fn enumerated(&self, domains: &[Domain]) -> Option<u64> {
        let lowest = lowest(domains);
        let total = lowest.len().pow(self.slots as u32);
        let mut best = None;
        for code in 0..total {
            let mut left = code;
            let homes: Vec<usize> = (0..self.slots)
                .map(|_| {
                    let home = lowest[left % lowest.len()];
                    left /= lowest.len();
                    home
                })
                .collect();
            let fits = |home: &usize| {
                homes.iter().filter(|other| *other == home).count() <= domains[*home].capacity as usize
            };
            if lowest.iter().all(fits) {
                let cost = self.cost(domains, &homes);
                best = Some(best.map_or(cost, |best: u64| best.min(cost)));
            }
        }
        best
    }

    /// Cost of slots in the domains `homes`, edge by edge.
    pub(crate) fn cost(&self, domains: &[Domain], homes: &[usize]) -> u64 {
        let pairs = (0..self.slots).flat_map(|a| (a + 1..self.slots).map(move |b| (a, b)));
        pairs.map(|(a, b)| self.volume[a][b] * distance(domains, homes[a], homes[b])).sum()
    }
}

fn lowest(domains: &[Domain]) -> Vec<usize> {
    let is_lowest = |at: &usize| !domains.iter().any(|other| other.parent == Some(*at as u32));
    (0..domains.len()).filter(is_lowest).collect()
}

/// The sum of all uplinks on the way.
fn distance(domains: &[Domain], one: usize, other: usize) -> u64 {
    let way = |home: usize| {
        let up = |at: &usize| domains[*at].parent.map(|parent| parent as usize);
        std::iter::successors(Some(home), up).collect::<Vec<_>>()
    };
    let (one, other) = (way(one), way(other));
    let apart =
        one.iter().filter(|at| !other.contains(at)).chain(other.iter().filter(|at| !one.contains(at)));
    apart.map(|at| domains[*at].uplink).sum()
}

fn join(a: &[u64], b: &[u64], full: usize) -> Vec<u64> {
    let mut sum = vec![NEVER; full + 1];
    for (set, cost) in sum.iter_mut().enumerate() {
        let mut part = set;
        loop {
            *cost = (*cost).min(a[set ^ part] + b[part]);
            if part == 0 {
                break;
            }
            part = (part - 1) & set;
        }
    }
    sum
}
