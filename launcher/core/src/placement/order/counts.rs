//! How many slots each leaf takes, where nobody says: the lowest domain that holds them, fewest leaves in it.

use super::tree::Tree;

/// Choices that are tried by leaving out a leaf that was chosen.
const LEFT_OUT: usize = 24;

/// Shares of leaves in multiples of `unit` as far as that goes, for each unit; with `vary` also what comes when
/// one of the leaves chosen is left out. Without repetitions.
pub(super) fn alternatives(tree: &Tree, slots: u32, units: &[u32], vary: bool) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    for unit in units {
        let counts = fill(tree, slots, *unit, None);
        all.extend(counts.filter(|counts| !all.contains(counts)));
    }
    if vary {
        let chosen = all.first().cloned().unwrap_or_default();
        let used = (0u32..).zip(chosen).filter(|(_, count)| *count > 0).map(|(leaf, _)| leaf);
        for leaf in used.take(LEFT_OUT) {
            let counts = fill(tree, slots, 1, Some(leaf));
            all.extend(counts.filter(|counts| !all.contains(counts)));
        }
    }
    all
}

fn fill(tree: &Tree, slots: u32, unit: u32, without: Option<u32>) -> Option<Vec<u32>> {
    let mut filling = Filling { tree, without, counts: vec![0; tree.leaf_count() as usize], room: Vec::new() };
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

struct Filling<'t> {
    tree: &'t Tree,
    without: Option<u32>,
    counts: Vec<u32>,
    /// Slots that each domain can still take.
    room: Vec<u64>,
}

impl Filling<'_> {
    fn measure(&mut self, unit: u32) {
        let domains = self.tree.domains();
        self.room = vec![0; domains.len()];
        for leaf in (0..self.tree.leaf_count()).filter(|leaf| self.without != Some(*leaf)) {
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
            (self.room[*child as usize], std::cmp::Reverse(domains[*child as usize].uplink), std::cmp::Reverse(*child))
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
