//! Renumberings of slots that change nothing.

use super::cells::{Cells, MOST_SLOTS, Set, len, members};
use crate::placement::order::SlotGraph;
use crate::placement::order::model::Limit;

/// So many turns are looked through for each set.
const MOST: usize = 128;

/// The number that each slot gets.
pub(super) type Renumbering = [u8; MOST_SLOTS];

/// A renumbering that is its own inverse: slots that change places, the lower number first, in the order of these.
pub(super) type Swap = Vec<(usize, usize)>;

pub(super) struct Symmetry {
    /// Turns and reflections of a grid, and what comes of them one after another.
    turns: Vec<Renumbering>,
    /// Images of four slots at once, for each turn.
    images: Vec<[[Set; 16]; MOST_SLOTS / 4]>,
    /// Two lines of a grid change places, or a grid is reflected.
    swaps: Vec<Swap>,
}

impl Symmetry {
    pub(super) fn new(cells: &Cells, graph: &SlotGraph, limits: &[Limit]) -> Symmetry {
        let holds = |numbers: &Renumbering| keeps(cells, limits, numbers);
        let mut turns = vec![identity()];
        let (mut generators, mut swaps) = candidates(cells, graph);
        generators.retain(holds);
        swaps.retain(holds);
        let mut at = 0;
        while at < turns.len() {
            for generator in &generators {
                let next = turns[at].map(|slot| generator[usize::from(slot)]);
                if turns.len() < MOST && !turns.contains(&next) {
                    turns.push(next);
                }
            }
            at += 1;
        }
        let of = |numbers: &Renumbering| {
            std::array::from_fn(|four| {
                std::array::from_fn(|bits| image(numbers, (bits as Set) << (4 * four)))
            })
        };
        let images = turns.iter().map(of).collect();
        let is_swap = |numbers: &&Renumbering| {
            **numbers != identity() && numbers.map(|slot| numbers[usize::from(slot)]) == identity()
        };
        swaps.extend(&turns);
        let pairs = |numbers: &Renumbering| {
            let pairs = numbers.iter().map(|number| usize::from(*number)).enumerate();
            pairs.filter(|(slot, number)| slot < number).collect()
        };
        Symmetry { turns, images, swaps: swaps.iter().filter(is_swap).map(pairs).collect() }
    }

    /// A set that this one may be renumbered to, the same for most that are alike, and how.
    pub(super) fn first(&self, set: Set) -> (Set, Renumbering) {
        let turned = |fours: &[[Set; 16]; MOST_SLOTS / 4]| -> Set {
            (0..).zip(fours).map(|(four, image)| image[(set >> (4 * four) & 15) as usize]).sum()
        };
        let images = self.images.iter().zip(&self.turns).map(|(fours, turn)| (turned(fours), turn));
        let (mut set, turn) = images.min().unwrap_or((set, &self.turns[0]));
        let mut numbers = *turn;
        while let Some((swapped, swap)) =
            self.swaps.iter().map(|swap| (swapped(set, swap), swap)).find(|(swapped, _)| *swapped < set)
        {
            set = swapped;
            let mut own = identity();
            for (a, b) in swap {
                own.swap(*a, *b);
            }
            numbers = numbers.map(|slot| own[usize::from(slot)]);
        }
        (set, numbers)
    }

    /// Swaps that leave a set what it is, and a slot where it is.
    pub(super) fn fixing(&self, set: Set, slot: usize) -> Vec<&Swap> {
        let fixes =
            |swap: &&Swap| swap.iter().all(|(a, b)| *a != slot && *b != slot) && swapped(set, swap) == set;
        let mut fixing: Vec<&Swap> = self.swaps.iter().filter(fixes).collect();
        // Of lines that are alike each with the next.
        fixing.sort();
        fixing.dedup_by_key(|swap| swap[0].0);
        fixing
    }

    /// The slots that a slot may be renumbered to.
    pub(super) fn orbit(&self, slot: usize) -> Set {
        let mut orbit = self.turns.iter().fold(0, |orbit: Set, numbers| orbit | 1 << numbers[slot]);
        loop {
            let more = self.swaps.iter().fold(orbit, |orbit, swap| orbit | swapped(orbit, swap));
            if more == orbit {
                return orbit;
            }
            orbit = more;
        }
    }
}

/// What slots have, given to the numbers that they get.
pub(super) fn renumber<T: Copy + Default>(numbers: &Renumbering, of: &[T; MOST_SLOTS]) -> [T; MOST_SLOTS] {
    let mut renumbered = [T::default(); MOST_SLOTS];
    for (number, of) in numbers.iter().zip(of) {
        renumbered[usize::from(*number)] = *of;
    }
    renumbered
}

/// And back.
pub(super) fn restore<T: Copy>(numbers: &Renumbering, of: &[T; MOST_SLOTS]) -> [T; MOST_SLOTS] {
    numbers.map(|number| of[usize::from(number)])
}

fn identity() -> Renumbering {
    std::array::from_fn(|slot| slot as u8)
}

fn image(numbers: &Renumbering, set: Set) -> Set {
    members(set).fold(0, |image, slot| image | 1 << numbers[slot])
}

fn swapped(set: Set, swap: &Swap) -> Set {
    swap.iter().fold(set, |set, (a, b)| {
        let differ = (set >> a ^ set >> b) & 1;
        set ^ (differ << a | differ << b)
    })
}

/// Whether all weights and classes stay what they are.
fn keeps(cells: &Cells, limits: &[Limit], numbers: &Renumbering) -> bool {
    let number = |slot: usize| usize::from(numbers[slot]);
    let slots = || 0..cells.count;
    let is_kept = |a: usize, b: usize| {
        let together = |limit: &Limit, a: usize, b: usize| limit.classes[a] == limit.classes[b];
        cells.weight[a][b] == cells.weight[number(a)][number(b)]
            && limits.iter().all(|limit| together(limit, a, b) == together(limit, number(a), number(b)))
    };
    len(image(numbers, cells.all())) == cells.count && slots().all(|a| slots().all(|b| is_kept(a, b)))
}

/// Turns and reflections of each dimension of a grid, and swaps of two of its lines. Some may not keep the weights.
fn candidates(cells: &Cells, graph: &SlotGraph) -> (Vec<Renumbering>, Vec<Renumbering>) {
    let (mut turns, mut swaps) = (Vec::new(), Vec::new());
    let mut stride = 1;
    for dim in graph.dims().iter().filter(|_| graph.whole) {
        let size = dim.size as usize;
        let along = |new: &dyn Fn(usize) -> usize| -> Renumbering {
            std::array::from_fn(|slot| {
                let at = slot / stride % size;
                let is_slot = slot < cells.count;
                if is_slot { (slot - at * stride + new(at) * stride) as u8 } else { slot as u8 }
            })
        };
        turns.extend([along(&|at| (at + 1) % size), along(&|at| size - 1 - at)]);
        for one in 0..size {
            for other in one + 1..size {
                swaps.push(along(&|at| match at {
                    _ if at == one => other,
                    _ if at == other => one,
                    _ => at,
                }));
            }
        }
        stride *= size;
    }
    (turns, swaps)
}
