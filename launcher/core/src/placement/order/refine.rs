//! Local search: swaps and moves until none helps, kicks out of what is left.

use std::collections::VecDeque;

use super::kicks::{Dice, kick};
use super::state::State;

/// Up to this many slots every leaf is tried for every slot; beyond, only leaves that hold a neighbour.
const TRY_ALL: u32 = 64;

/// Slots whose surroundings changed.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<u32>,
    listed: Vec<bool>,
}

impl Queue {
    pub(super) fn new(slots: u32) -> Self {
        Queue { waiting: VecDeque::new(), listed: vec![false; slots as usize] }
    }

    pub(super) fn push(&mut self, slot: u32) {
        if !std::mem::replace(&mut self.listed[slot as usize], true) {
            self.waiting.push_back(slot);
        }
    }

    fn pop(&mut self) -> Option<u32> {
        let slot = self.waiting.pop_front()?;
        self.listed[slot as usize] = false;
        Some(slot)
    }

    fn clear(&mut self) {
        while self.pop().is_some() {}
    }

    /// A slot that moved concerns itself and its neighbours.
    pub(super) fn push_around(&mut self, state: &State<'_>, slot: u32) {
        self.push(slot);
        state.model.links(slot).iter().for_each(|link| self.push(link.to));
    }
}

/// First improvement in the order of the queue until it is empty or `budget` proposals are used up.
pub(super) fn descend(state: &mut State<'_>, queue: &mut Queue, budget: &mut u64) {
    let mut targets = Vec::new();
    while let Some(slot) = queue.pop() {
        if *budget == 0 {
            queue.clear();
            return;
        }
        while improve(state, slot, &mut targets, queue, budget) {}
    }
}

/// Does the first change found that puts `slot` elsewhere at a gain.
fn improve(
    state: &mut State<'_>,
    slot: u32,
    targets: &mut Vec<u32>,
    queue: &mut Queue,
    budget: &mut u64,
) -> bool {
    let from = state.leaf_of[slot as usize];
    targets.clear();
    if state.model.slots() <= TRY_ALL {
        targets.extend((0..state.model.leaves).filter(|leaf| *leaf != from));
    } else {
        for link in state.model.links(slot) {
            let leaf = state.leaf_of[link.to as usize];
            if leaf != from && !targets.contains(&leaf) {
                targets.push(leaf);
            }
        }
    }
    for to in &*targets {
        let to = *to;
        if !state.allowed(slot, to) {
            continue;
        }
        let (alone, _) = state.shift(slot, to, u32::MAX);
        *budget = budget.saturating_sub(1);
        if alone < 0 && state.room[to as usize] > 0 {
            state.relocate(slot, to, alone);
            queue.push_around(state, slot);
            return true;
        }
        let apart = state.model.distance(from, to);
        for at in 0..state.members[to as usize].len() {
            let other = state.members[to as usize][at];
            let (back, joined) = state.shift(other, from, slot);
            *budget = budget.saturating_sub(1);
            let delta = alone + joined * apart + back;
            if delta < 0 && state.allowed(other, from) {
                state.relocate(slot, to, delta);
                state.relocate(other, from, 0);
                queue.push_around(state, slot);
                queue.push_around(state, other);
                return true;
            }
        }
    }
    false
}

/// A descent from wherever the state is: every slot with an edge out of its leaf is looked at.
pub(super) fn settle(state: &mut State<'_>, budget: &mut u64) {
    let mut queue = Queue::new(state.model.slots());
    for slot in 0..state.model.slots() {
        let own = state.leaf_of[slot as usize];
        if state.model.links(slot).iter().any(|link| state.leaf_of[link.to as usize] != own) {
            queue.push(slot);
        }
    }
    descend(state, &mut queue, budget);
}

/// Kicks and descents; what ends dearer is taken back. Ends at cost `floor`, after `patience` kicks in a row
/// without gain, or when the budget is used up.
pub(super) fn escape(state: &mut State<'_>, dice: &mut Dice, floor: i64, patience: u32, budget: &mut u64) {
    let mut queue = Queue::new(state.model.slots());
    let mut idle = 0;
    while state.cost > floor && idle < patience && *budget > 0 {
        let before = state.cost;
        state.mark();
        // A kick that finds nothing to do costs a proposal too, so that the budget bounds the loop.
        *budget -= 1;
        let times = 1 + dice.below(if idle * 2 > patience { 4 } else { 2 });
        for _ in 0..times {
            kick(state, dice, &mut queue);
        }
        descend(state, &mut queue, budget);
        if state.cost > before {
            state.undo(before);
        }
        idle = if state.cost < before { 0 } else { idle + 1 };
    }
}
