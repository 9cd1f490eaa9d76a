//! Which devices a pod takes.
//!
//! Sets are compared by, in this order: the slowest pair · how far the nearest ports are, summed · how many ports the
//! devices reach · how many devices have too few cores or too little memory near them · what all pairs are worth
//! together · what all pairs that are left free are worth together · the first devices. The last but one leaves the best
//! remainder: of two pairs as good the lone one is taken, not the half of an island.
//!
//! Up to [`EXACT`] free devices every set is looked at (12,870 for 8 of 16), less those that differ in equal devices
//! only. Beyond (slices of many GPUs, two boards of sixteen) the search starts from sets grown device by device and
//! looks at [`BOUND`] steps more.

use super::bandwidth;
use super::model::{LEVELS, NodeModel, rows_of};
use super::near::Near;
use super::ports;

/// Most free devices of which every set is looked at.
pub(super) const EXACT: usize = 16;
/// Steps of the search where there are more.
const BOUND: u32 = 1 << 16;

/// What is asked of a set.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) count: usize,
    /// Ports that are looked at; 0 where the job needs none.
    pub(super) ports: u64,
    /// More ports than this are of no use, to all devices and to one.
    pub(super) most_ports: u32,
    pub(super) ports_each: u32,
    pub(super) near: Near,
}

/// How good a set is: the greater the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    /// MB/s of the slowest pair; of one device the most there is.
    pub(super) slowest: u32,
    /// Levels that the nearest ports are away, summed, negative.
    pub(super) nearness: i32,
    pub(super) ports: u32,
    /// Devices that go without cores or memory near them, negative.
    pub(super) near: i32,
    /// Worth of the pairs inside.
    pub(super) inside: i64,
    /// Worth of the pairs left free, less that of all free pairs: negative.
    pub(super) left: i64,
}

/// A set while it grows.
#[derive(Clone, Copy, Debug)]
struct Part {
    set: u64,
    count: usize,
    score: Score,
}

struct Search<'a> {
    model: &'a NodeModel,
    /// Free devices of the class.
    pool: Vec<usize>,
    wanted: Wanted,
    /// By row: level and mask of its nearest ports, and the worth of all its pairs with free devices.
    facts: Vec<(i32, u64, i64)>,
    /// By row: the devices of the pool with the same nearest ports.
    alike: Vec<u64>,
    /// The pool as a mask.
    all: u64,
    best: Option<(Score, u64)>,
    steps: u32,
    bound: u32,
}

/// The best set of `wanted.count` devices out of `pool`, as a mask with its score; `None` where there are fewer.
pub(super) fn best(model: &NodeModel, free: u64, pool: u64, wanted: Wanted) -> Option<(Score, u64)> {
    let rows: Vec<usize> = rows_of(pool & free).collect();
    if rows.len() < wanted.count {
        return None;
    }
    let mut search = Search::new(model, free, rows, wanted);
    let start = search.part();
    if search.wanted.count == search.pool.len() {
        let all = search.pool.iter().fold(start, |part, row| search.with(part, *row));
        return Some((search.finished(&all), all.set));
    }
    if search.pool.len() > EXACT {
        search.grow();
        search.bound = BOUND;
    }
    search.descend(0, start, 0);
    search.best
}

impl<'a> Search<'a> {
    fn new(model: &'a NodeModel, free: u64, pool: Vec<usize>, wanted: Wanted) -> Search<'a> {
        let fact = |row: usize| {
            let all =
                rows_of(free).filter(|other| *other != row).map(|other| model.worth(row, other) as i64).sum();
            let (level, mask) = match wanted.ports {
                0 => (0, 0),
                up => ports::nearest(&model.devices()[row].near, up).unwrap_or((LEVELS, 0)),
            };
            (level as i32, mask, all)
        };
        let facts =
            (0..model.devices().len()).map(|row| if free >> row & 1 == 1 { fact(row) } else { (0, 0, 0) });
        let facts: Vec<(i32, u64, i64)> = facts.collect();
        let mask = |of: &dyn Fn(usize) -> bool| {
            pool.iter().filter(|row| of(**row)).fold(0, |mask, row| mask | 1u64 << row)
        };
        let alike = match wanted.ports {
            0 => Vec::new(),
            _ => facts.iter().map(|(_, near, _)| mask(&|row| facts[row].1 == *near)).collect(),
        };
        let all = mask(&|_| true);
        Search { model, facts, alike, all, pool, wanted, best: None, steps: 0, bound: u32::MAX }
    }

    fn part(&self) -> Part {
        let score = Score { slowest: u32::MAX, nearness: 0, ports: 0, near: 0, inside: 0, left: 0 };
        Part { set: 0, count: 0, score }
    }

    fn with(&self, mut part: Part, row: usize) -> Part {
        let (level, _, all) = self.facts[row];
        for other in rows_of(part.set) {
            let worth = self.model.worth(row, other);
            part.score.slowest = part.score.slowest.min(bandwidth::mb_per_s(worth));
            part.score.inside += worth as i64;
        }
        part.set |= 1 << row;
        part.count += 1;
        part.score.nearness -= level;
        part.score.left -= all;
        part
    }

    /// Of the pairs that the taken devices have with free ones, those within the set were counted twice.
    fn finished(&self, part: &Part) -> Score {
        let ports =
            if self.wanted.ports == 0 { 0 } else { self.reached(part.set).min(self.wanted.most_ports) };
        let near = -(self.wanted.near.short(part.set) as i32);
        Score { ports, near, left: part.score.left + part.score.inside, ..part.score }
    }

    /// Ports that the devices can use at once: three devices that are near to the same two use two.
    fn reached(&self, set: u64) -> u32 {
        let (mut left, mut reached, mut all) = (set, 0, 0);
        while left != 0 {
            let row = left.trailing_zeros() as usize;
            let (near, alike) = (self.facts[row].1, self.alike[row] & set);
            reached += near.count_ones().min(alike.count_ones().saturating_mul(self.wanted.ports_each));
            all |= near;
            left &= !alike;
        }
        reached.min(all.count_ones())
    }

    fn offer(&mut self, part: &Part) {
        let score = self.finished(part);
        if self.best.is_none_or(|(best, _)| score > best) {
            self.best = Some((score, part.set));
        }
    }

    /// Sets with the first devices come first, so that the first of equals is kept.
    fn descend(&mut self, at: usize, part: Part, passed: u64) {
        if part.count == self.wanted.count {
            self.offer(&part);
            return;
        }
        self.steps += 1;
        let Some(row) = self.pool.get(at).copied() else { return };
        let open = (self.all & u64::MAX << row & !passed).count_ones() as usize;
        if part.count + open < self.wanted.count || self.steps > self.bound {
            return;
        }
        if passed >> row & 1 == 0 {
            let more = self.with(part, row);
            if self.best.is_none_or(|(best, _)| more.score.slowest >= best.slowest) {
                self.descend(at + 1, more, passed);
            }
        }
        // What is equal to a device that was passed over makes no other set than that.
        self.descend(at + 1, part, passed | 1 << row | self.model.equal(row));
    }

    /// From each device, with the device that makes the best set each time.
    fn grow(&mut self) {
        for first in self.pool.clone() {
            let mut part = self.with(self.part(), first);
            while part.count < self.wanted.count {
                let others = self.pool.iter().filter(|row| part.set >> **row & 1 == 0);
                let mut best: Option<(Score, Part)> = None;
                for more in others.map(|row| self.with(part, *row)) {
                    let score = self.finished(&more);
                    if best.is_none_or(|(best, _)| score > best) {
                        best = Some((score, more));
                    }
                }
                let Some((_, more)) = best else { return };
                part = more;
            }
            self.offer(&part);
        }
    }
}
