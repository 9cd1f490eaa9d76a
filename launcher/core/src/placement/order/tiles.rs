//! Tiles: the slots of a grid in strips, so that each domain's share is close to a box.
//!
//! An order runs along one dimension and takes the others in strips of some height; consecutive slots of it are
//! boxes of the strip's height. Domains take their shares in tree order, level by level: each domain orders
//! its own share anew, since the best strip for a block is not the best for a leaf.

use super::layout::Pattern;
use super::model::Model;

/// Slots up to which an order grown along the strongest edges is tried: finding it takes quadratic time.
const GROWN: u32 = 64;

/// Orders that are tried for the share of a domain, by number of slots in it.
fn tried(slots: usize) -> usize {
    match slots {
        0..=64 => 96,
        65..=1024 => 24,
        _ => 12,
    }
}

/// A way to walk a grid.
#[derive(Clone, Debug, PartialEq)]
struct Walk {
    /// Dimensions, outermost strips first; the last one is run along.
    dims: Vec<usize>,
    /// Height of the strips of each dimension but the last.
    heights: Vec<u32>,
    /// Turn round at the end of each row, rather than begin at its start.
    snake: bool,
}

/// A grid as far as a share of slots reaches into it.
struct Reach {
    low: Vec<u32>,
    size: Vec<u32>,
}

impl Walk {
    /// What a share of this walk of `slots` slots cuts, roughly.
    fn estimate(&self, model: &Model<'_>, reach: &Reach, slots: f64) -> f64 {
        let mut left = slots;
        let mut cost = 0.0;
        let mut add = |dim: usize, side: f64| {
            let dim = &model.graph.dims()[dim];
            let ends = match dim.pattern {
                Pattern::Ring => 2.0,
                Pattern::Chain | Pattern::Tree => 1.0,
                Pattern::AllToAll => f64::from(dim.size - 1),
            };
            cost += (dim.weight / model.weight_unit) as f64 * ends * (1.0 / side - 1.0 / f64::from(dim.size));
        };
        for (dim, height) in self.dims.iter().zip(&self.heights) {
            add(*dim, f64::from(*height));
            left /= f64::from(*height);
        }
        if let Some(run) = self.dims.last() {
            let side = left.clamp(1.0, f64::from(reach.size[*run]));
            add(*run, side);
        }
        cost
    }

    /// The slots in the order of this walk. A slot's place is a mixed-radix number: its strip in each outer
    /// dimension, its place along the run, its places within the strips.
    fn sort(&self, model: &Model<'_>, reach: &Reach, slots: &[u32], sorted: &mut Vec<u32>) {
        // For each digit: dimension, radix, and the digit for each coordinate.
        let mut digits: Vec<(usize, u64, Vec<u32>)> = Vec::new();
        let mut digit = |dim: usize, radix: u32, of: &dyn Fn(u32) -> u32| {
            digits.push((dim, u64::from(radix), (0..reach.size[dim]).map(of).collect()));
        };
        for (dim, height) in self.dims.iter().zip(&self.heights) {
            digit(*dim, reach.size[*dim].div_ceil(*height), &|at| at / height);
        }
        if let Some(run) = self.dims.last() {
            digit(*run, reach.size[*run], &|at| at);
        }
        for (dim, height) in self.dims.iter().zip(&self.heights).filter(|(_, height)| **height > 1) {
            digit(*dim, *height, &|at| at % height);
        }
        let keys: u64 = digits.iter().map(|(_, radix, _)| *radix).product();
        let key = |slot: u32| {
            let at = model.graph.coords_of(slot);
            digits.iter().fold(0u64, |key, (dim, radix, of)| {
                let value = u64::from(of[(at[*dim] - reach.low[*dim]) as usize]);
                let turned = self.snake && key & 1 == 1;
                key * radix + if turned { radix - 1 - value } else { value }
            })
        };
        sorted.clear();
        if keys <= 8 * slots.len() as u64 {
            // A share fills much of its box, so that a place for every key is less work than sorting.
            let mut places = vec![u32::MAX; keys as usize];
            slots.iter().for_each(|slot| places[key(*slot) as usize] = *slot);
            sorted.extend(places.into_iter().filter(|slot| *slot != u32::MAX));
        } else {
            sorted.extend_from_slice(slots);
            sorted.sort_by_cached_key(|slot| key(*slot));
        }
    }
}

/// Heights worth trying: all small ones, then with growing steps, the whole dimension last.
fn heights(size: u32, most: u32) -> Vec<u32> {
    let top = size.min(most.max(1));
    let mut heights = Vec::new();
    let mut height = 1;
    while height <= top {
        heights.push(height);
        height += (height / 8).max(1);
    }
    if heights.last() != Some(&top) {
        heights.push(top);
    }
    heights
}

/// Walks of what `reach` covers, most promising first for shares of `share` slots.
fn walks(model: &Model<'_>, reach: &Reach, share: u32, limit: usize) -> Vec<Walk> {
    let wide: Vec<usize> = (0..reach.size.len()).filter(|dim| reach.size[*dim] > 1).collect();
    let mut found = Vec::new();
    let mut perm = Vec::new();
    permute(&wide, &mut perm, &mut |dims| {
        let outer = &dims[..dims.len() - 1];
        let mut all: Vec<Vec<u32>> = vec![Vec::new()];
        for dim in outer {
            let mut longer = Vec::new();
            for start in &all {
                let used: u32 = start.iter().product();
                for height in heights(reach.size[*dim], share / used) {
                    longer.push(start.iter().copied().chain([height]).collect());
                }
            }
            all = longer;
        }
        for heights in all {
            for snake in [true, false] {
                found.push(Walk { dims: dims.to_vec(), heights: heights.clone(), snake });
            }
        }
    });
    let mut ranked: Vec<(f64, Walk)> =
        found.into_iter().map(|walk| (walk.estimate(model, reach, f64::from(share)), walk)).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked.truncate(limit);
    ranked.into_iter().map(|(_, walk)| walk).collect()
}

/// More dimensions than this keep their order: permutations grow fast.
const PERMUTED: usize = 4;

fn permute(left: &[usize], taken: &mut Vec<usize>, each: &mut impl FnMut(&[usize])) {
    if left.is_empty() {
        if !taken.is_empty() {
            each(taken);
        }
        return;
    }
    for (at, dim) in left.iter().enumerate() {
        let rest: Vec<usize> = left.iter().copied().filter(|other| other != dim).collect();
        taken.push(*dim);
        permute(&rest, taken, each);
        taken.pop();
        if left.len() > PERMUTED && at == 0 {
            return;
        }
    }
}

/// Slots in index order over the leaves in tree order, `counts` to each.
pub(super) fn tree_order(counts: &[u32]) -> Vec<u32> {
    (0u32..).zip(counts).flat_map(|(leaf, count)| std::iter::repeat_n(leaf, *count as usize)).collect()
}

/// The best tiling found level by level, and for small grids those of one walk over all leaves, cheapest first.
pub(super) fn tilings(model: &Model<'_>, counts: &[u32]) -> Vec<(i64, Vec<u32>)> {
    let plain = tree_order(counts);
    let mut found = vec![(model.cost(&plain), plain)];
    if model.slots() <= GROWN {
        // Slots that talk most stay together, whatever the grid says: right for trees and for no grid.
        let mut together = vec![0; found[0].1.len()];
        for (slot, leaf) in grown(model).into_iter().zip(&found[0].1) {
            together[slot as usize] = *leaf;
        }
        found.push((model.cost(&together), together));
    }
    if model.graph.dims().len() < 2 || model.graph.coords.is_empty() {
        return found;
    }
    let mut by_level = Levels::new(model, counts);
    let all: Vec<u32> = (0..model.slots()).collect();
    by_level.share_out(0, &all);
    found.push((model.cost(&by_level.leaf_of), by_level.leaf_of.clone()));
    if all.len() <= 1024 {
        for walk in by_level.walks_for(&all, counts.iter().copied().max().unwrap_or(1)) {
            walk.sort(model, &by_level.reach(&all), &all, &mut by_level.sorted);
            let mut leaf_of = vec![0; all.len()];
            for (slot, leaf) in by_level.sorted.iter().zip(&found[0].1) {
                leaf_of[*slot as usize] = *leaf;
            }
            found.push((model.cost(&leaf_of), leaf_of));
        }
    }
    found.sort();
    found.dedup();
    found
}

struct Levels<'m> {
    model: &'m Model<'m>,
    counts: &'m [u32],
    leaf_of: Vec<u32>,
    /// The child domain of each slot in the share at hand, by its place among siblings.
    child_of: Vec<u32>,
    sorted: Vec<u32>,
}

impl<'m> Levels<'m> {
    fn new(model: &'m Model<'m>, counts: &'m [u32]) -> Self {
        let slots = model.slots() as usize;
        Levels { model, counts, leaf_of: vec![0; slots], child_of: vec![u32::MAX; slots], sorted: Vec::new() }
    }

    fn reach(&self, slots: &[u32]) -> Reach {
        let dims = self.model.graph.dims().len();
        let (mut low, mut high) = (vec![u32::MAX; dims], vec![0; dims]);
        for slot in slots {
            for (dim, at) in self.model.graph.coords_of(*slot).iter().enumerate() {
                low[dim] = low[dim].min(*at);
                high[dim] = high[dim].max(*at);
            }
        }
        let size = low.iter().zip(&high).map(|(low, high)| high - low.min(high) + 1).collect();
        Reach { low, size }
    }

    fn walks_for(&self, slots: &[u32], share: u32) -> Vec<Walk> {
        walks(self.model, &self.reach(slots), share, tried(slots.len()))
    }

    fn share_out(&mut self, domain: u32, slots: &[u32]) {
        let tree = self.model.tree;
        let count = |child: u32| tree.leaves_below(child).map(|leaf| self.counts[leaf as usize]).sum::<u32>();
        let children: Vec<(u32, u32)> =
            tree.children(domain).iter().map(|child| (*child, count(*child))).filter(|c| c.1 > 0).collect();
        match children.as_slice() {
            [] => {
                let leaf = tree.leaves_below(domain).start;
                slots.iter().for_each(|slot| self.leaf_of[*slot as usize] = leaf);
                return;
            }
            [(only, _)] => return self.share_out(*only, slots),
            _ => {}
        }
        let share = children.iter().map(|child| child.1).max().unwrap_or(1);
        let reach = self.reach(slots);
        let mut best: Option<(i64, Vec<u32>)> = None;
        for walk in walks(self.model, &reach, share, tried(slots.len())) {
            let mut sorted = std::mem::take(&mut self.sorted);
            walk.sort(self.model, &reach, slots, &mut sorted);
            let cost = self.cut(&children, &sorted);
            if best.as_ref().is_none_or(|best| cost < best.0) {
                best = Some((cost, sorted.clone()));
            }
            self.sorted = sorted;
        }
        let order = best.map_or_else(|| slots.to_vec(), |best| best.1);
        let mut rest = order.as_slice();
        for (child, count) in children {
            let (own, others) = rest.split_at(count as usize);
            self.share_out(child, own);
            rest = others;
        }
    }

    /// Cost of the edges between children that take consecutive shares of `sorted`, as far as their uplinks go.
    fn cut(&mut self, children: &[(u32, u32)], sorted: &[u32]) -> i64 {
        let mut rest = sorted;
        for (place, (_, count)) in (0u32..).zip(children) {
            let (own, others) = rest.split_at(*count as usize);
            own.iter().for_each(|slot| self.child_of[*slot as usize] = place);
            rest = others;
        }
        let mut cost = 0;
        for slot in sorted {
            let own = self.child_of[*slot as usize];
            let uplink = self.model.uplinks[children[own as usize].0 as usize];
            for link in self.model.links(*slot) {
                let other = self.child_of[link.to as usize];
                if other != own && other != u32::MAX {
                    cost += link.weight * uplink;
                }
            }
        }
        sorted.iter().for_each(|slot| self.child_of[*slot as usize] = u32::MAX);
        cost
    }
}

/// Each next slot is the one with the most weight to those before it, lowest number first.
fn grown(model: &Model<'_>) -> Vec<u32> {
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
