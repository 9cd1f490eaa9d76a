//! Changes that a descent does not find: several slots at once, at a loss at first.

use super::refine::Queue;
use super::state::State;

/// Numbers that look random and follow from the seed alone (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, or 0.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        // The high half of the product is below the bound.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u32
    }
}

/// One kick at a place drawn by the dice. Limits hold before and after; leaves are never overfilled.
pub(super) fn kick(state: &mut State<'_>, dice: &mut Dice, queue: &mut Queue) {
    let slot = dice.below(state.model.slots());
    let moves = match dice.below(6) {
        0 => swaps(state, dice, slot),
        1 => repartition(state, dice, slot),
        2 => rotate_line(state, dice, slot),
        3 => exchange(state, dice, slot),
        4 => vacate(state, dice, slot),
        _ => cycle(state, dice, slot),
    };
    if moves.iter().all(|(slot, to)| state.allowed(*slot, *to)) {
        state.rearrange(&moves);
        moves.iter().for_each(|(slot, _)| queue.push_around(state, *slot));
    }
}

/// The leaf of a neighbour of `slot`, or any leaf that is used.
fn other_leaf(state: &State<'_>, dice: &mut Dice, slot: u32) -> u32 {
    let links = state.model.links(slot);
    if !links.is_empty() && dice.below(4) > 0 {
        let link = links[dice.below(links.len() as u32) as usize];
        return state.leaf_of[link.to as usize];
    }
    state.leaf_of[dice.below(state.model.slots()) as usize]
}

fn member(state: &State<'_>, dice: &mut Dice, leaf: u32) -> Option<u32> {
    let members = &state.members[leaf as usize];
    members.get(dice.below(members.len() as u32) as usize).copied()
}

/// A slot and a member of another leaf change places.
fn swaps(state: &State<'_>, dice: &mut Dice, slot: u32) -> Vec<(u32, u32)> {
    let to = other_leaf(state, dice, slot);
    let from = state.leaf_of[slot as usize];
    match member(state, dice, to) {
        Some(other) if to != from => vec![(slot, to), (other, from)],
        _ => Vec::new(),
    }
}

/// Three slots of three leaves go round.
fn cycle(state: &State<'_>, dice: &mut Dice, slot: u32) -> Vec<(u32, u32)> {
    let a = state.leaf_of[slot as usize];
    let b = other_leaf(state, dice, slot);
    let Some(second) = member(state, dice, b) else { return Vec::new() };
    let c = other_leaf(state, dice, second);
    match member(state, dice, c) {
        Some(third) if a != b && b != c && a != c => vec![(slot, b), (second, c), (third, a)],
        _ => Vec::new(),
    }
}

/// Two leaves share their slots out anew, cut along a dimension of the grid.
fn repartition(state: &State<'_>, dice: &mut Dice, slot: u32) -> Vec<(u32, u32)> {
    let graph = state.model.graph;
    let a = state.leaf_of[slot as usize];
    let b = other_leaf(state, dice, slot);
    if a == b {
        return Vec::new();
    }
    let mut both: Vec<u32> =
        [a, b].iter().flat_map(|leaf| state.members[*leaf as usize].iter().copied()).collect();
    both.sort_unstable();
    let dims = graph.dims().len() as u32;
    if dims > 0 {
        let dim = dice.below(dims) as usize;
        let size = graph.dims()[dim].size;
        let turn = dice.below(size);
        // Lines may go round: the cut starts anywhere.
        both.sort_by_key(|slot| (graph.coords_of(*slot)[dim] + turn) % size);
    } else {
        let turn = dice.below(both.len() as u32) as usize;
        both.rotate_left(turn);
    }
    let first = state.members[a as usize].len();
    let leaf = |at: usize| if at < first { a } else { b };
    both.into_iter().enumerate().map(|(at, slot)| (slot, leaf(at))).collect()
}

/// The slots of a line of the grid each take the place of the next.
fn rotate_line(state: &State<'_>, dice: &mut Dice, slot: u32) -> Vec<(u32, u32)> {
    let graph = state.model.graph;
    let dims = graph.dims();
    if dims.is_empty() || !graph.whole {
        return Vec::new();
    }
    let along = dice.below(dims.len() as u32) as usize;
    let stride: u32 = dims[..along].iter().map(|dim| dim.size).product();
    let size = dims[along].size;
    let first = slot - graph.coords_of(slot)[along] * stride;
    let length = 2 + dice.below((size - 1).min(8));
    let length = length.min(size);
    let start = dice.below(size);
    let at = |member: u32| first + ((start + member) % size) * stride;
    let mut moves: Vec<(u32, u32)> =
        (0..length).map(|member| (at(member), state.leaf_of[at((member + 1) % length) as usize])).collect();
    if dice.below(2) == 0 {
        // Or they are reversed.
        moves =
            (0..length).map(|member| (at(member), state.leaf_of[at(length - 1 - member) as usize])).collect();
    }
    moves
}

/// Two leaves change what they hold, as far as there is room.
fn exchange(state: &State<'_>, dice: &mut Dice, slot: u32) -> Vec<(u32, u32)> {
    let a = state.leaf_of[slot as usize];
    let b = dice.below(state.model.leaves);
    if a == b {
        return Vec::new();
    }
    let (of_a, of_b) = (&state.members[a as usize], &state.members[b as usize]);
    let fit_a = state.model.tree.capacity(a) as usize;
    let fit_b = state.model.tree.capacity(b) as usize;
    // Of a leaf that holds more than the other can, the excess stays.
    let to_b = of_a.len().min(fit_b);
    let to_a = of_b.len().min(fit_a);
    let moves = of_a.iter().take(to_b).map(|slot| (*slot, b));
    moves.chain(of_b.iter().take(to_a).map(|slot| (*slot, a))).collect()
}

/// A leaf gives slots to free room elsewhere, all of them where it can.
fn vacate(state: &State<'_>, dice: &mut Dice, slot: u32) -> Vec<(u32, u32)> {
    let from = state.leaf_of[slot as usize];
    let few = dice.below(2) == 0;
    let wanted = if few { 1 + dice.below(3) as usize } else { usize::MAX };
    let start = dice.below(state.model.leaves);
    let mut open = (0..state.model.leaves.min(64))
        .map(|at| (start + at) % state.model.leaves)
        .filter(|leaf| *leaf != from)
        .flat_map(|leaf| std::iter::repeat_n(leaf, state.room[leaf as usize] as usize));
    let members = &state.members[from as usize];
    let turn = if members.is_empty() { 0 } else { dice.below(members.len() as u32) as usize };
    let order = members.iter().cycle().skip(turn).take(members.len().min(wanted));
    order.map_while(|slot| Some((*slot, open.next()?))).collect()
}
