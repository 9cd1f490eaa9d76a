//! Exact search by branch and bound over the leaf of each slot.
//!
//! Slots are placed in an order in which each has many neighbours before it. A partial assignment is left when
//! what it costs, plus for each slot still to come the least that its edges to placed slots can cost, plus what
//! the slots to come cost among themselves at least, reaches the best known. The last term is the optimum of the
//! same problem for the last slots alone, found first, shortest tail first (Russian doll search; Verfaillie,
//! Lemaître and Schiex, 1996). Of untouched twin domains only the first is entered.

use super::model::Model;
use super::twins::earlier_twins;

/// More slots than this are not searched exactly.
pub(super) const MOST_SLOTS: u32 = 24;
/// Nor are more leaves: the work per step grows with them.
pub(super) const MOST_LEAVES: u32 = 64;

/// What a search found.
pub(super) struct Found {
    /// The best assignment, if it is better than the one it began with.
    pub(super) better: Option<(i64, Vec<u32>)>,
    /// The whole space was searched.
    pub(super) complete: bool,
    pub(super) nodes: u64,
}

/// Looks for an assignment cheaper than `known` (exclusive), within `nodes` steps.
pub(super) fn search(model: &Model<'_>, known: i64, floor: i64, nodes: u64) -> Found {
    let mut search = Search::new(model, nodes);
    let slots = model.slots() as usize;
    // Tails may use half of the steps.
    search.until = nodes / 2;
    for from in (1..slots).rev() {
        let least = search.tails[from + 1];
        let above = search.extend(from).unwrap_or(i64::MAX);
        search.run(from, above, least);
        if search.steps >= search.until {
            search.tails[1..=from].fill(least);
            break;
        }
        search.tails[from] = search.best;
    }
    search.until = nodes;
    search.limited = true;
    search.run(0, known, floor);
    let complete = search.steps < nodes;
    let better = (search.best < known).then(|| {
        let mut leaf_of = vec![0; slots];
        for (slot, leaf) in search.order.iter().zip(&search.best_leaves) {
            leaf_of[*slot as usize] = *leaf;
        }
        (search.best, leaf_of)
    });
    Found { better, complete, nodes: search.steps }
}

struct Search<'m> {
    model: &'m Model<'m>,
    /// Slots in the order in which they are placed.
    order: Vec<u32>,
    /// Edges of each place in the order to later places.
    later: Vec<Vec<(usize, i64)>>,
    twins: Vec<Option<u32>>,
    /// Least cost among the slots from each place on.
    tails: Vec<i64>,
    room: Vec<u32>,
    /// Slots placed below each domain.
    held: Vec<u32>,
    leaf_at: Vec<u32>,
    /// For each place and leaf, cost of the edges to what is placed.
    joins: Vec<i64>,
    best: i64,
    best_leaves: Vec<u32>,
    floor: i64,
    /// Hard limits count.
    limited: bool,
    steps: u64,
    until: u64,
}

impl<'m> Search<'m> {
    fn new(model: &'m Model<'m>, nodes: u64) -> Self {
        let slots = model.slots() as usize;
        let order = order(model);
        let mut place = vec![0; slots];
        order.iter().enumerate().for_each(|(at, slot)| place[*slot as usize] = at);
        let later = |at: usize| -> Vec<(usize, i64)> {
            let links = model.links(order[at]).iter();
            links.map(|link| (place[link.to as usize], link.weight)).filter(|(to, _)| *to > at).collect()
        };
        Search {
            model,
            later: (0..slots).map(later).collect(),
            twins: earlier_twins(model),
            tails: vec![0; slots + 1],
            room: (0..model.leaves).map(|leaf| model.tree.capacity(leaf)).collect(),
            held: vec![0; model.tree.domains().len()],
            leaf_at: vec![u32::MAX; slots],
            joins: vec![0; slots * model.leaves as usize],
            best: i64::MAX,
            best_leaves: vec![0; slots],
            floor: 0,
            limited: false,
            steps: 0,
            until: nodes,
            order,
        }
    }

    /// Cost of the best known tail after `from` with the slot at `from` put to it, as a start for the next.
    fn extend(&self, from: usize) -> Option<i64> {
        let leaves = &self.best_leaves;
        let fits = |leaf: &u32| {
            let taken = leaves[from + 1..].iter().filter(|used| *used == leaf).count();
            self.model.tree.capacity(*leaf) as usize > taken
        };
        let cost = |leaf: u32| {
            let edges = self.later[from].iter();
            edges.map(|(to, weight)| weight * self.model.distance(leaf, leaves[*to])).sum::<i64>()
        };
        let least = (0..self.model.leaves).filter(fits).map(cost).min()?;
        // One more, so that the search finds it itself.
        (from + 1 < leaves.len()).then_some(self.tails[from + 1] + least + 1)
    }

    /// Searches the slots from `from` on for less than `known`, and ends early at `floor`.
    fn run(&mut self, from: usize, known: i64, floor: i64) {
        self.best = known;
        self.floor = floor;
        self.place(from, 0);
    }

    /// Recursion as deep as there are slots.
    fn place(&mut self, at: usize, cost: i64) {
        if at == self.order.len() {
            self.best = cost;
            self.best_leaves.copy_from_slice(&self.leaf_at);
            return;
        }
        let leaves = self.model.leaves as usize;
        let mut choices = [(0i64, 0u32); MOST_LEAVES as usize];
        let mut count = 0;
        for leaf in 0..self.model.leaves {
            if self.room[leaf as usize] > 0 && self.first_of_twins(leaf) && self.permitted(at, leaf) {
                choices[count] = (self.joins[at * leaves + leaf as usize], leaf);
                count += 1;
            }
        }
        choices[..count].sort_unstable();
        for (extra, leaf) in choices.into_iter().take(count) {
            if cost + extra + self.tails[at + 1] >= self.best || self.best <= self.floor {
                return;
            }
            if self.steps >= self.until {
                return;
            }
            self.steps += 1;
            self.put(at, leaf, 1);
            if cost + extra + self.to_come(at + 1, self.best - cost - extra) < self.best {
                self.place(at + 1, cost + extra);
            }
            self.put(at, leaf, -1);
        }
    }

    /// Places (`sign` 1) or takes back (-1) the slot at `at`.
    fn put(&mut self, at: usize, leaf: u32, sign: i64) {
        let leaves = self.model.leaves as usize;
        self.room[leaf as usize] = self.room[leaf as usize].wrapping_add_signed(-sign as i32);
        for depth in 0..self.model.tree.depth() {
            let domain = self.model.tree.at(leaf, depth) as usize;
            self.held[domain] = self.held[domain].wrapping_add_signed(sign as i32);
        }
        self.leaf_at[at] = if sign > 0 { leaf } else { u32::MAX };
        for (to, weight) in &self.later[at] {
            for other in 0..self.model.leaves {
                self.joins[to * leaves + other as usize] += sign * weight * self.model.distance(leaf, other);
            }
        }
    }

    /// Least that the slots from `at` on can add; ends once it reaches `enough`.
    fn to_come(&self, at: usize, enough: i64) -> i64 {
        let leaves = self.model.leaves as usize;
        let mut sum = self.tails[at];
        for place in at..self.order.len() {
            let joins = &self.joins[place * leaves..(place + 1) * leaves];
            let open = joins.iter().zip(&self.room).filter(|(_, room)| **room > 0);
            match open.map(|(join, _)| *join).min() {
                Some(least) => sum += least,
                None => return i64::MAX / 4,
            }
            if sum >= enough {
                return sum;
            }
        }
        sum
    }

    /// No twin of the leaf, or of a domain above it, that is as untouched comes before.
    fn first_of_twins(&self, leaf: u32) -> bool {
        (0..self.model.tree.depth()).all(|depth| {
            let domain = self.model.tree.at(leaf, depth) as usize;
            self.held[domain] > 0 || self.twins[domain].is_none_or(|twin| self.held[twin as usize] > 0)
        })
    }

    /// Hard limits let the slot join what is placed of its class.
    fn permitted(&self, at: usize, leaf: u32) -> bool {
        if !self.limited {
            return true;
        }
        let slot = self.order[at] as usize;
        self.model.limits.iter().filter(|limit| limit.sizes[slot] > 1).all(|limit| {
            let domain = limit.domains[leaf as usize];
            let of_class = |place: &usize| limit.classes[self.order[*place] as usize] == limit.classes[slot];
            domain != u32::MAX
                && (0..at)
                    .find(of_class)
                    .is_none_or(|place| limit.domains[self.leaf_at[place] as usize] == domain)
        })
    }
}

/// Each next slot is the one with the most weight to those before it, lowest number first.
pub(super) fn order(model: &Model<'_>) -> Vec<u32> {
    let slots = model.slots();
    let mut pull = vec![0i64; slots as usize];
    let mut left: Vec<u32> = (0..slots).collect();
    let mut order = Vec::with_capacity(slots as usize);
    while let Some(at) =
        (0..left.len()).max_by_key(|at| (pull[left[*at] as usize], std::cmp::Reverse(left[*at])))
    {
        let slot = left.remove(at);
        order.push(slot);
        model.links(slot).iter().for_each(|link| pull[link.to as usize] += link.weight);
    }
    order
}
