//! The slots of a small problem as sets: what a set cuts, and all sets of a size that cut little.

use super::super::model::Model;
use super::symmetry::Swap;

/// More slots than this are not searched exactly.
pub(in super::super) const MOST_SLOTS: usize = 24;

/// One bit per slot.
pub(super) type Set = u32;

pub(super) fn members(mut set: Set) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = set.trailing_zeros();
        set &= set.wrapping_sub(1);
        (lowest < Set::BITS).then_some(lowest as usize)
    })
}

pub(super) fn len(set: Set) -> usize {
    set.count_ones() as usize
}

/// Who talks to whom.
pub(super) struct Cells {
    pub(super) count: usize,
    pub(super) weight: [[i64; MOST_SLOTS]; MOST_SLOTS],
    degree: [i64; MOST_SLOTS],
    heaviest: [i64; MOST_SLOTS],
    /// What each slot talks less than the one that talks most: as if it had a wall there. Sets that are cut out of the middle
    /// of a grid cut more than those at its edges, which not all of them can have.
    walls: [i64; MOST_SLOTS],
}

/// Which sets are looked for: `uplink` times what they cut and `wall` times their walls are less than `below`.
pub(super) struct Wanted<'a> {
    /// The only ones that may be in them.
    pub(super) of: Set,
    pub(super) with: usize,
    pub(super) size: usize,
    pub(super) uplink: i64,
    pub(super) wall: i64,
    pub(super) below: i64,
    /// Slots that come together; none: each alone.
    pub(super) units: &'a [Set],
    /// Of sets that these make of each other one is enough.
    pub(super) alike: Vec<&'a Swap>,
}

impl Cells {
    pub(super) fn new(model: &Model<'_>) -> Cells {
        let count = model.slots() as usize;
        let mut cells = Cells {
            count,
            weight: [[0; MOST_SLOTS]; MOST_SLOTS],
            degree: [0; MOST_SLOTS],
            heaviest: [0; MOST_SLOTS],
            walls: [0; MOST_SLOTS],
        };
        for (slot, row) in (0u32..).zip(&mut cells.weight).take(count) {
            model.links(slot).iter().for_each(|link| row[link.to as usize] += link.weight);
            cells.degree[slot as usize] = row.iter().sum();
            cells.heaviest[slot as usize] = row.iter().copied().max().unwrap_or(0);
        }
        let most = cells.degree.iter().copied().max().unwrap_or(0);
        for (wall, degree) in cells.walls.iter_mut().zip(&cells.degree).take(count) {
            *wall = most - degree;
        }
        cells
    }

    pub(super) fn all(&self) -> Set {
        Set::MAX >> (Set::BITS as usize - self.count)
    }

    pub(super) fn between(&self, slot: usize, set: Set) -> i64 {
        members(set).map(|other| self.weight[slot][other]).sum()
    }

    pub(super) fn cut(&self, set: Set) -> i64 {
        let others = self.all() & !set;
        members(set).map(|slot| self.between(slot, others)).sum()
    }

    pub(super) fn walls(&self, set: Set) -> i64 {
        members(set).map(|slot| self.walls[slot]).sum()
    }

    /// All sets that are wanted, with that sum, the least first. `steps` is what is left of the search: where it comes to
    /// nothing some are missing.
    pub(super) fn sets(&self, wanted: &Wanted<'_>, steps: &mut u64) -> Vec<(i64, Set)> {
        let mut growing =
            Growing { cells: self, wanted, below: wanted.below, found: Vec::new(), only: false, steps };
        growing.start();
        let mut found = growing.found;
        found.sort_unstable();
        found
    }

    /// The least of these sums.
    pub(super) fn least(&self, wanted: &Wanted<'_>, steps: &mut u64) -> i64 {
        let mut growing =
            Growing { cells: self, wanted, below: wanted.below, found: Vec::new(), only: true, steps };
        growing.start();
        growing.below
    }
}

/// A set under way.
#[derive(Clone, Default)]
struct Grown {
    inside: Set,
    /// Not decided yet.
    open: Set,
    /// What is wanted of what is inside, as far as it is decided.
    sum: i64,
    /// What each open slot adds outside.
    joined: [i64; MOST_SLOTS],
    /// And inside.
    apart: [i64; MOST_SLOTS],
}

struct Growing<'a> {
    cells: &'a Cells,
    wanted: &'a Wanted<'a>,
    below: i64,
    found: Vec<(i64, Set)>,
    /// One that cuts the least is looked for.
    only: bool,
    steps: &'a mut u64,
}

impl Growing<'_> {
    fn unit(&self, slot: usize) -> Set {
        self.wanted.units.get(slot).copied().unwrap_or(1 << slot)
    }

    fn start(&mut self) {
        let wanted = self.wanted;
        let mut grown = Grown { open: wanted.of, ..Grown::default() };
        let outside = self.cells.all() & !wanted.of;
        for slot in members(wanted.of) {
            grown.apart[slot] =
                wanted.uplink * self.cells.between(slot, outside) + wanted.wall * self.cells.walls[slot];
        }
        if self.take(&mut grown, 1 << wanted.with) && len(grown.inside) <= wanted.size {
            self.grow(grown, wanted.size);
        }
    }

    /// Puts the units of `slots` inside; `false` if one of them is outside.
    fn take(&self, grown: &mut Grown, slots: Set) -> bool {
        for slot in members(slots) {
            for slot in members(self.unit(slot) & !grown.inside) {
                if grown.open >> slot & 1 == 0 {
                    return false;
                }
                grown.open &= !(1 << slot);
                grown.inside |= 1 << slot;
                grown.sum += grown.apart[slot];
                let (uplink, weights) = (self.wanted.uplink, &self.cells.weight[slot]);
                members(grown.open).for_each(|other| grown.joined[other] += uplink * weights[other]);
            }
        }
        true
    }

    fn leave(&self, grown: &mut Grown, slot: usize) {
        for slot in members(self.unit(slot)) {
            grown.open &= !(1 << slot);
            grown.sum += grown.joined[slot];
            let (uplink, weights) = (self.wanted.uplink, &self.cells.weight[slot]);
            members(grown.open).for_each(|other| grown.apart[other] += uplink * weights[other]);
        }
    }

    /// Recursion as deep as there are slots.
    fn grow(&mut self, mut grown: Grown, size: usize) {
        loop {
            if *self.steps == 0 {
                return;
            }
            *self.steps -= 1;
            let left = size - len(grown.inside);
            if len(grown.open) < left || !self.is_first(&grown) {
                return;
            }
            let Some(next) = self.next(&grown, left) else { return };
            if left == 0 {
                return;
            }
            let mut with = grown.clone();
            if len(self.unit(next)) <= left && self.take(&mut with, 1 << next) {
                self.grow(with, size);
            }
            self.leave(&mut grown, next);
        }
    }

    /// Whether no swap is sure to make of the set one that comes before, by its lowest slot that is in one of them alone.
    fn is_first(&self, grown: &Grown) -> bool {
        self.wanted.alike.iter().all(|swap| {
            for (a, b) in *swap {
                if (grown.open >> a | grown.open >> b) & 1 == 1 {
                    return true;
                }
                match (grown.inside >> a & 1, grown.inside >> b & 1) {
                    (1, 0) => return true,
                    (0, 1) => return false,
                    _ => {}
                }
            }
            true
        })
    }

    /// The slot that is to be decided next; `None` where nothing that comes of it is wanted. A set that is complete is noted.
    fn next(&mut self, grown: &Grown, left: usize) -> Option<usize> {
        let mut extra = [i64::MAX; MOST_SLOTS];
        let Wanted { uplink, wall, .. } = *self.wanted;
        let mut least = grown.sum;
        let mut next = None;
        for (slot, extra) in members(grown.open).zip(&mut extra) {
            let (joined, apart) = (grown.joined[slot], grown.apart[slot]);
            // Of its open neighbours no more than `left` less one can come along.
            let open = uplink * self.cells.degree[slot] + wall * self.cells.walls[slot] - joined - apart;
            let along = (left as i64 - 1) * uplink * self.cells.heaviest[slot];
            least += joined;
            *extra = apart - joined + (open - along).max(0);
            let key = (joined - apart, std::cmp::Reverse(slot));
            if next.is_none_or(|(best, _)| key > best) {
                next = Some((key, slot));
            }
        }
        let open = len(grown.open);
        if left > 0 && left < open {
            extra[..open].select_nth_unstable(left - 1);
        }
        least += extra[..left.min(open)].iter().sum::<i64>();
        if least >= self.below {
            return None;
        }
        if left == 0 {
            match self.only {
                true => self.below = least,
                false => self.found.push((least, grown.inside)),
            }
        }
        next.map(|(_, slot)| slot)
    }
}
