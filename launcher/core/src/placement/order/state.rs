//! An assignment under change: costs follow by differences.

use super::model::Model;

/// An assignment with what each leaf holds.
#[derive(Debug)]
pub(super) struct State<'m> {
    pub(super) model: &'m Model<'m>,
    pub(super) leaf_of: Vec<u32>,
    /// Where each slot stands in its leaf's list.
    place: Vec<u32>,
    pub(super) members: Vec<Vec<u32>>,
    pub(super) room: Vec<u32>,
    pub(super) cost: i64,
    /// Slots that moved and where they came from, for [`State::undo`].
    journal: Vec<(u32, u32)>,
}

impl<'m> State<'m> {
    pub(super) fn new(model: &'m Model<'m>, leaf_of: Vec<u32>) -> Self {
        let mut members = vec![Vec::new(); model.leaves as usize];
        let mut place = Vec::with_capacity(leaf_of.len());
        for (slot, leaf) in (0u32..).zip(&leaf_of) {
            let list: &mut Vec<u32> = &mut members[*leaf as usize];
            place.push(list.len() as u32);
            list.push(slot);
        }
        let room = (0..model.leaves)
            .map(|leaf| model.tree.capacity(leaf).saturating_sub(members[leaf as usize].len() as u32))
            .collect();
        let cost = model.cost(&leaf_of);
        State { model, leaf_of, place, members, room, cost, journal: Vec::new() }
    }

    /// What the slot's edges would cost more with the slot on leaf `to`; the edges to `except` are left out and
    /// their weight is the second number.
    #[inline]
    pub(super) fn shift(&self, slot: u32, to: u32, except: u32) -> (i64, i64) {
        let from = self.leaf_of[slot as usize];
        let (mut delta, mut left_out) = (0, 0);
        for link in self.model.links(slot) {
            if link.to == except {
                left_out += link.weight;
                continue;
            }
            let other = self.leaf_of[link.to as usize];
            delta += link.weight * (self.model.distance(to, other) - self.model.distance(from, other));
        }
        (delta, left_out)
    }

    /// Whether hard limits let the slot go to that leaf alone.
    pub(super) fn allowed(&self, slot: u32, to: u32) -> bool {
        self.model.limits.iter().all(|limit| {
            let from = self.leaf_of[slot as usize] as usize;
            limit.sizes[slot as usize] < 2 || limit.domains[from] == limit.domains[to as usize]
        })
    }

    /// Puts the slot elsewhere; `delta` is what it costs more.
    pub(super) fn relocate(&mut self, slot: u32, to: u32, delta: i64) {
        let from = self.leaf_of[slot as usize];
        self.journal.push((slot, from));
        self.transfer(slot, to);
        self.cost += delta;
    }

    fn transfer(&mut self, slot: u32, to: u32) {
        let from = self.leaf_of[slot as usize] as usize;
        let at = self.place[slot as usize] as usize;
        self.members[from].swap_remove(at);
        if let Some(moved) = self.members[from].get(at) {
            self.place[*moved as usize] = at as u32;
        }
        self.place[slot as usize] = self.members[to as usize].len() as u32;
        self.members[to as usize].push(slot);
        self.leaf_of[slot as usize] = to;
        // A change of several slots overfills a leaf for a moment; its end restores the room.
        self.room[from] = self.room[from].wrapping_add(1);
        self.room[to as usize] = self.room[to as usize].wrapping_sub(1);
    }

    /// Moves slots at once, as one change whose cost is counted from the edges of the moved slots.
    pub(super) fn rearrange(&mut self, moves: &[(u32, u32)]) {
        for (slot, to) in moves {
            let (delta, _) = self.shift(*slot, *to, u32::MAX);
            self.relocate(*slot, *to, delta);
        }
    }

    /// From here on changes can be undone.
    pub(super) fn mark(&mut self) {
        self.journal.clear();
    }

    /// Takes back all changes since the mark, at which the cost was `cost`.
    pub(super) fn undo(&mut self, cost: i64) {
        while let Some((slot, from)) = self.journal.pop() {
            self.transfer(slot, from);
        }
        self.cost = cost;
    }
}
