//! How many slots each leaf takes, where nobody says: the lowest domain that holds them, fewest leaves in it.

use std::ops::Range;

use super::tree::Tree;

/// Domains that are left out in turn to find other choices.
const LEFT_OUT: usize = 32;

/// Shares of leaves in multiples of `unit` as far as that goes, for each unit; with `vary` also the fewest leaves
/// wherever they are, and what comes when one of the domains chosen is left out. Without repetitions.
pub(super) fn alternatives(tree: &Tree, slots: u32, units: &[u32], vary: bool) -> Vec<Vec<u32>> {
    let mut all: Vec<Vec<u32>> = Vec::new();
    for unit in units {
        let counts = fill(tree, slots, *unit, 0..0);
        all.extend(counts.filter(|counts| !all.contains(counts)));
    }
    if vary {
        let chosen = all.first().cloned().unwrap_or_default();
        let used = |domain: u32| tree.leaves_below(domain).any(|leaf| chosen.get(leaf as usize) > Some(&0));
        let domains = 1..u32::try_from(tree.domains().len()).unwrap_or(u32::MAX);
        let left_out = domains.filter(|domain| used(*domain)).map(|domain| tree.leaves_below(domain));
        for without in std::iter::once(0..0).chain(left_out).take(LEFT_OUT) {
            for counts in [fill(tree, slots, 1, without.clone()), fewest(tree, slots, without)] {
                all.extend(counts.filter(|counts| !all.contains(counts)));
            }
        }
    }
    all
}

fn fill(tree: &Tree, slots: u32, unit: u32, without: Range<u32>) -> Option<Vec<u32>> {
    let mut filling =
        Filling { tree, without, counts: vec![0; tree.leaf_count() as usize], room: Vec::new() };
    filling.measure(unit);
    let most = slots.min(u32::try_from(filling.room[0]).unwrap_or(u32::MAX)) / unit * unit;
    filling.fill(0, most);
    filling.measure(1);
    if filling.room[0] < u64::from(slots - most) {
        return None;
    }
    filling.fill(0, slots - most);
    Some(filling.counts)
}

/// The roomiest leaves, then the tightest that takes the rest, whatever is above them.
fn fewest(tree: &Tree, slots: u32, without: Range<u32>) -> Option<Vec<u32>> {
    let mut counts = vec![0; tree.leaf_count() as usize];
    let mut by_room: Vec<(u32, u32)> = (0..tree.leaf_count())
        .filter(|leaf| !without.contains(leaf))
        .map(|leaf| (tree.capacity(leaf), leaf))
        .collect();
    by_room.sort_by_key(|(room, leaf)| (*room, std::cmp::Reverse(*leaf)));
    let mut left = slots;
    while left > 0 {
        let fitting = by_room.iter().find(|(room, _)| *room >= left).copied();
        let (room, leaf) = fitting.or_else(|| by_room.pop())?;
        counts[leaf as usize] = room.min(left);
        left -= room.min(left);
    }
    Some(counts)
}

struct Filling<'t> {
    tree: &'t Tree,
    without: Range<u32>,
    counts: Vec<u32>,
    /// Slots that each domain can still take.
    room: Vec<u64>,
}

impl Filling<'_> {
    fn measure(&mut self, unit: u32) {
        let domains = self.tree.domains();
        self.room = vec![0; domains.len()];
        for leaf in (0..self.tree.leaf_count()).filter(|leaf| !self.without.contains(leaf)) {
            let left = self.tree.capacity(leaf) - self.counts[leaf as usize];
            self.room[self.tree.leaves()[leaf as usize] as usize] = u64::from(left / unit * unit);
        }
        for at in (1..domains.len()).rev() {
            if let Some(parent) = domains[at].parent {
                self.room[parent as usize] += self.room[at];
            }
        }
    }

    /// The tightest child that takes all; else the roomiest whole, and so on. Cheap uplinks first among equals.
    fn fill(&mut self, domain: u32, slots: u32) {
        let children = self.tree.children(domain);
        let Some(_) = children.first() else {
            self.counts[self.tree.leaves_below(domain).start as usize] += slots;
            return;
        };
        let domains = self.tree.domains();
        let mut by_room: Vec<u32> =
            children.iter().copied().filter(|child| self.room[*child as usize] > 0).collect();
        by_room.sort_by_key(|child| {
            (
                self.room[*child as usize],
                std::cmp::Reverse(domains[*child as usize].uplink),
                std::cmp::Reverse(*child),
            )
        });
        let mut left = u64::from(slots);
        while left > 0 {
            let fitting = by_room.partition_point(|child| self.room[*child as usize] < left);
            let Some(tightest) = by_room.get(fitting).map(|child| self.room[*child as usize]) else {
                let Some(roomiest) = by_room.pop() else { return };
                let room = self.room[roomiest as usize];
                self.fill(roomiest, u32::try_from(room).unwrap_or(u32::MAX));
                left -= room;
                continue;
            };
            let equal = by_room.partition_point(|child| self.room[*child as usize] <= tightest);
            self.fill(by_room[equal - 1], u32::try_from(left).unwrap_or(u32::MAX));
            return;
        }
    }
}
